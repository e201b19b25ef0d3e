#include "engine/text/pattern/pattern_syntax.h"

#include <algorithm>

#include "engine/base/error.h"
#include "engine/text/pattern/pattern_class.h"
#include "engine/text/pattern/pattern_properties.h"

namespace perilune {
namespace {

constexpr int kMaxDepth = 200, kMaxStackedRepeats = 8;

/// Writes PCRE2's form of an expression while it reads the published one.
class Translation {
 public:
  Translation(std::string_view source, std::string_view place) : in_{source, place} {}

  PcreSource run() {
    alternatives(0);
    if (!in_.end()) in_.fail("a ) without (");
    out_.text = std::move(text_);
    return std::move(out_);
  }

 private:
  /// Up to the end of the group.
  void alternatives(int depth) {
    if (depth > kMaxDepth) in_.fail("groups are nested too deeply");
    while (!in_.end() && !in_.starts_with(")")) {
      if (in_.take("|")) {
        text_ += '|';
        continue;
      }
      if (extended_ && skip_blank()) continue;
      const std::size_t start = text_.size();
      out_.places.emplace_back(start, in_.at);
      atom(depth);
      repeats(start);
    }
  }

  bool skip_blank() {
    if (in_.take("#")) {
      in_.at = std::min(in_.source.find('\n', in_.at), in_.source.size());
      return true;
    }
    return in_.take(" ") || in_.take("\n") || in_.take("\t") || in_.take("\r") || in_.take("\f") ||
           in_.take("\v");
  }

  void atom(int depth) {
    if (in_.starts_with("(")) return group(depth);
    if (in_.starts_with("[")) {
      text_ += read_class(in_);
    } else if (in_.starts_with("\\")) {
      escape();
    } else if (in_.starts_with("^") || in_.starts_with("$") || in_.starts_with(".")) {
      text_ += in_.take_character();
    } else if (in_.starts_with("*") || in_.starts_with("+") || in_.starts_with("?")) {
      in_.fail("nothing to repeat");
    } else {
      text_ += pcre_literal(in_.take_character());
    }
  }

  void escape() {
    CharacterSet set;
    if (read_set_escape(in_, false, set)) {
      text_ += set.expression(false);
      return;
    }
    const char name = in_.at + 1 < in_.source.size() ? in_.source[in_.at + 1] : '\0';
    const std::string word = "[" + std::string(kPcreWord) + "]";
    switch (name) {
      case 'A':
      case 'z':
      case 'Z':
      case 'G':
      case 'K':
      case 'R':
      case 'N':
        text_ += in_.source.substr(in_.at, 2);
        in_.at += 2;
        return;
      case 'O':
        text_ += "(?s:.)";
        in_.at += 2;
        return;
      case 'b':
        text_ += "(?:(?<=" + word + ")(?!" + word + ")|(?<!" + word + ")(?=" + word + "))";
        in_.at += 2;
        return;
      case 'B':
        text_ += "(?:(?<=" + word + ")(?=" + word + ")|(?<!" + word + ")(?!" + word + "))";
        in_.at += 2;
        return;
      case 'y':
      case 'Y':
      case 'C':
      case 'X':  // PCRE2's takes two emoji for one cluster
      case 'M':
      case 'g': in_.fail("this escape is not supported");
      case 'k': return named_reference();
      default: break;
    }
    if (name >= '1' && name <= '9') return numbered_reference();
    text_ += read_character_escape(in_);
  }

  void named_reference() {
    const std::size_t close = in_.source.find('>', in_.at);
    if (in_.source.substr(in_.at, 3) != "\\k<" || close == std::string_view::npos) {
      in_.fail("a reference to a group that is none");
    }
    text_ += in_.source.substr(in_.at, close + 1 - in_.at);
    in_.at = close + 1;
  }

  /// A group's number, or, with more digits, a character's in octal.
  void numbered_reference() {
    std::size_t end = in_.at + 1;
    bool octal = true;
    for (; end < in_.source.size() && in_.source[end] >= '0' && in_.source[end] <= '9'; ++end) {
      octal = octal && in_.source[end] <= '7';
    }
    if (octal && end - in_.at > 2) {
      text_ += read_character_escape(in_);
      return;
    }
    text_ += "\\g{" + std::string(in_.source.substr(in_.at + 1, end - in_.at - 1)) + "}";
    in_.at = end;
  }

  void group(int depth) {
    if (in_.starts_with("(*")) in_.fail("nothing to repeat");
    if (in_.take("(?#")) {
      in_.at = in_.source.find(')', in_.at);
      if (in_.at == std::string_view::npos) in_.fail("a comment without )");
      in_.take(")");
      text_ += "(?:)";
      return;
    }
    const bool extended = extended_;
    for (const std::string_view plain : {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!"}) {
      if (!in_.take(plain)) continue;
      text_ += plain;
      return inside(depth, extended);
    }
    if (in_.starts_with("(?<") || in_.starts_with("(?P<")) {
      const std::size_t close = in_.source.find('>', in_.at);
      if (close == std::string_view::npos) in_.fail("a group's name without >");
      text_ += in_.source.substr(in_.at, close + 1 - in_.at);
      in_.at = close + 1;
      return inside(depth, extended);
    }
    if (in_.take("(?")) return options(depth);
    in_.take("(");
    text_ += '(';
    inside(depth, extended);
  }

  /// The rest of a group, and its end.
  void inside(int depth, bool extended) {
    alternatives(depth + 1);
    if (!in_.take(")")) in_.fail("a ( without )");
    text_ += ')';
    extended_ = extended;
  }

  /// (?imx-imx:…), or (?imx-imx), which reaches to the end of the group it stands in.
  void options(int depth) {
    std::string on, off;
    const bool extended = extended_;
    bool minus = false;
    for (; !in_.end() && !in_.starts_with(":") && !in_.starts_with(")"); ++in_.at) {
      switch (in_.source[in_.at]) {
        case '-': minus = true; break;
        case 'i': (minus ? off : on) += 'i'; break;
        case 'm':
        case 's': (minus ? off : on) += 's'; break;
        case 'x': extended_ = !minus; break;
        case 'u': break;
        default: in_.fail("this kind of group is not supported");
      }
    }
    text_ += "(?" + on + (off.empty() ? "" : "-" + off) + ":";
    if (in_.take(":")) return inside(depth, extended);
    if (!in_.take(")")) in_.fail("a ( without )");
    alternatives(depth + 1);
    text_ += ')';
    extended_ = extended;
  }

  /// What comes after an atom that was written from `start`.
  void repeats(std::size_t start) {
    for (int count = 0;; ++count) {
      if (extended_ && skip_blank()) {
        --count;
        continue;
      }
      std::string repeat;
      if (!read_repeat(repeat)) return;
      if (count == kMaxStackedRepeats) in_.fail("too many repetitions of one thing");
      if (count > 0) wrap(start);
      text_ += repeat;
    }
  }

  bool read_repeat(std::string& repeat) {
    for (const std::string_view simple : {"*", "+", "?"}) {
      if (!in_.take(simple)) continue;
      repeat = simple;
      if (in_.take("?"))
        repeat += '?';
      else if (in_.take("+"))
        repeat += '+';
      return true;
    }
    std::uint32_t low = 0, high = 0;
    const std::size_t before = in_.at;
    if (!in_.take("{")) return false;
    const bool has_low = read_count(low), range = in_.take(","),
               has_high = range && read_count(high);
    if ((!has_low && !has_high) || !in_.take("}")) {
      in_.at = before;  // a brace that stands for itself
      return false;
    }
    out_.longest_repeat = std::max({out_.longest_repeat, low, high});
    repeat = "{" + std::to_string(low) + (range ? "," : "") +
             (has_high ? std::to_string(high) : "") + "}";
    if (range && in_.take("?")) repeat += '?';  // {n}? repeats again
    return true;
  }

  bool read_count(std::uint32_t& value) {
    const std::size_t first = in_.at;
    for (; !in_.end() && in_.source[in_.at] >= '0' && in_.source[in_.at] <= '9'; ++in_.at) {
      value = std::min(value * 10 + static_cast<std::uint32_t>(in_.source[in_.at] - '0'), 999'999u);
    }
    return in_.at > first;
  }

  void wrap(std::size_t start) {
    text_.insert(start, "(?:");
    text_ += ')';
    for (auto place = out_.places.rbegin(); place != out_.places.rend() && place->first > start;
         ++place) {
      place->first += 3;
    }
  }

  PatternReader in_;
  PcreSource out_;
  std::string text_;
  bool extended_ = false;
};

}  // namespace

std::size_t PcreSource::place(std::size_t at) const {
  std::size_t found = 0;
  for (const auto& [written, read] : places) {
    if (written > at) break;
    found = read;
  }
  return found;
}

PcreSource pcre_source(std::string_view source, std::string_view place) {
  return Translation(source, place).run();
}

}  // namespace perilune
