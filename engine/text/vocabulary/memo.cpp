#include "engine/text/vocabulary/memo.h"

#include <algorithm>

#include "engine/text/vocabulary/entries.h"

namespace perilune {
namespace {

constexpr std::size_t kEntries = 4096;

std::uint8_t small(std::uint32_t value) {
  return static_cast<std::uint8_t>(value);
}

}  // namespace

PieceMemo::PieceMemo() : entries_(kEntries) {}

bool PieceMemo::recall(std::string_view piece, std::uint32_t at, std::int32_t word,
                       std::vector<ModelToken>& out) const {
  if (piece.empty() || piece.size() > PieceKey::kInline) return false;
  const PieceKey key(piece);
  const Entry& entry = entries_[key.hash % kEntries];
  if (entry.length != piece.size() || entry.low != key.low || entry.high != key.high) return false;
  for (std::size_t i = 0; i < entry.count; ++i) {
    out.push_back({entry.ids[i], at + entry.firsts[i], at + entry.lasts[i], word});
  }
  return true;
}

void PieceMemo::remember(std::string_view piece, std::uint32_t at,
                         std::span<const ModelToken> tokens) {
  if (piece.empty() || piece.size() > PieceKey::kInline || tokens.size() > kTokens) return;
  const PieceKey key(piece);
  Entry& entry = entries_[key.hash % kEntries];
  entry.low = key.low;
  entry.high = key.high;
  entry.length = small(static_cast<std::uint32_t>(piece.size()));
  entry.count = small(static_cast<std::uint32_t>(tokens.size()));
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    entry.ids[i] = tokens[i].id;
    entry.firsts[i] = small(tokens[i].first - at);
    entry.lasts[i] = small(tokens[i].last - at);
  }
}

std::unique_ptr<PieceMemo> MemoPool::take() {
  const std::lock_guard lock(mutex_);
  free_.reserve(kKept);  // what comes back needs no memory
  if (free_.empty()) return std::make_unique<PieceMemo>();
  std::unique_ptr<PieceMemo> memo = std::move(free_.back());
  free_.pop_back();
  return memo;
}

void MemoPool::give(std::unique_ptr<PieceMemo> memo) {
  const std::lock_guard lock(mutex_);
  if (free_.size() < kKept) free_.push_back(std::move(memo));
}

}  // namespace perilune
