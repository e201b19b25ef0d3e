// choose: a block a row finds the row's token, by the numbers of kernels/choice.h alone.
//
//   1. Scores: the logits themselves, or edited, masked and divided by the temperature in scratch.
//   2. The best; the argmax ends here.
//   3. Cuts. Scores have an order, 32 bits that ascend from the best (order_of); a cut is the last
//      order that stays, found digit by digit: the count (top_k) or the weight (top_p) of what has
//      each value of the next digit among those that share the digits so far. Of equal scores at
//      top_p's cut the lowest ids stay, up to an id. min_p asks for a weight.
//   4. A draw: the row in kThreads chunks of ascending ids, the sums of their weights, the chunk
//      that the target falls into, the id in it.
// Weights are whole numbers, so no sum depends on its order.
#include "kernels/choice.h"

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/row_group.h"
#include "kernels/cuda/rows.h"

namespace perilune::kernels::cuda {
namespace {

constexpr int kThreads = 512, kWarps = kThreads / kWarp;
constexpr int kDigitBits = 3, kDigits = 1 << kDigitBits;
constexpr std::uint64_t kNoKey = ~std::uint64_t{0};
constexpr std::uint32_t kLastOrder = 0xff800000u;  // of -infinity

using Weight = std::uint64_t;

__device__ __forceinline__ float never() {
  return __uint_as_float(0xff800000u);
}

/// Ascending from the greatest; -0 equals 0; no NaN.
__device__ __forceinline__ std::uint32_t order_of(float x) {
  const std::uint32_t bits = x == 0.0f ? 0u : __float_as_uint(x);
  return (bits >> 31) != 0 ? bits : ~(bits | 0x80000000u);
}

__device__ __forceinline__ float value_of(std::uint32_t order) {
  return __uint_as_float((order >> 31) != 0 ? order : ~order & 0x7fffffffu);
}

struct Sum {
  __device__ __forceinline__ Weight operator()(Weight a, Weight b) const { return a + b; }
};
struct Least {
  __device__ __forceinline__ Weight operator()(Weight a, Weight b) const { return a < b ? a : b; }
};

/// What the threads of a block hold in common: called by all of them.
struct Block {
  shared_array<Weight> slots;   // [kWarps * kDigits]
  shared_array<Weight> chunks;  // [kThreads]
  int thread, lane, warp;

  template <class Combine>
  __device__ __forceinline__ Weight combine(Weight value, Weight identity,
                                            const Combine& with) const {
    value = warp_combine(value, with);
    __syncthreads();  // the slots are free
    if (lane == 0) slots[warp] = value;
    __syncthreads();
    value = lane < kWarps ? static_cast<Weight>(slots[lane]) : identity;
    return warp_combine(value, with);
  }
  __device__ __forceinline__ Weight sum(Weight value) const { return combine(value, 0, Sum{}); }
};

/// A row's scores below `count` ids, and what of them stays.
struct Scores {
  const float* x;
  std::int64_t count;
  float best;
  int bits;
  std::uint32_t last;     // order
  std::int64_t last_tie;  // id, of those of order `last`
  Weight least;           // weight

  __device__ __forceinline__ Weight weight(float score) const {
    return token_weight(score, best, bits);
  }
  /// 0 where it is cut.
  __device__ __forceinline__ Weight kept(std::int64_t id) const {
    const std::uint32_t order = order_of(x[id]);
    if (order > last || (order == last && id > last_tie)) return 0;
    const Weight own = weight(x[id]);
    return own < least ? 0 : own;
  }
};

/// The best of x[0, count) that comes after `after`: order and id; kNoKey: there is none; 0: a NaN.
__device__ __forceinline__ Weight best_key(const Block& block, const float* x, std::int64_t count,
                                           Weight after) {
  Weight found = kNoKey;
#pragma unroll 4
  for (std::int64_t i = block.thread; i < count; i += kThreads) {
    const float score = x[i];
    const Weight key =
        score == score ? Weight{order_of(score)} << 32 | static_cast<std::uint32_t>(i) : 0;
    if ((key > after || key == 0) && key < found) found = key;
  }
  return block.combine(found, kNoKey, Least{});
}

__device__ __forceinline__ bool masked(const ChoiceArguments& a, const ChoiceRow& row,
                                       std::int64_t id) {
  if (row.mask_words == 0) return false;
  const std::int64_t word = id / 32;
  return word >= row.mask_words || (a.masks[row.first_word + word] >> (id % 32) & 1u) == 0;
}

__device__ __forceinline__ float heated(const ChoiceRow& row, float x) {
  return row.samples && row.temperature != 1.0f ? x / row.temperature : x;
}

/// The scores of ids below `count`, each edited id by one thread.
__device__ __forceinline__ void write_scores(const ChoiceArguments& a, const ChoiceRow& row,
                                             const float* logits, std::int64_t count, int thread,
                                             float* scores) {
  for (std::int64_t i = thread; i < count; i += kThreads) {
    const bool out = row.forced || masked(a, row, i);
    scores[i] = heated(row, out ? never() : logits[i]);
  }
  __syncthreads();
  const LogitEdit* edits = a.edits + row.first_edit;
  for (std::int64_t e = thread; e < row.edits; e += kThreads) {
    const std::int32_t id = edits[e].id;
    if ((e > 0 && edits[e - 1].id == id) || id >= count) continue;
    float x = row.forced ? never() : logits[id];
    for (std::int64_t next = e; next < row.edits && edits[next].id == id; ++next)
      x = edited(x, edits[next]);
    scores[id] = heated(row, masked(a, row, id) ? never() : x);
  }
  __syncthreads();
}

/// The first order with which the sum of `measure` over all up to it reaches `wanted`; `before`:
/// the sum without those of that order. measure(score) is what one counts.
template <class Measure>
__device__ __forceinline__ std::uint32_t find_order(const Block& block, const Scores& scores,
                                                    Weight wanted, const Measure& measure,
                                                    Weight& before) {
  std::uint32_t prefix = 0;
  before = 0;
  // Not unrolled, as the loop over chunks below: of all rounds written out ptxas makes a minute.
#pragma unroll 1
  for (int left = 32; left > 0;) {
    const int bits = left < kDigitBits ? left : kDigitBits;
    left -= bits;
    Weight sums[kDigits] = {};
    for (std::int64_t i = block.thread; i < scores.count; i += kThreads) {
      const float score = scores.x[i];
      const std::uint32_t order = order_of(score);
      // left + bits is 32 the first time, where the prefix is empty.
      const bool candidate = (Weight{order} >> (left + bits)) == prefix && order <= scores.last;
      if (!candidate) continue;
      const Weight own = measure(score);
      const std::uint32_t digit = order >> left & ((1u << bits) - 1u);
#pragma unroll
      for (std::uint32_t d = 0; d < kDigits; ++d) sums[d] += d == digit ? own : 0;
    }
#pragma unroll
    for (int d = 0; d < kDigits; ++d) sums[d] = warp_combine(sums[d], Sum{});
    __syncthreads();
    if (block.lane == 0) {
#pragma unroll
      for (int d = 0; d < kDigits; ++d) block.slots[block.warp * kDigits + d] = sums[d];
    }
    __syncthreads();
    // A lane's digit; then what is up to it.
    Weight own = 0;
    for (int w = block.lane / kDigits; w < kWarps; w += kWarp / kDigits)
      own += block.slots[w * kDigits + block.lane % kDigits];
    for (int apart = kDigits; apart < kWarp; apart *= 2)
      own += __shfl_xor_sync(kFullMask, own, apart);
    Weight up_to = own;
    for (int apart = 1; apart < kDigits; apart *= 2) {
      const Weight lower = __shfl_up_sync(kFullMask, up_to, static_cast<unsigned>(apart), kDigits);
      if (block.lane % kDigits >= apart) up_to += lower;
    }
    const unsigned enough = __ballot_sync(kFullMask, before + up_to >= wanted);
    int digit = 0;
    while (digit < kDigits - 1 && (enough >> digit & 1u) == 0) ++digit;
    before += __shfl_sync(kFullMask, up_to - own, digit);
    prefix = prefix << bits | static_cast<std::uint32_t>(digit);
  }
  return prefix;
}

/// Ids a chunk: whole warps' rounds.
__device__ __forceinline__ std::int64_t chunk_ids(std::int64_t count) {
  return (count + kThreads * kWarp - 1) / (kThreads * kWarp) * kWarp;
}

/// The first id with which the sum of `measure` (of an id) is greater than `target`, which is less
/// than the sum over all. In the lanes of the first warp.
template <class Measure>
__device__ __forceinline__ std::int64_t find_id(const Block& block, std::int64_t count,
                                                Weight target, const Measure& measure) {
  // The chunk: a lane of the first warp takes kWarps of them.
  if (block.warp != 0) return 0;
  Weight own = 0;
  for (int c = 0; c < kWarps; ++c) own += block.chunks[block.lane * kWarps + c];
  Weight up_to = own;
  for (int apart = 1; apart < kWarp; apart *= 2) {
    const Weight lower = __shfl_up_sync(kFullMask, up_to, static_cast<unsigned>(apart));
    if (block.lane >= apart) up_to += lower;
  }
  const unsigned beyond = __ballot_sync(kFullMask, up_to > target);
  int first = 0;
  while (first < kWarp - 1 && (beyond >> first & 1u) == 0) ++first;
  Weight sum = __shfl_sync(kFullMask, up_to - own, first);
  int chunk = first * kWarps;
#pragma unroll 1
  for (; chunk < first * kWarps + kWarps - 1; ++chunk) {
    const Weight more = block.chunks[chunk];
    if (sum + more > target) break;
    sum += more;
  }
  const std::int64_t ids = chunk_ids(count);
  const std::int64_t begin = chunk * ids, end = begin + ids < count ? begin + ids : count;
  for (std::int64_t base = begin; base < end; base += kWarp) {
    const std::int64_t id = base + block.lane;
    Weight up = id < end ? measure(id) : 0;
    for (int apart = 1; apart < kWarp; apart *= 2) {
      const Weight lower = __shfl_up_sync(kFullMask, up, static_cast<unsigned>(apart));
      if (block.lane >= apart) up += lower;
    }
    const unsigned greater = __ballot_sync(kFullMask, sum + up > target);
    if (greater != 0) {
      int lane = 0;
      while ((greater >> lane & 1u) == 0) ++lane;
      return base + lane;
    }
    sum += __shfl_sync(kFullMask, up, kWarp - 1);
  }
  return count - 1;
}

/// Sums of `measure` (of an id) over the chunks; gives the sum of all.
template <class Measure>
__device__ __forceinline__ Weight sum_chunks(const Block& block, std::int64_t count,
                                             const Measure& measure) {
  const std::int64_t ids = chunk_ids(count);
  Weight all = 0;
#pragma unroll 1
  for (int c = 0; c < kWarp; ++c) {
    const int chunk = block.warp * kWarp + c;
    const std::int64_t begin = chunk * ids, end = begin + ids < count ? begin + ids : count;
    Weight sum = 0;
    for (std::int64_t id = begin + block.lane; id < end; id += kWarp) sum += measure(id);
    sum = warp_combine(sum, Sum{});
    if (block.lane == 0) block.chunks[chunk] = sum;
    all += block.lane == 0 ? sum : 0;
  }
  return block.sum(all);  // its barriers also end the writes
}

/// Narrows `scores` to what top_k and top_p leave, and min_p.
__device__ __forceinline__ void cut(const Block& block, const ChoiceRow& row, Scores& scores) {
  Weight before = 0;
  if (row.top_k > 0 && row.top_k < scores.count) {
    const auto one = [](float) { return Weight{1}; };
    scores.last = find_order(block, scores, static_cast<Weight>(row.top_k), one, before);
  }
  if (row.top_p < 1.0) {
    const auto weigh = [&](float score) { return scores.weight(score); };
    Weight total = 0;
    for (std::int64_t i = block.thread; i < scores.count; i += kThreads)
      total += order_of(scores.x[i]) <= scores.last ? weigh(scores.x[i]) : 0;
    total = block.sum(total);
    Weight enough = enough_weight(row.top_p, total);
    if (enough == 0) enough = 1;  // the best stays
    scores.last = find_order(block, scores, enough, weigh, before);
    const Weight each = weigh(value_of(scores.last));
    const Weight stay = (enough - before + each - 1) / each;
    const auto tie = [&](std::int64_t id) {
      return order_of(scores.x[id]) == scores.last ? Weight{1} : 0;
    };
    if (sum_chunks(block, scores.count, tie) > stay) {
      const std::int64_t id = find_id(block, scores.count, stay - 1, tie);
      __syncthreads();
      if (block.thread == 0) block.slots[0] = static_cast<Weight>(id);
      __syncthreads();
      scores.last_tie = static_cast<std::int64_t>(static_cast<Weight>(block.slots[0]));
    }
  }
  if (row.min_p > 0) scores.least = least_weight(row.min_p, scores.bits);
}

/// What was asked about the untouched row.
__device__ __forceinline__ void describe(const Block& block, const ChoiceArguments& a,
                                         const ChoiceRow& row, const float* logits,
                                         std::int64_t count, ChoiceResult& result) {
  const std::uint32_t order = static_cast<std::uint32_t>(best_key(block, logits, a.width, 0) >> 32);
  result.best = value_of(order);
  const int bits = weight_bits(a.width);
  Weight sum = 0;
  for (std::int64_t i = block.thread; i < a.width; i += kThreads)
    sum += token_weight(logits[i], result.best, bits);
  result.weights = block.sum(sum);
  Weight key = 0;
  for (std::int64_t n = 0; n < row.best; ++n) {
    key = best_key(block, logits, count, key);
    if (block.thread != 0) continue;
    const auto id = static_cast<std::int32_t>(key & 0xffffffffu);
    a.best[static_cast<std::int64_t>(blockIdx.x) * a.most_best + n] =
        key == kNoKey ? BestLogit{-1, 0.0f} : BestLogit{id, logits[id]};
  }
}

__global__ void __launch_bounds__(kThreads) choose_kernel(ChoiceArguments a) {
  SharedArena arena;
  Block block;
  block.slots = arena.take<Weight>(kWarps * kDigits);
  block.chunks = arena.take<Weight>(kThreads);
  block.thread = static_cast<int>(threadIdx.x);
  block.lane = block.thread % kWarp;
  block.warp = block.thread / kWarp;
  const std::int64_t at = blockIdx.x;
  const ChoiceRow row = a.rows[at];
  const float* logits = a.logits + row.row * a.stride;
  const std::int64_t count = row.reachable > 0 && row.reachable < a.width ? row.reachable : a.width;
  ChoiceResult result = {-1, 0, 0.0f, 0.0f, 0};
  Weight best = best_key(block, logits, a.width, 0);
  if (best == 0) {
    result.flags = kRowHoldsNan;
    if (block.thread == 0) a.results[at] = result;
    return;
  }
  if (row.weighs) describe(block, a, row, logits, count, result);
  Scores scores = {logits, count, 0.0f, weight_bits(a.width), kLastOrder, a.width, 0};
  if (changes_row(row)) {
    float* own = a.scratch + at * a.width;
    write_scores(a, row, logits, count, block.thread, own);
    scores.x = own;
  }
  if (changes_row(row) || count < a.width) best = best_key(block, scores.x, count, 0);
  if (best == 0) result.flags = kEditMadeNan;
  const auto best_order = static_cast<std::uint32_t>(best >> 32);
  std::int64_t id = -1;
  if (best != 0 && best_order < kLastOrder) {
    id = static_cast<std::int64_t>(best & 0xffffffffu);
    if (row.samples) {
      scores.best = value_of(best_order);
      cut(block, row, scores);
      const auto kept = [&](std::int64_t one) { return scores.kept(one); };
      const Weight total = sum_chunks(block, count, kept);
      const Weight drawn = draw_bits(row.seed, row.output_index, row.position, 0);
      id = find_id(block, count, draw_target(total, drawn), kept);
    }
  }
  if (block.thread != 0) return;
  result.id = static_cast<std::int32_t>(id);
  if (id >= 0) result.logit = logits[id];
  a.results[at] = result;
}

}  // namespace

// A block a row: all of its steps are the block's own.
void choose(const Launch& on, const ChoiceArguments& a) {
  launch(on, "choose",
         {dim3(static_cast<unsigned>(a.row_count)), dim3(kThreads),
          shared_bytes<Weight>(kWarps * kDigits) + shared_bytes<Weight>(kThreads)},
         choose_kernel, a);
}

}  // namespace perilune::kernels::cuda
