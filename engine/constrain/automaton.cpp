#include "engine/constrain/automaton.h"

#include <algorithm>
#include <map>

#include "engine/base/error.h"

namespace perilune {

namespace {

constexpr std::size_t kMostStates = std::size_t{1} << 20;
constexpr std::size_t kLargePart = 8;  // bytes and ranges; repeated, it becomes a rule

}  // namespace

/// Thompson's construction, with calls; then what leads nowhere is taken out.
class AutomatonMaker {
 public:
  using State = Automaton::State;
  using Edge = Automaton::Edge;
  using Step = Automaton::Step;

  AutomatonMaker(const Grammar& grammar, Automaton& made) : grammar_(grammar), made_(made) {}

  void make() {
    for (std::size_t rule = 0; rule < grammar_.rules(); ++rule) {
      names_.push_back(grammar_.rule_name(static_cast<Grammar::Rule>(rule)));
      starts_.push_back(add_state());
    }
    for (std::size_t rule = 0; rule < grammar_.rules(); ++rule) {
      const Grammar::Expression body = grammar_.body(static_cast<Grammar::Rule>(rule));
      if (body < 0) {
        throw Error(ErrorCode::argument, "grammar",
                    "rule " + names_[rule] + " is used and nowhere defined");
      }
      set_end(build(body, starts_[rule]));
    }
    for (std::size_t i = 0; i < repeated_.size(); ++i) {  // building one may repeat others
      const auto [body, start] = repeated_[i];
      set_end(build(body, start));
    }
    made_.start_ = starts_[0];
    shorten();
    refuse_left_recursion();
    remove_dead_ends();
    mark_last_calls();
  }

 private:
  State add_state() {
    if (made_.states_.size() >= kMostStates) {
      throw Error(ErrorCode::length, "grammar",
                  "too large: more than " + std::to_string(kMostStates) +
                      " states; repeat fewer times, or smaller parts");
    }
    made_.states_.emplace_back();
    return static_cast<State>(made_.states_.size() - 1);
  }
  Automaton::Place& state(State at) { return made_.states_[static_cast<std::size_t>(at)]; }
  Edge& edge(std::int32_t at) { return made_.edges_[static_cast<std::size_t>(at)]; }
  void set_end(State at) { state(at).end = true; }

  void add_edge(State from, Edge edge) {
    edge.next = state(from).first;
    made_.edges_.push_back(edge);
    state(from).first = static_cast<std::int32_t>(made_.edges_.size() - 1);
  }
  void add_bytes(State from, std::uint8_t first, std::uint8_t last, State to) {
    Edge edge;
    edge.step = Step::bytes;
    edge.first_byte = first;
    edge.last_byte = last;
    edge.target = to;
    add_edge(from, edge);
  }
  void add_nothing(State from, State to) {
    Edge edge;
    edge.target = to;
    add_edge(from, edge);
  }
  State add_call(State from, State callee) {
    Edge edge;
    edge.step = Step::call;
    edge.callee = callee;
    edge.target = add_state();
    add_edge(from, edge);
    return edge.target;
  }

  /// Adds an expression behind `from` and gives the state after it. Nothing it adds leads back to
  /// `from`.
  State build(Grammar::Expression expression, State from) {
    const Grammar::Node& node = grammar_.node(expression);
    switch (node.kind) {
      case Grammar::Kind::text:
        for (const char c : node.text) {
          const State to = add_state();
          add_bytes(from, static_cast<std::uint8_t>(c), static_cast<std::uint8_t>(c), to);
          from = to;
        }
        return from;
      case Grammar::Kind::characters: return build_characters(node.set, from);
      case Grammar::Kind::sequence:
        for (const Grammar::Expression part : node.parts) from = build(part, from);
        return from;
      case Grammar::Kind::choice: {
        const State to = add_state();
        for (const Grammar::Expression part : node.parts) add_nothing(build(part, from), to);
        return to;
      }
      case Grammar::Kind::repeat: return build_repeat(node, from);
      case Grammar::Kind::rule: return add_call(from, starts_[static_cast<std::size_t>(node.rule)]);
      case Grammar::Kind::nothing: return add_state();
    }
    return from;
  }

  State build_characters(const CharacterSet& set, State from) {
    const State to = add_state();
    std::map<ByteRanges, State> known;  // the rest of a character -> the state before it
    for (const ByteRanges& ranges : utf8_ranges(set)) {
      State next = to;
      for (std::size_t i = ranges.size() - 1; i > 0; --i) {
        const ByteRanges rest(ranges.begin() + static_cast<std::ptrdiff_t>(i), ranges.end());
        const auto [entry, fresh] = known.try_emplace(rest, 0);
        if (fresh) {
          entry->second = add_state();
          add_bytes(entry->second, ranges[i].first, ranges[i].second, next);
        }
        next = entry->second;
      }
      add_bytes(from, ranges[0].first, ranges[0].second, next);
    }
    return to;
  }

  State build_repeat(const Grammar::Node& node, State from) {
    const Grammar::Expression part = node.parts[0];
    const bool endless = node.most == Grammar::kNoEnd;
    const std::int64_t copies = endless ? node.least + 1 : node.most;
    State rule = -1;  // of a part that would be built many times
    if (copies > 1 && is_large(part)) {
      rule = add_state();
      repeated_.emplace_back(part, rule);
    }
    const auto once = [&](State at) { return rule < 0 ? build(part, at) : add_call(at, rule); };
    for (std::int64_t i = 0; i < node.least; ++i) from = once(from);
    if (endless) {
      const State loop = add_state();
      add_nothing(from, loop);
      add_nothing(once(loop), loop);
      return loop;
    }
    if (node.most == node.least) return from;
    const State to = add_state();
    for (std::int64_t i = node.least; i < node.most; ++i) {
      add_nothing(from, to);
      from = once(from);
    }
    add_nothing(from, to);
    return to;
  }

  bool is_large(Grammar::Expression expression) const {
    std::size_t size = 0;
    std::vector<Grammar::Expression> open{expression};
    while (!open.empty() && size < kLargePart) {
      const Grammar::Node& node = grammar_.node(open.back());
      open.pop_back();
      size += 1 + node.text.size();
      if (node.kind == Grammar::Kind::characters) size += 2 * node.set.ranges().size();
      if (node.kind == Grammar::Kind::repeat) size += kLargePart;
      open.insert(open.end(), node.parts.begin(), node.parts.end());
    }
    return size >= kLargePart;
  }

  /// Leads edges past states that only hand on.
  void shorten() {
    for (Edge& edge : made_.edges_) {
      for (int hops = 0; hops < 64; ++hops) {
        const Automaton::Place& at = state(edge.target);
        if (at.end || at.first < 0) break;
        const Edge& only = this->edge(at.first);
        if (only.next >= 0 || only.step != Step::nothing || only.target == edge.target) break;
        edge.target = only.target;
      }
    }
  }

  void refuse_left_recursion();
  void remove_dead_ends();
  std::vector<bool> nullable() const;
  std::string name_of(State start) const {
    const auto found = std::find(starts_.begin(), starts_.end(), start);
    return found == starts_.end() ? "of a repetition"
                                  : names_[static_cast<std::size_t>(found - starts_.begin())];
  }

  void mark_last_calls() {
    for (Edge& edge : made_.edges_) {
      if (edge.step != Step::call) continue;
      const Automaton::Place& after = state(edge.target);
      edge.last = after.end && after.first < 0;
    }
  }

  /// Marks states from which marks spread backwards: `spreads(edge)` says whether an edge carries
  /// the mark to its source.
  template <class Spreads>
  void spread(std::vector<bool>& marks, Spreads spreads) const {
    const std::size_t count = made_.states_.size();
    std::vector<std::vector<std::pair<State, std::int32_t>>> before(count);
    for (std::size_t s = 0; s < count; ++s) {
      for (std::int32_t e = made_.states_[s].first; e >= 0; e = made_.edge(e).next) {
        const Edge& edge = made_.edge(e);
        before[static_cast<std::size_t>(edge.target)].emplace_back(static_cast<State>(s), e);
        if (edge.step != Step::call) continue;
        before[static_cast<std::size_t>(edge.callee)].emplace_back(static_cast<State>(s), e);
      }
    }
    std::vector<State> open;
    for (std::size_t s = 0; s < count; ++s) {
      if (marks[s]) open.push_back(static_cast<State>(s));
    }
    while (!open.empty()) {
      const State at = open.back();
      open.pop_back();
      for (const auto& [source, e] : before[static_cast<std::size_t>(at)]) {
        if (marks[static_cast<std::size_t>(source)] || !spreads(made_.edge(e), marks)) continue;
        marks[static_cast<std::size_t>(source)] = true;
        open.push_back(source);
      }
    }
  }

  const Grammar& grammar_;
  Automaton& made_;
  std::vector<std::string> names_;
  std::vector<State> starts_;                                    // of rules
  std::vector<std::pair<Grammar::Expression, State>> repeated_;  // rules without a name
};

namespace {

bool marked(const std::vector<bool>& marks, Automaton::State state) {
  return marks[static_cast<std::size_t>(state)];
}

}  // namespace

/// States from which an end of their own rule is reached without a byte.
std::vector<bool> AutomatonMaker::nullable() const {
  std::vector<bool> marks(made_.states_.size());
  for (std::size_t s = 0; s < marks.size(); ++s) marks[s] = made_.states_[s].end;
  spread(marks, [](const Edge& edge, const std::vector<bool>& now) {
    if (edge.step == Step::bytes) return false;
    return marked(now, edge.target) && (edge.step == Step::nothing || marked(now, edge.callee));
  });
  return marks;
}

/// A rule that comes to itself before a byte would be called without end.
void AutomatonMaker::refuse_left_recursion() {
  const std::vector<bool> empty = nullable();
  // Depth first over "reached without a byte", where a call leads into its rule and, if that may be
  // empty, past it. A circle with a call in it is left recursion; circles of nothing alone are not,
  // so colours are of rules and each rule's own states are swept inside.
  enum class Colour : std::uint8_t { fresh, open, done };
  std::map<State, Colour> colours;
  const auto called_first = [&](State rule) {
    std::vector<State> callees, open{rule};
    std::map<State, bool> seen{{rule, true}};
    while (!open.empty()) {
      const State at = open.back();
      open.pop_back();
      for (std::int32_t e = state(at).first; e >= 0; e = edge(e).next) {
        const Edge& way = edge(e);
        if (way.step == Step::bytes) continue;
        if (way.step == Step::call) callees.push_back(way.callee);
        if (way.step == Step::call && !marked(empty, way.callee)) continue;
        if (seen.emplace(way.target, true).second) open.push_back(way.target);
      }
    }
    return callees;
  };
  struct Frame {
    State rule;
    std::vector<State> callees;
  };
  std::vector<State> rules = starts_;
  for (const auto& [body, start] : repeated_) rules.push_back(start);
  for (const State root : rules) {
    if (colours[root] != Colour::fresh) continue;
    std::vector<Frame> frames;
    colours[root] = Colour::open;
    frames.push_back({root, called_first(root)});
    while (!frames.empty()) {
      Frame& frame = frames.back();
      if (frame.callees.empty()) {
        colours[frame.rule] = Colour::done;
        frames.pop_back();
        continue;
      }
      const State callee = frame.callees.back();
      frame.callees.pop_back();
      if (colours[callee] == Colour::open) {
        throw Error(ErrorCode::argument, "grammar",
                    "rule " + name_of(callee) + " begins with itself (left recursion)")
            .hint("write lists as a repetition: item (\",\" item)*");
      }
      if (colours[callee] == Colour::done) continue;
      colours[callee] = Colour::open;
      frames.push_back({callee, called_first(callee)});
    }
  }
}

/// Takes out edges from which no end is reached.
void AutomatonMaker::remove_dead_ends() {
  std::vector<bool> alive(made_.states_.size());
  for (std::size_t s = 0; s < alive.size(); ++s) alive[s] = made_.states_[s].end;
  spread(alive, [](const Edge& edge, const std::vector<bool>& now) {
    return marked(now, edge.target) && (edge.step != Step::call || marked(now, edge.callee));
  });
  if (!marked(alive, made_.start_)) {
    throw Error(ErrorCode::argument, "grammar",
                "no text fits it: rule " + name_of(made_.start_) + " never comes to an end");
  }
  for (Automaton::Place& place : made_.states_) {
    std::int32_t* link = &place.first;
    while (*link >= 0) {
      const Edge& way = edge(*link);
      const bool live =
          marked(alive, way.target) && (way.step != Step::call || marked(alive, way.callee));
      if (live) {
        link = &edge(*link).next;
      } else {
        *link = way.next;
      }
    }
  }
}

void Automaton::find_classes() {
  std::array<bool, 257> cuts{};
  cuts[0] = true;
  for (const Edge& edge : edges_) {
    if (edge.step != Step::bytes) continue;
    cuts[edge.first_byte] = true;
    cuts[std::size_t{edge.last_byte} + 1] = true;
  }
  for (std::size_t byte = 0; byte < 256; ++byte) {
    if (cuts[byte]) {
      byte_of_[static_cast<std::size_t>(classes_)] = static_cast<std::uint8_t>(byte);
      ++classes_;
    }
    class_of_[byte] = static_cast<std::uint8_t>(classes_ - 1);
  }
}

Automaton::Automaton(const Grammar& grammar) {
  if (grammar.rules() == 0) throw Error(ErrorCode::argument, "grammar", "it has no rules");
  AutomatonMaker(grammar, *this).make();
  find_classes();
}

}  // namespace perilune
