// Sixteen lanes of AVX-512 (F, BW, DQ, VL, VNNI, BF16), and dot products of bf16 pairs.
#pragma once

#include <immintrin.h>

#include "kernels/cpu/vec_elements.h"

namespace perilune::kernels::PERILUNE_TIER {
namespace {

using Vec = __m512;
using PairVec = __m512i;  // sixteen pairs of bf16
using Mask = __mmask16;

inline constexpr int kLanes = 16;
inline constexpr bool kFused = true;
inline constexpr bool kBf16Dot = true;
inline constexpr int kPanelWidth = 32;
inline constexpr int kRowTile = 12;
inline constexpr int kAttentionRows = 6;
inline constexpr int kCodedRows = 6;
inline constexpr std::int64_t kSteps = 192;

PERILUNE_INLINE Vec zero() {
  return _mm512_setzero_ps();
}
PERILUNE_INLINE Vec splat(float x) {
  return _mm512_set1_ps(x);
}
PERILUNE_INLINE Vec broadcast(const float* p) {
  return _mm512_set1_ps(*p);
}
PERILUNE_INLINE Vec load(const float* p) {
  return _mm512_loadu_ps(p);
}
PERILUNE_INLINE Vec load(const F16* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
PERILUNE_INLINE Vec load(const Bf16* p) {
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}
PERILUNE_INLINE void store(float* p, Vec x) {
  _mm512_storeu_ps(p, x);
}

/// Rounded to nearest; a NaN keeps some of its bits.
PERILUNE_INLINE void store(F16* p, Vec x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

PERILUNE_INLINE PairVec load(const Bf16Pair* p) {
  return _mm512_loadu_si512(p);
}
PERILUNE_INLINE PairVec broadcast(const Bf16Pair* p) {
  return _mm512_set1_epi32(static_cast<int>(p->bits));
}
/// c + the two products of each pair, in the order the instruction fixes.
PERILUNE_INLINE Vec multiply_add(PairVec a, PairVec b, Vec c) {
  return _mm512_dpbf16_ps(c, (__m512bh)a, (__m512bh)b);
}

PERILUNE_INLINE Vec add(Vec a, Vec b) {
  return _mm512_add_ps(a, b);
}
PERILUNE_INLINE Vec sub(Vec a, Vec b) {
  return _mm512_sub_ps(a, b);
}
PERILUNE_INLINE Vec mul(Vec a, Vec b) {
  return _mm512_mul_ps(a, b);
}
PERILUNE_INLINE Vec div(Vec a, Vec b) {
  return _mm512_div_ps(a, b);
}
PERILUNE_INLINE Vec multiply_add(Vec a, Vec b, Vec c) {
  return _mm512_fmadd_ps(a, b, c);
}
/// The smaller or larger; b where either is NaN.
PERILUNE_INLINE Vec smaller(Vec a, Vec b) {
  return _mm512_min_ps(a, b);
}
PERILUNE_INLINE Vec larger(Vec a, Vec b) {
  return _mm512_max_ps(a, b);
}
PERILUNE_INLINE Vec magnitude(Vec x) {
  return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), x);
}
PERILUNE_INLINE Vec with_sign(Vec magnitude_of, Vec sign_of) {
  const Vec sign = _mm512_set1_ps(-0.0f);
  return _mm512_or_ps(_mm512_andnot_ps(sign, magnitude_of), _mm512_and_ps(sign, sign_of));
}
PERILUNE_INLINE Vec nearest(Vec x) {
  return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/// 2^n for whole n in [-126, 127]; n = -127 gives 0.
PERILUNE_INLINE Vec power_of_two(Vec n) {
  return _mm512_castsi512_ps(
      _mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127)), 23));
}
/// 2^n where n + 127, from 1 to 127, is the last nine bits of x.
PERILUNE_INLINE Vec power_of_last_bits(Vec x) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(x), 23));
}
PERILUNE_INLINE Mask less(Vec a, Vec b) {
  return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
}
PERILUNE_INLINE Mask both(Mask a, Mask b) {
  return static_cast<Mask>(a & b);
}
PERILUNE_INLINE Vec select(Mask mask, Vec yes, Vec no) {
  return _mm512_mask_blend_ps(mask, no, yes);
}
/// 0, 1, 2, ...
PERILUNE_INLINE Vec lane_index() {
  return _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

/// Rounded to a bf16, ties to even; a NaN stays one.
PERILUNE_INLINE Vec round_to_bf16(Vec x) {
  const __m512i bits = _mm512_castps_si512(x);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
  const Mask nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
  return _mm512_castsi512_ps(_mm512_and_si512(_mm512_mask_blend_epi32(nan, up, quiet),
                                              _mm512_set1_epi32(static_cast<int>(0xffff0000u))));
}

PERILUNE_INLINE float sum(Vec x) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
PERILUNE_INLINE float largest(Vec x) {
  const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
PERILUNE_INLINE float first(Vec x) {
  return _mm512_cvtss_f32(x);
}

// Whole numbers: codes are four bytes a lane.
using IntVec = __m512i;
using Codes = __m512i;
inline constexpr bool kDotBiased = true;  // dot_bytes leaves 128 * (sum of x) in its result

PERILUNE_INLINE IntVec int_splat(std::int32_t x) {
  return _mm512_set1_epi32(x);
}
PERILUNE_INLINE Vec to_float(IntVec x) {
  return _mm512_cvtepi32_ps(x);
}
PERILUNE_INLINE Codes load_codes(const std::uint8_t* p) {
  return _mm512_loadu_si512(p);
}
PERILUNE_INLINE Codes broadcast_codes(const std::int8_t* p) {
  std::int32_t four;
  __builtin_memcpy(&four, p, 4);
  return _mm512_set1_epi32(four);
}
/// Each byte's bits from `count` up, 0 to 7, come down; what lies above them is any.
PERILUNE_INLINE Codes shifted_down(Codes x, int count) {
  switch (count) {  // the instruction takes a constant
    case 1: return _mm512_srli_epi16(x, 1);
    case 2: return _mm512_srli_epi16(x, 2);
    case 3: return _mm512_srli_epi16(x, 3);
    case 4: return _mm512_srli_epi16(x, 4);
    case 5: return _mm512_srli_epi16(x, 5);
    case 6: return _mm512_srli_epi16(x, 6);
    case 7: return _mm512_srli_epi16(x, 7);
    default: return x;
  }
}
/// The `count` low bits of each byte.
PERILUNE_INLINE Codes low_bits(Codes x, int count) {
  return _mm512_and_si512(x, _mm512_set1_epi8(static_cast<char>((1 << count) - 1)));
}
/// `high` put above the 2 or 4 bits of `low`.
PERILUNE_INLINE Codes joined(Codes low, Codes high, int above) {
  return _mm512_or_si512(low, above == 4 ? _mm512_slli_epi16(high, 4) : _mm512_slli_epi16(high, 2));
}
/// Sixteen values + 128, for look_up.
PERILUNE_INLINE Codes code_table(const std::int8_t* values) {
  const __m128i table = _mm_loadu_si128(reinterpret_cast<const __m128i*>(values));
  return _mm512_broadcast_i32x4(_mm_xor_si128(table, _mm_set1_epi8(-128)));
}
PERILUNE_INLINE Codes look_up(Codes table, Codes nibbles) {
  return _mm512_shuffle_epi8(table, nibbles);
}
using LevelTable = __m512;
PERILUNE_INLINE LevelTable level_table(const float* levels) {
  return _mm512_loadu_ps(levels);
}
/// The level of each lane's low byte, 0 to 15.
PERILUNE_INLINE Vec look_up_level(LevelTable table, Codes nibbles) {
  return _mm512_permutexvar_ps(nibbles, table);
}
/// sum + the four products of each lane; weights 0 to 63.
PERILUNE_INLINE IntVec dot_small(IntVec sum, Codes weights, Codes x) {
  return _mm512_dpbusd_epi32(sum, weights, x);
}
/// The same for weights + 128.
PERILUNE_INLINE IntVec dot_bytes(IntVec sum, Codes weights, Codes x) {
  return _mm512_dpbusd_epi32(sum, weights, x);
}
PERILUNE_INLINE Vec low_byte(Codes x) {
  return _mm512_cvtepi32_ps(_mm512_and_si512(x, _mm512_set1_epi32(255)));
}
PERILUNE_INLINE Codes next_byte(Codes x) {
  return _mm512_srli_epi32(x, 8);
}
/// Whole numbers of magnitude to 127.
PERILUNE_INLINE void store_bytes(std::int8_t* p, Vec x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(x)));
}
PERILUNE_INLINE Vec load_bytes(const std::int8_t* p) {
  return _mm512_cvtepi32_ps(
      _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
/// Both are bf16 values.
PERILUNE_INLINE void store_pairs(Bf16Pair* p, Vec first, Vec second) {
  const __m512i low = _mm512_srli_epi32(_mm512_castps_si512(first), 16);
  _mm512_storeu_si512(p, _mm512_or_si512(low, _mm512_castps_si512(second)));
}

}  // namespace
}  // namespace perilune::kernels::PERILUNE_TIER
