// What the tokens of short pieces were the last time.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>
#include <vector>

#include "engine/base/interrupt.h"
#include "engine/text/vocabulary/token_model.h"

namespace perilune {

/// A bounded memory (256 KiB) of pieces of up to 16 bytes and 7 tokens; a newer one takes the place
/// of an older one. For models whose tokens of a piece depend on its bytes alone. One thread at a
/// time.
class PieceMemo {
 public:
  PieceMemo();
  /// Appends the tokens of `piece`, which begins at byte `at`; false where they are not known.
  bool recall(std::string_view piece, std::uint32_t at, std::int32_t word,
              std::vector<ModelToken>& out) const;
  void remember(std::string_view piece, std::uint32_t at, std::span<const ModelToken> tokens);

 private:
  static constexpr std::size_t kTokens = 7;
  struct alignas(64) Entry {
    std::uint64_t low = 0, high = 0;
    std::int32_t ids[kTokens] = {};
    std::uint8_t firsts[kTokens] = {}, lasts[kTokens] = {};
    std::uint8_t length = 0, count = 0;
  };
  std::vector<Entry> entries_;
};

/// Lends a memo to each call; what came back is lent again, so that there are as many as calls at
/// one time. Thread-safe.
class MemoPool {
 public:
  class Lease {
   public:
    explicit Lease(MemoPool& pool) : pool_(pool), memo_(pool.take()) {}
    ~Lease() { pool_.give(std::move(memo_)); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    PieceMemo& operator*() const { return *memo_; }

   private:
    MemoPool& pool_;
    std::unique_ptr<PieceMemo> memo_;
  };

 private:
  static constexpr std::size_t kKept = 64;
  std::unique_ptr<PieceMemo> take();
  void give(std::unique_ptr<PieceMemo> memo);

  std::mutex mutex_;
  std::vector<std::unique_ptr<PieceMemo>> free_;
};

/// The tokens of each piece of a text: those remembered, else what `cut(piece, word)` appends to
/// `out`.
template <typename Cut>
void with_memory(MemoPool& memos, std::string_view text, std::span<const TextSpan> pieces,
                 std::vector<ModelToken>& out, Cut&& cut) {
  const MemoPool::Lease memo(memos);
  std::int32_t word = 0;
  for (const TextSpan piece : pieces) {
    stop_if_interrupted("encode");
    const std::string_view bytes = text.substr(piece.first, piece.last - piece.first);
    if (!(*memo).recall(bytes, piece.first, word, out)) {
      const std::size_t before = out.size();
      cut(piece, word);
      (*memo).remember(bytes, piece.first, std::span(out).subspan(before));
    }
    ++word;
  }
}

}  // namespace perilune
