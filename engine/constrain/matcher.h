// An automaton under way: sets of places, each with the callers it returns to, made once and
// numbered when they are first reached.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/constrain/automaton.h"

namespace perilune {

/// For one thread at a time. States are numbers until forget() changes age().
class Matcher {
 public:
  using State = std::int32_t;
  static constexpr State kDead = 0;  // nothing that begins so fits

  explicit Matcher(std::shared_ptr<const Automaton> automaton);

  State start() const { return start_; }
  /// Throws Error(length) for a grammar that is too ambiguous to follow.
  State next(State state, std::uint8_t byte) {
    return next_of_class(state, automaton_->class_of(byte));
  }
  State next_of_class(State state, int byte_class) {
    const State known = table_[place(state, byte_class)];
    return known >= 0 ? known : step(state, byte_class);
  }
  State next(State state, std::string_view bytes);
  /// Whether the text may end here.
  bool accepts(State state) const { return sets_[static_cast<std::size_t>(state)].accepts; }
  /// Whether it can only end here.
  bool complete(State state) const {
    return accepts(state) && sets_[static_cast<std::size_t>(state)].places.empty();
  }

  const Automaton& automaton() const { return *automaton_; }
  /// Bytes that what was reached so far takes, roughly.
  std::size_t bytes() const { return bytes_; }
  std::uint64_t age() const { return age_; }
  /// Forgets every state but start(), which gets a new number.
  void forget();

 private:
  struct Place {
    Automaton::State state;
    std::int32_t callers;  // in stacks_; 0: none
    friend bool operator==(const Place&, const Place&) = default;
    // (clang-tidy 14 reads the comparison with 0 that this stands for as a null pointer.)
    friend auto operator<=>(const Place&, const Place&) = default;  // NOLINT(modernize-use-nullptr)
  };
  struct Set {
    std::vector<Place> places;  // with bytes to go on by, in order
    bool accepts = false;
  };
  struct Caller {
    Automaton::State returns;
    std::int32_t callers;
  };

  std::size_t place(State state, int byte_class) const {
    return static_cast<std::size_t>(state) * static_cast<std::size_t>(automaton_->classes()) +
           static_cast<std::size_t>(byte_class);
  }
  State step(State state, int byte_class);
  std::int32_t push(Automaton::State returns, std::int32_t callers);
  void visit(Place place);
  State settle();
  State intern(Set set);

  std::shared_ptr<const Automaton> automaton_;
  std::vector<Set> sets_;
  std::vector<State> table_;    // [state, class]: the next state; -1: not known yet
  std::vector<Caller> stacks_;  // 0: none
  std::unordered_map<std::uint64_t, std::int32_t> stack_numbers_;
  std::unordered_multimap<std::uint64_t, State> numbers_;  // hash of places -> state
  std::vector<Place> open_;                                // reused
  std::unordered_map<std::uint64_t, bool> visited_;        // reused
  State start_ = 0;
  std::size_t bytes_ = 0;
  std::uint64_t age_ = 0;
};

}  // namespace perilune
