#include "repl/ranks.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "repl/lua_call.h"

namespace perilune::repl {
namespace {

// Set by mpirun for each process that it starts.
constexpr const char* kWorldSize = "OMPI_COMM_WORLD_SIZE";
constexpr const char* kLocalSize = "OMPI_COMM_WORLD_LOCAL_SIZE";

/// A whole number of at most two digits; 0 where it is none.
int to_count(const std::string& text) {
  const bool digits =
      !text.empty() && text.size() <= 2 &&
      std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  return digits ? std::atoi(text.c_str()) : 0;
}

/// Nothing goes on without a rank, and a script could not.
void end_with_it(const char* who) {
  std::fflush(stdout);
  std::fprintf(stderr, "perilune: %s\n", who);
  std::fflush(stderr);
  _exit(kFailed);
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

bool read_ranks(lua::RankStart& start, std::string& why_not) {
  const std::string wanted = environment("PERILUNE_RANKS"), world = environment(kWorldSize);
  start = {0, !world.empty(), end_with_it};
  if (wanted == "off" || (wanted.empty() && world.empty())) return true;
  start.size = to_count(wanted.empty() ? world : wanted);
  if (start.size == 0) {
    why_not = "PERILUNE_RANKS is \"" + wanted + "\", not 1, 2, 4, 8 or off";
    return false;
  }
  if (!start.by_mpirun && start.size > 1) {
    why_not = "PERILUNE_RANKS=" + wanted + " needs as many processes: mpirun -n " + wanted +
              " perilune ...; Debian has mpirun in openmpi-bin";
    return false;
  }
  return true;
}

int threads_of_rank() {
  const int here = to_count(environment(kLocalSize));
  const auto cores = static_cast<int>(std::thread::hardware_concurrency());
  return here > 1 ? std::max(1, cores / here) : 0;
}

}  // namespace perilune::repl
