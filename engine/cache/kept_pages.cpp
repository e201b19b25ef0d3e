#include "engine/cache/kept_pages.h"

#include <algorithm>

namespace perilune {

namespace {

constexpr KeptPages::PageRef kNowhere;

std::size_t in_common(std::span<const std::int32_t> a, std::span<const std::int32_t> b) {
  const auto most = static_cast<std::ptrdiff_t>(std::min(a.size(), b.size()));
  return static_cast<std::size_t>(std::mismatch(a.begin(), a.begin() + most, b.begin()).first -
                                  a.begin());
}

}  // namespace

KeptPages::KeptPages(std::size_t groups, std::int64_t page_tokens)
    : page_tokens_(page_tokens), pages_(groups), cold_(groups, 0) {}

bool KeptPages::Before::operator()(const PrefixKey& a, const PrefixKey& b) const {
  if (a.plan.owner_before(b.plan)) return true;
  if (b.plan.owner_before(a.plan)) return false;
  if (a.made_for != b.made_for) return a.made_for < b.made_for;
  return a.adapter < b.adapter;
}

KeptPages::Found KeptPages::find(const PrefixKey& key, std::span<const std::int32_t> ids) const {
  Found found;
  const auto root = roots_.find(key);
  if (root == roots_.end()) return found;
  const Node* at = &root->second;
  while (!ids.empty()) {
    // The best of all children stands beside where the rest of the ids would.
    const auto wanted = ids.first(std::min(ids.size(), static_cast<std::size_t>(page_tokens_)));
    const auto next = at->children.lower_bound(wanted);
    std::size_t most = 0;
    const Node* best = nullptr;
    const auto look = [&](auto child) {
      const std::size_t common = in_common(child->first, wanted);
      if (common <= most) return;
      most = common;
      best = child->second.get();
    };
    if (next != at->children.end()) look(next);
    if (next != at->children.begin()) look(std::prev(next));
    if (best == nullptr) break;
    found.nodes.push_back(best);
    found.positions += static_cast<std::int64_t>(most);
    if (most < static_cast<std::size_t>(page_tokens_)) break;
    ids = ids.subspan(most);
    at = best;
  }
  return found;
}

KeptPages::Node* KeptPages::add(const PrefixKey& key, Node* parent,
                                std::span<const std::int32_t> ids) {
  if (parent == nullptr) {
    auto root = roots_.find(key);
    if (root == roots_.end()) {
      std::erase_if(roots_, [](const auto& entry) {
        return entry.first.plan.expired() && entry.second.children.empty();
      });
      root = roots_.try_emplace(key).first;
    }
    parent = &root->second;
  }
  const auto next = parent->children.lower_bound(ids);
  if (next != parent->children.end() && in_common(next->first, ids) == ids.size()) {
    return next->first.size() == ids.size() ? next->second.get() : nullptr;
  }
  const auto made = parent->children.emplace_hint(
      next, std::vector<std::int32_t>(ids.begin(), ids.end()), std::make_unique<Node>());
  Node* node = made->second.get();
  node->parent = parent;
  node->ids = &made->first;
  node->pages.assign(pages_.size(), kNone);
  return node;
}

KeptPages::Page& KeptPages::page(PageRef at) {
  return pages_[static_cast<std::size_t>(at.group)][static_cast<std::size_t>(at.page)];
}

const KeptPages::Page* KeptPages::known(PageRef at) const {
  const std::vector<Page>& all = pages_[static_cast<std::size_t>(at.group)];
  const auto number = static_cast<std::size_t>(at.page);
  return number < all.size() && all[number].node != nullptr ? &all[number] : nullptr;
}

void KeptPages::keep(Node& node, PageRef at) {
  std::vector<Page>& all = pages_[static_cast<std::size_t>(at.group)];
  const auto number = static_cast<std::size_t>(at.page);
  if (number >= all.size()) all.resize(std::max(number + 1, all.size() + all.size() / 2));
  all[number] = Page{&node, kNowhere, kNowhere, false};
  node.pages[static_cast<std::size_t>(at.group)] = at.page;
}

bool KeptPages::kept(PageRef at) const {
  return known(at) != nullptr;
}

void KeptPages::cool(PageRef at) {
  Page& own = page(at);
  own.cold = true;
  own.older = newest_;
  own.newer = kNowhere;
  if (newest_ == kNowhere) {
    oldest_ = at;
  } else {
    page(newest_).newer = at;
  }
  newest_ = at;
  ++cold_[static_cast<std::size_t>(at.group)];
}

void KeptPages::warm(PageRef at) {
  Page& own = page(at);
  if (!own.cold) return;
  (own.older == kNowhere ? oldest_ : page(own.older).newer) = own.newer;
  (own.newer == kNowhere ? newest_ : page(own.newer).older) = own.older;
  own.cold = false;
  --cold_[static_cast<std::size_t>(at.group)];
}

void KeptPages::drop_if_empty(Node* node) {
  while (node->parent != nullptr && node->children.empty() &&
         std::all_of(node->pages.begin(), node->pages.end(),
                     [](std::int32_t number) { return number == kNone; })) {
    Node* parent = node->parent;
    parent->children.erase(parent->children.find(*node->ids));
    node = parent;
  }
}

void KeptPages::remove(PageRef at) {
  warm(at);
  Page& own = page(at);
  Node* node = own.node;
  own.node = nullptr;
  node->pages[static_cast<std::size_t>(at.group)] = kNone;
  drop_if_empty(node);
}

KeptPages::PageRef KeptPages::any() const {
  for (std::size_t g = 0; g < pages_.size(); ++g) {
    for (std::size_t number = 0; number < pages_[g].size(); ++number) {
      if (pages_[g][number].node != nullptr) {
        return {static_cast<std::int32_t>(g), static_cast<std::int32_t>(number)};
      }
    }
  }
  return kNowhere;
}

}  // namespace perilune
