// Where the codes and scales of a packed matrix lie on a CPU.
//
// Panels of `width` outputs follow each other. A panel is made of units: kCodedBlock inputs,
// kNestedBlock where scales are nested, or a group that is longer than a block; the last may have
// fewer blocks. A unit has the outer scales (and minimums) of its outputs as f16, if nested, or the
// numbers of its group; then for each kCodedBlock inputs the codes and, where groups are not
// longer, the numbers of each group. Those are the scales of the outputs, f16, f32, or the nested
// whole numbers; then minimums of the same kind, or zero points of 8 bits.
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
  std::int64_t block_bytes;  // codes and numbers
  std::int64_t unit_blocks;  // 1; 8 where scales are nested; those of a longer group
  std::int64_t outer_bytes;  // of what a unit begins with
  std::int64_t unit_bytes;
  bool shared;  // a group's numbers are its unit's
};

[[gnu::always_inline, maybe_unused]] inline CodedLayout coded_layout(const Coding& coding,
                                                                     std::int64_t width) {
  CodedLayout at{};
  const std::int64_t parts = coding.minimum ? 2 : 1;
  const bool nested = coding.scale == ScaleType::nested;
  at.width = width;
  at.shared = coding.group > kCodedBlock;
  at.groups = at.shared ? 1 : kCodedBlock / coding.group;
  at.code_bytes = width * kCodedBlock * coding.bits / 8;
  at.scale_bytes = width * (nested ? 1 : (coding.scale == ScaleType::f16 ? 2 : 4));
  const std::int64_t numbers =
      at.groups * (parts * at.scale_bytes + (coding.zero_points ? width : 0));
  at.block_bytes = at.code_bytes + (at.shared ? 0 : numbers);
  at.unit_blocks =
      nested ? kNestedBlock / kCodedBlock : (at.shared ? coding.group / kCodedBlock : 1);
  at.outer_bytes = nested ? parts * width * 2 : (at.shared ? numbers : 0);
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
  const std::int64_t blocks = coded_blocks(inputs), left = blocks % at.unit_blocks;
  return blocks / at.unit_blocks * at.unit_bytes +
         (left != 0 ? at.outer_bytes + left * at.block_bytes : 0);
}

}  // namespace
}  // namespace perilune::kernels
