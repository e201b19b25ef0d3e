// The tokens of a vocabulary as bytes of text, sorted into a tree.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/text/tokenizer/tokenizer.h"

namespace perilune {

/// Tokens by their bytes: a tree in the order of a walk, each node with where its branch ends.
class TokenTree {
 public:
  struct Node {
    std::uint32_t end = 0;          // the first node that is not below this one
    std::uint32_t first_token = 0;  // in tokens(): those that end here, up to the next node's
    std::uint16_t depth = 0;        // bytes up to here; the root, node 0, has none
    std::uint8_t byte = 0;
  };
  /// `bytes`: of each id; ids without bytes are left out.
  explicit TokenTree(const std::vector<std::string_view>& bytes);

  /// With one more at the end, whose first_token is how many there are.
  std::span<const Node> nodes() const { return nodes_; }
  std::span<const std::int32_t> tokens() const { return tokens_; }
  std::size_t deepest() const { return deepest_; }

 private:
  std::vector<Node> nodes_;
  std::vector<std::int32_t> tokens_;
  std::size_t deepest_ = 0;
};

/// What each id of a tokenizer adds to a text. Immutable, thread-safe.
class TokenBytes {
 public:
  /// `continues`: the text goes on from another, as decode's option says; else the first token
  /// may lose a space.
  TokenBytes(const Tokenizer& tokenizer, bool continues);

  /// Ids from 0; special tokens have no bytes.
  std::size_t size() const { return places_.size() - 1; }
  /// "" for ids that do not exist, too.
  std::string_view bytes(std::int32_t id, bool first) const;
  const TokenTree& tree(bool first) const { return first && first_ ? first_->tree : *tree_; }
  bool first_differs() const { return first_ != nullptr; }

 private:
  struct First {
    std::string text;
    std::vector<std::uint32_t> places;
    TokenTree tree;
  };
  std::string text_;                   // of all ids
  std::vector<std::uint32_t> places_;  // where each begins
  std::unique_ptr<const TokenTree> tree_;
  std::unique_ptr<const First> first_;  // null: the first token is like the others
};

/// Makes text of ids by their bytes. A character that the end cuts is left out.
std::unique_ptr<StreamDecoder> make_bytes_decoder(std::shared_ptr<const TokenBytes> bytes);

}  // namespace perilune
