// The reference of every kernel: short, scalar, one obvious loop each. Faster tiers are tested
// against these. Entries that no tier needs faster are used by all of them as they are.
#pragma once

#include "kernels/kernel_table.h"

namespace perilune::kernels::scalar {

std::size_t linear_scratch(const LinearArguments& arguments, int threads);
void linear(const Launch& launch, const LinearArguments& arguments);
void rms_norm(const Launch& launch, const NormArguments& arguments);
void layer_norm(const Launch& launch, const NormArguments& arguments);
void rope_table(const Launch& launch, const RopeTableArguments& arguments);
void rope(const Launch& launch, const RopeArguments& arguments);
void kv_write(const Launch& launch, const KvWriteArguments& arguments);
std::size_t attention_scratch(const AttentionArguments& arguments, int threads);
void attention(const Launch& launch, const AttentionArguments& arguments);
void attention_weights(const Launch& launch, const AttentionWeightsArguments& arguments);
void unary(const Launch& launch, const UnaryArguments& arguments);
void binary(const Launch& launch, const BinaryArguments& arguments);
void where(const Launch& launch, const WhereArguments& arguments);
void copy(const Launch& launch, const CopyArguments& arguments);
void reduce(const Launch& launch, const ReduceArguments& arguments);
void softmax(const Launch& launch, const SoftmaxArguments& arguments);
void cumulative_sum(const Launch& launch, const CumulativeSumArguments& arguments);
void top(const Launch& launch, const TopArguments& arguments);
void gather_rows(const Launch& launch, const GatherRowsArguments& arguments);
void gated(const Launch& launch, const GatedArguments& arguments);
void matmul(const Launch& launch, const MatmulArguments& arguments);

/// activation(x) by the C library's functions.
float activate(Activation activation, float x);

/// out[i] = function(x[i]); out may be x.
using FloatFunction = void (*)(float* out, const float* x, std::int64_t count);
/// The loop of a unary operation on floats.
FloatFunction unary_function(Unary op);
/// unary with a tier's own loop for floats, so that an activation has the same bits on its own and
/// fused behind a product.
void unary_with(const Launch& launch, const UnaryArguments& arguments, FloatFunction function);

const KernelTable& table();

}  // namespace perilune::kernels::scalar
