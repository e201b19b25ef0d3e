// The one list of what a device can do. kernels/cpu and kernels/cuda fill it.
#pragma once

#include "kernels/element_arguments.h"
#include "kernels/kernel_arguments.h"

namespace perilune::kernels {

struct ChoiceArguments;  // choice.h

/// What one device (and, on a CPU, one instruction-set tier) can do. No entry is null but the two
/// kv_rows ones and `choose`, where the device reads host memory, and the two for coded weights,
/// where it has no products with them: those are widened before they are packed.
struct KernelTable {
  const char* tier;             // "scalar", "v2", "avx2", "avx512", "sm_90", "emulator"
  bool fast_bf16;               // has a bf16 dot product: compute="auto" may choose mode bf16
  bool exact_f32_fma;           // linear in mode f32 gives the bits of the scalar reference
  std::int64_t most_head_dim;   // that kv_write and attention take; 0: any
  bool turns_queries = false;   // kv_write takes q
  bool fuses_products = false;  // linear takes a LinearFusion

  std::size_t (*packed_bytes)(WeightFormat source, std::int64_t outputs, std::int64_t inputs,
                              MathMode);
  WeightFormat (*packed_format)(WeightFormat source, MathMode);
  void (*pack)(const Launch&, const PackArguments&);
  /// Coded weights have one packed form, whatever the mode.
  std::size_t (*coded_bytes)(const Coding&, std::int64_t outputs, std::int64_t inputs);
  void (*pack_coded)(const Launch&, const PackCodedArguments&);
  /// rows[i] of the packed matrix as f32: out [count, inputs].
  void (*unpack_rows)(const Launch&, const PackedMatrix&, const std::int64_t* rows,
                      std::int64_t count, float* out);
  std::size_t (*linear_scratch)(const LinearArguments&, int threads);
  void (*linear)(const Launch&, const LinearArguments&);
  void (*embedding)(const Launch&, const EmbeddingArguments&);
  void (*rms_norm)(const Launch&, const NormArguments&);
  void (*layer_norm)(const Launch&, const NormArguments&);
  void (*rope_table)(const Launch&, const RopeTableArguments&);
  void (*rope)(const Launch&, const RopeArguments&);
  /// A device that cannot read `KvRow`s gets them as bytes of its own making: how many, and the
  /// bytes themselves (`host`), which the caller copies to the device at `device` for
  /// `device_rows`. Null: not needed.
  std::size_t (*kv_rows_bytes)(const KvLayout&, const KvRow* rows, std::int64_t count);
  void (*kv_rows_stage)(const KvLayout&, const KvRow* rows, std::int64_t count, void* host,
                        const void* device);
  void (*kv_write)(const Launch&, const KvWriteArguments&);
  /// Enough for these rows and, on a CPU, for any part of their tokens: a run with a deadline takes
  /// some at a time, in the scratch of the whole.
  std::size_t (*attention_scratch)(const AttentionArguments&, int threads);
  void (*attention)(const Launch&, const AttentionArguments&);
  void (*attention_weights)(const Launch&, const AttentionWeightsArguments&);
  void (*unary)(const Launch&, const UnaryArguments&);
  void (*binary)(const Launch&, const BinaryArguments&);
  void (*where)(const Launch&, const WhereArguments&);
  void (*copy)(const Launch&, const CopyArguments&);
  void (*reduce)(const Launch&, const ReduceArguments&);
  void (*softmax)(const Launch&, const SoftmaxArguments&);
  void (*cumulative_sum)(const Launch&, const CumulativeSumArguments&);
  void (*top)(const Launch&, const TopArguments&);
  void (*gather_rows)(const Launch&, const GatherRowsArguments&);
  void (*gated)(const Launch&, const GatedArguments&);
  void (*matmul)(const Launch&, const MatmulArguments&);
  /// Rows of logits to ids; the host's own is engine/sampling, and gives the same.
  void (*choose)(const Launch&, const ChoiceArguments&);
};

/// The CPU's tables, slowest and plainest first: "scalar" (the reference), "v2", "avx2", "avx512".
/// `cpu_table(nullptr)` is the best this processor has; a name asks for that tier and gives null
/// when the processor lacks it or the name is unknown. `cpu_tier_name(i)` lists all names, null at
/// the end.
const KernelTable* cpu_table(const char* tier);
const char* cpu_tier_name(int index);

}  // namespace perilune::kernels
