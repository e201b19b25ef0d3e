// How much of a pool room for more positions takes, and what sequences would give back: the one
// place with this arithmetic.
#include <algorithm>
#include <numeric>

#include "engine/cache/cache.h"

namespace perilune {

std::int64_t CacheLayout::bytes_for(std::int64_t tokens, std::int64_t cross) const {
  std::int64_t bytes = 0;
  for (const KvGroup& group : groups()) {
    std::int64_t pages = pages_for(group.kind == KvKind::cross ? cross : tokens);
    if (group.kind == KvKind::self && group.window > 0) {  // wherever in a page the window begins
      pages = std::min(pages, pages_for(group.window + kKeptBehind - 1) + 1);
    }
    bytes += pages * group.page_bytes;
  }
  return bytes;
}

std::int64_t CacheLayout::first_page(int group, std::int64_t length) const {
  const std::int64_t window = groups()[static_cast<std::size_t>(group)].window;
  if (window == 0) return 0;
  return std::max<std::int64_t>(0, length - kKeptBehind - window + 1) / page_tokens();
}

std::int64_t CacheLayout::page_unit() const {
  std::int64_t unit = 0;
  for (const KvGroup& group : groups()) unit = std::gcd(unit, group.page_bytes);
  return std::max<std::int64_t>(1, unit);
}

/// Pages of group g that the growth makes: [first, last); pages before `last` that are held already
/// are written to.
SequenceCache::PageRange SequenceCache::written(const CacheGrowth& growth, std::size_t g) const {
  const CacheLayout& layout = cache_->layout();
  const bool self = layout.groups()[g].kind == KvKind::self;
  const std::int64_t tokens = self ? growth.tokens : growth.cross;
  if (tokens <= 0) return {};
  const std::int64_t from = self ? length_ : 0;
  return {std::max(held_from_[g], static_cast<std::size_t>(from / layout.page_tokens())),
          static_cast<std::size_t>(layout.pages_for(from + tokens))};
}

std::int64_t SequenceCache::bytes_needed(std::span<const CacheGrowth> growths) {
  std::int64_t bytes = 0;
  for (std::size_t i = 0; i < growths.size(); ++i) {
    const SequenceCache& own = *growths[i].cache;
    for (std::size_t g = 0; g < own.page_ids_.size(); ++g) {
      const PageRange range = own.written(growths[i], g);
      const std::size_t held = own.page_ids_[g].size();
      std::int64_t pages = range.last > held ? static_cast<std::int64_t>(range.last - held) : 0;
      for (std::size_t p = range.first; p < std::min(held, range.last); ++p) {
        const std::int32_t page = own.page_ids_[g][p];
        const std::int32_t references = own.cache_->references(static_cast<int>(g), page);
        if (references == 1) continue;
        // Each that writes to a shared page copies it, but for the last that holds it.
        std::int32_t writers = 0;
        bool last = true;
        for (std::size_t j = 0; j < growths.size(); ++j) {
          const SequenceCache& other = *growths[j].cache;
          const PageRange also = other.written(growths[j], g);
          const bool writes = p >= also.first && p < also.last && p < other.page_ids_[g].size() &&
                              other.page_ids_[g][p] == page;
          writers += writes ? 1 : 0;
          last = last && !(writes && j > i);
        }
        if (!last || writers < references) ++pages;
      }
      bytes += pages * own.cache_->layout().groups()[g].page_bytes;
    }
  }
  return bytes;
}

std::int64_t SequenceCache::bytes_released(std::span<const SequenceCache* const> caches) {
  std::int64_t bytes = 0;
  for (std::size_t i = 0; i < caches.size(); ++i) {
    const SequenceCache& own = *caches[i];
    for (std::size_t g = 0; g < own.page_ids_.size(); ++g) {
      for (std::size_t p = own.held_from_[g]; p < own.page_ids_[g].size(); ++p) {
        const std::int32_t page = own.page_ids_[g][p];
        // A shared page is free when all that hold it are among these; counted with the first.
        std::int32_t holders = 0;
        bool first = true;
        for (std::size_t j = 0; j < caches.size(); ++j) {
          const auto& pages = caches[j]->page_ids_[g];
          if (p >= pages.size() || pages[p] != page) continue;
          ++holders;
          first = first && j >= i;
        }
        if (first && holders == own.cache_->holders(static_cast<int>(g), page)) {
          bytes += own.cache_->layout().groups()[g].page_bytes;
        }
      }
    }
  }
  return bytes;
}

}  // namespace perilune
