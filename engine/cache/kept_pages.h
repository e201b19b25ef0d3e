// Pages found by what they hold: the ids of a text lead, page by page, to the keys and values that
// were computed for them. Ids are compared, never only hashed. Pages that nobody else holds are
// cold: they count as free, and the pool takes them back, least recently used first. The pages are
// the pool's; this is its index.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

namespace perilune {

/// Beside its ids, what keys and values depend on: what computed them (its weights, compute mode
/// and the pool's own type with it), how long the text is taken to be where rotary positions depend
/// on that, the adapter.
struct PrefixKey {
  std::weak_ptr<const void> plan;
  std::int64_t made_for = 0;  // the same for lengths that make the same keys
  std::uint64_t adapter = 0;
};

class KeptPages {
 public:
  static constexpr std::int32_t kNone = -1;
  struct PageRef {
    std::int32_t group = kNone, page = kNone;
    bool operator==(const PageRef&) const = default;
  };
  /// Compares lists of ids, whatever holds them.
  struct InOrder {
    using is_transparent = void;
    template <class A, class B>
    bool operator()(const A& a, const B& b) const {
      return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end());
    }
  };
  /// One page of a text: its ids after those of its parents, and the page of each group that has
  /// them (kNone: it left its window, or was taken back).
  struct Node {
    Node* parent = nullptr;
    std::map<std::vector<std::int32_t>, std::unique_ptr<Node>, InOrder> children;
    std::vector<std::int32_t> pages;
    const std::vector<std::int32_t>* ids = nullptr;  // the key that it lies under
  };
  struct Found {
    std::vector<const Node*> nodes;  // the last may hold more ids than are wanted
    std::int64_t positions = 0;
  };

  KeptPages(std::size_t groups, std::int64_t page_tokens);

  /// The longest front of `ids` that is known.
  Found find(const PrefixKey& key, std::span<const std::int32_t> ids) const;
  /// The node of the page `ids` after `parent` (null: the first of a text), made where it is new;
  /// null where a longer page has these ids already.
  Node* add(const PrefixKey& key, Node* parent, std::span<const std::int32_t> ids);
  /// The page becomes the node's, which has none of its group. It is held by others: not cold.
  void keep(Node& node, PageRef page);
  bool kept(PageRef page) const;
  /// Nobody but the index holds a kept page any more, or somebody does again.
  void cool(PageRef page);
  void warm(PageRef page);
  /// The page that has been cold for longest; {kNone, kNone}: none is.
  PageRef oldest() const { return oldest_; }
  /// Takes a page out; nodes without pages go with their last child.
  void remove(PageRef page);
  /// Takes a node out that was made and got no page.
  void drop_if_empty(Node* node);
  std::int64_t cold(int group) const { return cold_[static_cast<std::size_t>(group)]; }
  /// Any page, for a pool that lets all of them go; {kNone, kNone}: there are none.
  PageRef any() const;

 private:
  struct Page {
    Node* node = nullptr;
    PageRef older, newer;
    bool cold = false;
  };
  struct Before {
    bool operator()(const PrefixKey& a, const PrefixKey& b) const;
  };
  Page& page(PageRef at);
  const Page* known(PageRef at) const;

  std::int64_t page_tokens_;
  std::map<PrefixKey, Node, Before> roots_;
  std::vector<std::vector<Page>> pages_;  // by group and number
  std::vector<std::int64_t> cold_;        // by group
  PageRef oldest_, newest_;
};

}  // namespace perilune
