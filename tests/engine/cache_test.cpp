// Paged keys and values against a plain model of what each sequence holds.
#include "engine/cache/cache.h"

#include <cstring>
#include <random>

#include "engine/base/error.h"
#include "engine/device/context.h"
#include "tests/catch.h"

using namespace perilune;

namespace {

constexpr std::int64_t kPage = 32;

std::shared_ptr<Context> one_thread() {
  ContextOptions options;
  options.threads = 1;
  return Context::make(options);
}

CacheLayout small_layout() {
  return CacheLayout({{"layers.0", KvKind::self, 0, 1, 2},
                      {"layers.1", KvKind::self, 0, 1, 2},
                      {"layers.2", KvKind::self, 8, 1, 4},
                      {"layers.0", KvKind::cross, 0, 1, 2}},
                     DType::f32, kPage);
}

/// Writes one number a position into every page it lies in, as a kernel would: only to positions
/// that were reserved.
void write_position(SequenceCache& cache, std::int64_t position, float value) {
  const auto& groups = cache.cache()->layout().groups();
  for (std::size_t g = 0; g < groups.size(); ++g) {
    if (groups[g].kind != KvKind::self) continue;
    const auto& pages = cache.pages(static_cast<int>(g));
    auto* page = static_cast<float*>(pages.at(static_cast<std::size_t>(position / kPage)));
    page[position % kPage] = value;
  }
}

float read_position(const SequenceCache& cache, int group, std::int64_t position) {
  const auto* page =
      static_cast<const float*>(cache.pages(group).at(static_cast<std::size_t>(position / kPage)));
  return page[position % kPage];
}

struct Modelled {
  std::unique_ptr<SequenceCache> cache;
  std::vector<float> values;
};

/// Group 1 has a window of 8: the next query sees the last 7 positions.
void check_equal(const Modelled& sequence) {
  const auto length = static_cast<std::int64_t>(sequence.values.size());
  REQUIRE(sequence.cache->length() == length);
  bool same = true;
  for (std::int64_t i = 0; i < length; ++i) {
    const float value = sequence.values[static_cast<std::size_t>(i)];
    same = same && read_position(*sequence.cache, 0, i) == value;
    if (i >= length - 7) same = same && read_position(*sequence.cache, 1, i) == value;
  }
  REQUIRE(same);
  REQUIRE(sequence.cache->pages_held(1) <= 2);
}

}  // namespace

TEST_CASE("layers that are alike share a group") {
  const CacheLayout layout = small_layout();
  REQUIRE(layout.groups().size() == 3);
  CHECK(layout.groups()[0].layers == 2);
  const auto bytes = kernels::kv_layer_bytes(layout.groups()[0].layout);
  CHECK(layout.groups()[0].page_bytes == 2 * bytes);
  CHECK(layout.slot("layers.1", KvKind::self).page_offset == bytes);
  CHECK(layout.slot("layers.2", KvKind::self).group == 1);
  CHECK(layout.slot("layers.0", KvKind::cross).group == 2);
  CHECK_THROWS_AS(layout.slot("layers.3", KvKind::self), Error);
  CHECK(layout.bytes_per_token() == 2 * bytes / kPage + 2 * 4 * 4);
}

TEST_CASE("layers of two devices do not share a group, and pages lie on their group's device") {
  const auto context = one_thread();
  const auto other = one_thread()->cpu_device();  // memory that is accounted elsewhere
  KvSlotSpec moved{"layers.1", KvKind::self, 0, 1, 2};
  moved.device = other;
  const CacheLayout layout({{"layers.0", KvKind::self, 0, 1, 2}, moved}, DType::f32, kPage);
  REQUIRE(layout.groups().size() == 2);
  CHECK(layout.groups()[0].device == nullptr);
  CHECK(layout.groups()[1].device == other);
  const auto pool = std::make_shared<Cache>(context, nullptr, layout, 1 << 20);
  CHECK(pool->device(0) == context->cpu_device());
  CHECK(pool->device(1) == other);
  const std::size_t before = other->memory().used;
  SequenceCache sequence(pool);
  REQUIRE(sequence.reserve(1));
  CHECK(other->memory().used > before);
  CHECK(pool->layout().same(layout));
  CHECK_FALSE(small_layout().same(layout));
}

TEST_CASE("a layout refuses what cannot be") {
  CHECK_THROWS_AS(CacheLayout({}, DType::f32, 31), Error);
  CHECK_THROWS_AS(CacheLayout({}, DType::i32, 32), Error);
  CHECK_THROWS_AS(CacheLayout({{"a", KvKind::self, 0, 0, 2}}, DType::f32, 32), Error);
  CHECK_THROWS_AS(
      CacheLayout({{"a", KvKind::self, 0, 1, 2}, {"a", KvKind::self, 0, 1, 4}}, DType::f32, 32),
      Error);
  CHECK(CacheLayout({{"a", KvKind::cross, 0, 1, 2}, {"a", KvKind::cross, 0, 1, 2}}, DType::f32, 32)
            .slots()
            .size() == 1);
}

TEST_CASE("a pool that is full says so and stays as it was") {
  const auto context = one_thread();
  const CacheLayout layout = small_layout();
  const std::int64_t pages_of_self = layout.groups()[0].page_bytes + layout.groups()[1].page_bytes;
  const auto pool = std::make_shared<Cache>(context, nullptr, layout, 3 * pages_of_self);
  CHECK(pool->free_pages() == 3);
  SequenceCache a(pool), b(pool);
  REQUIRE(a.reserve(kPage + 1));
  a.commit(kPage + 1);
  CHECK(pool->free_pages() == 1);
  CHECK(b.bytes_needed(2 * kPage) == 2 * pages_of_self);
  CHECK_FALSE(b.reserve(2 * kPage));
  CHECK(pool->free_pages() == 1);
  CHECK(b.bytes() == 0);
  REQUIRE(b.reserve(kPage));
  CHECK(pool->free_pages() == 0);
  b.rollback();
  CHECK(pool->free_pages() == 1);
  a.clear();
  CHECK(pool->free_pages() == 3);
  CHECK(pool->used_bytes() == 0);
  REQUIRE(a.reserve_cross(5));  // another group gets the bytes that idle slabs held
  a.commit_cross(5);
  CHECK(a.cross_length() == 5);
}

TEST_CASE("random appends, forks, crops and clears keep every sequence's own content") {
  const auto context = one_thread();
  const CacheLayout layout = small_layout();
  const std::int64_t bytes = layout.groups()[0].page_bytes + layout.groups()[1].page_bytes;
  for (unsigned seed = 0; seed < 20; ++seed) {
    std::mt19937 random(perilune_test::seeded(seed));
    const auto pool = std::make_shared<Cache>(context, nullptr, layout, 24 * bytes);
    std::vector<Modelled> sequences;
    float next = 1;
    for (int step = 0; step < 300; ++step) {
      const unsigned what = random() % 10;
      if (sequences.empty() || (what == 0 && sequences.size() < 6)) {
        sequences.push_back({std::make_unique<SequenceCache>(pool), {}});
        continue;
      }
      Modelled& sequence = sequences[random() % sequences.size()];
      const auto length = static_cast<std::int64_t>(sequence.values.size());
      if (what < 6) {
        const auto count = static_cast<std::int64_t>(random() % 50);
        const std::int64_t needed = sequence.cache->bytes_needed(count);
        const std::int64_t free = pool->free_bytes();
        if (!sequence.cache->reserve(count)) {
          REQUIRE(needed > free);
          REQUIRE(pool->free_bytes() == free);
          continue;
        }
        REQUIRE(pool->free_bytes() == free - needed);
        for (std::int64_t i = 0; i < count; ++i) {
          write_position(*sequence.cache, length + i, next);
          sequence.values.push_back(next++);
        }
        if (random() % 8 == 0) {  // the step failed: what was written is forgotten
          sequence.cache->rollback();
          sequence.values.resize(static_cast<std::size_t>(length));
        } else {
          sequence.cache->commit(count);
        }
      } else if (what < 8 && sequences.size() < 6) {
        Modelled copy{sequence.cache->fork(), sequence.values};
        sequences.push_back(std::move(copy));
      } else if (what == 8) {
        const std::int64_t keep = length == 0 ? 0 : static_cast<std::int64_t>(random()) % length;
        if (!sequence.cache->can_crop(keep)) {
          REQUIRE(keep < length - kKeptBehind);
          REQUIRE_THROWS_AS(sequence.cache->crop(keep), Error);
          continue;
        }
        sequence.cache->crop(keep);
        sequence.values.resize(static_cast<std::size_t>(keep));
      } else if (random() % 2 == 0) {
        sequence.cache->clear();
        sequence.values.clear();
      } else {
        sequences.erase(sequences.begin() + static_cast<std::ptrdiff_t>(&sequence - &sequences[0]));
      }
      for (const Modelled& each : sequences) check_equal(each);
    }
    std::vector<const SequenceCache*> all;
    for (const Modelled& each : sequences) all.push_back(each.cache.get());
    CHECK(SequenceCache::bytes_released(all) + pool->free_bytes() == 24 * bytes);
    sequences.clear();
    CHECK(pool->used_bytes() == 0);
  }
}

TEST_CASE(
    "what several sequences need is what they take, shared pages copied once less than written") {
  const auto context = one_thread();
  const CacheLayout layout = small_layout();
  for (unsigned seed = 0; seed < 200; ++seed) {
    std::mt19937 random(perilune_test::seeded(seed));
    const auto pool = std::make_shared<Cache>(context, nullptr, layout, 1 << 22);
    std::vector<std::unique_ptr<SequenceCache>> sequences;
    sequences.push_back(std::make_unique<SequenceCache>(pool));
    const auto first = static_cast<std::int64_t>(1 + random() % 80);
    REQUIRE(sequences[0]->reserve(first));
    sequences[0]->commit(first);
    const std::size_t count = 1 + random() % 4;
    while (sequences.size() < count) sequences.push_back(sequences[0]->fork());
    const bool all = random() % 2 == 0;  // else one that shares the page does not write
    std::vector<CacheGrowth> growths;
    for (std::size_t i = all ? 0 : 1; i < count; ++i) {
      growths.push_back({sequences[i].get(), static_cast<std::int64_t>(random() % 70),
                         static_cast<std::int64_t>(random() % 40)});
    }
    const std::int64_t needed = SequenceCache::bytes_needed(growths), used = pool->used_bytes();
    for (std::size_t i = all ? 0 : 1; i < count; ++i) {
      const CacheGrowth& growth = growths[i - (all ? 0 : 1)];
      REQUIRE(sequences[i]->reserve(growth.tokens));
      REQUIRE(sequences[i]->reserve_cross(growth.cross));
    }
    REQUIRE(pool->used_bytes() - used == needed);
  }
}

TEST_CASE("a cache cannot keep more than it holds") {
  const auto context = one_thread();
  const auto pool = std::make_shared<Cache>(context, nullptr, small_layout(), 1 << 20);
  SequenceCache sequence(pool);
  CHECK_THROWS_AS(sequence.crop(1), Error);
  CHECK_THROWS_AS(sequence.crop(-1), Error);
}

TEST_CASE("pages that left a window go back to the pool, on every path that moves on") {
  struct Case {
    std::int64_t window, chunk, positions, most_pages;
  };
  const Case c = GENERATE(Case{8, 4, 120, 2}, Case{8, 1, 300, 2}, Case{1, 3, 200, 2},
                          Case{40, 7, 500, 3}, Case{1000, 4, 120, 4}, Case{0, 4, 120, 4});
  const auto context = one_thread();
  const CacheLayout layout({{"a", KvKind::self, c.window, 1, 2}}, DType::f32, kPage);
  const auto pool = std::make_shared<Cache>(context, nullptr, layout, 1 << 20);
  const std::int64_t page = layout.groups()[0].page_bytes;
  SequenceCache sequence(pool);
  for (std::int64_t at = 0; at < c.positions; at += c.chunk) {
    const std::int64_t needed = sequence.bytes_needed(c.chunk), before = pool->used_bytes();
    REQUIRE(sequence.reserve(c.chunk));
    REQUIRE(pool->used_bytes() - before == needed);
    for (std::int64_t i = 0; i < c.chunk; ++i) {
      write_position(sequence, at + i, static_cast<float>(at + i));
    }
    sequence.commit(c.chunk);
    REQUIRE(sequence.bytes() <= c.most_pages * page);
    REQUIRE(sequence.bytes() <= layout.bytes_for(sequence.length()));
  }
  CHECK(sequence.bytes() == pool->used_bytes());
  const std::int64_t length = sequence.length(), kept = std::min<std::int64_t>(length, c.window);
  const auto fork = sequence.fork();
  CHECK(pool->used_bytes() == sequence.bytes());  // shared
  const std::vector<const SequenceCache*> both = {&sequence, fork.get()};
  CHECK(SequenceCache::bytes_released(both) == pool->used_bytes());
  sequence.crop(length - std::min(length, kKeptBehind));
  CHECK(sequence.can_crop(0));
  CHECK(sequence.can_crop(length - 60) == (c.window == 0 || c.window == 1000));
  for (std::int64_t i = length - kept; i < length; ++i) {
    REQUIRE(read_position(*fork, 0, i) == static_cast<float>(i));
  }
  REQUIRE(fork->reserve(1));  // what is shared is copied, what was dropped is not
  fork->rollback();
  sequence.crop(0);
  CHECK(sequence.bytes() == 0);
  CHECK(pool->used_bytes() == fork->bytes());
  REQUIRE(sequence.reserve(1));
  sequence.commit(1);
  sequence.clear();
  fork->clear();
  CHECK(pool->used_bytes() == 0);
}

TEST_CASE("a sequence that was saved without its window's first pages is restored without them") {
  const auto context = one_thread();
  const CacheLayout layout = small_layout();
  const auto pool = std::make_shared<Cache>(context, nullptr, layout, 1 << 20);
  SequenceCache sequence(pool);
  sequence.skip_pages(1, 2);
  REQUIRE(sequence.reserve(100));
  sequence.commit(100);
  CHECK(sequence.pages_held(0) == 4);
  CHECK(sequence.pages_held(1) == 2);
  CHECK_FALSE(sequence.can_crop(40));
  CHECK(sequence.can_crop(90));
  CHECK_THROWS_AS(sequence.skip_pages(1, 1), Error);
  sequence.clear();
  CHECK(pool->used_bytes() == 0);
}

TEST_CASE("while a pass writes to a sequence nothing else changes it") {
  const auto context = one_thread();
  const auto pool = std::make_shared<Cache>(context, nullptr, small_layout(), 1 << 20);
  const bool cross = GENERATE(false, true), commits = GENERATE(false, true);
  SequenceCache sequence(pool);
  REQUIRE(sequence.reserve(40));
  sequence.commit(40);
  REQUIRE((cross ? sequence.reserve_cross(5) : sequence.reserve(5)));
  CHECK(sequence.in_pass());
  const std::int64_t used = pool->used_bytes();
  CHECK_THROWS_AS(sequence.crop(10), Error);
  CHECK_THROWS_AS(sequence.fork(), Error);
  CHECK_THROWS_AS((cross ? sequence.reserve_cross(1) : sequence.reserve(1)), Error);
  CHECK(pool->used_bytes() == used);
  if (!commits) {
    sequence.rollback();
  } else if (cross) {
    sequence.commit_cross(5);
  } else {
    sequence.commit(5);
  }
  CHECK_FALSE(sequence.in_pass());
  sequence.crop(35);
  CHECK(sequence.fork()->length() == 35);
}

TEST_CASE("a device that refuses pages which the budget allows is believed") {
  ContextOptions options;
  options.threads = 1;
  options.memory_budget = 1 << 20;
  const auto context = Context::make(options);
  const CacheLayout layout({{"a", KvKind::self, 0, 8, 64}}, DType::f32, kPage);  // 128 KiB a page
  const std::int64_t page = layout.groups()[0].page_bytes;
  const auto pool = std::make_shared<Cache>(context, nullptr, layout, 100 * page);
  CHECK(pool->free_pages() == 100);
  SequenceCache a(pool), b(pool);
  CHECK(a.bytes_needed(20 * kPage) <= pool->free_bytes());
  CHECK_FALSE(a.reserve(20 * kPage));
  CHECK(pool->used_bytes() == 0);
  CHECK(pool->free_pages() == 100);  // all pages are back: the device is asked again
  while (a.reserve(kPage)) a.commit(kPage);
  CHECK(a.length() >= 4 * kPage);  // to the last page that there is
  CHECK(pool->free_pages() == 0);
  CHECK(pool->refusal().find("budget 1048576") != std::string::npos);
  CHECK(b.bytes_needed(1) > pool->free_bytes());
  a.crop(kPage);
  CHECK(b.bytes_needed(kPage) <= pool->free_bytes());
  CHECK(b.reserve(kPage));
}
