// Where the codes and scales of a packed matrix lie on a CPU.
//
// Panels of `width` outputs follow each other. A panel is made of units: kCodedBlock inputs, or
// kNestedBlock where scales are nested. A unit has the outer scales (and minimums) of its outputs
// as f16, if nested; then for each kCodedBlock inputs the codes and, for each group of them, the
// scales (and then minimums) of the outputs: f16, f32, or the nested whole numbers.
// Codes come in quads of inputs: the four of output 0, of output 1, ... A byte of 4-bit codes has
// input i of the block below and input i + 16 above.
#pragma once

#include <cstdint>

#include "kernels/coding.h"

namespace perilune::kernels {
namespace {  // one copy per source file: files built for different processors share no code

struct CodedLayout {
  std::int64_t width;        // outputs of a panel
  std::int64_t groups;       // of a block
  std::int64_t code_bytes;   // of a block
  std::int64_t scale_bytes;  // of a group: all outputs' scales
  std::int64_t block_bytes;  // codes, scales, minimums
  std::int64_t unit_blocks;  // 1, or 8 where scales are nested
  std::int64_t outer_bytes;  // of a unit's outer scales and minimums
  std::int64_t unit_bytes;
};

[[gnu::always_inline, maybe_unused]] inline CodedLayout coded_layout(const Coding& coding,
                                                                     std::int64_t width) {
  CodedLayout at{};
  const std::int64_t parts = coding.minimum ? 2 : 1;
  const bool nested = coding.scale == ScaleType::nested;
  at.width = width;
  at.groups = kCodedBlock / coding.group;
  at.code_bytes = width * kCodedBlock * coding.bits / 8;
  at.scale_bytes = width * (nested ? 1 : (coding.scale == ScaleType::f16 ? 2 : 4));
  at.block_bytes = at.code_bytes + parts * at.groups * at.scale_bytes;
  at.unit_blocks = nested ? kNestedBlock / kCodedBlock : 1;
  at.outer_bytes = nested ? parts * width * 2 : 0;
  at.unit_bytes = at.outer_bytes + at.unit_blocks * at.block_bytes;
  return at;
}

/// Bytes from a panel's begin to block `block`'s codes, and to its unit.
[[gnu::always_inline, maybe_unused]] inline std::int64_t coded_block_at(const CodedLayout& at,
                                                                        std::int64_t block) {
  return block / at.unit_blocks * at.unit_bytes + at.outer_bytes +
         block % at.unit_blocks * at.block_bytes;
}
[[gnu::always_inline, maybe_unused]] inline std::int64_t coded_unit_at(const CodedLayout& at,
                                                                       std::int64_t block) {
  return block / at.unit_blocks * at.unit_bytes;
}
[[gnu::always_inline, maybe_unused]] inline std::int64_t coded_blocks(std::int64_t inputs) {
  return (inputs + kCodedBlock - 1) / kCodedBlock;
}
/// Bytes of one panel.
[[gnu::always_inline, maybe_unused]] inline std::int64_t coded_panel_bytes(const CodedLayout& at,
                                                                           std::int64_t inputs) {
  return (coded_blocks(inputs) + at.unit_blocks - 1) / at.unit_blocks * at.unit_bytes;
}

}  // namespace
}  // namespace perilune::kernels
