// Four lanes of SSE4.1, which every x86-64-v2 processor has; multiply_add rounds twice.
#pragma once

#include <smmintrin.h>

#include "kernels/cpu/vec_elements.h"

namespace perilune::kernels::PERILUNE_TIER {
namespace {

using Vec = __m128;
using Mask = __m128;

inline constexpr int kLanes = 4;
inline constexpr bool kFused = false;
inline constexpr bool kBf16Dot = false;
inline constexpr int kPanelWidth = 16;
inline constexpr int kRowTile = 3;
inline constexpr int kAttentionRows = 1;
inline constexpr int kCodedRows = 1;
inline constexpr std::int64_t kSteps = 256;

PERILUNE_INLINE Vec zero() {
  return _mm_setzero_ps();
}
PERILUNE_INLINE Vec splat(float x) {
  return _mm_set1_ps(x);
}
PERILUNE_INLINE Vec broadcast(const float* p) {
  return _mm_load1_ps(p);
}
PERILUNE_INLINE Vec load(const float* p) {
  return _mm_loadu_ps(p);
}
/// The exponent is rebased by an exact product, which also settles subnormal halves.
PERILUNE_INLINE Vec load(const F16* p) {
  const __m128i half = _mm_cvtepu16_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  const __m128i sign = _mm_slli_epi32(_mm_and_si128(half, _mm_set1_epi32(0x8000)), 16);
  const __m128i rest = _mm_and_si128(half, _mm_set1_epi32(0x7fff));
  const __m128 value =
      _mm_mul_ps(_mm_castsi128_ps(_mm_slli_epi32(rest, 13)), _mm_set1_ps(0x1p112f));
  const __m128i special =
      _mm_and_si128(_mm_cmpgt_epi32(rest, _mm_set1_epi32(0x7bff)), _mm_set1_epi32(0x7f800000));
  return _mm_castsi128_ps(_mm_or_si128(_mm_or_si128(_mm_castps_si128(value), special), sign));
}
PERILUNE_INLINE Vec load(const Bf16* p) {
  const __m128i bits = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  return _mm_castsi128_ps(_mm_slli_epi32(_mm_cvtepu16_epi32(bits), 16));
}
PERILUNE_INLINE void store(float* p, Vec x) {
  _mm_storeu_ps(p, x);
}
/// Rounded to nearest, as f32_to_f16 of dtype.h does it.
PERILUNE_INLINE void store(F16* p, Vec x) {
  const auto whole = [](int bits) { return _mm_set1_epi32(bits); };
  const __m128i bits = _mm_castps_si128(x), size = _mm_and_si128(bits, whole(0x7fffffff));
  const __m128i odd = _mm_and_si128(_mm_srli_epi32(size, 13), whole(1));
  const __m128i rounded = _mm_add_epi32(_mm_add_epi32(size, whole(0xfff)), odd);
  const __m128i normal = _mm_srli_epi32(_mm_sub_epi32(rounded, whole(0x38000000)), 13);
  const __m128 shifted = _mm_add_ps(_mm_castsi128_ps(size), _mm_set1_ps(0.5f));
  const __m128i tiny = _mm_sub_epi32(_mm_castps_si128(shifted), whole(0x3f000000));
  __m128i half = _mm_blendv_epi8(normal, tiny, _mm_cmplt_epi32(size, whole(0x38800000)));
  half = _mm_blendv_epi8(half, whole(0x7c00), _mm_cmpgt_epi32(size, whole(0x477fefff)));
  half = _mm_blendv_epi8(half, whole(0x7e00), _mm_cmpgt_epi32(size, whole(0x7f800000)));
  half = _mm_or_si128(half, _mm_and_si128(_mm_srli_epi32(bits, 16), whole(0x8000)));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi32(half, half));
}

PERILUNE_INLINE Vec add(Vec a, Vec b) {
  return _mm_add_ps(a, b);
}
PERILUNE_INLINE Vec sub(Vec a, Vec b) {
  return _mm_sub_ps(a, b);
}
PERILUNE_INLINE Vec mul(Vec a, Vec b) {
  return _mm_mul_ps(a, b);
}
PERILUNE_INLINE Vec div(Vec a, Vec b) {
  return _mm_div_ps(a, b);
}
PERILUNE_INLINE Vec multiply_add(Vec a, Vec b, Vec c) {
  return _mm_add_ps(_mm_mul_ps(a, b), c);
}
/// The smaller or larger; b where either is NaN.
PERILUNE_INLINE Vec smaller(Vec a, Vec b) {
  return _mm_min_ps(a, b);
}
PERILUNE_INLINE Vec larger(Vec a, Vec b) {
  return _mm_max_ps(a, b);
}
PERILUNE_INLINE Vec magnitude(Vec x) {
  return _mm_andnot_ps(_mm_set1_ps(-0.0f), x);
}
PERILUNE_INLINE Vec with_sign(Vec magnitude_of, Vec sign_of) {
  const Vec sign = _mm_set1_ps(-0.0f);
  return _mm_or_ps(_mm_andnot_ps(sign, magnitude_of), _mm_and_ps(sign, sign_of));
}
PERILUNE_INLINE Vec nearest(Vec x) {
  return _mm_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/// 2^n for whole n in [-126, 127]; n = -127 gives 0.
PERILUNE_INLINE Vec power_of_two(Vec n) {
  return _mm_castsi128_ps(
      _mm_slli_epi32(_mm_add_epi32(_mm_cvtps_epi32(n), _mm_set1_epi32(127)), 23));
}
/// 2^n where n + 127, from 1 to 127, is the last nine bits of x.
PERILUNE_INLINE Vec power_of_last_bits(Vec x) {
  return _mm_castsi128_ps(_mm_slli_epi32(_mm_castps_si128(x), 23));
}
PERILUNE_INLINE Mask less(Vec a, Vec b) {
  return _mm_cmplt_ps(a, b);
}
PERILUNE_INLINE Mask both(Mask a, Mask b) {
  return _mm_and_ps(a, b);
}
PERILUNE_INLINE Vec select(Mask mask, Vec yes, Vec no) {
  return _mm_blendv_ps(no, yes, mask);
}
/// 0, 1, 2, ...
PERILUNE_INLINE Vec lane_index() {
  return _mm_setr_ps(0, 1, 2, 3);
}

/// Rounded to a bf16, ties to even; a NaN stays one.
PERILUNE_INLINE Vec round_to_bf16(Vec x) {
  const __m128i bits = _mm_castps_si128(x);
  const __m128i odd = _mm_and_si128(_mm_srli_epi32(bits, 16), _mm_set1_epi32(1));
  const __m128i up = _mm_add_epi32(bits, _mm_add_epi32(odd, _mm_set1_epi32(0x7fff)));
  const __m128i quiet = _mm_or_si128(bits, _mm_set1_epi32(0x400000));
  const __m128i nan = _mm_castps_si128(_mm_cmpunord_ps(x, x));
  return _mm_castsi128_ps(_mm_and_si128(_mm_blendv_epi8(up, quiet, nan),
                                        _mm_set1_epi32(static_cast<int>(0xffff0000u))));
}

PERILUNE_INLINE float sum(Vec x) {
  const __m128 two = _mm_add_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
PERILUNE_INLINE float largest(Vec x) {
  const __m128 two = _mm_max_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
PERILUNE_INLINE float first(Vec x) {
  return _mm_cvtss_f32(x);
}

// Whole numbers: codes are four bytes a lane.
using IntVec = __m128i;
using Codes = __m128i;
inline constexpr bool kDotBiased = false;  // dot_bytes takes the 128 out of its weights

PERILUNE_INLINE IntVec int_splat(std::int32_t x) {
  return _mm_set1_epi32(x);
}
PERILUNE_INLINE Vec to_float(IntVec x) {
  return _mm_cvtepi32_ps(x);
}
PERILUNE_INLINE Codes load_codes(const std::uint8_t* p) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}
PERILUNE_INLINE Codes broadcast_codes(const std::int8_t* p) {
  std::int32_t four;
  __builtin_memcpy(&four, p, 4);
  return _mm_set1_epi32(four);
}
/// Each byte's bits from `count` up, 0 to 7, come down; what lies above them is any.
PERILUNE_INLINE Codes shifted_down(Codes x, int count) {
  switch (count) {  // the instruction takes a constant
    case 1: return _mm_srli_epi16(x, 1);
    case 2: return _mm_srli_epi16(x, 2);
    case 3: return _mm_srli_epi16(x, 3);
    case 4: return _mm_srli_epi16(x, 4);
    case 5: return _mm_srli_epi16(x, 5);
    case 6: return _mm_srli_epi16(x, 6);
    case 7: return _mm_srli_epi16(x, 7);
    default: return x;
  }
}
/// The `count` low bits of each byte.
PERILUNE_INLINE Codes low_bits(Codes x, int count) {
  return _mm_and_si128(x, _mm_set1_epi8(static_cast<char>((1 << count) - 1)));
}
/// `high` put above the 2 or 4 bits of `low`.
PERILUNE_INLINE Codes joined(Codes low, Codes high, int above) {
  return _mm_or_si128(low, above == 4 ? _mm_slli_epi16(high, 4) : _mm_slli_epi16(high, 2));
}
/// Sixteen values + 128, for look_up.
PERILUNE_INLINE Codes code_table(const std::int8_t* values) {
  const __m128i table = _mm_loadu_si128(reinterpret_cast<const __m128i*>(values));
  return _mm_xor_si128(table, _mm_set1_epi8(-128));
}
PERILUNE_INLINE Codes look_up(Codes table, Codes nibbles) {
  return _mm_shuffle_epi8(table, nibbles);
}
using LevelTable = const float*;
PERILUNE_INLINE LevelTable level_table(const float* levels) {
  return levels;
}
/// The level of each lane's low byte, 0 to 15.
PERILUNE_INLINE Vec look_up_level(LevelTable levels, Codes nibbles) {
  const auto level = [&](int code) { return levels[code & 15]; };
  return _mm_setr_ps(level(_mm_cvtsi128_si32(nibbles)), level(_mm_extract_epi32(nibbles, 1)),
                     level(_mm_extract_epi32(nibbles, 2)), level(_mm_extract_epi32(nibbles, 3)));
}
/// sum + the four products of each lane; weights 0 to 63, so that no pair saturates.
PERILUNE_INLINE IntVec dot_small(IntVec sum, Codes weights, Codes x) {
  const __m128i pairs = _mm_maddubs_epi16(weights, x);
  return _mm_add_epi32(sum, _mm_madd_epi16(pairs, _mm_set1_epi16(1)));
}
/// The same for weights + 128: magnitudes to 128 times x to 127 do not saturate either.
PERILUNE_INLINE IntVec dot_bytes(IntVec sum, Codes weights, Codes x) {
  const __m128i w = _mm_xor_si128(weights, _mm_set1_epi8(-128));
  return dot_small(sum, _mm_abs_epi8(w), _mm_sign_epi8(x, w));
}
PERILUNE_INLINE Vec low_byte(Codes x) {
  return _mm_cvtepi32_ps(_mm_and_si128(x, _mm_set1_epi32(255)));
}
PERILUNE_INLINE Codes next_byte(Codes x) {
  return _mm_srli_epi32(x, 8);
}
/// Whole numbers of magnitude to 127.
PERILUNE_INLINE void store_bytes(std::int8_t* p, Vec x) {
  const __m128i pairs = _mm_packs_epi32(_mm_cvtps_epi32(x), _mm_setzero_si128());
  const std::int32_t four = _mm_cvtsi128_si32(_mm_packs_epi16(pairs, pairs));
  __builtin_memcpy(p, &four, 4);
}
PERILUNE_INLINE Vec load_bytes(const std::int8_t* p) {
  std::int32_t four;
  __builtin_memcpy(&four, p, 4);
  return _mm_cvtepi32_ps(_mm_cvtepi8_epi32(_mm_cvtsi32_si128(four)));
}

}  // namespace
}  // namespace perilune::kernels::PERILUNE_TIER
