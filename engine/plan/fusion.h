// Rewrites of a plan that change no bit of any value: each joins ops that kernels can do in one go.
// Values that were asked for count as used once more, so what makes them is left alone.
#pragma once

#include "engine/plan/graph.h"

namespace perilune {

/// Drops what nothing asked for needs; ops with effects stay.
void drop_dead_steps(PlanGraph& graph);
/// rope + kv_write -> kv_write that turns k on the way.
void fuse_rope_into_write(PlanGraph& graph);
/// rope of queries + kv_write with rope -> one kv_write, where the device's takes both.
void fuse_rope_of_queries(PlanGraph& graph);
/// activation(a) * b -> gated.
void fuse_gated(PlanGraph& graph);
/// linear, then an activation of one of its results -> the linear's own.
void fuse_activation(PlanGraph& graph);
/// Linears of one input, one form of product -> one linear with several weights.
void merge_linears(PlanGraph& graph);
/// The next three where the device's products take it (fuses_products), in product_fusion.cpp.
/// gated(a, b) of the two results of one linear -> the linear's own.
void fuse_gate_into_linear(PlanGraph& graph);
/// linear + r -> the linear's own.
void fuse_residual_into_linear(PlanGraph& graph);
/// rms_norm of a linear's result, then a linear of that alone -> the second linear norms its input,
/// whose squares the first one has summed.
void fuse_norm_into_linear(PlanGraph& graph);
/// x + r, then its norm -> a norm that also gives the sum.
void fuse_residual_norm(PlanGraph& graph);
/// All of them, in the order that lets each see what it needs.
void fuse(PlanGraph& graph);

}  // namespace perilune
