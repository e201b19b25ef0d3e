#include <algorithm>
#include <cstring>

#include "engine/base/utf8.h"
#include "engine/text/sentencepiece/file.h"

namespace perilune {
namespace {

constexpr std::size_t kMaxReplacement = 1024;  // bytes that one rule may write
constexpr int kMaxPrefixes = 32;               // what the published library has room for
constexpr std::uint32_t kAlphabet = 256;

// A darts-clone unit: label in the low byte, bit 31 set in a leaf, bit 8 "a leaf follows", bits 10
// and up the offset, shifted by 8 where bit 9 is set.
std::uint32_t label_of(std::uint32_t unit) {
  return unit & ((1u << 31) | 0xFF);
}
bool has_leaf(std::uint32_t unit) {
  return ((unit >> 8) & 1) != 0;
}
std::uint32_t offset_of(std::uint32_t unit) {
  return (unit >> 10) << ((unit & (1u << 9)) >> 6);
}
std::uint32_t value_of(std::uint32_t unit) {
  return unit & ((1u << 31) - 1);
}

class TrieCheck {
 public:
  TrieCheck(std::string_view trie, std::string_view replacements) : replacements_(replacements) {
    units_.resize(trie.size() / 4);
    std::memcpy(units_.data(), trie.data(), units_.size() * 4);
  }

  // Depth first over the states that input can reach, without recursion: a state is a unit.
  std::string run() {
    depth_.assign(units_.size(), kUnseen);
    if (!enter(0)) return problem_;
    while (!stack_.empty()) {
      Visit& top = stack_.back();
      const std::uint32_t child = next_child(top);
      if (child == kNone) {
        finish();
        if (!problem_.empty()) return problem_;
        continue;
      }
      if (depth_[child] == kOpen) return "its trie has a cycle";
      if (depth_[child] == kUnseen) {
        if (!enter(child)) return problem_;
      } else {
        top.below = std::max(top.below, depth_[child]);
      }
    }
    return "";
  }

 private:
  static constexpr int kUnseen = -1, kOpen = -2;
  static constexpr std::uint32_t kNone = 0xFFFFFFFFu;

  struct Visit {
    std::uint32_t state = 0, base = 0;
    std::uint32_t next = 0;  // the byte to try next
    int below = 0;           // the most keys on one way down from here
  };

  bool enter(std::uint32_t state) {
    const std::uint32_t unit = units_[state];
    const std::uint32_t base = state ^ offset_of(unit);
    if ((base | (kAlphabet - 1)) >= units_.size()) {
      problem_ = "its trie points outside itself";
      return false;
    }
    if (has_leaf(unit) && !check_value(value_of(units_[base]))) return false;
    depth_[state] = kOpen;
    stack_.push_back({state, base, 0, 0});
    return true;
  }

  std::uint32_t next_child(Visit& visit) const {
    while (visit.next < kAlphabet) {
      const std::uint32_t byte = visit.next++;
      const std::uint32_t child = visit.base ^ byte;
      if (label_of(units_[child]) == byte) return child;
    }
    return kNone;
  }

  void finish() {
    const Visit done = stack_.back();
    stack_.pop_back();
    const int keys = done.below + (has_leaf(units_[done.state]) ? 1 : 0);
    if (keys > kMaxPrefixes) problem_ = "too many of its rules begin one another";
    depth_[done.state] = keys;
    if (!stack_.empty()) stack_.back().below = std::max(stack_.back().below, keys);
  }

  bool check_value(std::uint32_t value) {
    if (value >= replacements_.size()) {
      problem_ = "a rule's replacement lies outside the file";
      return false;
    }
    const std::string_view rest = replacements_.substr(value, kMaxReplacement + 1);
    const std::size_t length = rest.find('\0');
    if (length == std::string_view::npos) {
      problem_ = "a rule's replacement does not end";
      return false;
    }
    if (!is_utf8(rest.substr(0, length))) {
      problem_ = "a rule's replacement is not UTF-8";
      return false;
    }
    return true;
  }

  std::vector<std::uint32_t> units_;
  std::string_view replacements_;
  std::vector<int> depth_;  // kUnseen, kOpen, or the most keys on one way down from the state
  std::vector<Visit> stack_;
  std::string problem_;
};

}  // namespace

std::string check_charsmap(std::string_view charsmap) {
  std::uint32_t trie_bytes = 0;
  if (charsmap.size() <= sizeof(trie_bytes)) return "it is too short";
  std::memcpy(&trie_bytes, charsmap.data(), sizeof(trie_bytes));  // little-endian, as we are
  charsmap.remove_prefix(sizeof(trie_bytes));
  if (trie_bytes == 0 || trie_bytes % 4 != 0) return "its trie has no whole number of units";
  if (trie_bytes > charsmap.size()) return "its trie is longer than it is";
  const std::string_view replacements = charsmap.substr(trie_bytes);
  if (replacements.empty() || replacements.back() != '\0') return "its replacements do not end";
  return TrieCheck(charsmap.substr(0, trie_bytes), replacements).run();
}

}  // namespace perilune
