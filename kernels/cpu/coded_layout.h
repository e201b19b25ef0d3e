// Where the codes and scales of a packed matrix lie on a CPU.
//
// Panels of `width` outputs follow each other. A panel is made of units: kCodedBlock inputs,
// kNestedBlock where scales are nested, or a group that is longer than a block; the last may have
// fewer blocks. A unit has the outer scales (and minimums) of its outputs as f16, if nested, or the
// numbers of its group; then for each kCodedBlock inputs the codes and, where groups are not
// longer, the numbers of each group. Those are the scales of the outputs, f16, f32, or the nested
// whole numbers; then minimums of the same kind, or zero points of 8 bits.
// Codes come in quads of inputs: the four of output 0, of output 1, ... Codes of 8 bits lie in a
// byte each, others in planes of 4, 2 and 1 of their bits, the lowest first: 6 bits are a plane of
// 4 and one of 2. A byte of the plane of 4 has input i of the block below and input i + 16 above. A
// plane of 2 bits is two quads, of the block's halves, and one of 1 bit is one: byte i has, from
// its lowest bits on, input i, i + 4, i + 8, ...
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

/// Where the part of a code that a plane has lies in its block.
struct CodePlane {
  int bits;           // of a code that it has
  int above;          // how far up they belong
  std::int64_t quad;  // the first of its quads in the block
};
/// The planes of codes of fewer than 8 bits: plane 0, 1; bits 0 where there is none.
[[gnu::always_inline, maybe_unused]] constexpr CodePlane code_plane(int bits, int plane) {
  const int first = bits >= 4 ? 4 : 2;
  if (plane == 0) return {first, 0, 0};
  return {bits - first, first, first};
}
/// The quad of a plane that has an input of the block, and how far up in its byte.
struct PlaneBits {
  std::int64_t quad;
  int shift;
};
[[gnu::always_inline, maybe_unused]] constexpr PlaneBits plane_bits(const CodePlane& plane,
                                                                    std::int64_t half,
                                                                    std::int64_t quad) {
  if (plane.bits == 4) return {plane.quad + quad, static_cast<int>(4 * half)};
  if (plane.bits == 2) return {plane.quad + half, static_cast<int>(2 * quad)};
  return {plane.quad, static_cast<int>(4 * half + quad)};
}

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
