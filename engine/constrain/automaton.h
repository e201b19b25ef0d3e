// A grammar as an automaton over bytes: states, what leads from one to another, and calls of rules
// whose end goes on where the caller says. From every state an end can be reached.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/constrain/grammar.h"

namespace perilune {

class Automaton {
 public:
  using State = std::int32_t;
  enum class Step : std::uint8_t { bytes, nothing, call };
  /// One way on from a state. A list through `next`.
  struct Edge {
    Step step = Step::nothing;
    bool last = false;  // of a call: nothing but the caller's own end follows
    std::uint8_t first_byte = 0, last_byte = 0;  // bytes: both inside
    State target = 0;                            // call: where its rule's end goes on
    State callee = 0;                            // call: the rule's start
    std::int32_t next = -1;
  };

  /// Throws Error(argument) for a grammar with left recursion, with rules that nobody defined, or
  /// that no text fits, naming the rule; Error(length) for one that is too large.
  explicit Automaton(const Grammar& grammar);

  State start() const { return start_; }
  bool is_end(State state) const { return states_[static_cast<std::size_t>(state)].end; }
  /// The first of a state's edges; -1: none.
  std::int32_t first_edge(State state) const {
    return states_[static_cast<std::size_t>(state)].first;
  }
  const Edge& edge(std::int32_t at) const { return edges_[static_cast<std::size_t>(at)]; }
  std::size_t states() const { return states_.size(); }

  /// Bytes that no edge tells apart are one class.
  int classes() const { return classes_; }
  int class_of(std::uint8_t byte) const { return class_of_[byte]; }
  std::uint8_t byte_of(int byte_class) const {
    return byte_of_[static_cast<std::size_t>(byte_class)];
  }

 private:
  friend class AutomatonMaker;
  struct Place {
    std::int32_t first = -1;
    bool end = false;
  };
  void find_classes();

  std::vector<Place> states_;
  std::vector<Edge> edges_;
  State start_ = 0;
  int classes_ = 0;
  std::array<std::uint8_t, 256> class_of_{};
  std::array<std::uint8_t, 256> byte_of_{};
};

}  // namespace perilune
