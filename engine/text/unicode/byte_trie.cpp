#include "engine/text/unicode/byte_trie.h"

namespace perilune {
namespace {

std::uint64_t key_of(std::uint32_t node, unsigned char byte) {
  return (static_cast<std::uint64_t>(node) << 8 | byte) + 1;
}

}  // namespace

ByteTrie::ByteTrie() : edges_(64), values_(1, -1) {}

// The place of `key`, or the free one where it belongs.
std::size_t ByteTrie::slot(std::uint64_t key) const {
  std::uint64_t hash = key * 0x9E3779B97F4A7C15ull;
  hash ^= hash >> 29;
  std::size_t at = static_cast<std::size_t>(hash) & (edges_.size() - 1);
  while (edges_[at].key != 0 && edges_[at].key != key) at = (at + 1) & (edges_.size() - 1);
  return at;
}

std::uint32_t ByteTrie::child(std::uint32_t node, unsigned char byte) const {
  const Edge& edge = edges_[slot(key_of(node, byte))];
  return edge.key == 0 ? kNone : edge.to;
}

void ByteTrie::grow() {
  std::vector<Edge> before(edges_.size() * 2);
  before.swap(edges_);
  for (const Edge& edge : before) {
    if (edge.key != 0) edges_[slot(edge.key)] = edge;
  }
}

std::uint32_t ByteTrie::add_child(std::uint32_t node, unsigned char byte) {
  if (values_.size() * 2 > edges_.size()) grow();
  Edge& edge = edges_[slot(key_of(node, byte))];
  if (edge.key == 0) {
    edge = {key_of(node, byte), static_cast<std::uint32_t>(values_.size())};
    values_.push_back(-1);
  }
  return edge.to;
}

void ByteTrie::insert(std::string_view text, std::int32_t value) {
  std::uint32_t node = 0;
  for (const char byte : text) node = add_child(node, static_cast<unsigned char>(byte));
  values_[node] = value;
}

std::size_t ByteTrie::longest_prefix(std::string_view text) const {
  std::size_t longest = 0;
  std::uint32_t node = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    node = child(node, static_cast<unsigned char>(text[i]));
    if (node == kNone) break;
    if (value(node) >= 0) longest = i + 1;
  }
  return longest;
}

}  // namespace perilune
