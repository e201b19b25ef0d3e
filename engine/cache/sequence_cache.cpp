// The pages of one sequence.
#include <algorithm>
#include <cstring>

#include "engine/base/error.h"
#include "engine/cache/cache.h"
#include "engine/device/context.h"

namespace perilune {

namespace {

std::int64_t pages_for(std::int64_t positions, std::int64_t page_tokens) {
  return (positions + page_tokens - 1) / page_tokens;
}

void copy_page(Device& device, void* to, const void* from, std::size_t bytes) {
  if (device.host_visible()) {
    std::memcpy(to, from, bytes);
    return;
  }
  std::vector<unsigned char> host(bytes);
  device.copy_out(host.data(), from, bytes);
  device.copy_in(to, host.data(), bytes);
}

}  // namespace

SequenceCache::SequenceCache(std::shared_ptr<Cache> cache) : cache_(std::move(cache)) {
  const std::size_t groups = cache_->layout().groups().size();
  page_ids_.resize(groups);
  pointers_.resize(groups);
}

SequenceCache::~SequenceCache() {
  clear();
}

void SequenceCache::shrink(KvKind kind, std::int64_t positions) {
  const CacheLayout& layout = cache_->layout();
  const auto keep = static_cast<std::size_t>(pages_for(positions, layout.page_tokens()));
  for (std::size_t g = 0; g < page_ids_.size(); ++g) {
    if (layout.groups()[g].kind != kind) continue;
    while (page_ids_[g].size() > keep) {
      cache_->give(static_cast<int>(g), page_ids_[g].back());
      page_ids_[g].pop_back();
      pointers_[g].pop_back();
    }
  }
}

bool SequenceCache::grow(KvKind kind, std::int64_t from, std::int64_t to) {
  const CacheLayout& layout = cache_->layout();
  const std::int64_t page_tokens = layout.page_tokens();
  const auto wanted = static_cast<std::size_t>(pages_for(to, page_tokens));
  const auto written = static_cast<std::size_t>(from / page_tokens);  // first page written to

  // All or nothing: take every page first.
  std::vector<std::pair<int, std::int32_t>> taken;
  bool enough = true;
  for (std::size_t g = 0; g < page_ids_.size() && enough; ++g) {
    if (layout.groups()[g].kind != kind) continue;
    const auto group = static_cast<int>(g);
    const std::size_t held = page_ids_[g].size();
    std::size_t needed = wanted > held ? wanted - held : 0;
    for (std::size_t p = written; p < std::min(held, wanted); ++p) {
      if (cache_->references(group, page_ids_[g][p]) > 1) ++needed;
    }
    while (enough && needed-- > 0) {
      const auto page = cache_->take(group);
      enough = page.has_value();
      if (enough) taken.emplace_back(group, *page);
    }
  }
  if (!enough) {
    for (const auto& [group, page] : taken) cache_->give(group, page);
    return false;
  }

  std::size_t next = 0;
  for (std::size_t g = 0; g < page_ids_.size(); ++g) {
    if (layout.groups()[g].kind != kind) continue;
    const auto group = static_cast<int>(g);
    for (std::size_t p = written; p < std::min(page_ids_[g].size(), wanted); ++p) {
      if (cache_->references(group, page_ids_[g][p]) == 1) continue;
      const std::int32_t page = taken[next++].second;
      void* to_pointer = cache_->pointer(group, page);
      copy_page(*cache_->device(group), to_pointer, pointers_[g][p],
                static_cast<std::size_t>(layout.groups()[g].page_bytes));
      cache_->give(group, page_ids_[g][p]);
      page_ids_[g][p] = page;
      pointers_[g][p] = to_pointer;
    }
    while (page_ids_[g].size() < wanted) {
      const std::int32_t page = taken[next++].second;
      page_ids_[g].push_back(page);
      pointers_[g].push_back(cache_->pointer(group, page));
    }
  }
  return true;
}

bool SequenceCache::reserve(std::int64_t tokens) {
  return tokens <= 0 || grow(KvKind::self, length_, length_ + tokens);
}

bool SequenceCache::reserve_cross(std::int64_t tokens) {
  return tokens <= 0 || grow(KvKind::cross, 0, tokens);
}

void SequenceCache::rollback() {
  shrink(KvKind::self, length_);
  shrink(KvKind::cross, cross_length_);
}

void SequenceCache::crop(std::int64_t length) {
  if (length < 0 || length > length_) {
    throw Error(ErrorCode::argument, "crop",
                "the cache holds " + std::to_string(length_) + " positions, it cannot keep " +
                    std::to_string(length));
  }
  length_ = length;
  shrink(KvKind::self, length_);
}

std::unique_ptr<SequenceCache> SequenceCache::fork() const {
  auto copy = std::make_unique<SequenceCache>(cache_);
  copy->length_ = length_;
  copy->cross_length_ = cross_length_;
  const CacheLayout& layout = cache_->layout();
  for (std::size_t g = 0; g < page_ids_.size(); ++g) {
    const std::int64_t positions =
        layout.groups()[g].kind == KvKind::self ? length_ : cross_length_;
    const auto keep = std::min(
        page_ids_[g].size(), static_cast<std::size_t>(pages_for(positions, layout.page_tokens())));
    for (std::size_t p = 0; p < keep; ++p) {
      cache_->share(static_cast<int>(g), page_ids_[g][p]);
      copy->page_ids_[g].push_back(page_ids_[g][p]);
      copy->pointers_[g].push_back(pointers_[g][p]);
    }
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
    bytes +=
        static_cast<std::int64_t>(page_ids_[g].size()) * cache_->layout().groups()[g].page_bytes;
  }
  return bytes;
}

const std::vector<void*>& SequenceCache::pages(int group) const {
  return pointers_[static_cast<std::size_t>(group)];
}

}  // namespace perilune
