// Rounding that knows what a layer is fed: GPTQ (Frantar et al. 2022, arXiv:2210.17323). Each
// input's error is made up for by the inputs that are still to be rounded, by the inverse of the
// inputs' second moments.
#pragma once

#include "engine/quantize/blocks.h"

namespace perilune {

struct GptqOptions {
  /// Added to the diagonal of the moments, as a share of its mean.
  double damping = 0.01;
  /// Inputs in the order of their moments, the greatest first; scales are then those of plain
  /// rounding. Otherwise in their own order, a block's scale chosen when its turn comes.
  bool activation_order = true;
};

/// Blocks of `format` for `weights` [output, input]: u8 [output, byte]. `moments` [input, input] is
/// the sum of x x^T over inputs x; both f32 on the CPU. Formats of four bits whose codes lie two in
/// a byte at the end of a block (Q4_0, Q4_1, IQ4_NL, NF4, INT4...); Error(unsupported) for others,
/// Error(shape) for moments of another size, Error(argument) where they are not finite.
Tensor gptq(const std::string& format, const Tensor& weights, const Tensor& moments,
            const GptqOptions& options);

}  // namespace perilune
