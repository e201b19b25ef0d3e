// Choosing tokens from rows of logits. One definition of every number that decides, for the host's
// sampler (engine/sampling, the reference) and for devices: the same logits give the same ids.
//
// Sums are of whole numbers, so their order does not matter: a token's weight is exp(logit - best)
// times 2^weight_bits(width), rounded. All of it is plain multiplication and addition in f64, whose
// bits are the same everywhere (no fused multiply-add).
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/kernel_arguments.h"

#ifdef __CUDACC__
#define PERILUNE_CHOICE_FUNCTION __host__ __device__ __forceinline__
#else
#define PERILUNE_CHOICE_FUNCTION inline
#endif

namespace perilune::kernels {

/// What a rule does to the logit of one id; those of one id in order.
enum class LogitChange : std::int32_t {
  add,       // value, `times` times
  set,       // value
  penalize,  // times value below 0, else divided by it
  raise      // a finite one by value times its magnitude
};

struct LogitEdit {
  std::int32_t id;
  LogitChange change;
  float value;
  std::int32_t times;
};

/// How one token is chosen; order of what is done: `forced`, edits, mask, temperature, top_k (ties
/// at the k-th stay), top_p (the fewest best that reach it; of equal ones the lowest id first),
/// min_p, then the argmax (the lowest of equal ids) or a draw in id order.
struct ChoiceRow {
  std::int64_t row;  // of the logits
  std::uint64_t seed, output_index, position;
  double top_p, min_p;                  // 1, 0: off
  std::int64_t top_k;                   // 0: off
  std::int64_t reachable;               // ids from here on are never chosen; 0: all are
  float temperature;                    // logits are divided by it where `samples`
  bool samples;                         // false: the argmax
  bool forced;                          // all are left out that no edit sets
  bool weighs;                          // best and weights of the untouched row are wanted
  std::int64_t first_edit, edits;       // of ChoiceArguments::edits, those of one id together
  std::int64_t first_word, mask_words;  // of ChoiceArguments::masks; no words: no mask
  std::int64_t best;                    // how many best of the untouched row are wanted
};

/// Flags of a ChoiceResult.
inline constexpr std::uint32_t kRowHoldsNan = 1;  // nothing is chosen
inline constexpr std::uint32_t kEditMadeNan = 2;

struct ChoiceResult {
  std::int32_t id;        // -1: every token is left out, or a flag is set
  std::uint32_t flags;    // 0, or one of the above
  float logit;            // of `id` in the untouched row
  float best;             // of the untouched row, where it is wanted
  std::uint64_t weights;  // sum over the untouched row, where it is wanted
};

struct BestLogit {
  std::int32_t id;
  float logit;
};

/// All in memory of the device.
struct ChoiceArguments {
  const float* logits;  // [row, width]
  std::int64_t stride, width;
  const ChoiceRow* rows;  // [row_count]
  std::int64_t row_count;
  const LogitEdit* edits;
  const std::uint32_t* masks;  // bit (id mod 32) of word (id / 32): may be chosen
  float* scratch;              // [row_count, width], where changes_row() is true of any row
  ChoiceResult* results;       // [row_count]
  BestLogit* best;             // [row_count, most_best]: of each row its first `best`
  std::int64_t most_best;
};

/// Whether a row's scores are other numbers than its logits.
PERILUNE_CHOICE_FUNCTION bool changes_row(const ChoiceRow& row) {
  return row.forced || row.edits > 0 || row.mask_words > 0 ||
         (row.samples && row.temperature != 1.0f);
}

PERILUNE_CHOICE_FUNCTION float edited(float x, const LogitEdit& edit) {
  switch (edit.change) {
    case LogitChange::add:
      for (std::int32_t i = 0; i < edit.times; ++i) x += edit.value;
      return x;
    case LogitChange::set: return edit.value;
    case LogitChange::penalize: return x < 0 ? x * edit.value : x / edit.value;
    case LogitChange::raise: return x - x == 0 ? x + fabsf(x) * edit.value : x;
  }
  return x;
}

/// Bits after the point of the weights of a row of `width` logits: their sum is below 2^63.
PERILUNE_CHOICE_FUNCTION int weight_bits(std::int64_t width) {
  int bits = 63;
  for (std::int64_t rest = width; rest > 0; rest /= 2) --bits;
  return bits < 51 ? bits : 51;
}

/// exp(logit - best) * 2^bits, rounded to nearest; 2^bits where they are equal, also infinities.
/// logit <= best, no NaN.
PERILUNE_CHOICE_FUNCTION std::uint64_t token_weight(float logit, float best, int bits) {
  constexpr double kLog2E = 0x1.71547652b82fep0;
  constexpr double kLn2High = 0x1.62e42fefap-1, kLn2Low = 0x1.cf79abc9e3b39p-40;
  constexpr double kToWhole = 0x1.8p52;  // added: what is left is the nearest whole number
  constexpr double kLeast = -45;         // nothing is left of it in 51 bits
  const double apart = logit == best ? 0.0 : static_cast<double>(logit) - static_cast<double>(best);
  const double x = apart < kLeast ? kLeast : apart;
  const double shifted = x * kLog2E + kToWhole, power = shifted - kToWhole;
  const double r = (x - power * kLn2High) - power * kLn2Low;  // |r| <= ln(2) / 2
  double sum = 1.0 / 479001600.0;                             // Taylor's, up to r^12 / 12!
  sum = sum * r + 1.0 / 39916800.0;
  sum = sum * r + 1.0 / 3628800.0;
  sum = sum * r + 1.0 / 362880.0;
  sum = sum * r + 1.0 / 40320.0;
  sum = sum * r + 1.0 / 5040.0;
  sum = sum * r + 1.0 / 720.0;
  sum = sum * r + 1.0 / 120.0;
  sum = sum * r + 1.0 / 24.0;
  sum = sum * r + 1.0 / 6.0;
  sum = sum * r + 0.5;
  sum = sum * r + 1.0;
  sum = sum * r + 1.0;
  // The low bits of `shifted` are the whole number; as an exponent they scale.
  std::uint64_t word = 0;
  memcpy(&word, &shifted, sizeof word);
  word = (word + static_cast<std::uint64_t>(bits + 1023)) << 52;
  double scale = 0;
  memcpy(&scale, &word, sizeof scale);
  const double rounded = sum * scale + 0x1p52;
  memcpy(&word, &rounded, sizeof word);
  return word & ((std::uint64_t{1} << 52) - 1);
}

/// A token stays by top_p while those before it weigh less than this.
PERILUNE_CHOICE_FUNCTION std::uint64_t enough_weight(double top_p, std::uint64_t total) {
  const auto enough = static_cast<std::uint64_t>(ceil(top_p * static_cast<double>(total)));
  return enough < total ? enough : total;
}

/// A token stays by min_p whose weight is at least this.
PERILUNE_CHOICE_FUNCTION std::uint64_t least_weight(double min_p, int bits) {
  return static_cast<std::uint64_t>(ceil(min_p * static_cast<double>(std::uint64_t{1} << bits)));
}

PERILUNE_CHOICE_FUNCTION std::uint64_t mixed_bits(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

/// 53 random bits: each number is added to the hash so far and mixed by splitmix64's finaliser
/// (Steele et al. 2014).
PERILUNE_CHOICE_FUNCTION std::uint64_t draw_bits(std::uint64_t seed, std::uint64_t output_index,
                                                 std::uint64_t position, std::uint64_t draw) {
  std::uint64_t hash = mixed_bits(seed);
  hash = mixed_bits(hash + output_index);
  hash = mixed_bits(hash + position);
  return mixed_bits(hash + draw) >> 11;
}

/// floor(total * bits / 2^53), below total: the first token, in id order, is drawn with which the
/// sum of weights is greater.
PERILUNE_CHOICE_FUNCTION std::uint64_t draw_target(std::uint64_t total, std::uint64_t bits) {
  constexpr std::uint64_t kLow = 0xffffffffull;
  const std::uint64_t a = total >> 32, b = total & kLow, c = bits >> 32, d = bits & kLow;
  const std::uint64_t low = b * d, left = a * d, right = b * c;
  const std::uint64_t middle = (low >> 32) + (left & kLow) + (right & kLow);
  const std::uint64_t high = a * c + (left >> 32) + (right >> 32) + (middle >> 32);
  return high << 11 | ((middle << 32 | (low & kLow)) >> 53);
}

}  // namespace perilune::kernels
