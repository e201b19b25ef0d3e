// Numbers into stored blocks, for the formats of coding.h. The same bytes on every machine.
#pragma once

#include <algorithm>
#include <cstdint>

namespace perilune::kernels {

/// Writes one block that stands for `values` [format.elements], which are finite and of at most
/// 65504, the largest f16, where scales are halves. Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0 are the bytes
/// of ggml's reference quantizers; the other GGUF types choose scales by a search for the least
/// squared error.
using BlockWriter = void (*)(const float* values, std::uint8_t* block);

/// BlockFormat::write out of a writer of single blocks; what is missing of the last counts as 0.
template <BlockWriter kWrite, std::int64_t kElements, std::int64_t kBytes>
void write_row(const float* row, std::int64_t inputs, std::uint8_t* blocks) {
  for (; inputs >= kElements; inputs -= kElements, row += kElements, blocks += kBytes)
    kWrite(row, blocks);
  if (inputs == 0) return;
  float last[kElements] = {};
  std::copy(row, row + inputs, last);
  kWrite(last, blocks);
}

// One format each; the files beside this one hold them by kind.
void write_q4_0(const float* values, std::uint8_t* block);
void write_q4_1(const float* values, std::uint8_t* block);
void write_q5_0(const float* values, std::uint8_t* block);
void write_q5_1(const float* values, std::uint8_t* block);
void write_q8_0(const float* values, std::uint8_t* block);
void write_q2_k(const float* values, std::uint8_t* block);
void write_q3_k(const float* values, std::uint8_t* block);
void write_q4_k(const float* values, std::uint8_t* block);
void write_q5_k(const float* values, std::uint8_t* block);
void write_q6_k(const float* values, std::uint8_t* block);
void write_iq4_nl(const float* values, std::uint8_t* block);
void write_mxfp4(const float* values, std::uint8_t* block);

}  // namespace perilune::kernels
