#include "engine/device/context.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "engine/base/error.h"
#include "engine/device/cpu_device.h"
#include "engine/device/plugin_device.h"

namespace perilune {
namespace {

constexpr int kMostThreads = 1024;

std::vector<std::string> tier_names() {
  std::vector<std::string> names;
  for (int i = 0; kernels::cpu_tier_name(i) != nullptr; ++i) {
    names.emplace_back(kernels::cpu_tier_name(i));
  }
  return names;
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

const kernels::KernelTable& choose_tier(std::string tier) {
  std::string source = "cpu_tier";
  if (tier.empty()) {
    const char* asked = std::getenv("PERILUNE_CPU");
    if (asked != nullptr && *asked != '\0') {
      tier = asked;
      source = "PERILUNE_CPU";
    }
  }
  if (tier.empty()) return *kernels::cpu_table(nullptr);
  if (const kernels::KernelTable* table = kernels::cpu_table(tier.c_str())) return *table;
  const std::vector<std::string> names = tier_names();
  const std::string given = source + "=\"" + tier + "\"";
  if (std::find(names.begin(), names.end(), tier) != names.end()) {
    throw Error(ErrorCode::device, "context", given + ": this processor lacks that tier")
        .hint(std::string("the best it has is \"") + kernels::cpu_table(nullptr)->tier + "\"");
  }
  throw Error(ErrorCode::option, "context", given + ": there is no such tier")
      .hint("tiers are " + joined(names));
}

void expect_own_threads(const ThreadPool& pool) {
  if (!pool.host_owned()) return;
  throw Error(ErrorCode::state, "threads", "the host lends its own threads")
      .hint("change their number there");
}

std::shared_ptr<ThreadPool> make_pool(int threads) {
  if (threads < 0 || threads > kMostThreads) {
    throw Error(ErrorCode::option, "context",
                "threads must be from 1 to " + std::to_string(kMostThreads) +
                    " (0: as many as this process may use), not " + std::to_string(threads));
  }
  return std::make_shared<ThreadPool>(threads != 0 ? threads : ThreadPool::available());
}

}  // namespace

std::shared_ptr<Context> Context::make(const ContextOptions& options) {
  return std::shared_ptr<Context>(new Context(options));
}

Context::Context(const ContextOptions& options)
    : memory_budget_(options.memory_budget), warning_sink_(options.on_warning) {
  const kernels::KernelTable& table = choose_tier(options.cpu_tier);
  pool_ = options.host_parallel.run != nullptr ? std::make_shared<ThreadPool>(options.host_parallel)
                                               : make_pool(options.threads);
  cpu_ = std::make_shared<CpuDevice>(table, options.memory_budget, pool_);
}

Context::~Context() = default;

Device& Context::cpu() const {
  return *cpu_;
}

std::shared_ptr<Device> Context::cpu_device() const {
  return cpu_;
}

// Null instead of an error where the device is not `required`.
std::shared_ptr<Device> Context::plugin_device(const std::string& kind, int index,
                                               bool required) const {
  const std::string name = plugin_device_name(kind, index);
  const std::lock_guard lock(devices_mutex_);
  for (const auto& device : opened_) {
    if (device->name() == name) return device;
  }
  std::string why_not;
  const std::shared_ptr<const Plugin> plugin = Plugin::load(kind, why_not);
  const int count = plugin == nullptr ? 0 : plugin->device_count(why_not);
  if (index >= count) {
    if (!required) return nullptr;
    if (count > 0) {
      why_not = count == 1 ? "there is one GPU, \"cuda:0\""
                           : "there are " + std::to_string(count) + " GPUs, counted from 0";
    }
    throw Error(ErrorCode::device, "device", "\"" + name + "\" is not here: " + why_not)
        .hint("use device=\"cpu\"");
  }
  opened_.push_back(PluginDevice::open(plugin, index, memory_budget_));
  return opened_.back();
}

std::shared_ptr<Device> Context::automatic_device() const {
  std::string problem;
  {
    const std::lock_guard lock(automatic_mutex_);
    if (automatic_ != nullptr) return automatic_;
    try {
      automatic_ = plugin_device("cuda", 0, false);
    } catch (const Error& error) {  // a GPU that is there, but too old, full or taken
      problem = error.what();
    }
    if (automatic_ == nullptr) automatic_ = cpu_;
  }
  if (!problem.empty()) warn("device=\"auto\" uses the CPU: " + problem);
  return device("auto");
}

std::shared_ptr<Device> Context::device(std::string_view name) const {
  if (name.empty() || name == "auto") return automatic_device();
  if (name == "cpu") return cpu_;
  if (name == "emulator") return plugin_device("emulator", 0, true);
  if (name == "cuda") return plugin_device("cuda", 0, true);
  if (name.starts_with("cuda:") && name.size() > 5 && name.size() < 9 &&
      std::all_of(name.begin() + 5, name.end(), [](char c) { return c >= '0' && c <= '9'; })) {
    return plugin_device("cuda", std::stoi(std::string(name.substr(5))), true);
  }
  const std::vector<std::string> names = {"auto", "cpu", "cuda", "cuda:0", "emulator"};
  const std::string guess = did_you_mean(name, names);
  throw Error(ErrorCode::option, "device", "there is no device \"" + std::string(name) + "\"")
      .hint((guess.empty() ? "" : guess + " ") + "devices are " + joined(names));
}

std::vector<std::shared_ptr<Device>> Context::devices() const {
  const std::lock_guard lock(devices_mutex_);
  std::vector<std::shared_ptr<Device>> all = {cpu_};
  all.insert(all.end(), opened_.begin(), opened_.end());
  return all;
}

std::vector<IdleDevice> Context::idle_devices() const {
  std::string why_not;
  const std::shared_ptr<const Plugin> plugin = Plugin::load("cuda", why_not);
  const int count = plugin == nullptr ? 0 : plugin->device_count(why_not);
  std::vector<IdleDevice> idle;
  const std::lock_guard lock(devices_mutex_);
  for (int index = 0; index < count; ++index) {
    const std::string name = plugin_device_name("cuda", index);
    const bool opened = std::any_of(opened_.begin(), opened_.end(),
                                    [&](const auto& device) { return device->name() == name; });
    kernels::PluginDeviceInfo info{};
    kernels::PluginError error{};
    if (opened || plugin->table().device_info(index, &info, &error) != kernels::kPluginDone) {
      continue;
    }
    idle.push_back({name, info.name, info.tier, info.total_bytes});
  }
  return idle;
}

std::shared_ptr<Device> Context::shared(const Device& device) const {
  for (const auto& each : devices()) {
    if (each.get() == &device) return each;
  }
  throw Error(ErrorCode::device, "device", device.name() + " belongs to another engine");
}

int Context::threads() const {
  return pool_->threads();
}

void Context::set_threads(int threads) {
  expect_own_threads(*pool_);
  pool_ = make_pool(threads);
  cpu_->set_pool(pool_);
}

std::shared_ptr<ThreadPool> Context::pool_of(int threads) const {
  expect_own_threads(*pool_);
  const std::lock_guard lock(pools_mutex_);
  std::weak_ptr<ThreadPool>& known = pools_[threads];
  std::shared_ptr<ThreadPool> pool = known.lock();
  if (!pool) known = pool = make_pool(threads);
  return pool;
}

kernels::Parallel Context::parallel() const {
  return pool_->parallel();
}

void Context::warn(std::string_view text, std::string_view where) const {
  std::function<void(std::string_view, std::string_view)> sink;
  {
    const std::lock_guard lock(sink_mutex_);
    sink = warning_sink_;
  }
  if (!sink) return;
  constexpr std::size_t kMost = 4000;
  if (text.size() <= kMost) return sink(text, where);
  sink(std::string(text.substr(0, kMost)) + "...", where);
}

void Context::set_warning_sink(std::function<void(std::string_view, std::string_view)> sink) {
  const std::lock_guard lock(sink_mutex_);
  warning_sink_ = std::move(sink);
}

double clock_seconds() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

}  // namespace perilune
