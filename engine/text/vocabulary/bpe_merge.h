// Joining the symbols of a word by ranked pairs, the inner loop of byte pair encoding.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace perilune {

/// Which two neighbours may join, in which order (lower ranks first), and what they become. Symbols
/// are numbers below 2^20, ranks below 2^23.
class PairTable {
 public:
  static constexpr std::size_t kMaxPairs = (std::size_t{1} << 23) - 1;

  /// Room for `pairs` pairs; more make it grow.
  explicit PairTable(std::size_t pairs);
  /// A pair that is there already gets the new rank and result.
  void insert(std::uint32_t left, std::uint32_t right, std::uint32_t rank, std::uint32_t result);
  /// The rank, or -1.
  std::int32_t rank(std::uint32_t left, std::uint32_t right) const {
    const std::uint64_t key = static_cast<std::uint64_t>(left) << 20 | right;
    for (std::size_t at = place(key); slots_[at] != 0; at = (at + 1) & mask_) {
      if (slots_[at] >> 24 == key) return static_cast<std::int32_t>((slots_[at] & 0xFFFFFF) >> 1);
    }
    return -1;
  }
  std::uint32_t result(std::int32_t rank) const { return results_[static_cast<std::size_t>(rank)]; }

 private:
  std::size_t place(std::uint64_t key) const {
    return static_cast<std::size_t>((key * 0x9E3779B97F4A7C15ull) >> shift_);
  }
  void resize(std::size_t size);
  std::uint64_t& slot(std::uint64_t key);

  std::vector<std::uint64_t> slots_;  // left 20 bits, right 20, rank 23, 1; 0: free
  std::vector<std::uint32_t> results_;
  std::size_t mask_ = 0, pairs_ = 0;
  int shift_ = 0;
};

/// One symbol of a word and its bytes [first, last).
struct BpeSymbol {
  std::uint32_t symbol, first, last;
};

/// Joins neighbours until none can be: always the pair of the lowest rank, of equal ones the
/// leftmost. Few symbols take an array, many a heap: n log n. Appends what is left in order.
void merge_symbols(const PairTable& pairs, const BpeSymbol* symbols, std::size_t count,
                   std::vector<BpeSymbol>& out);

}  // namespace perilune
