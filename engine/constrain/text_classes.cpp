#include "engine/constrain/text_classes.h"

#include <algorithm>
#include <set>
#include <utility>

#include "engine/base/error.h"
#include "engine/base/utf8.h"

namespace perilune {

namespace {

constexpr std::size_t kMostStates = 20000;

[[noreturn]] void too_large() {
  throw Error(
      ErrorCode::length, "grammar",
      "patterns that take more than " + std::to_string(kMostStates) + " states to tell apart");
}

}  // namespace

/// An automaton that may be in several states at once.
struct LooseTexts {
  struct State {
    std::vector<std::pair<CharacterSet, std::int32_t>> on;
    std::vector<std::int32_t> free;
    TextClasses::Matches matches = 0;
  };
  std::vector<State> states;

  std::int32_t add() {
    if (states.size() >= kMostStates) too_large();
    states.emplace_back();
    return static_cast<std::int32_t>(states.size()) - 1;
  }
  State& at(std::int32_t state) { return states[static_cast<std::size_t>(state)]; }

  /// Where an expression ends that begins at `from`.
  std::int32_t read(const Grammar& grammar, Grammar::Expression expression, std::int32_t from) {
    const Grammar::Node& node = grammar.node(expression);
    switch (node.kind) {
      case Grammar::Kind::text: return read_text(node.text, from);
      case Grammar::Kind::characters: return step(from, node.set);
      case Grammar::Kind::sequence:
        for (const Grammar::Expression part : node.parts) from = read(grammar, part, from);
        return from;
      case Grammar::Kind::choice: {
        const std::int32_t end = add();
        for (const Grammar::Expression part : node.parts) {
          const std::int32_t last = read(grammar, part, from);
          at(last).free.push_back(end);
        }
        return end;
      }
      case Grammar::Kind::repeat: return read_repeat(grammar, node, from);
      case Grammar::Kind::rule:
      case Grammar::Kind::nothing: break;
    }
    return add();  // nobody comes there
  }

 private:
  std::int32_t step(std::int32_t from, const CharacterSet& set) {
    const std::int32_t to = add();
    at(from).on.emplace_back(set, to);
    return to;
  }
  std::int32_t read_text(std::string_view text, std::int32_t from) {
    for (std::size_t i = 0; i < text.size();) {
      const Character character = character_at(text, i);
      from = step(from, CharacterSet{{character.value, character.value}});
      i += character.size;
    }
    return from;
  }
  std::int32_t read_repeat(const Grammar& grammar, const Grammar::Node& node, std::int32_t from) {
    for (std::int64_t i = 0; i < node.least; ++i) from = read(grammar, node.parts[0], from);
    const std::int32_t end = add();
    if (node.most == Grammar::kNoEnd) {
      const std::int32_t again = add();
      at(from).free.push_back(again);
      const std::int32_t last = read(grammar, node.parts[0], again);
      at(last).free.push_back(again);
      at(again).free.push_back(end);
      return end;
    }
    for (std::int64_t i = node.least; i < node.most; ++i) {
      at(from).free.push_back(end);
      from = read(grammar, node.parts[0], from);
    }
    at(from).free.push_back(end);
    return end;
  }
};

namespace {

using States = std::vector<std::int32_t>;

void follow_free(const LooseTexts& loose, States& states) {
  std::set<std::int32_t> seen(states.begin(), states.end());
  for (std::size_t i = 0; i < states.size(); ++i) {
    for (const std::int32_t next : loose.states[static_cast<std::size_t>(states[i])].free) {
      if (seen.insert(next).second) states.push_back(next);
    }
  }
  states.assign(seen.begin(), seen.end());
}

std::vector<char32_t> starts_of_classes(const LooseTexts& loose) {
  std::set<char32_t> starts{0};
  for (const LooseTexts::State& state : loose.states) {
    for (const auto& [set, target] : state.on) {
      for (const auto& [first, last] : set.ranges()) {
        starts.insert(first);
        if (last < kLastCharacter) starts.insert(last + 1);
      }
    }
  }
  return {starts.begin(), starts.end()};
}

}  // namespace

TextClasses::TextClasses(const std::vector<Grammar>& expressions) {
  LooseTexts loose;
  States first{loose.add()};
  for (std::size_t i = 0; i < expressions.size(); ++i) {
    const std::int32_t begin = loose.add();
    loose.at(first[0]).free.push_back(begin);
    const std::int32_t end = loose.read(expressions[i], expressions[i].body(0), begin);
    loose.at(end).matches |= Matches{1} << i;
  }
  class_starts_ = starts_of_classes(loose);
  determine(loose, std::move(first));
}

/// The states that the loose ones come to together.
void TextClasses::determine(const LooseTexts& loose, States first) {
  follow_free(loose, first);
  std::map<States, std::int32_t> numbers{{first, 0}};
  std::vector<States> waiting{first};
  for (std::size_t s = 0; s < waiting.size(); ++s) {
    const States here = waiting[s];
    State& state = states_.emplace_back();
    state.targets.assign(class_starts_.size(), kNowhere);
    std::vector<States> next(class_starts_.size());
    for (const std::int32_t one : here) {
      const LooseTexts::State& own = loose.states[static_cast<std::size_t>(one)];
      state.matches |= own.matches;
      for (const auto& [set, target] : own.on) {
        for (const auto& [low, high] : set.ranges()) {
          const auto from = std::lower_bound(class_starts_.begin(), class_starts_.end(), low);
          for (auto at = from; at != class_starts_.end() && *at <= high; ++at) {
            next[static_cast<std::size_t>(at - class_starts_.begin())].push_back(target);
          }
        }
      }
    }
    for (std::size_t c = 0; c < next.size(); ++c) {
      if (next[c].empty()) continue;
      follow_free(loose, next[c]);
      const auto [known, fresh] =
          numbers.try_emplace(next[c], static_cast<std::int32_t>(waiting.size()));
      if (fresh) waiting.push_back(next[c]);
      if (waiting.size() > kMostStates) too_large();
      states_[s].targets[c] = known->second;
    }
  }
}

std::size_t TextClasses::class_of(char32_t character) const {
  const auto after = std::upper_bound(class_starts_.begin(), class_starts_.end(), character);
  return static_cast<std::size_t>(after - class_starts_.begin()) - 1;
}

TextClasses::Matches TextClasses::matches(std::string_view text) const {
  std::int32_t at = 0;
  for (std::size_t i = 0; i < text.size();) {
    const Character character = character_at(text, i);
    at = states_[static_cast<std::size_t>(at)].targets[class_of(character.value)];
    if (at == kNowhere) return 0;
    i += character.size;
  }
  return states_[static_cast<std::size_t>(at)].matches;
}

/// Writes the texts of some states as rules, one for each state and number of characters, as far as
/// that matters.
struct TextClasses::Emission {
  using Key = std::pair<std::int32_t, std::int64_t>;
  const TextClasses& of;
  const std::function<bool(Matches)>& accepted;
  std::int64_t least, most;
  std::map<Key, bool> alive;  // an end can be reached
  std::map<Key, Grammar::Rule> rules;
  std::vector<Key> waiting;

  /// Where no expression goes on, a text without any matches may: that is one more state.
  std::int32_t lost() const { return static_cast<std::int32_t>(of.states_.size()); }
  bool ends(const Key& at) const {
    if (at.second < least) return false;
    return accepted(at.first == lost() ? 0
                                       : of.states_[static_cast<std::size_t>(at.first)].matches);
  }
  /// Where a class of characters leads; first is kNowhere where it leads nowhere.
  Key next(const Key& at, std::size_t c) const {
    const bool unbounded = most == Grammar::kNoEnd;
    if (!unbounded && at.second == most) return {kNowhere, 0};
    std::int32_t state = lost();
    if (at.first != lost()) state = of.states_[static_cast<std::size_t>(at.first)].targets[c];
    if (state == kNowhere && accepted(0)) state = lost();
    return {state, unbounded ? std::min(at.second + 1, least) : at.second + 1};
  }

  void find_alive() {
    std::vector<Key> order{{0, 0}}, reached;
    std::map<Key, std::vector<Key>> before;
    alive[order[0]] = false;
    for (std::size_t i = 0; i < order.size(); ++i) {
      for (std::size_t c = 0; c < of.class_starts_.size(); ++c) {
        const Key key = next(order[i], c);
        if (key.first == kNowhere) continue;
        before[key].push_back(order[i]);
        if (alive.try_emplace(key, false).second) order.push_back(key);
        if (order.size() > kMostStates) too_large();
      }
    }
    const auto reach = [&](const Key& key) {
      if (!std::exchange(alive[key], true)) reached.push_back(key);
    };
    for (const Key& key : order) {
      if (ends(key)) reach(key);
    }
    for (std::size_t i = 0; i < reached.size(); ++i) {
      for (const Key& key : before[reached[i]]) reach(key);
    }
  }

  Grammar::Rule rule_of(Grammar& into, const Key& key) {
    const auto found = rules.find(key);
    if (found != rules.end()) return found->second;
    waiting.push_back(key);
    return rules.emplace(key, into.add_rule("pattern")).first->second;
  }

  Grammar::Expression ways(Grammar& into, const Spell& spell, const Key& at) {
    std::vector<Grammar::Expression> list;
    if (ends(at)) list.push_back(into.text(""));
    std::map<Key, CharacterSet> on;
    const std::vector<char32_t>& starts = of.class_starts_;
    for (std::size_t c = 0; c < starts.size(); ++c) {
      const Key key = next(at, c);
      if (key.first == kNowhere || !alive[key]) continue;
      on[key].add(starts[c], c + 1 < starts.size() ? starts[c + 1] - 1 : kLastCharacter);
    }
    for (const auto& [key, set] : on) {
      list.push_back(into.sequence({spell(into, set), into.call(rule_of(into, key))}));
    }
    return into.choice(std::move(list));
  }
};

Grammar::Expression TextClasses::texts(Grammar& into, const Spell& spell,
                                       const std::function<bool(Matches)>& accepted,
                                       std::int64_t least, std::int64_t most) const {
  Emission emission{*this, accepted, least, most, {}, {}, {}};
  emission.find_alive();
  if (!emission.alive[{0, 0}]) return into.nothing();
  const Grammar::Rule root = emission.rule_of(into, {0, 0});
  for (std::size_t i = 0; i < emission.waiting.size(); ++i) {
    const Emission::Key at = emission.waiting[i];
    into.define(emission.rules[at], emission.ways(into, spell, at));
  }
  return into.call(root);
}

}  // namespace perilune
