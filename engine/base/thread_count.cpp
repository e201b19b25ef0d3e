#include "engine/base/thread_count.h"

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <thread>

namespace perilune {
namespace {

constexpr long kManyProcessors = 4096;

std::string read_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::optional<int> quota_limit(long long quota, long long period) {
  if (quota <= 0 || period <= 0) return std::nullopt;
  const long long whole = quota / period + (quota % period != 0 ? 1 : 0);
  return static_cast<int>(std::clamp<long long>(whole, 1, kManyProcessors));
}

int affinity_count() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

/// The limit of this group and of every one above it.
void apply_version_2(const std::string& group, int& limit) {
  for (std::string path = group;;) {
    if (const auto here = cpu_max_limit(read_line("/sys/fs/cgroup" + path + "/cpu.max"))) {
      limit = std::min(limit, *here);
    }
    const std::size_t slash = path.rfind('/');
    if (slash == std::string::npos) return;
    path.resize(slash);
  }
}

void apply_version_1(const std::string& group, int& limit) {
  for (const std::string& path :
       {"/sys/fs/cgroup/cpu" + group, std::string("/sys/fs/cgroup/cpu")}) {
    long long quota = 0, period = 0;
    std::istringstream(read_line(path + "/cpu.cfs_quota_us")) >> quota;
    std::istringstream(read_line(path + "/cpu.cfs_period_us")) >> period;
    if (const auto here = quota_limit(quota, period)) limit = std::min(limit, *here);
  }
}

}  // namespace

std::optional<int> cpu_max_limit(std::string_view text) {
  std::istringstream words{std::string(text)};
  long long quota = 0, period = 0;
  if (!(words >> quota >> period)) return std::nullopt;  // "max ..." is not a number
  return quota_limit(quota, period);
}

int available_threads() {
  int limit = affinity_count();
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    std::string group = line.substr(second + 1);
    if (group == "/" || group.find("..") != std::string::npos) group.clear();
    if (controllers.empty()) apply_version_2(group, limit);
    if (("," + controllers + ",").find(",cpu,") != std::string::npos) apply_version_1(group, limit);
  }
  return std::max(1, limit);
}

}  // namespace perilune
