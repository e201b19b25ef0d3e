// One run of passes for a script: its operands read, results and caches held.
#pragma once

#include <memory>
#include <vector>

#include "bindings/lua/edge/arguments.h"
#include "bindings/lua/models/cache.h"
#include "engine/ops/kernel_names.h"
#include "engine/plan/pass_run.h"

namespace perilune::lua {

/// A run with what it borrows. Dropped before finish(), it gives back what it reserved.
struct BoundPass {
  std::vector<SequencePointer> caches;  // one a row, or none
  std::shared_ptr<ExecutionStore> store;
  bool commits = true;
  std::unique_ptr<PassRun> run;

  /// Makes what was written part of the caches, or gives the room back (commit=false).
  void finish();
};

/// Reads plans (a plan, or { encode=, cross=, main= }) at index 1, the main pass's batch at 2 and
/// of the options at 3 source=, caches=, cache=, rows=, commit=; reserves room.
BoundPass bind_passes(lua_State* L, const std::string& op);

/// Pushes { name = tensor }.
void push_tensors(lua_State* L, const NamedTensors& tensors);
/// Two values: the batches of the last pass and of encode with the rows of axes that these made;
/// nil where they made none.
void push_answered(lua_State* L, const PassRun& run);

/// "f32" or "bf16" as a compute mode; "auto" and nothing: f32.
MathMode to_math(Options& options);

/// threads=: a pass' own number of threads; null where it is not given.
std::shared_ptr<ThreadPool> to_threads(lua_State* L, Options& options);

/// Passes that a script writes line by line, one after the other.
struct EagerRunObject {
  std::shared_ptr<BoundPass> bound;
};
template <>
struct TypeName<EagerRunObject> {
  static constexpr const char* value = "EagerRun";
};

}  // namespace perilune::lua
