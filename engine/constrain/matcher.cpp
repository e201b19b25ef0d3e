#include "engine/constrain/matcher.h"

#include <algorithm>

#include "engine/base/error.h"

namespace perilune {

namespace {

constexpr std::size_t kMostPlaces = 16384;                  // of one set
constexpr std::size_t kMostBytes = std::size_t{512} << 20;  // of all

std::uint64_t join(std::int32_t high, std::int32_t low) {
  return (std::uint64_t{static_cast<std::uint32_t>(high)} << 32) | static_cast<std::uint32_t>(low);
}

}  // namespace

Matcher::Matcher(std::shared_ptr<const Automaton> automaton) : automaton_(std::move(automaton)) {
  forget();
}

void Matcher::forget() {
  ++age_;
  sets_.clear();
  table_.clear();
  stacks_.assign(1, {0, 0});
  stack_numbers_.clear();
  numbers_.clear();
  bytes_ = 0;
  sets_.emplace_back();  // kDead
  table_.assign(static_cast<std::size_t>(automaton_->classes()), kDead);
  open_.assign(1, {automaton_->start(), 0});
  start_ = settle();
}

Matcher::State Matcher::next(State state, std::string_view bytes) {
  for (const char byte : bytes) {
    if (state == kDead) break;
    state = next(state, static_cast<std::uint8_t>(byte));
  }
  return state;
}

std::int32_t Matcher::push(Automaton::State returns, std::int32_t callers) {
  const auto fresh = static_cast<std::int32_t>(stacks_.size());
  const auto [entry, added] = stack_numbers_.try_emplace(join(returns, callers), fresh);
  if (added) {
    stacks_.push_back({returns, callers});
    bytes_ += 64;
  }
  return entry->second;
}

void Matcher::visit(Place place) {
  if (visited_.try_emplace(join(place.state, place.callers), true).second) open_.push_back(place);
}

/// The state of the places in `open_` and of what they come to without a byte.
Matcher::State Matcher::settle() {
  visited_.clear();
  for (const Place& place : open_) visited_.emplace(join(place.state, place.callers), true);
  Set set;
  while (!open_.empty()) {
    if (visited_.size() > kMostPlaces) {
      throw Error(ErrorCode::length, "grammar",
                  "too ambiguous: a text can be read in more than " + std::to_string(kMostPlaces) +
                      " ways at once");
    }
    const Place at = open_.back();
    open_.pop_back();
    bool by_bytes = false;
    for (std::int32_t e = automaton_->first_edge(at.state); e >= 0;) {
      const Automaton::Edge& edge = automaton_->edge(e);
      e = edge.next;
      if (edge.step == Automaton::Step::bytes) {
        by_bytes = true;
      } else if (edge.step == Automaton::Step::nothing) {
        visit({edge.target, at.callers});
      } else {
        visit({edge.callee, edge.last ? at.callers : push(edge.target, at.callers)});
      }
    }
    if (by_bytes) set.places.push_back(at);
    if (!automaton_->is_end(at.state)) continue;
    if (at.callers == 0) {
      set.accepts = true;
    } else {
      const Caller caller = stacks_[static_cast<std::size_t>(at.callers)];
      visit({caller.returns, caller.callers});
    }
  }
  std::sort(set.places.begin(), set.places.end());
  return intern(std::move(set));
}

Matcher::State Matcher::intern(Set set) {
  if (set.places.empty() && !set.accepts) return kDead;
  std::uint64_t hash = set.accepts ? 1 : 0;
  for (const Place& at : set.places) {
    hash = (hash ^ join(at.state, at.callers)) * 0x9e3779b97f4a7c15ull;
    hash ^= hash >> 29;
  }
  const auto [first, last] = numbers_.equal_range(hash);
  for (auto known = first; known != last; ++known) {
    const Set& other = sets_[static_cast<std::size_t>(known->second)];
    if (other.accepts == set.accepts && other.places == set.places) return known->second;
  }
  const auto classes = static_cast<std::size_t>(automaton_->classes());
  bytes_ += 96 + set.places.size() * sizeof(Place) + classes * sizeof(State);
  if (bytes_ > kMostBytes) {
    throw Error(ErrorCode::length, "grammar",
                "too ambiguous: what may come next takes more than " +
                    std::to_string(kMostBytes >> 20) + " MiB to follow");
  }
  const auto number = static_cast<State>(sets_.size());
  sets_.push_back(std::move(set));
  table_.resize(table_.size() + classes, -1);
  numbers_.emplace(hash, number);
  return number;
}

Matcher::State Matcher::step(State state, int byte_class) {
  const std::uint8_t byte = automaton_->byte_of(byte_class);
  open_.clear();
  for (const Place& at : sets_[static_cast<std::size_t>(state)].places) {
    for (std::int32_t e = automaton_->first_edge(at.state); e >= 0;) {
      const Automaton::Edge& edge = automaton_->edge(e);
      e = edge.next;
      if (edge.step != Automaton::Step::bytes) continue;
      if (byte < edge.first_byte || byte > edge.last_byte) continue;
      open_.push_back({edge.target, at.callers});
    }
  }
  if (open_.empty()) return table_[place(state, byte_class)] = kDead;
  std::sort(open_.begin(), open_.end());
  open_.erase(std::unique(open_.begin(), open_.end()), open_.end());
  const State to = settle();
  table_[place(state, byte_class)] = to;  // settle() may have moved the table
  return to;
}

}  // namespace perilune
