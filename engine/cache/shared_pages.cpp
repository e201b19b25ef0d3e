// Texts that begin alike share the pages of what they have in common.
#include <algorithm>

#include "engine/base/error.h"
#include "engine/cache/cache.h"

namespace perilune {

/// How much of what was found can be gone on from: every group's pages must be there, of a window
/// those that it sees.
std::int64_t Cache::usable(const KeptPages::Found& found) const {
  std::int64_t length = found.positions;
  bool whole = false;
  while (!whole && length > 0) {
    whole = true;
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      if (layout_.groups()[g].kind != KvKind::self) continue;
      const std::int64_t first = layout_.first_page(static_cast<int>(g), length);
      for (std::int64_t p = layout_.pages_for(length) - 1; p >= first; --p) {
        if (found.nodes[static_cast<std::size_t>(p)]->pages[g] != KeptPages::kNone) continue;
        length = p * layout_.page_tokens();  // no longer text does without this page
        whole = false;
        break;
      }
    }
  }
  return length;
}

std::int64_t SequenceCache::attach(const PrefixKey& key, std::span<const std::int32_t> ids) {
  if (length_ != 0 || cross_length_ != 0 || in_pass()) {
    throw Error(ErrorCode::internal, "cache", "not an empty sequence");
  }
  Cache& pool = *cache_;
  const KeptPages::Found found = pool.kept_.find(key, ids);
  const std::int64_t length = pool.usable(found);
  if (length == 0) return 0;
  const CacheLayout& layout = pool.layout();
  const auto pages = static_cast<std::size_t>(layout.pages_for(length));
  for (std::size_t g = 0; g < page_ids_.size(); ++g) {
    page_ids_[g].reserve(pages);
    pointers_[g].reserve(pages);
  }
  for (std::size_t g = 0; g < page_ids_.size(); ++g) {
    if (layout.groups()[g].kind != KvKind::self) continue;
    const auto group = static_cast<int>(g);
    skip_pages(group, layout.first_page(group, length));
    for (std::size_t p = page_ids_[g].size(); p < pages; ++p) {
      const std::int32_t page = found.nodes[p]->pages[g];
      pool.share(group, page);
      page_ids_[g].push_back(page);
      pointers_[g].push_back(pool.pointer(group, page));
    }
  }
  length_ = length;
  made_for_ = key.made_for;
  published_ = static_cast<std::size_t>(length / layout.page_tokens());
  return length;
}

/// Gives the pool page number p of every group that has it, or takes what the pool has of it.
void SequenceCache::publish_page(KeptPages::Node& node, std::size_t p) {
  Cache& pool = *cache_;
  for (std::size_t g = 0; g < page_ids_.size(); ++g) {
    if (pool.layout().groups()[g].kind != KvKind::self || p < held_from_[g]) continue;
    const auto group = static_cast<int>(g);
    const KeptPages::PageRef own{group, page_ids_[g][p]};
    const std::int32_t known = node.pages[g];
    if (known == own.page) continue;
    if (known != KeptPages::kNone) {
      pool.share(group, known);
      pool.give(group, own.page);
      page_ids_[g][p] = known;
      pointers_[g][p] = pool.pointer(group, known);
    } else if (!pool.kept_.kept(own)) {
      pool.kept_.keep(node, own);
      pool.share(group, own.page);
    }
  }
}

/// A full page is kept when the next one begins: one step in as many as a page has tokens then
/// makes room for both, and the others allocate nothing.
bool SequenceCache::has_unpublished() const {
  return static_cast<std::int64_t>(published_ + 1) * cache_->layout().page_tokens() < length_;
}

void SequenceCache::publish(const PrefixKey& key, std::span<const std::int32_t> ids, bool tail) {
  if (in_pass()) return;
  const auto tokens = static_cast<std::size_t>(cache_->layout().page_tokens());
  const auto length = static_cast<std::size_t>(length_);
  const std::size_t full = length / tokens, begun = tail && length % tokens != 0 ? 1 : 0;
  if (ids.size() < length || (published_ >= full && begun == 0)) return;
  KeptPages::Node* node = nullptr;
  for (std::size_t p = 0; p < full + begun; ++p) {
    const std::size_t from = p * tokens;
    KeptPages::Node* next =
        cache_->kept_.add(key, node, ids.subspan(from, std::min(tokens, length - from)));
    if (next == nullptr) break;
    node = next;
    if (p >= published_) publish_page(*node, p);
  }
  published_ = full;
  if (node != nullptr) cache_->kept_.drop_if_empty(node);
}

}  // namespace perilune
