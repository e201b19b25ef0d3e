// A batch made ready for one run of a pass: inputs, wanted rows, room in caches.
#pragma once

#include <memory>
#include <vector>

#include "bindings/lua/edge/arguments.h"
#include "bindings/lua/models/cache.h"
#include "engine/ops/kernel_names.h"
#include "engine/ops/pass_binding.h"

namespace perilune::lua {

struct BoundPass {
  BoundPass() = default;
  BoundPass(BoundPass&&) = default;
  BoundPass& operator=(BoundPass&&) = delete;
  /// What was reserved and neither committed nor rolled back is given back.
  ~BoundPass();

  std::shared_ptr<PassBinding> binding;
  std::vector<SequencePointer> caches;  // one a row, or none
  bool writes_self = false, writes_cross = false, commits = true;
  std::vector<std::int64_t> cross_lengths;  // per row, of the encoded input

  /// Makes what was written part of the caches, or gives the room back (commit=false).
  void finish();

 private:
  void rollback();
  bool finished_ = false;
};

/// Reads caches=, cache=, inputs=, rows=, commit= and reserves room. `writes_self` and
/// `writes_cross` say which keys and values the pass writes.
BoundPass bind_pass(lua_State* L, Options& options, std::shared_ptr<const Batch> batch,
                    bool writes_self, bool writes_cross);

/// "f32" or "bf16" as a compute mode; "auto" and nothing: f32.
MathMode to_math(Options& options);

/// threads=: a pass' own number of threads; null where it is not given.
std::shared_ptr<ThreadPool> to_threads(lua_State* L, Options& options);

}  // namespace perilune::lua
