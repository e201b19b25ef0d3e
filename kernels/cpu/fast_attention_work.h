// How attention is dealt out. An item is a tile of query rows (tokens times heads of one group)
// that share their keys; where items are few and contexts long, a split of an item's keys
// (kSplitKeys) is a unit of its own. How work is cut changes no bit: every row is computed by
// itself, its splits each from nothing, and merged ascending whether one thread had them all or
// each another.
#pragma once

#include "kernels/cpu/fast_attention.h"

namespace perilune::kernels::PERILUNE_TIER {
namespace {

inline constexpr std::int64_t kProductsPerAttentionTask = 1 << 15;
inline constexpr std::int64_t kMostPartials = 1 << 20;  // floats that splits may wait in

/// The splits [first, end) in which a sequence's queries see keys.
struct SplitRange {
  std::int64_t first, end;
  std::int64_t count() const { return end - first; }
};
PERILUNE_INLINE SplitRange splits_of(std::int64_t begin, std::int64_t end) {
  if (end <= begin) return {0, 0};
  return {begin / kSplitKeys, (end + kSplitKeys - 1) / kSplitKeys};
}
[[maybe_unused]] SplitRange splits_of(const AttentionArguments& a, const KvRow& row) {
  if (row.tokens == 0) return {0, 0};
  return splits_of(visible_keys(a, row, row.first_position).begin,
                   visible_keys(a, row, row.first_position + row.tokens - 1).end);
}

/// How the work is cut: items of one sequence, kv head and tile of tokens and heads, and splits.
struct AttentionWork {
  std::int64_t group, heads, head_tiles, tokens;
  std::int64_t tasks;        // that run beside each other at most
  std::int64_t splits;       // of a sequence at most, where they are units; else 0
  std::int64_t queries = 0;  // token * heads + head of all are below
  std::int64_t longest = 0;  // splits of a sequence

  AttentionWork(const AttentionArguments& a, std::int64_t threads)
      : group(a.heads / a.layout.kv_heads),
        heads(group < kTileRows ? group : kTileRows),
        head_tiles((group + heads - 1) / heads),
        tokens(kTileRows / heads),
        tasks(wanted_tasks(a, threads)),
        splits(0) {
    for (std::int64_t r = 0; r < a.row_count; ++r) {
      const std::int64_t end = (a.rows[r].first_token + a.rows[r].tokens) * a.heads;
      if (end > queries) queries = end;
      const std::int64_t count = splits_of(a, a.rows[r]).count();
      if (count > longest) longest = count;
    }
    const bool fits = queries * longest * partial_floats(a) <= kMostPartials;
    if (longest > 1 && units(a) < tasks && fits) splits = longest;
    // Where that is too few, heads that share keys become items of their own and read them once
    // each: a decode step of a model with few kv heads uses all threads.
    const std::int64_t least = tasks < threads ? tasks : threads;
    while (heads > 1 && units(a) < least) {
      heads = (heads + 1) / 2;
      head_tiles = (group + heads - 1) / heads;
    }
  }
  /// A query's values in a split, then their maximum and total.
  static std::int64_t partial_floats(const AttentionArguments& a) { return a.layout.head_dim + 2; }
  std::int64_t items(const AttentionArguments& a, const KvRow& row) const {
    return (row.tokens + tokens - 1) / tokens * a.layout.kv_heads * head_tiles;
  }
  std::int64_t units(const AttentionArguments& a, const KvRow& row) const {
    return items(a, row) * (splits > 0 ? splits_of(a, row).count() : 1);
  }
  std::int64_t units(const AttentionArguments& a) const {
    std::int64_t all = 0;
    for (std::int64_t r = 0; r < a.row_count; ++r) all += units(a, a.rows[r]);
    return all;
  }
  /// Floats that splits wait in, at most, also of calls with some of the tokens: those have fewer
  /// units, so that their splits may be units where those of all are not.
  std::int64_t most_partials(const AttentionArguments& a) const {
    if (tasks <= 1 || longest <= 1) return 0;
    const std::int64_t all = queries * longest * partial_floats(a);
    return all < kMostPartials ? all : kMostPartials;
  }

 private:
  static std::int64_t wanted_tasks(const AttentionArguments& a, std::int64_t threads) {
    if (threads <= 1) return 1;
    std::int64_t scores = 0;
    for (std::int64_t r = 0; r < a.row_count; ++r) scores += a.rows[r].tokens * a.rows[r].key_count;
    const std::int64_t all = scores * a.heads * a.layout.head_dim / kProductsPerAttentionTask;
    const std::int64_t most = threads * kTasksPerThread;
    return all < 1 ? 1 : (all < most ? all : most);
  }
};

// ---------------------------------------------------------------- merging splits

/// What a query has of the splits so far: weighted values, their maximum and total.
struct Merged {
  float* out;  // [head_dim]
  float maximum, total;
};

PERILUNE_INLINE bool is_nothing(float maximum, float total) {
  return total == 0 && maximum == -__builtin_inff();
}

/// A split's `values`, maximum and total, added to those before it; the first is taken as it is.
[[maybe_unused]] void merge_split(Merged& to, const float* values, float maximum, float total,
                                  std::int64_t width) {
  if (is_nothing(maximum, total)) return;
  if (is_nothing(to.maximum, to.total)) {
    map(to.out, values, width, [](Vec v) { return v; });
    to.maximum = maximum;
    to.total = total;
    return;
  }
  const float largest_one = maximum > to.maximum ? maximum : to.maximum;
  const float old_part = exp_one(to.maximum - largest_one);
  const float part = exp_one(maximum - largest_one);
  to.maximum = largest_one;
  to.total = to.total * old_part + total * part;
  std::int64_t d = 0;
  for (; d + kLanes <= width; d += kLanes)
    store(to.out + d, merged(load(to.out + d), old_part, load(values + d), part));
  if (d == width) return;
  const std::int64_t left = width - d;
  const Vec sum = merged(load_part(to.out + d, left), old_part, load_part(values + d, left), part);
  store_part(to.out + d, sum, left);
}

[[maybe_unused]] void divide(const Merged& query, std::int64_t width) {
  if (query.total == 0) return;  // nothing visible: zeros
  const Vec total = splat(query.total);
  map(query.out, query.out, width, [&](Vec v) { return div(v, total); });
}

// ---------------------------------------------------------------- items

/// The query rows of one item.
struct AttentionItem {
  QueryRow rows[kTileRows];
  std::int64_t queries[kTileRows];  // token * heads + head
  std::int64_t count = 0, kv_head;

  AttentionItem(const AttentionArguments& a, const AttentionWork& work, const KvRow& kv,
                std::int64_t item)
      : kv_head(item / work.head_tiles % a.layout.kv_heads) {
    const std::int64_t head_tile = item % work.head_tiles;
    const std::int64_t token_tile = item / work.head_tiles / a.layout.kv_heads;
    const std::int64_t token_end =
        (token_tile + 1) * work.tokens < kv.tokens ? (token_tile + 1) * work.tokens : kv.tokens;
    const std::int64_t head_end =
        (head_tile + 1) * work.heads < work.group ? (head_tile + 1) * work.heads : work.group;
    for (std::int64_t t = token_tile * work.tokens; t < token_end; ++t)
      for (std::int64_t g = head_tile * work.heads; g < head_end; ++g) {
        QueryRow& row = rows[count];
        const std::int64_t head = kv_head * work.group + g;
        queries[count++] = (kv.first_token + t) * a.heads + head;
        row.q = a.q + queries[count - 1] * a.layout.head_dim;
        row.head = head;
        row.position = kv.first_position + t;
        row.visible = visible_keys(a, kv, row.position);
      }
  }
};

/// All splits of an item. `aside`: of every split but a row's first, [row, head_dim].
template <class Element>
void attend_item(const AttentionArguments& a, const KvRow& kv, AttentionItem& item, float* aside,
                 float* buffer) {
  const std::int64_t width = a.layout.head_dim;
  Merged merged_rows[kTileRows];
  for (std::int64_t r = 0; r < item.count; ++r)
    merged_rows[r] = {a.out + item.queries[r] * width, -__builtin_inff(), 0};
  const Visible seen = seen_by(item.rows, item.count, kv.key_count);
  const SplitRange splits = splits_of(seen.begin, seen.end);
  for (std::int64_t split = splits.first; split < splits.end || split == splits.first; ++split) {
    for (std::int64_t r = 0; r < item.count; ++r) {
      const Merged& before = merged_rows[r];
      const bool first = is_nothing(before.maximum, before.total);
      item.rows[r].out = first ? before.out : aside + r * width;
    }
    const std::int64_t end = (split + 1) * kSplitKeys;
    attend_tile<Element>(a, kv, item.kv_head, item.rows, item.count,
                         split == splits.first ? seen.begin : split * kSplitKeys,
                         end < seen.end ? end : seen.end, buffer);
    for (std::int64_t r = 0; r < item.count; ++r) {
      const QueryRow& row = item.rows[r];
      if (row.out == merged_rows[r].out)
        merged_rows[r] = {row.out, row.maximum, row.total};
      else
        merge_split(merged_rows[r], row.out, row.maximum, row.total, width);
    }
  }
  for (std::int64_t r = 0; r < item.count; ++r) divide(merged_rows[r], width);
}

// ---------------------------------------------------------------- splits as units

/// One split of an item, to where the query's splits wait.
template <class Element>
void attend_split(const AttentionArguments& a, const AttentionWork& work, const KvRow& kv,
                  AttentionItem& item, std::int64_t split, std::int64_t place, float* partials,
                  float* buffer) {
  const std::int64_t width = a.layout.head_dim, floats = AttentionWork::partial_floats(a);
  const std::int64_t begin = split * kSplitKeys, end = begin + kSplitKeys;
  for (std::int64_t r = 0; r < item.count; ++r)
    item.rows[r].out = partials + (item.queries[r] * work.splits + place) * floats;
  const Visible seen = seen_by(item.rows, item.count, kv.key_count);
  attend_tile<Element>(a, kv, item.kv_head, item.rows, item.count,
                       begin < seen.begin ? seen.begin : begin, end < seen.end ? end : seen.end,
                       buffer);
  for (std::int64_t r = 0; r < item.count; ++r) {
    item.rows[r].out[width] = item.rows[r].maximum;
    item.rows[r].out[width + 1] = item.rows[r].total;
  }
}

[[maybe_unused]] void merge_splits(const Launch& launch, const AttentionArguments& a,
                                   const AttentionWork& work, const float* partials) {
  const std::int64_t width = a.layout.head_dim, floats = AttentionWork::partial_floats(a);
  for (std::int64_t r = 0; r < a.row_count; ++r) {
    const KvRow& kv = a.rows[r];
    const std::int64_t count = splits_of(a, kv).count();
    const std::int64_t per_task = 1 + kProductsPerAttentionTask / (count * floats + 1);
    parallel_ranges(launch, kv.tokens * a.heads, per_task,
                    [&](std::int64_t begin, std::int64_t end) {
                      for (std::int64_t i = begin; i < end; ++i) {
                        const std::int64_t query = kv.first_token * a.heads + i;
                        Merged to = {a.out + query * width, -__builtin_inff(), 0};
                        for (std::int64_t d = 0; d < width; ++d) to.out[d] = 0;
                        const float* values = partials + query * work.splits * floats;
                        for (std::int64_t split = 0; split < count; ++split, values += floats)
                          merge_split(to, values, values[width], values[width + 1], width);
                        divide(to, width);
                      }
                    });
  }
}

// ---------------------------------------------------------------- the entry

PERILUNE_INLINE std::int64_t widened_floats(const AttentionArguments& a) {
  return a.layout.dtype == DType::f32 ? 0 : 2 * a.layout.head_dim * kKvBlock;
}
/// What a task has for itself: a widened block, and a tile's values aside.
PERILUNE_INLINE std::int64_t task_floats(const AttentionArguments& a) {
  return widened_floats(a) + kTileRows * a.layout.head_dim;
}

[[maybe_unused]] std::size_t attention_scratch(const AttentionArguments& a, int threads) {
  const AttentionWork work(a, threads);
  return static_cast<std::size_t>(work.tasks * task_floats(a) + work.most_partials(a)) *
         sizeof(float);
}

template <class Element>
void run_attention(const Launch& launch, const AttentionArguments& a) {
  const AttentionWork work(a, launch.parallel.run == nullptr ? 1 : launch.parallel.threads);
  const std::int64_t units = work.units(a), tasks = work.tasks < units ? work.tasks : units;
  auto* scratch = static_cast<float*>(launch.scratch);
  float* partials = scratch + work.tasks * task_floats(a);
  // Units are dealt out in turn: later tokens of a causal prompt see more keys.
  parallel_tasks(launch, tasks, [&](std::int64_t task) {
    float* buffer = scratch + task * task_floats(a);
    std::int64_t row = 0, start = 0;
    for (std::int64_t unit = task; unit < units; unit += tasks) {
      while (unit - start >= work.units(a, a.rows[row])) start += work.units(a, a.rows[row++]);
      const KvRow& kv = a.rows[row];
      const std::int64_t items = work.items(a, kv), place = (unit - start) / items;
      AttentionItem item(a, work, kv, (unit - start) % items);
      if (work.splits == 0)
        attend_item<Element>(a, kv, item, buffer + widened_floats(a), buffer);
      else
        attend_split<Element>(a, work, kv, item, splits_of(a, kv).first + place, place, partials,
                              buffer);
    }
  });
  if (work.splits > 0) merge_splits(launch, a, work, partials);
}

[[maybe_unused]] void attention(const Launch& launch, const AttentionArguments& a) {
  switch (a.layout.dtype) {
    case DType::f16: return run_attention<F16>(launch, a);
    case DType::bf16: return run_attention<Bf16>(launch, a);
    case DType::i8: return run_attention<std::int8_t>(launch, a);
    default: return run_attention<float>(launch, a);
  }
}

}  // namespace
}  // namespace perilune::kernels::PERILUNE_TIER
