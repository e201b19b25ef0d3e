// linear with coded weights. In mode int8 x is rounded to bytes, block by block, and the codes are
// multiplied as they are (MathMode::int8 has the formula; fast_coded_tile.h). In the other modes a
// part of a panel is widened into the first cache and multiplied as any other weight
// (fast_linear.h).
#pragma once

#include "kernels/cpu/coded_layout.h"
#include "kernels/cpu/parallel.h"

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

// ---------------------------------------------------------------- x as bytes

/// Rows of x rounded for mode int8.
struct CodedInput {
  std::int8_t* codes;  // [row, blocks * kCodedBlock]
  float* scales;       // [row, blocks]
  std::int32_t* sums;  // [row, blocks, 2]: of each half of a block
  std::int64_t blocks;

  CodedInput(void* scratch, std::int64_t rows, std::int64_t inputs) : blocks(coded_blocks(inputs)) {
    codes = static_cast<std::int8_t*>(scratch);
    scales = reinterpret_cast<float*>(codes + (rows * blocks * kCodedBlock + 63) / 64 * 64);
    sums = reinterpret_cast<std::int32_t*>(scales + rows * blocks);
  }
};

[[maybe_unused]] std::size_t coded_scratch(const LinearArguments& a) {
  const std::int64_t blocks = a.rows * coded_blocks(a.inputs);
  return static_cast<std::size_t>(blocks * (kCodedBlock + 4 + 8) + 64);
}

/// One block of a row. Too small to divide by: zeros, as the exact product would nearly be.
PERILUNE_INLINE void round_block(const float* x, std::int8_t* codes, float* scale,
                                 std::int32_t* sums) {
  constexpr float kLeast = 1e-30f;
  Vec most = zero(), poison = zero();
  for (std::int64_t i = 0; i < kCodedBlock; i += kLanes) {
    const Vec v = load(x + i);
    most = larger(most, magnitude(v));
    poison = add(poison, mul(v, zero()));  // 0, or NaN
  }
  const float largest_value = largest(most);
  const bool finite = sum(poison) == 0;
  const bool rounds = finite && largest_value >= kLeast;
  *scale = finite ? (rounds ? largest_value / 127.0f : 0.0f) : __builtin_nanf("");
  alignas(64) float rounded[kCodedBlock];
  const Vec factor = splat(rounds ? 127.0f / largest_value : 0.0f);
  for (std::int64_t i = 0; i < kCodedBlock; i += kLanes)
    store(rounded + i, rounds ? nearest(mul(load(x + i), factor)) : zero());
  for (std::int64_t half = 0; half < 2; ++half) {
    std::int32_t total = 0;
    for (std::int64_t i = half * 16; i < half * 16 + 16; ++i) {
      const auto code = static_cast<std::int32_t>(rounded[i]);
      codes[i] = static_cast<std::int8_t>(code);
      total += code;
    }
    sums[half] = total;
  }
}

[[maybe_unused]] void round_rows(const Launch& launch, const LinearArguments& a,
                                 const CodedInput& to) {
  parallel_ranges(
      launch, a.rows, 1 + 16384 / (a.inputs + 1), [&](std::int64_t begin, std::int64_t end) {
        alignas(64) float last[kCodedBlock];
        for (std::int64_t r = begin; r < end; ++r)
          for (std::int64_t b = 0; b < to.blocks; ++b) {
            const float* x = a.x + r * a.x_stride + b * kCodedBlock;
            const std::int64_t left = a.inputs - b * kCodedBlock;
            if (a.input_order != nullptr) {
              const std::int32_t* order = a.input_order + b * kCodedBlock;
              for (std::int64_t i = 0; i < kCodedBlock; ++i)
                last[i] = i < left ? a.x[r * a.x_stride + order[i]] : 0;
              x = last;
            } else if (left < kCodedBlock) {
              for (std::int64_t i = 0; i < kCodedBlock; ++i) last[i] = i < left ? x[i] : 0;
              x = last;
            }
            const std::int64_t at = r * to.blocks + b;
            round_block(x, to.codes + at * kCodedBlock, to.scales + at, to.sums + at * 2);
          }
      });
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
