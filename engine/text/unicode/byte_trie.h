// A map from byte strings to ids that is walked byte by byte.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace perilune {

/// Nodes are numbered from 0, the root. Edges are kept in one hash table, so a step is one probe.
class ByteTrie {
 public:
  static constexpr std::uint32_t kNone = 0;  // the root is nobody's child

  ByteTrie();
  /// Adds or replaces. `value` is not negative.
  void insert(std::string_view text, std::int32_t value);
  /// The node one byte further, or kNone.
  std::uint32_t child(std::uint32_t node, unsigned char byte) const;
  /// The value of the text that leads to `node`, or -1.
  std::int32_t value(std::uint32_t node) const { return values_[node]; }
  bool empty() const { return values_.size() == 1; }
  /// The length of the longest inserted text that `text` begins with; 0: none.
  std::size_t longest_prefix(std::string_view text) const;

 private:
  struct Edge {
    std::uint64_t key = 0;  // node << 8 | byte, plus 1; 0: free
    std::uint32_t to = 0;
  };
  std::size_t slot(std::uint64_t key) const;
  std::uint32_t add_child(std::uint32_t node, unsigned char byte);
  void grow();

  std::vector<Edge> edges_;  // a power of two, at most half full
  std::vector<std::int32_t> values_;
};

}  // namespace perilune
