// What a host may decide before the engine of a Lua state is made.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace perilune::lua {

/// The defaults suit a program that does nothing else.
struct StateOptions {
  int threads = 0;                // 0: what this process may use
  std::string cpu_tier;           // "": the best there is
  std::size_t memory_budget = 0;  // bytes of tensors; 0: no limit of ours
  /// The host's own threads, `threads` of them: runs task(state, 0 ... tasks - 1), and returns when
  /// all are done; null: threads of ours. Outlives the state.
  void (*parallel_for)(void* host, std::int64_t tasks,
                       void (*task)(void* state, std::int64_t index), void* state) = nullptr;
  void* parallel_host = nullptr;
  std::string stdlib_folder;  // looked at before the modules inside the library; "": nowhere
};

}  // namespace perilune::lua
