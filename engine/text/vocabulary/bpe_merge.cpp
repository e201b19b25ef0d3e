#include "engine/text/vocabulary/bpe_merge.h"

#include <algorithm>
#include <bit>
#include <climits>
#include <functional>

namespace perilune {
namespace {

constexpr std::size_t kShort = 256;  // symbols whose places fit in 8 bits of a key
constexpr std::size_t kLanes = 8;
constexpr std::int32_t kNever = INT_MAX;

std::int32_t lowest(const std::int32_t* keys, std::size_t count) {
  std::int32_t least[kLanes];
  std::copy_n(keys, kLanes, least);
  for (std::size_t i = kLanes; i < count; i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      least[lane] = keys[i + lane] < least[lane] ? keys[i + lane] : least[lane];
    }
  }
  return *std::min_element(least, least + kLanes);
}

void merge_two(const PairTable& pairs, const BpeSymbol* symbols, std::vector<BpeSymbol>& out) {
  const std::int32_t rank = pairs.rank(symbols[0].symbol, symbols[1].symbol);
  if (rank < 0) {
    out.insert(out.end(), symbols, symbols + 2);
  } else {
    out.push_back({pairs.result(rank), symbols[0].first, symbols[1].last});
  }
}

// Each place keeps rank << 8 | place of the pair that begins there, so the least key is the pair to
// join; joined places are skipped by links.
void merge_short(const PairTable& pairs, const BpeSymbol* symbols, std::size_t count,
                 std::vector<BpeSymbol>& out) {
  std::int32_t keys[kShort];
  std::uint32_t ids[kShort], lasts[kShort];
  std::uint16_t next[kShort], before[kShort];
  const auto key_at = [&](std::size_t left, std::size_t right) {
    const std::int32_t rank = pairs.rank(ids[left], ids[right]);
    return rank < 0 ? kNever : rank << 8 | static_cast<std::int32_t>(left);
  };
  for (std::size_t i = 0; i < count; ++i) {
    ids[i] = symbols[i].symbol;
    lasts[i] = symbols[i].last;
    next[i] = static_cast<std::uint16_t>(i + 1);
    before[i] = static_cast<std::uint16_t>(i - 1);
  }
  for (std::size_t i = 0; i + 1 < count; ++i) keys[i] = key_at(i, i + 1);
  const std::size_t padded = (count + kLanes - 1) / kLanes * kLanes;
  std::fill(keys + count - 1, keys + padded, kNever);
  for (std::int32_t least; (least = lowest(keys, padded)) != kNever;) {
    const auto left = static_cast<std::size_t>(least & 255);
    const std::size_t right = next[left], after = next[right];
    ids[left] = pairs.result(least >> 8);
    lasts[left] = lasts[right];
    next[left] = static_cast<std::uint16_t>(after);
    keys[right] = kNever;
    keys[left] = kNever;
    if (after < count) {
      before[after] = static_cast<std::uint16_t>(left);
      keys[left] = key_at(left, after);
    }
    if (left > 0) keys[before[left]] = key_at(before[left], left);
  }
  for (std::size_t i = 0; i < count; i = next[i]) {
    out.push_back({ids[i], symbols[i].first, lasts[i]});
  }
}

class LongMerge {
 public:
  LongMerge(const PairTable& pairs, const BpeSymbol* symbols, std::size_t count)
      : pairs_(pairs), nodes_(count) {
    for (std::size_t i = 0; i < count; ++i) {
      const auto place = static_cast<std::uint32_t>(i);
      nodes_[i] = {symbols[i], place + 1, place - 1, -1};
    }
    heap_.reserve(count);
    for (std::uint32_t i = 0; i + 1 < count; ++i) {
      if (rate(i)) heap_.push_back(entry(i));
    }
    std::make_heap(heap_.begin(), heap_.end(), std::greater<>());
  }

  void run(std::vector<BpeSymbol>& out) {
    while (!heap_.empty()) {
      std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
      const std::uint64_t top = heap_.back();
      heap_.pop_back();
      const auto place = static_cast<std::uint32_t>(top);
      // Entries of pairs that have changed since are stale.
      if (nodes_[place].rank == static_cast<std::int32_t>(top >> 32)) join(place);
    }
    for (std::size_t i = 0; i < nodes_.size(); i = nodes_[i].next) out.push_back(nodes_[i].symbol);
  }

 private:
  struct Node {
    BpeSymbol symbol;
    std::uint32_t next, before;
    std::int32_t rank;  // of the pair that begins here; -1: none
  };

  std::uint64_t entry(std::uint32_t place) const {
    return static_cast<std::uint64_t>(nodes_[place].rank) << 32 | place;
  }

  bool rate(std::uint32_t place) {
    Node& node = nodes_[place];
    node.rank = node.next < nodes_.size()
                    ? pairs_.rank(node.symbol.symbol, nodes_[node.next].symbol.symbol)
                    : -1;
    return node.rank >= 0;
  }

  void offer(std::uint32_t place) {
    if (!rate(place)) return;
    heap_.push_back(entry(place));
    std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
  }

  void join(std::uint32_t place) {
    Node& left = nodes_[place];
    Node& right = nodes_[left.next];
    left.symbol = {pairs_.result(left.rank), left.symbol.first, right.symbol.last};
    left.next = right.next;
    right.rank = -1;
    if (left.next < nodes_.size()) nodes_[left.next].before = place;
    if (place > 0) offer(left.before);
    offer(place);
  }

  const PairTable& pairs_;
  std::vector<Node> nodes_;
  std::vector<std::uint64_t> heap_;  // rank << 32 | place, least first
};

}  // namespace

PairTable::PairTable(std::size_t pairs) {
  resize(std::bit_ceil(std::max<std::size_t>(pairs + pairs / 2, 8) + 1));
}

void PairTable::resize(std::size_t size) {
  std::vector<std::uint64_t> before(size, 0);
  before.swap(slots_);
  mask_ = size - 1;
  shift_ = 64 - std::countr_zero(size);
  for (const std::uint64_t pair : before) {
    if (pair != 0) slot(pair >> 24) = pair;
  }
}

// The slot of `key`, or the free one where it belongs.
std::uint64_t& PairTable::slot(std::uint64_t key) {
  std::size_t at = place(key);
  while (slots_[at] != 0 && slots_[at] >> 24 != key) at = (at + 1) & mask_;
  return slots_[at];
}

void PairTable::insert(std::uint32_t left, std::uint32_t right, std::uint32_t rank,
                       std::uint32_t result) {
  if (pairs_ + pairs_ / 2 >= mask_) resize(slots_.size() * 2);
  const std::uint64_t key = static_cast<std::uint64_t>(left) << 20 | right;
  std::uint64_t& pair = slot(key);
  pairs_ += pair == 0 ? 1 : 0;
  pair = key << 24 | static_cast<std::uint64_t>(rank) << 1 | 1;
  if (results_.size() <= rank) results_.resize(rank + std::size_t{1});
  results_[rank] = result;
}

void merge_symbols(const PairTable& pairs, const BpeSymbol* symbols, std::size_t count,
                   std::vector<BpeSymbol>& out) {
  if (count < 2) {
    out.insert(out.end(), symbols, symbols + count);
  } else if (count == 2) {
    merge_two(pairs, symbols, out);
  } else if (count <= kShort) {
    merge_short(pairs, symbols, count, out);
  } else {
    LongMerge(pairs, symbols, count).run(out);
  }
}

}  // namespace perilune
