// linear with coded weights. In mode int8 x is rounded to bytes, block by block
// (fast_coded_input.h), and the codes are multiplied as they are (MathMode::int8 has the formula;
// fast_coded_tile.h). In the other modes a part of a panel is widened into the first cache and
// multiplied as any other weight (fast_linear.h).
#pragma once

#include "kernels/cpu/coded_layout.h"

namespace perilune::kernels::PERILUNE_TIER {
namespace {

/// How codes lie; those that are named by their bits are whole numbers less the coding's zero.
enum class CodeKind : std::uint8_t { bits2, bits3, nibbles, bits5, bits6, table, bytes, levels };

PERILUNE_INLINE CodeKind kind_of(const Coding& coding) {
  switch (coding.bits) {
    case 2: return CodeKind::bits2;
    case 3: return CodeKind::bits3;
    case 5: return CodeKind::bits5;
    case 6: return CodeKind::bits6;
    case 8: return CodeKind::bytes;
    default: break;
  }
  if (coding.levels != nullptr) return CodeKind::levels;
  return coding.values == nullptr ? CodeKind::nibbles : CodeKind::table;
}
constexpr int bits_of(CodeKind kind) {
  switch (kind) {
    case CodeKind::bits2: return 2;
    case CodeKind::bits3: return 3;
    case CodeKind::bits5: return 5;
    case CodeKind::bits6: return 6;
    case CodeKind::bytes: return 8;
    default: return 4;
  }
}
/// Whether codes are whole numbers from 0 on.
constexpr bool counts_from_zero(CodeKind kind) {
  return kind != CodeKind::table && kind != CodeKind::bytes && kind != CodeKind::levels;
}

// ---------------------------------------------------------------- scales

/// One number of kLanes outputs of a group. `outer`: the unit's, where numbers are nested.
PERILUNE_INLINE Vec load_scales(ScaleType type, const std::uint8_t* from,
                                const std::uint8_t* outer) {
  if (type == ScaleType::f16) return load(reinterpret_cast<const F16*>(from));
  if (type == ScaleType::f32) return load(reinterpret_cast<const float*>(from));
  return mul(load(reinterpret_cast<const F16*>(outer)),
             load_bytes(reinterpret_cast<const std::int8_t*>(from)));
}

/// Bytes of one output's number.
PERILUNE_INLINE std::int64_t scale_size(ScaleType type) {
  return type == ScaleType::f16 ? 2 : (type == ScaleType::f32 ? 4 : 1);
}

/// A block of a panel.
struct CodedPart {
  const Coding& coding;
  const CodedLayout& at;
  const std::uint8_t* codes;  // of the block
  const std::uint8_t* unit;

  PERILUNE_INLINE const std::uint8_t* numbers() const {
    return at.shared ? unit : codes + at.code_bytes;
  }
  PERILUNE_INLINE Vec scale(std::int64_t group, int vec) const {
    const std::uint8_t* from = numbers() + group * at.scale_bytes;
    return load_scales(coding.scale, from + vec * kLanes * scale_size(coding.scale),
                       unit + vec * kLanes * 2);
  }
  PERILUNE_INLINE Vec minimum(std::int64_t group, int vec) const {
    const std::uint8_t* from = numbers() + (at.groups + group) * at.scale_bytes;
    const Vec found = load_scales(coding.scale, from + vec * kLanes * scale_size(coding.scale),
                                  unit + at.width * 2 + vec * kLanes * 2);
    return coding.scale == ScaleType::nested ? mul(found, splat(-1.0f)) : found;
  }
  /// Of a coding with zero points; whole numbers.
  PERILUNE_INLINE Vec zero_point(int vec) const {
    return load_bytes(reinterpret_cast<const std::int8_t*>(numbers()) + at.groups * at.scale_bytes +
                      vec * kLanes);
  }
};

// ---------------------------------------------------------------- codes

/// What a plane has of the codes of four inputs for kLanes outputs.
PERILUNE_INLINE Codes unpack_plane(const CodePlane& plane, const std::uint8_t* codes,
                                   std::int64_t half, std::int64_t quad, int vec) {
  const PlaneBits at = plane_bits(plane, half, quad);
  return low_bits(
      shifted_down(load_codes(codes + (at.quad * kPanelWidth + vec * kLanes) * 4), at.shift),
      plane.bits);
}

/// Codes of four inputs for kLanes outputs, as dot_small or dot_bytes takes them.
template <CodeKind kKind>
PERILUNE_INLINE Codes unpack_quad(const std::uint8_t* codes, std::int64_t half, std::int64_t quad,
                                  int vec, const Codes& table) {
  if constexpr (kKind == CodeKind::bytes) {
    return load_codes(codes + ((half * 4 + quad) * kPanelWidth + vec * kLanes) * 4);
  } else {
    constexpr CodePlane kLow = code_plane(bits_of(kKind), 0), kHigh = code_plane(bits_of(kKind), 1);
    const Codes low = unpack_plane(kLow, codes, half, quad, vec);
    if constexpr (kKind == CodeKind::table) return look_up(table, low);
    if constexpr (kHigh.bits == 0) return low;
    return joined(low, unpack_plane(kHigh, codes, half, quad, vec), kHigh.above);
  }
}

// ---------------------------------------------------------------- widening

/// Inputs [from, to) of a panel as numbers, [input, kPanelWidth]; whole blocks.
template <CodeKind kKind>
void widen_codes(const Coding& coding, const std::uint8_t* panel, std::int64_t from,
                 std::int64_t to, float* out) {
  const CodedLayout at = coded_layout(coding, kPanelWidth);
  const Codes table = kKind == CodeKind::table ? code_table(coding.values) : Codes{};
  const LevelTable levels = kKind == CodeKind::levels ? level_table(coding.levels) : LevelTable{};
  const Vec divisor = splat(coding.divisor);
  const Vec zero_code = splat(counts_from_zero(kKind) ? static_cast<float>(coding.zero) : 128.0f);
  for (std::int64_t block = from / kCodedBlock; block * kCodedBlock < to; ++block) {
    const std::uint8_t* codes = panel + coded_block_at(at, block);
    const CodedPart part = {coding, at, codes, panel + coded_unit_at(at, block)};
    for (int vec = 0; vec < kPanelWidth / kLanes; ++vec)
      for (std::int64_t half = 0; half < 2; ++half) {
        const std::int64_t group = coding.group == 16 ? half : 0;
        const Vec scale = part.scale(group, vec);
        const Vec minimum = coding.minimum ? part.minimum(group, vec) : zero();
        const Vec taken = coding.zero_points ? add(zero_code, part.zero_point(vec)) : zero_code;
        for (std::int64_t quad = 0; quad < 4; ++quad) {
          Codes four = unpack_quad<kKind>(codes, half, quad, vec, table);
          float* to_input = out +
                            (block * kCodedBlock - from + half * 16 + quad * 4) * kPanelWidth +
                            vec * kLanes;
          for (int i = 0; i < 4; ++i, four = next_byte(four), to_input += kPanelWidth) {
            Vec value;
            if constexpr (kKind == CodeKind::levels)
              value = mul(look_up_level(levels, four), scale);
            else
              value = mul(sub(low_byte(four), taken), scale);
            if (coding.divisor != 1) value = div(value, divisor);
            store(to_input, coding.minimum ? add(value, minimum) : value);
          }
        }
      }
  }
}

[[maybe_unused]] void widen_panel(const Coding& coding, const std::uint8_t* panel,
                                  std::int64_t from, std::int64_t to, float* out) {
  switch (kind_of(coding)) {
    case CodeKind::bits2: return widen_codes<CodeKind::bits2>(coding, panel, from, to, out);
    case CodeKind::bits3: return widen_codes<CodeKind::bits3>(coding, panel, from, to, out);
    case CodeKind::nibbles: return widen_codes<CodeKind::nibbles>(coding, panel, from, to, out);
    case CodeKind::bits5: return widen_codes<CodeKind::bits5>(coding, panel, from, to, out);
    case CodeKind::bits6: return widen_codes<CodeKind::bits6>(coding, panel, from, to, out);
    case CodeKind::table: return widen_codes<CodeKind::table>(coding, panel, from, to, out);
    case CodeKind::bytes: return widen_codes<CodeKind::bytes>(coding, panel, from, to, out);
    case CodeKind::levels: return widen_codes<CodeKind::levels>(coding, panel, from, to, out);
  }
}

}  // namespace
}  // namespace perilune::kernels::PERILUNE_TIER
