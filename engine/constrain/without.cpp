#include "engine/constrain/without.h"

#include <map>

#include "engine/base/error.h"
#include "engine/base/utf8.h"

namespace perilune {

namespace {

constexpr std::size_t kMostPlaces = 20000;  // characters of all words

/// How much of a word the text so far ends with (Aho, Corasick 1975).
struct Place {
  std::map<char32_t, std::size_t> next;
  std::size_t shorter = 0;  // the longest other word's beginning that the text ends with
  bool word = false;        // it ends with a whole word
};

std::vector<Place> tree_of(const std::vector<std::string>& words) {
  std::vector<Place> places(1);
  for (const std::string& word : words) {
    if (word.empty() || !is_utf8(word)) {
      throw Error(ErrorCode::option, "bad_words",
                  word.empty() ? "a word is empty" : "a word is not valid UTF-8");
    }
    std::size_t at = 0;
    for (std::size_t byte = 0; byte < word.size();) {
      const Character character = character_at(word, byte);
      byte += character.size;
      const auto [entry, fresh] = places[at].next.try_emplace(character.value, places.size());
      const std::size_t to = entry->second;
      if (fresh) places.emplace_back();
      at = to;
    }
    places[at].word = true;
    if (places.size() > kMostPlaces) {
      throw Error(ErrorCode::length, "bad_words",
                  "more than " + std::to_string(kMostPlaces) + " characters of words");
    }
  }
  return places;
}

std::size_t follow(const std::vector<Place>& places, std::size_t at, char32_t character) {
  for (;;) {
    const auto found = places[at].next.find(character);
    if (found != places[at].next.end()) return found->second;
    if (at == 0) return 0;
    at = places[at].shorter;
  }
}

void find_shorter(std::vector<Place>& places) {
  std::vector<std::size_t> order{0};
  for (std::size_t i = 0; i < order.size(); ++i) {
    const std::size_t at = order[i];
    for (const auto& [character, to] : places[at].next) {
      places[to].shorter = at == 0 ? 0 : follow(places, places[at].shorter, character);
      places[to].word = places[to].word || places[places[to].shorter].word;
      order.push_back(to);
    }
  }
}

}  // namespace

Grammar grammar_without(const std::vector<std::string>& words) {
  std::vector<Place> places = tree_of(words);
  find_shorter(places);
  Grammar grammar;
  for (std::size_t i = 0; i < places.size(); ++i) grammar.add_rule("without");
  for (std::size_t i = 0; i < places.size(); ++i) {
    CharacterSet named;
    std::map<std::size_t, CharacterSet> to;
    for (std::size_t at = i;; at = places[at].shorter) {
      for (const auto& [character, next] : places[at].next) {
        if (named.contains(character)) continue;  // by a longer beginning
        named.add(character, character);
        if (!places[next].word) to[next].add(character, character);
      }
      if (at == 0) break;
    }
    to[0].add(named.complement());
    std::vector<Grammar::Expression> ways{grammar.text("")};
    for (const auto& [next, set] : to) {
      ways.push_back(grammar.sequence(
          {grammar.characters(set), grammar.call(static_cast<Grammar::Rule>(next))}));
    }
    grammar.define(static_cast<Grammar::Rule>(i), grammar.choice(std::move(ways)));
  }
  return grammar;
}

}  // namespace perilune
