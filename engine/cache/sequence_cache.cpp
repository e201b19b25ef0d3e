// The pages of one sequence.
#include <algorithm>

#include "engine/base/error.h"
#include "engine/cache/cache.h"
#include "engine/device/context.h"

namespace perilune {

namespace {

constexpr std::int32_t kNoPage = -1;  // left its window

}  // namespace

SequenceCache::SequenceCache(std::shared_ptr<Cache> cache) : cache_(std::move(cache)) {
  const std::size_t groups = cache_->layout().groups().size();
  page_ids_.resize(groups);
  pointers_.resize(groups);
  held_from_.resize(groups, 0);
}

SequenceCache::~SequenceCache() {
  clear();
}

void SequenceCache::expect_idle(const char* op) const {
  if (!in_pass()) return;
  throw Error(ErrorCode::state, op, "a pass that has not ended is using this cache")
      .hint("wait for the pass, or make a copy before it: cache:fork()");
}

void SequenceCache::shrink(KvKind kind, std::int64_t positions) {
  const CacheLayout& layout = cache_->layout();
  const auto keep = static_cast<std::size_t>(layout.pages_for(positions));
  for (std::size_t g = 0; g < page_ids_.size(); ++g) {
    if (layout.groups()[g].kind != kind) continue;
    while (page_ids_[g].size() > keep) {
      if (page_ids_[g].back() != kNoPage) {
        cache_->give(static_cast<int>(g), page_ids_[g].back());
      }
      page_ids_[g].pop_back();
      pointers_[g].pop_back();
    }
    held_from_[g] = std::min(held_from_[g], page_ids_[g].size());
  }
  if (kind == KvKind::self) {
    published_ = std::min(published_, static_cast<std::size_t>(positions / layout.page_tokens()));
  }
}

/// Gives back pages before `pages`; their entries stay, without a page.
void SequenceCache::drop_front(std::size_t group, std::size_t pages) {
  for (std::size_t& p = held_from_[group]; p < std::min(pages, page_ids_[group].size()); ++p) {
    if (page_ids_[group][p] != kNoPage) cache_->give(static_cast<int>(group), page_ids_[group][p]);
    page_ids_[group][p] = kNoPage;
    pointers_[group][p] = nullptr;
  }
}

void SequenceCache::commit(std::int64_t tokens) {
  length_ += tokens;
  open_self_ = false;
  for (std::size_t g = 0; g < page_ids_.size(); ++g) {
    if (cache_->layout().groups()[g].kind != KvKind::self) continue;
    drop_front(g,
               static_cast<std::size_t>(cache_->layout().first_page(static_cast<int>(g), length_)));
  }
}

void SequenceCache::commit_cross(std::int64_t tokens) {
  cross_length_ = tokens;
  open_cross_ = false;
}

void SequenceCache::skip_pages(int group, std::int64_t pages) {
  const auto g = static_cast<std::size_t>(group);
  if (!page_ids_[g].empty()) throw Error(ErrorCode::internal, "cache", "not an empty sequence");
  page_ids_[g].assign(static_cast<std::size_t>(pages), kNoPage);
  pointers_[g].assign(static_cast<std::size_t>(pages), nullptr);
  held_from_[g] = static_cast<std::size_t>(pages);
}

std::int64_t SequenceCache::pages_held(int group) const {
  const auto g = static_cast<std::size_t>(group);
  return static_cast<std::int64_t>(page_ids_[g].size() - held_from_[g]);
}

/// Pages on their way from the pool to a sequence.
class SequenceCache::TakenPages {
 public:
  explicit TakenPages(Cache& cache) : cache_(cache) {}
  ~TakenPages() {
    for (; placed_ < pages_.size(); ++placed_) {
      cache_.give(pages_[placed_].first, pages_[placed_].second);
    }
  }
  TakenPages(const TakenPages&) = delete;
  TakenPages& operator=(const TakenPages&) = delete;

  void reserve(std::size_t more) { pages_.reserve(pages_.size() + more); }
  void add(int group, std::int32_t page) { pages_.emplace_back(group, page); }
  std::int32_t next() const { return pages_[placed_].second; }
  std::int32_t place() { return pages_[placed_++].second; }

 private:
  Cache& cache_;
  std::vector<std::pair<int, std::int32_t>> pages_;
  std::size_t placed_ = 0;
};

bool SequenceCache::grow(KvKind kind, std::int64_t from, std::int64_t to) {
  const CacheLayout& layout = cache_->layout();
  const std::int64_t page_tokens = layout.page_tokens();
  const auto wanted = static_cast<std::size_t>(layout.pages_for(to));
  const auto written = static_cast<std::size_t>(from / page_tokens);  // first page written to

  // All or nothing: take every page first. What is not placed goes back, also when a device fails.
  TakenPages taken(*cache_);
  bool enough = true;
  for (std::size_t g = 0; g < page_ids_.size() && enough; ++g) {
    if (layout.groups()[g].kind != kind) continue;
    const auto group = static_cast<int>(g);
    const std::size_t held = page_ids_[g].size();
    std::size_t needed = wanted > held ? wanted - held : 0;
    for (std::size_t p = std::max(written, held_from_[g]); p < std::min(held, wanted); ++p) {
      if (cache_->references(group, page_ids_[g][p]) > 1) ++needed;
    }
    taken.reserve(needed);
    while (enough && needed-- > 0) {
      const auto page = cache_->take(group);
      enough = page.has_value();
      if (enough) taken.add(group, *page);
    }
    page_ids_[g].reserve(wanted);
    pointers_[g].reserve(wanted);
  }
  if (!enough) return false;

  for (std::size_t g = 0; g < page_ids_.size(); ++g) {
    if (layout.groups()[g].kind != kind) continue;
    const auto group = static_cast<int>(g);
    for (std::size_t p = std::max(written, held_from_[g]);
         p < std::min(page_ids_[g].size(), wanted); ++p) {
      if (cache_->references(group, page_ids_[g][p]) == 1) continue;
      void* to_pointer = cache_->pointer(group, taken.next());
      cache_->device(group)->copy_inside(to_pointer, pointers_[g][p],
                                         static_cast<std::size_t>(layout.groups()[g].page_bytes));
      const std::int32_t page = taken.place();
      if (cache_->mirror_) cache_->mirror_->copied(group, page_ids_[g][p], page);
      cache_->give(group, page_ids_[g][p]);
      page_ids_[g][p] = page;
      pointers_[g][p] = to_pointer;
    }
    while (page_ids_[g].size() < wanted) {
      const std::int32_t page = taken.place();
      page_ids_[g].push_back(page);
      pointers_[g].push_back(cache_->pointer(group, page));
    }
  }
  return true;
}

bool SequenceCache::reserve(std::int64_t tokens) {
  if (open_self_) expect_idle("reserve");
  if (tokens <= 0) return true;
  open_self_ = grow(KvKind::self, length_, length_ + tokens);
  return open_self_;
}

bool SequenceCache::reserve_cross(std::int64_t tokens) {
  if (open_cross_) expect_idle("reserve");
  if (tokens <= 0) return true;
  open_cross_ = grow(KvKind::cross, 0, tokens);
  return open_cross_;
}

void SequenceCache::rollback() {
  open_self_ = open_cross_ = false;
  shrink(KvKind::self, length_);
  shrink(KvKind::cross, cross_length_);
}

bool SequenceCache::can_crop(std::int64_t length) const {
  if (length <= 0) return true;
  const CacheLayout& layout = cache_->layout();
  for (std::size_t g = 0; g < page_ids_.size(); ++g) {
    const KvGroup& group = layout.groups()[g];
    if (group.kind != KvKind::self || held_from_[g] == 0) continue;
    // The next query sees the last window - 1 of what is kept.
    const auto dropped = static_cast<std::int64_t>(held_from_[g]) * layout.page_tokens();
    if (std::max<std::int64_t>(0, length - group.window + 1) < dropped) return false;
  }
  return true;
}

void SequenceCache::crop(std::int64_t length) {
  expect_idle("crop");
  if (length < 0 || length > length_) {
    throw Error(ErrorCode::argument, "crop",
                "the cache holds " + std::to_string(length_) + " positions, it cannot keep " +
                    std::to_string(length));
  }
  if (!can_crop(length)) {
    throw Error(ErrorCode::state, "crop",
                "position " + std::to_string(length) + " of " + std::to_string(length_) +
                    ": what its sliding window sees was given back")
        .hint("fork the cache at that position before it goes on, or crop to 0 and compute again");
  }
  length_ = length;
  shrink(KvKind::self, length_);
}

std::unique_ptr<SequenceCache> SequenceCache::fork() const {
  expect_idle("fork");
  auto copy = std::make_unique<SequenceCache>(cache_);
  copy->length_ = length_;
  copy->cross_length_ = cross_length_;
  copy->made_for_ = made_for_;
  copy->published_ = published_;
  const CacheLayout& layout = cache_->layout();
  for (std::size_t g = 0; g < page_ids_.size(); ++g) {
    const std::int64_t positions =
        layout.groups()[g].kind == KvKind::self ? length_ : cross_length_;
    const auto keep =
        std::min(page_ids_[g].size(), static_cast<std::size_t>(layout.pages_for(positions)));
    copy->page_ids_[g].reserve(keep);
    copy->pointers_[g].reserve(keep);
    for (std::size_t p = 0; p < keep; ++p) {
      if (page_ids_[g][p] != kNoPage) cache_->share(static_cast<int>(g), page_ids_[g][p]);
      copy->page_ids_[g].push_back(page_ids_[g][p]);
      copy->pointers_[g].push_back(pointers_[g][p]);
    }
    copy->held_from_[g] = std::min(held_from_[g], keep);
  }
  return copy;
}

void SequenceCache::clear() {
  length_ = cross_length_ = 0;
  rollback();
}

std::int64_t SequenceCache::bytes() const {
  std::int64_t bytes = 0;
  for (std::size_t g = 0; g < page_ids_.size(); ++g) {
    bytes += pages_held(static_cast<int>(g)) * cache_->layout().groups()[g].page_bytes;
  }
  return bytes;
}

const std::vector<void*>& SequenceCache::pages(int group) const {
  return pointers_[static_cast<std::size_t>(group)];
}

}  // namespace perilune
