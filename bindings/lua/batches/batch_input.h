// Rows and grids of ids as scripts write them.
#pragma once

#include <cstdint>
#include <vector>

#include "bindings/lua/edge/arguments.h"
#include "engine/batch/batch.h"

namespace perilune::lua {

using Rows32 = std::vector<std::vector<std::int32_t>>;
using Rows64 = std::vector<std::vector<std::int64_t>>;

/// Lists of whole numbers, or tensors of one axis.
Rows32 to_rows(lua_State* L, int index, const char* op, const char* name);
Rows64 widen(const Rows32& rows);
/// Lists of lists (also of booleans, for masks), or a tensor [batch, seq].
Rows32 to_grid(lua_State* L, int index, const char* op, const char* name);
/// Appends option pairs to the rows and gives their type ids: 0 for a row's first part, 1 for its
/// second. Empty without pairs.
Rows64 append_pairs(lua_State* L, Options& options, Rows32& rows);

/// Option inputs: { features={ one tensor [frame, mel] (or [mel, frame]) a row }, pixels={ one
/// tensor [channel, height, width] a row } or all as [batch, channel, height, width] }, end to end
/// by their first axis.
std::vector<BatchInput> to_inputs(lua_State* L, Options& options);

}  // namespace perilune::lua
