#include "engine/constrain/token_masks.h"

namespace perilune {

namespace {
constexpr std::size_t kKeptStates = std::size_t{128} << 20;  // bytes, before all is forgotten
constexpr std::size_t kKeptMasks = std::size_t{128} << 20;
}  // namespace

TokenMasks::TokenMasks(std::shared_ptr<const Automaton> automaton,
                       std::shared_ptr<const TokenBytes> bytes, bool lenient)
    : bytes_(std::move(bytes)), lenient_(lenient), matcher_(std::move(automaton)) {}

TokenMasks::Place TokenMasks::begin() {
  const std::lock_guard lock(mutex_);
  return {matcher_.start(), matcher_.age(), 0};
}

void TokenMasks::walk(Place& place, std::span<const std::int32_t> ids) {
  for (; place.tokens < ids.size(); ++place.tokens) {
    if (place.state == Matcher::kDead) continue;
    const std::string_view bytes = bytes_->bytes(ids[place.tokens], place.tokens == 0);
    if (bytes.empty() && lenient_) continue;
    place.state = bytes.empty() ? Matcher::kDead : matcher_.next(place.state, bytes);
  }
}

/// Makes the place's number one of today's. What grew too large is forgotten first.
void TokenMasks::renew(Place& place, std::span<const std::int32_t> ids) {
  if (matcher_.bytes() > kKeptStates || masks_.size() * (bytes_->size() / 8) > kKeptMasks) {
    matcher_.forget();
    masks_.clear();
  }
  if (place.age == matcher_.age()) return;
  const std::size_t seen = place.tokens;
  place = {matcher_.start(), matcher_.age(), 0};
  walk(place, ids.first(seen));
}

void TokenMasks::advance(Place& place, std::span<const std::int32_t> ids) {
  const std::lock_guard lock(mutex_);
  renew(place, ids);
  walk(place, ids);
}

void TokenMasks::allowed(Place& place, std::span<const std::int32_t> ids,
                         std::vector<std::uint32_t>& mask) {
  const std::lock_guard lock(mutex_);
  renew(place, ids);
  const std::vector<std::uint32_t>& found = mask_of(place.state, place.tokens == 0);
  mask.assign(found.begin(), found.end());
}

bool TokenMasks::accepts(Place& place, std::span<const std::int32_t> ids) {
  const std::lock_guard lock(mutex_);
  renew(place, ids);
  return matcher_.accepts(place.state);
}

bool TokenMasks::complete(Place& place, std::span<const std::int32_t> ids) {
  const std::lock_guard lock(mutex_);
  renew(place, ids);
  return matcher_.complete(place.state);
}

/// One walk through the tree of tokens: branches that the grammar does not go are passed by whole.
const std::vector<std::uint32_t>& TokenMasks::mask_of(Matcher::State state, bool first) {
  first = first && bytes_->first_differs();
  const std::uint64_t key = std::uint64_t{static_cast<std::uint32_t>(state)} * 2 + (first ? 1 : 0);
  const auto [entry, fresh] = masks_.try_emplace(key);
  std::vector<std::uint32_t>& mask = entry->second;
  if (!fresh) return mask;
  try {
    mask.assign((bytes_->size() + 31) / 32, 0);
    const TokenTree& tree = bytes_->tree(first);
    const std::span<const TokenTree::Node> nodes = tree.nodes();
    const std::span<const std::int32_t> tokens = tree.tokens();
    for (std::size_t id = 0; lenient_ && id < bytes_->size(); ++id) {
      if (!bytes_->bytes(static_cast<std::int32_t>(id), first).empty()) continue;
      mask[id / 32] |= std::uint32_t{1} << (id % 32);
    }
    path_.assign(tree.deepest() + 1, Matcher::kDead);
    path_[0] = state;
    for (std::size_t at = 1; at + 1 < nodes.size();) {
      const TokenTree::Node& node = nodes[at];
      const Matcher::State next = matcher_.next(path_[node.depth - std::size_t{1}], node.byte);
      if (next == Matcher::kDead) {
        at = node.end;
        continue;
      }
      path_[node.depth] = next;
      for (std::uint32_t t = node.first_token; t < nodes[at + 1].first_token; ++t) {
        const auto id = static_cast<std::uint32_t>(tokens[t]);
        mask[id / 32] |= std::uint32_t{1} << (id % 32);
      }
      ++at;
    }
  } catch (...) {
    masks_.erase(key);
    throw;
  }
  return mask;
}

bool fits(Matcher& matcher, std::string_view text) {
  return matcher.accepts(matcher.next(matcher.start(), text));
}

bool fits_so_far(Matcher& matcher, std::string_view text) {
  return matcher.next(matcher.start(), text) != Matcher::kDead;
}

}  // namespace perilune
