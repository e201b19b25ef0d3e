// Eight lanes of AVX2 with FMA and F16C. Every function works lane by lane, except sum() and
// largest(), whose order is fixed.
#pragma once

#include <immintrin.h>

#include "kernels/cpu/vec_elements.h"

namespace perilune::kernels::PERILUNE_TIER {
namespace {

using Vec = __m256;
using Mask = __m256;

inline constexpr int kLanes = 8;
inline constexpr bool kFused = true;         // multiply_add rounds once
inline constexpr bool kBf16Dot = false;      // no dot product of bf16 pairs
inline constexpr int kPanelWidth = 16;       // outputs side by side in a packed weight
inline constexpr int kRowTile = 6;           // rows of a product's register tile
inline constexpr int kAttentionRows = 3;     // query rows of attention's register tile
inline constexpr int kCodedRows = 3;         // rows of the tile of products with codes
inline constexpr std::int64_t kSteps = 384;  // inputs of a panel that stay in the first cache

PERILUNE_INLINE Vec zero() {
  return _mm256_setzero_ps();
}
PERILUNE_INLINE Vec splat(float x) {
  return _mm256_set1_ps(x);
}
PERILUNE_INLINE Vec broadcast(const float* p) {
  return _mm256_broadcast_ss(p);
}
PERILUNE_INLINE Vec load(const float* p) {
  return _mm256_loadu_ps(p);
}
PERILUNE_INLINE Vec load(const F16* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
PERILUNE_INLINE Vec load(const Bf16* p) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
PERILUNE_INLINE void store(float* p, Vec x) {
  _mm256_storeu_ps(p, x);
}
/// Rounded to nearest; a NaN keeps some of its bits.
PERILUNE_INLINE void store(F16* p, Vec x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                   _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

PERILUNE_INLINE Vec add(Vec a, Vec b) {
  return _mm256_add_ps(a, b);
}
PERILUNE_INLINE Vec sub(Vec a, Vec b) {
  return _mm256_sub_ps(a, b);
}
PERILUNE_INLINE Vec mul(Vec a, Vec b) {
  return _mm256_mul_ps(a, b);
}
PERILUNE_INLINE Vec div(Vec a, Vec b) {
  return _mm256_div_ps(a, b);
}
PERILUNE_INLINE Vec multiply_add(Vec a, Vec b, Vec c) {
  return _mm256_fmadd_ps(a, b, c);
}
/// The smaller or larger; b where either is NaN.
PERILUNE_INLINE Vec smaller(Vec a, Vec b) {
  return _mm256_min_ps(a, b);
}
PERILUNE_INLINE Vec larger(Vec a, Vec b) {
  return _mm256_max_ps(a, b);
}
PERILUNE_INLINE Vec magnitude(Vec x) {
  return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
}
PERILUNE_INLINE Vec with_sign(Vec magnitude_of, Vec sign_of) {
  const Vec sign = _mm256_set1_ps(-0.0f);
  return _mm256_or_ps(_mm256_andnot_ps(sign, magnitude_of), _mm256_and_ps(sign, sign_of));
}
PERILUNE_INLINE Vec nearest(Vec x) {
  return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/// 2^n for whole n in [-126, 127]; n = -127 gives 0.
PERILUNE_INLINE Vec power_of_two(Vec n) {
  return _mm256_castsi256_ps(
      _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
}
/// 2^n where n + 127, from 1 to 127, is the last nine bits of x.
PERILUNE_INLINE Vec power_of_last_bits(Vec x) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(x), 23));
}
PERILUNE_INLINE Mask less(Vec a, Vec b) {
  return _mm256_cmp_ps(a, b, _CMP_LT_OQ);
}
PERILUNE_INLINE Mask both(Mask a, Mask b) {
  return _mm256_and_ps(a, b);
}
PERILUNE_INLINE Vec select(Mask mask, Vec yes, Vec no) {
  return _mm256_blendv_ps(no, yes, mask);
}
/// 0, 1, 2, ...
PERILUNE_INLINE Vec lane_index() {
  return _mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7);
}

/// Rounded to a bf16, ties to even; a NaN stays one.
PERILUNE_INLINE Vec round_to_bf16(Vec x) {
  const __m256i bits = _mm256_castps_si256(x);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i up = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
  return _mm256_castsi256_ps(_mm256_and_si256(_mm256_blendv_epi8(up, quiet, nan),
                                              _mm256_set1_epi32(static_cast<int>(0xffff0000u))));
}

PERILUNE_INLINE float sum(Vec x) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
PERILUNE_INLINE float largest(Vec x) {
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
PERILUNE_INLINE float first(Vec x) {
  return _mm256_cvtss_f32(x);
}

// Whole numbers: codes are four bytes a lane.
using IntVec = __m256i;
using Codes = __m256i;
inline constexpr bool kDotBiased = false;  // dot_bytes takes the 128 out of its weights

PERILUNE_INLINE IntVec int_splat(std::int32_t x) {
  return _mm256_set1_epi32(x);
}
PERILUNE_INLINE Vec to_float(IntVec x) {
  return _mm256_cvtepi32_ps(x);
}
PERILUNE_INLINE Codes load_codes(const std::uint8_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
PERILUNE_INLINE Codes broadcast_codes(const std::int8_t* p) {
  std::int32_t four;
  __builtin_memcpy(&four, p, 4);
  return _mm256_set1_epi32(four);
}
/// Each byte's bits from `count` up, 0 to 7, come down; what lies above them is any.
PERILUNE_INLINE Codes shifted_down(Codes x, int count) {
  switch (count) {  // the instruction takes a constant
    case 1: return _mm256_srli_epi16(x, 1);
    case 2: return _mm256_srli_epi16(x, 2);
    case 3: return _mm256_srli_epi16(x, 3);
    case 4: return _mm256_srli_epi16(x, 4);
    case 5: return _mm256_srli_epi16(x, 5);
    case 6: return _mm256_srli_epi16(x, 6);
    case 7: return _mm256_srli_epi16(x, 7);
    default: return x;
  }
}
/// The `count` low bits of each byte.
PERILUNE_INLINE Codes low_bits(Codes x, int count) {
  return _mm256_and_si256(x, _mm256_set1_epi8(static_cast<char>((1 << count) - 1)));
}
/// `high` put above the 2 or 4 bits of `low`.
PERILUNE_INLINE Codes joined(Codes low, Codes high, int above) {
  return _mm256_or_si256(low, above == 4 ? _mm256_slli_epi16(high, 4) : _mm256_slli_epi16(high, 2));
}
/// Sixteen values + 128, for look_up.
PERILUNE_INLINE Codes code_table(const std::int8_t* values) {
  const __m128i table = _mm_loadu_si128(reinterpret_cast<const __m128i*>(values));
  return _mm256_broadcastsi128_si256(_mm_xor_si128(table, _mm_set1_epi8(-128)));
}
PERILUNE_INLINE Codes look_up(Codes table, Codes nibbles) {
  return _mm256_shuffle_epi8(table, nibbles);
}
struct LevelTable {
  __m256 low, high;
};
PERILUNE_INLINE LevelTable level_table(const float* levels) {
  return {_mm256_loadu_ps(levels), _mm256_loadu_ps(levels + 8)};
}
/// The level of each lane's low byte, 0 to 15.
PERILUNE_INLINE Vec look_up_level(const LevelTable& table, Codes nibbles) {
  const __m256 upper = _mm256_castsi256_ps(_mm256_slli_epi32(nibbles, 28));  // its eighth bit
  return _mm256_blendv_ps(_mm256_permutevar8x32_ps(table.low, nibbles),
                          _mm256_permutevar8x32_ps(table.high, nibbles), upper);
}
/// sum + the four products of each lane; weights 0 to 63, so that no pair saturates.
PERILUNE_INLINE IntVec dot_small(IntVec sum, Codes weights, Codes x) {
  const __m256i pairs = _mm256_maddubs_epi16(weights, x);
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
/// The same for weights + 128: magnitudes to 128 times x to 127 do not saturate either.
PERILUNE_INLINE IntVec dot_bytes(IntVec sum, Codes weights, Codes x) {
  const __m256i w = _mm256_xor_si256(weights, _mm256_set1_epi8(-128));
  return dot_small(sum, _mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
}
PERILUNE_INLINE Vec low_byte(Codes x) {
  return _mm256_cvtepi32_ps(_mm256_and_si256(x, _mm256_set1_epi32(255)));
}
PERILUNE_INLINE Codes next_byte(Codes x) {
  return _mm256_srli_epi32(x, 8);
}
/// Whole numbers of magnitude to 127.
PERILUNE_INLINE void store_bytes(std::int8_t* p, Vec x) {
  const __m256i whole = _mm256_cvtps_epi32(x);
  const __m128i pairs =
      _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(pairs, pairs));
}
PERILUNE_INLINE Vec load_bytes(const std::int8_t* p) {
  return _mm256_cvtepi32_ps(
      _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}

}  // namespace
}  // namespace perilune::kernels::PERILUNE_TIER
