// Random lives of sequences that share pages by what they hold, against what would be computed:
// append, fork, crop, evict, share, publish, save and load, in a pool that is too small for all.
// PERILUNE_CACHE_SEQUENCES sets how many (default 2000; a campaign takes 100,000).
#include <cstdlib>
#include <cstring>
#include <random>

#include "engine/base/error.h"
#include "engine/cache/cache.h"
#include "engine/device/context.h"
#include "tests/catch.h"

using namespace perilune;

namespace {

constexpr std::int64_t kPage = 32, kWindow = 40;
using Ids = std::vector<std::int32_t>;

CacheLayout small_layout() {
  return CacheLayout(
      {{"layers.0", KvKind::self, 0, 1, 1}, {"layers.1", KvKind::self, kWindow, 1, 2}}, DType::f32,
      kPage);
}

/// What is computed at the end of these ids: it depends on all of them.
float value_of(const Ids& ids, std::size_t count) {
  std::uint32_t hash = 2166136261U;
  for (std::size_t i = 0; i < count; ++i) {
    hash = (hash ^ static_cast<std::uint32_t>(ids[i])) * 16777619U;
  }
  return static_cast<float>(hash >> 9U);
}

struct Life {
  std::unique_ptr<SequenceCache> cache;
  Ids ids;
  std::uint64_t adapter = 0;
};

class World {
 public:
  explicit World(unsigned seed)
      : random_(seed), context_(Context::make(ContextOptions{})), plan_(std::make_shared<int>(0)) {
    const CacheLayout layout = small_layout();
    pool_ =
        std::make_shared<Cache>(context_, nullptr, layout, 14 * layout.bytes_per_token() * kPage);
  }

  std::int64_t pick(std::int64_t most) {
    return std::uniform_int_distribution<std::int64_t>(0, most - 1)(random_);
  }
  PrefixKey key(const Life& life) const { return {plan_, 1, life.adapter}; }

  /// Computes ids of its own text from `length` on, a few at a time. False: no room.
  bool append(Life& life, std::int64_t tokens) {
    while (tokens > 0) {
      const std::int64_t now = std::min<std::int64_t>(tokens, 1 + pick(20));
      if (!life.cache->reserve(now)) return false;
      const std::int64_t from = life.cache->length();
      for (std::int64_t i = from; i < from + now; ++i) {
        if (static_cast<std::size_t>(i) == life.ids.size()) {
          life.ids.push_back(static_cast<std::int32_t>(pick(8) == 0 ? 1 : 0));
        }
        write(
            *life.cache, i,
            value_of(life.ids, static_cast<std::size_t>(i) + 1) + static_cast<float>(life.adapter));
      }
      life.cache->commit(now);
      if (pick(2) == 0) life.cache->publish(key(life), life.ids, false);
      tokens -= now;
    }
    return true;
  }

  /// A prompt that may begin like another's text.
  Life begin() {
    Life life;
    life.cache = std::make_unique<SequenceCache>(pool_);
    life.adapter = static_cast<std::uint64_t>(pick(4) == 0 ? 1 : 0);
    if (!texts_.empty()) {
      life.ids = texts_[static_cast<std::size_t>(pick(static_cast<std::int64_t>(texts_.size())))];
      life.ids.resize(
          static_cast<std::size_t>(pick(static_cast<std::int64_t>(life.ids.size()) + 1)));
    }
    shared += life.cache->attach(key(life), life.ids);
    const auto missing = static_cast<std::int64_t>(life.ids.size()) - life.cache->length();
    if (!append(life, missing)) life.ids.resize(static_cast<std::size_t>(life.cache->length()));
    return life;
  }

  /// As a file would keep it: the pages' bytes, and which were there.
  std::unique_ptr<SequenceCache> save_and_load(const SequenceCache& cache) {
    auto copy = std::make_unique<SequenceCache>(pool_);
    std::vector<std::vector<unsigned char>> bytes(2);
    for (int g = 0; g < 2; ++g) {
      const auto size = static_cast<std::size_t>(
          pool_->layout().groups()[static_cast<std::size_t>(g)].page_bytes);
      const auto& pages = cache.pages(g);
      const auto first = static_cast<std::int64_t>(pages.size()) - cache.pages_held(g);
      for (std::size_t p = static_cast<std::size_t>(first); p < pages.size(); ++p) {
        const auto* at = static_cast<const unsigned char*>(pages[p]);
        bytes[static_cast<std::size_t>(g)].insert(bytes[static_cast<std::size_t>(g)].end(), at,
                                                  at + size);
      }
      copy->skip_pages(g, first);
    }
    if (!copy->reserve(cache.length())) return nullptr;
    for (int g = 0; g < 2; ++g) {
      const auto size = static_cast<std::size_t>(
          pool_->layout().groups()[static_cast<std::size_t>(g)].page_bytes);
      const auto& pages = copy->pages(g);
      const auto& own = bytes[static_cast<std::size_t>(g)];
      const std::size_t held = own.size() / size;
      for (std::size_t i = 0; i < held; ++i) {
        std::memcpy(pages[pages.size() - held + i], own.data() + i * size, size);
      }
    }
    copy->commit(cache.length());
    return copy;
  }

  void remember(const Life& life) {
    if (texts_.size() < 24) {
      texts_.push_back(life.ids);
    } else {
      texts_[static_cast<std::size_t>(pick(24))] = life.ids;
    }
  }

  /// Positions that the next query sees hold what would be computed.
  bool right(const Life& life) const {
    const std::int64_t length = life.cache->length();
    bool same = length <= static_cast<std::int64_t>(life.ids.size());
    for (std::int64_t i = 0; i < length && same; ++i) {
      const float wanted =
          value_of(life.ids, static_cast<std::size_t>(i) + 1) + static_cast<float>(life.adapter);
      same = read(*life.cache, 0, i) == wanted;
      if (i > length - kWindow) same = same && read(*life.cache, 1, i) == wanted;
    }
    return same && pool_->used_bytes() + pool_->kept_bytes() <= pool_->budget();
  }

  void step(std::vector<Life>& lives) {
    const auto at = static_cast<std::size_t>(pick(static_cast<std::int64_t>(lives.size())));
    Life& life = lives[at];
    switch (pick(8)) {
      case 0:
      case 1: append(life, 1 + pick(50)); break;
      case 2: {
        Life copy{life.cache->fork(), life.ids, life.adapter};
        remember(life);
        copy.ids.resize(static_cast<std::size_t>(copy.cache->length()));
        append(copy, pick(10));
        lives[static_cast<std::size_t>(pick(static_cast<std::int64_t>(lives.size())))] =
            std::move(copy);
        break;
      }
      case 3: {
        const std::int64_t keep = pick(life.cache->length() + 1);
        if (!life.cache->can_crop(keep)) break;
        life.cache->crop(keep);
        life.ids.resize(static_cast<std::size_t>(keep));
        break;
      }
      case 4:  // preempted: found again, or computed again
        life.cache->publish(key(life), life.ids, pick(2) == 0);
        life.cache->clear();
        shared += life.cache->attach(key(life), life.ids);
        append(life, static_cast<std::int64_t>(life.ids.size()) - life.cache->length());
        life.ids.resize(static_cast<std::size_t>(life.cache->length()));
        break;
      case 5:
        if (auto copy = save_and_load(*life.cache)) life.cache = std::move(copy);
        break;
      case 6:
        if (pick(40) == 0) pool_->forget();
        break;
      default:  // it ends, another begins
        remember(life);
        life.cache->publish(key(life), life.ids, true);
        life = begin();
        ++begun;
    }
    if (life.cache->length() > 200) life = begin();
  }

  std::int64_t shared = 0, begun = 0;
  std::shared_ptr<Cache> pool_;

 private:
  static void write(SequenceCache& cache, std::int64_t position, float value) {
    for (int g = 0; g < 2; ++g) {
      auto* page =
          static_cast<float*>(cache.pages(g).at(static_cast<std::size_t>(position / kPage)));
      page[position % kPage] = value;
    }
  }
  static float read(const SequenceCache& cache, int group, std::int64_t position) {
    return static_cast<const float*>(
        cache.pages(group).at(static_cast<std::size_t>(position / kPage)))[position % kPage];
  }

  std::mt19937 random_;
  std::shared_ptr<Context> context_;
  std::shared_ptr<int> plan_;
  std::vector<Ids> texts_;
};

}  // namespace

TEST_CASE("sequences that share pages hold what would be computed") {
  const char* asked = std::getenv("PERILUNE_CACHE_SEQUENCES");
  const std::int64_t wanted = asked != nullptr ? std::atoll(asked) : 2000;
  std::int64_t begun = 0, shared = 0, differences = 0;
  for (unsigned seed = 1; begun < wanted; ++seed) {
    World world(seed);
    std::vector<Life> lives;
    for (int i = 0; i < 5; ++i) lives.push_back(world.begin());
    for (int i = 0; i < 4000; ++i) {
      world.step(lives);
      for (const Life& life : lives) differences += world.right(life) ? 0 : 1;
    }
    lives.clear();
    CHECK(world.pool_->used_bytes() == 0);
    world.pool_->forget();
    CHECK(world.pool_->kept_bytes() == 0);
    begun += world.begun;
    shared += world.shared;
  }
  CHECK(differences == 0);
  CHECK(shared > 10 * begun);
}

TEST_CASE("a kept page is found by all of its ids, and by its key") {
  World world(1);
  Life life;
  life.cache = std::make_unique<SequenceCache>(world.pool_);
  life.ids.assign(70, 3);
  REQUIRE(world.append(life, 70));
  life.cache->publish(world.key(life), life.ids, true);
  life.cache->clear();
  Cache& pool = *world.pool_;
  CHECK(pool.used_bytes() == 0);
  CHECK(pool.kept_bytes() > 0);
  CHECK(pool.free_bytes() == pool.budget());
  CHECK(pool.shareable(world.key(life), life.ids) == 70);
  Ids other = life.ids;
  other[40] = 4;
  CHECK(pool.shareable(world.key(life), other) == 40);
  other[0] = 4;
  CHECK(pool.shareable(world.key(life), other) == 0);
  PrefixKey key = world.key(life);
  key.adapter = 1;
  CHECK(pool.shareable(key, life.ids) == 0);
  key = world.key(life);
  key.made_for = 2;
  CHECK(pool.shareable(key, life.ids) == 0);
}
