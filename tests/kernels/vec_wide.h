// Sixteen lanes of plain C++, with pairs of bf16: what vec_avx512.h does with its instructions.
#pragma once

#include <bit>
#include <cmath>

#include "kernels/cpu/vec_elements.h"

namespace perilune::kernels::PERILUNE_TIER {
namespace {

struct Vec {
  float lane[16];
};
struct PairVec {
  std::uint32_t lane[16];
};
struct Mask {
  bool lane[16];
};

inline constexpr int kLanes = 16;
inline constexpr bool kFused = true;
inline constexpr bool kBf16Dot = true;
inline constexpr int kPanelWidth = 32;
inline constexpr int kRowTile = 4;  // smaller tiles than avx512 has: they take long to compile
inline constexpr int kAttentionRows = 2;
inline constexpr int kCodedRows = 2;
inline constexpr std::int64_t kSteps = 192;

template <class Function>
Vec each(Function function) {
  Vec out;
  for (int i = 0; i < kLanes; ++i) out.lane[i] = function(i);
  return out;
}
[[gnu::noinline, maybe_unused]] Vec splat(float x) {
  return each([=](int) { return x; });
}
[[gnu::noinline, maybe_unused]] Vec zero() {
  return splat(0);
}
[[gnu::noinline, maybe_unused]] Vec broadcast(const float* p) {
  return splat(*p);
}
[[gnu::noinline, maybe_unused]] Vec load(const float* p) {
  return each([=](int i) { return p[i]; });
}
[[gnu::noinline, maybe_unused]] Vec load(const F16* p) {
  return each([=](int i) { return f16_to_f32(p[i].bits); });
}
[[gnu::noinline, maybe_unused]] Vec load(const Bf16* p) {
  return each([=](int i) { return bf16_to_f32(p[i].bits); });
}
[[gnu::noinline, maybe_unused]] void store(float* p, Vec x) {
  for (int i = 0; i < kLanes; ++i) p[i] = x.lane[i];
}
[[gnu::noinline, maybe_unused]] void store(F16* p, Vec x) {
  for (int i = 0; i < kLanes; ++i) p[i].bits = f32_to_f16(x.lane[i]);
}
[[gnu::noinline, maybe_unused]] PairVec load(const Bf16Pair* p) {
  PairVec out;
  for (int i = 0; i < kLanes; ++i) out.lane[i] = p[i].bits;
  return out;
}
[[gnu::noinline, maybe_unused]] PairVec broadcast(const Bf16Pair* p) {
  PairVec out;
  for (int i = 0; i < kLanes; ++i) out.lane[i] = p->bits;
  return out;
}
[[gnu::noinline, maybe_unused]] float half_of(std::uint32_t pair, int which) {
  return bf16_to_f32(static_cast<std::uint16_t>(pair >> (16 * which)));
}
[[gnu::noinline, maybe_unused]] Vec multiply_add(PairVec a, PairVec b, Vec c) {
  return each([&](int i) {
    const float odd = std::fma(half_of(a.lane[i], 1), half_of(b.lane[i], 1), c.lane[i]);
    return std::fma(half_of(a.lane[i], 0), half_of(b.lane[i], 0), odd);
  });
}
[[gnu::noinline, maybe_unused]] Vec add(Vec a, Vec b) {
  return each([&](int i) { return a.lane[i] + b.lane[i]; });
}
[[gnu::noinline, maybe_unused]] Vec sub(Vec a, Vec b) {
  return each([&](int i) { return a.lane[i] - b.lane[i]; });
}
[[gnu::noinline, maybe_unused]] Vec mul(Vec a, Vec b) {
  return each([&](int i) { return a.lane[i] * b.lane[i]; });
}
[[gnu::noinline, maybe_unused]] Vec div(Vec a, Vec b) {
  return each([&](int i) { return a.lane[i] / b.lane[i]; });
}
[[gnu::noinline, maybe_unused]] Vec multiply_add(Vec a, Vec b, Vec c) {
  return each([&](int i) { return std::fma(a.lane[i], b.lane[i], c.lane[i]); });
}
[[gnu::noinline, maybe_unused]] Vec smaller(Vec a, Vec b) {
  return each([&](int i) { return a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]; });
}
[[gnu::noinline, maybe_unused]] Vec larger(Vec a, Vec b) {
  return each([&](int i) { return a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]; });
}
[[gnu::noinline, maybe_unused]] Vec magnitude(Vec x) {
  return each([&](int i) { return std::fabs(x.lane[i]); });
}
[[gnu::noinline, maybe_unused]] Vec with_sign(Vec magnitude_of, Vec sign_of) {
  return each([&](int i) { return std::copysign(magnitude_of.lane[i], sign_of.lane[i]); });
}
[[gnu::noinline, maybe_unused]] Vec nearest(Vec x) {
  return each([&](int i) { return std::nearbyint(x.lane[i]); });
}
[[gnu::noinline, maybe_unused]] Vec power_of_two(Vec n) {
  return each([&](int i) {
    return n.lane[i] >= -126 ? std::ldexp(1.0f, static_cast<int>(n.lane[i])) : 0.0f;
  });
}
[[gnu::noinline, maybe_unused]] Vec power_of_last_bits(Vec x) {
  return each(
      [&](int i) { return std::bit_cast<float>(std::bit_cast<std::uint32_t>(x.lane[i]) << 23); });
}
[[gnu::noinline, maybe_unused]] Mask less(Vec a, Vec b) {
  Mask out;
  for (int i = 0; i < kLanes; ++i) out.lane[i] = a.lane[i] < b.lane[i];
  return out;
}
[[gnu::noinline, maybe_unused]] Mask both(Mask a, Mask b) {
  for (int i = 0; i < kLanes; ++i) a.lane[i] = a.lane[i] && b.lane[i];
  return a;
}
[[gnu::noinline, maybe_unused]] Vec select(Mask mask, Vec yes, Vec no) {
  return each([&](int i) { return mask.lane[i] ? yes.lane[i] : no.lane[i]; });
}
[[gnu::noinline, maybe_unused]] Vec lane_index() {
  return each([](int i) { return static_cast<float>(i); });
}
[[gnu::noinline, maybe_unused]] Vec round_to_bf16(Vec x) {
  return each([&](int i) { return bf16_to_f32(f32_to_bf16(x.lane[i])); });
}
[[gnu::noinline, maybe_unused]] float sum(Vec x) {
  for (int width = kLanes / 2; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) x.lane[i] += x.lane[i + width];
  return x.lane[0];
}
[[gnu::noinline, maybe_unused]] float largest(Vec x) {
  for (int i = 1; i < kLanes; ++i) x.lane[0] = x.lane[i] > x.lane[0] ? x.lane[i] : x.lane[0];
  return x.lane[0];
}
[[gnu::noinline, maybe_unused]] float first(Vec x) {
  return x.lane[0];
}

// Whole numbers: codes are four bytes a lane.
struct IntVec {
  std::int32_t lane[16];
};
struct Codes {
  std::uint8_t byte[64];
};
inline constexpr bool kDotBiased = true;

template <class Function>
Codes each_byte(Function function) {
  Codes out;
  for (int i = 0; i < 64; ++i) out.byte[i] = static_cast<std::uint8_t>(function(i));
  return out;
}
[[gnu::noinline, maybe_unused]] IntVec int_splat(std::int32_t x) {
  IntVec out;
  for (std::int32_t& lane : out.lane) lane = x;
  return out;
}
[[gnu::noinline, maybe_unused]] Vec to_float(IntVec x) {
  return each([&](int i) { return static_cast<float>(x.lane[i]); });
}
[[gnu::noinline, maybe_unused]] Codes load_codes(const std::uint8_t* p) {
  return each_byte([=](int i) { return p[i]; });
}
[[gnu::noinline, maybe_unused]] Codes broadcast_codes(const std::int8_t* p) {
  return each_byte([=](int i) { return p[i % 4]; });
}
[[gnu::noinline, maybe_unused]] Codes shifted_down(Codes x, int count) {
  return each_byte([&](int i) { return x.byte[i] >> count; });
}
[[gnu::noinline, maybe_unused]] Codes low_bits(Codes x, int count) {
  return each_byte([&](int i) { return x.byte[i] & ((1 << count) - 1); });
}
[[gnu::noinline, maybe_unused]] Codes joined(Codes low, Codes high, int above) {
  return each_byte([&](int i) { return low.byte[i] | high.byte[i] << above; });
}
[[gnu::noinline, maybe_unused]] Codes code_table(const std::int8_t* values) {
  return each_byte([=](int i) { return values[i % 16] + 128; });
}
[[gnu::noinline, maybe_unused]] Codes look_up(Codes table, Codes nibbles) {
  return each_byte([&](int i) { return table.byte[nibbles.byte[i]]; });
}
struct LevelTable {
  const float* levels;
};
[[gnu::noinline, maybe_unused]] LevelTable level_table(const float* levels) {
  return {levels};
}
[[gnu::noinline, maybe_unused]] Vec look_up_level(LevelTable table, Codes nibbles) {
  return each([&](int i) { return table.levels[nibbles.byte[4 * i]]; });
}
[[gnu::noinline, maybe_unused]] IntVec dot_small(IntVec sum, Codes weights, Codes x) {
  for (int i = 0; i < 64; ++i)
    sum.lane[i / 4] += weights.byte[i] * static_cast<std::int8_t>(x.byte[i]);
  return sum;
}
[[gnu::noinline, maybe_unused]] IntVec dot_bytes(IntVec sum, Codes weights, Codes x) {
  return dot_small(sum, weights, x);
}
[[gnu::noinline, maybe_unused]] Vec low_byte(Codes x) {
  return each([&](int i) { return static_cast<float>(x.byte[4 * i]); });
}
[[gnu::noinline, maybe_unused]] Codes next_byte(Codes x) {
  return each_byte([&](int i) { return i % 4 == 3 ? 0 : x.byte[i + 1]; });
}
[[gnu::noinline, maybe_unused]] void store_bytes(std::int8_t* p, Vec x) {
  for (int i = 0; i < kLanes; ++i) p[i] = static_cast<std::int8_t>(x.lane[i]);
}
[[gnu::noinline, maybe_unused]] Vec load_bytes(const std::int8_t* p) {
  return each([=](int i) { return static_cast<float>(p[i]); });
}
[[gnu::noinline, maybe_unused]] void store_pairs(Bf16Pair* p, Vec first, Vec second) {
  for (int i = 0; i < kLanes; ++i)
    p[i].bits = (__builtin_bit_cast(std::uint32_t, first.lane[i]) >> 16) |
                __builtin_bit_cast(std::uint32_t, second.lane[i]);
}

}  // namespace
}  // namespace perilune::kernels::PERILUNE_TIER
