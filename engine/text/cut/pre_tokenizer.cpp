#include "engine/text/cut/pre_tokenizer.h"

#include <algorithm>

#include "engine/base/error.h"
#include "engine/text/cut/parts.h"
#include "engine/text/cut/script_table.h"
#include "engine/text/pattern/pattern.h"
#include "engine/text/pattern/step_list.h"
#include "engine/text/unicode/byte_level.h"
#include "engine/text/unicode/unicode.h"

namespace perilune {

const char* const kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

namespace {

using Pieces = std::vector<TextSpan>;

/// Cuts at every single character that `is` holds of.
class CharacterSplit final : public PreTokenizer {
 public:
  using Test = bool (*)(char32_t);
  CharacterSplit(Test is, SplitBehavior behavior) : is_(is), behavior_(behavior) {}

  void split(AlignedText& text, Pieces& pieces) const override {
    const std::string& bytes = text.text();
    cut_all(pieces, behavior_, false, [&](TextSpan piece, Pieces& matches) {
      for (std::uint32_t at = piece.first; at < piece.last;) {
        const Character c = character_at(bytes, at);
        if (is_(c.value)) matches.push_back({at, at + c.size});
        at += c.size;
      }
    });
  }

 private:
  Test is_;
  SplitBehavior behavior_;
};

bool is_white_space(char32_t c) {
  return has_flag(c, kWhiteSpace);
}
bool is_number(char32_t c) {
  return has_flag(c, kNumber);
}
/// \w+|[^\w\s]+, what is between goes.
class WordSplit final : public PreTokenizer {
 public:
  void split(AlignedText& text, Pieces& pieces) const override {
    const std::string& bytes = text.text();
    cut_all(pieces, SplitBehavior::removed, true, [&](TextSpan piece, Pieces& matches) {
      int previous = 0;  // 0: white space, 1: word, 2: other
      for (std::uint32_t at = piece.first; at < piece.last;) {
        const Character c = character_at(bytes, at);
        const std::uint16_t flags = character_flags(c.value);
        const int kind = (flags & kWord) != 0 ? 1 : (flags & kWhiteSpace) != 0 ? 0 : 2;
        if (kind != 0 && kind == previous) {
          matches.back().last = at + c.size;
        } else if (kind != 0) {
          matches.push_back({at, at + c.size});
        }
        previous = kind;
        at += c.size;
      }
    });
  }
};

class PatternSplit final : public PreTokenizer {
 public:
  PatternSplit(std::unique_ptr<Pattern> pattern, SplitBehavior behavior, bool invert)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}

  void split(AlignedText& text, Pieces& pieces) const override {
    const std::string& bytes = text.text();
    cut_all(pieces, behavior_, invert_,
            [&](TextSpan piece, Pieces& matches) { pattern_->find(bytes, piece, matches); });
  }

 private:
  std::unique_ptr<Pattern> pattern_;
  SplitBehavior behavior_;
  bool invert_;
};

/// Every so many characters; the last piece may be shorter.
class FixedLength final : public PreTokenizer {
 public:
  explicit FixedLength(std::int64_t length) : length_(length) {}

  void split(AlignedText& text, Pieces& pieces) const override {
    const std::string& bytes = text.text();
    cut_all(pieces, SplitBehavior::isolated, false, [&](TextSpan piece, Pieces& matches) {
      for (std::uint32_t first = piece.first, at = first; at < piece.last; first = at) {
        for (std::int64_t n = 0; n < length_ && at < piece.last; ++n) {
          at += character_at(bytes, at).size;
        }
        matches.push_back({first, at});
      }
    });
  }

 private:
  std::int64_t length_;
};

/// Where the script changes; what stands beside every script goes with what is before it, and is
/// lost at the start, as published.
class ScriptSplit final : public PreTokenizer {
 public:
  void split(AlignedText& text, Pieces& pieces) const override {
    const std::string& bytes = text.text();
    Pieces out;
    for (const TextSpan& piece : pieces) {
      int last = kAnyScript;
      for (std::uint32_t at = piece.first; at < piece.last;) {
        const Character c = character_at(bytes, at);
        const int script = script_of(c.value);
        if (script != kAnyScript && script != last) {
          out.push_back({at, at});
          last = script;
        }
        at += c.size;
        if (last != kAnyScript) out.back().last = at;
      }
    }
    pieces = std::move(out);
  }

 private:
  static int script_of(char32_t value) {
    const auto* after = std::upper_bound(
        std::begin(kScriptRanges), std::end(kScriptRanges), value,
        [](char32_t wanted, const ScriptRange& range) { return wanted < range.first; });
    return (after - 1)->script;
  }
};

/// Puts `prefix` before a piece; both stand for the piece's first character.
std::uint32_t prepend(AlignedTextWriter& writer, const std::string& bytes, TextSpan piece,
                      std::string_view prefix) {
  const std::uint32_t size = character_at(bytes, piece.first).size;
  writer.replace(piece.first, piece.first + size, prefix);
  writer.keep(piece.first, piece.last);
  return static_cast<std::uint32_t>(prefix.size()) + piece.last - piece.first;
}

class ByteLevel final : public PreTokenizer {
 public:
  ByteLevel(bool add_prefix_space, std::vector<std::unique_ptr<Pattern>> patterns)
      : add_prefix_space_(add_prefix_space), patterns_(std::move(patterns)) {}

  void split(AlignedText& text, Pieces& pieces) const override {
    if (add_prefix_space_) add_spaces(text, pieces);
    const std::string& bytes = text.text();
    for (const auto& pattern : patterns_) {
      cut_all(pieces, SplitBehavior::isolated, false,
              [&](TextSpan piece, Pieces& matches) { pattern->find(bytes, piece, matches); });
    }
    if (written_) write_alphabet(text, pieces);
  }
  bool raw_bytes() const override { return !written_; }
  bool adds_prefix_space() const override { return add_prefix_space_; }
  /// What comes after works on the alphabet's characters, not on bytes.
  void write_out() { written_ = true; }

 private:
  static void add_spaces(AlignedText& text, Pieces& pieces) {
    const std::string& bytes = text.text();
    rewrite(text, pieces, [&](AlignedTextWriter& writer, TextSpan piece) {
      if (bytes[piece.first] != ' ') return prepend(writer, bytes, piece, " ");
      writer.keep(piece.first, piece.last);
      return piece.last - piece.first;
    });
  }

  static void write_alphabet(AlignedText& text, Pieces& pieces) {
    const std::string& bytes = text.text();
    rewrite(text, pieces, [&](AlignedTextWriter& writer, TextSpan piece) {
      std::uint32_t size = 0;
      for (std::uint32_t at = piece.first; at < piece.last; ++at) {
        std::string character;
        append_character(character, byte_level_character(static_cast<unsigned char>(bytes[at])));
        writer.replace(at, at + 1, character);
        size += static_cast<std::uint32_t>(character.size());
      }
      return size;
    });
  }

  bool add_prefix_space_, written_ = false;
  std::vector<std::unique_ptr<Pattern>> patterns_;
};

class Metaspace final : public PreTokenizer {
 public:
  enum class Prepend { always, first, never };
  Metaspace(std::string replacement, Prepend scheme, bool split)
      : replacement_(std::move(replacement)),
        mark_(literal_pattern(replacement_)),
        scheme_(scheme),
        split_(split) {}

  void split(AlignedText& text, Pieces& pieces) const override {
    replace_spaces(text, pieces);
    if (!split_) return;
    const std::string& bytes = text.text();
    cut_all(pieces, SplitBehavior::merged_with_next, false,
            [&](TextSpan piece, Pieces& matches) { mark_->find(bytes, piece, matches); });
  }
  bool adds_prefix_space() const override { return scheme_ != Prepend::never; }

 private:
  void replace_spaces(AlignedText& text, Pieces& pieces) const {
    const std::string& bytes = text.text();
    std::vector<bool> prefixed;
    for (const TextSpan& piece : pieces) {
      const bool marked = bytes[piece.first] == ' ' ||
                          bytes.compare(piece.first, replacement_.size(), replacement_) == 0;
      const bool wanted =
          scheme_ == Prepend::always ||
          (scheme_ == Prepend::first && text.origin(piece.first, piece.last).first == 0);
      prefixed.push_back(wanted && !marked);
    }
    std::size_t next = 0;
    rewrite(text, pieces, [&](AlignedTextWriter& writer, TextSpan piece) {
      std::uint32_t size = 0, at = piece.first;
      if (prefixed[next++]) {
        writer.replace(at, at + character_at(bytes, at).size, replacement_);
        size += static_cast<std::uint32_t>(replacement_.size());
      }
      while (at < piece.last) {
        const std::uint32_t space =
            static_cast<std::uint32_t>(std::min<std::size_t>(bytes.find(' ', at), piece.last));
        writer.keep(at, space);
        size += space - at;
        if (space < piece.last) {
          writer.replace(space, space + 1, replacement_);
          size += static_cast<std::uint32_t>(replacement_.size());
        }
        at = std::min(space + 1, piece.last);
      }
      return size;
    });
  }

  std::string replacement_;
  std::unique_ptr<Pattern> mark_;
  Prepend scheme_;
  bool split_;
};

class Sequence final : public PreTokenizer {
 public:
  explicit Sequence(std::vector<std::unique_ptr<PreTokenizer>> steps) : steps_(std::move(steps)) {
    for (std::size_t i = 0; i + 1 < steps_.size(); ++i) {
      if (auto* level = dynamic_cast<ByteLevel*>(steps_[i].get())) level->write_out();
    }
  }
  void split(AlignedText& text, Pieces& pieces) const override {
    for (const auto& step : steps_) step->split(text, pieces);
  }
  bool raw_bytes() const override { return !steps_.empty() && steps_.back()->raw_bytes(); }
  bool adds_prefix_space() const override {
    for (const auto& step : steps_) {
      if (step->adds_prefix_space()) return true;
    }
    return false;
  }

 private:
  std::vector<std::unique_ptr<PreTokenizer>> steps_;
};

SplitBehavior behavior_of(const Json& json, const char* fallback) {
  constexpr std::pair<const char*, SplitBehavior> kNames[] = {
      {"Removed", SplitBehavior::removed},
      {"Isolated", SplitBehavior::isolated},
      {"MergedWithPrevious", SplitBehavior::merged_with_previous},
      {"MergedWithNext", SplitBehavior::merged_with_next},
      {"Contiguous", SplitBehavior::contiguous}};
  const std::string name = json.string("behavior", fallback);
  for (const auto& [known, behavior] : kNames) {
    if (name == known) return behavior;
  }
  throw Error(ErrorCode::unsupported, "tokenizer",
              json.place_of("behavior") + ": \"" + name + "\" is not known")
      .hint(
          "known behaviors are Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous");
}

Metaspace::Prepend scheme_of(const Json& json) {
  const bool old = json.boolean("add_prefix_space", true);
  const std::string scheme = json.string("prepend_scheme", old ? "always" : "never");
  if (scheme == "always") return Metaspace::Prepend::always;
  if (scheme == "first") return Metaspace::Prepend::first;
  if (scheme == "never") return Metaspace::Prepend::never;
  throw Error(ErrorCode::unsupported, "tokenizer",
              json.place_of("prepend_scheme") + ": \"" + scheme + "\" is not known")
      .hint("known schemes are always, first, never");
}

std::string one_character(const Json& json, const char* name, const char* fallback) {
  std::string text = fallback == nullptr ? json.string(name) : json.string(name, fallback);
  if (!text.empty() && character_at(text, 0).size == text.size()) return text;
  throw Error(ErrorCode::format, "tokenizer", json.place_of(name) + ": expected one character");
}

std::unique_ptr<PreTokenizer> characters(CharacterSplit::Test is, SplitBehavior behavior) {
  return std::make_unique<CharacterSplit>(is, behavior);
}

std::unique_ptr<PreTokenizer> read_sequence(const Json& json) {
  std::vector<std::unique_ptr<PreTokenizer>> steps;
  for (const Json& step : steps_of(json.get("pretokenizers"))) {
    if (auto read = read_pre_tokenizer(step)) steps.push_back(std::move(read));
  }
  return std::make_unique<Sequence>(std::move(steps));
}

std::unique_ptr<PreTokenizer> read_byte_level(const Json& json) {
  std::vector<std::string> patterns;
  if (json.boolean("use_regex", true)) patterns.emplace_back(kGpt2Pattern);
  return make_byte_level(json.boolean("add_prefix_space", true), patterns);
}

constexpr const char* kKnown =
    "known types are ByteLevel, Whitespace, WhitespaceSplit, BertPreTokenizer, Metaspace, Split, "
    "Digits, Punctuation, CharDelimiterSplit, FixedLength, UnicodeScripts, "
    "Sequence";

}  // namespace

std::unique_ptr<PreTokenizer> make_byte_level(bool add_prefix_space,
                                              const std::vector<std::string>& patterns) {
  std::vector<std::unique_ptr<Pattern>> compiled;
  compiled.reserve(patterns.size());
  for (const std::string& pattern : patterns) {
    compiled.push_back(regex_pattern(pattern, "pre-tokenizer"));
  }
  return std::make_unique<ByteLevel>(add_prefix_space, std::move(compiled));
}

std::unique_ptr<PreTokenizer> make_bert_pre_tokenizer() {
  std::vector<std::unique_ptr<PreTokenizer>> steps;
  steps.push_back(characters(is_white_space, SplitBehavior::removed));
  steps.push_back(characters(is_published_punctuation, SplitBehavior::isolated));
  return std::make_unique<Sequence>(std::move(steps));
}

std::unique_ptr<PreTokenizer> read_pre_tokenizer(const Json& json) {
  if (json.is_null()) return nullptr;
  const std::string& type = json.string("type");
  if (type == "Sequence") return read_sequence(json);
  if (type == "ByteLevel") return read_byte_level(json);
  if (type == "Whitespace") return std::make_unique<WordSplit>();
  if (type == "WhitespaceSplit") return characters(is_white_space, SplitBehavior::removed);
  if (type == "BertPreTokenizer") return make_bert_pre_tokenizer();
  if (type == "Punctuation")
    return characters(is_published_punctuation, behavior_of(json, "Isolated"));
  if (type == "Digits") {
    const bool single = json.boolean("individual_digits", false);
    return characters(is_number, single ? SplitBehavior::isolated : SplitBehavior::contiguous);
  }
  if (type == "UnicodeScripts") return std::make_unique<ScriptSplit>();
  if (type == "FixedLength") {
    return std::make_unique<FixedLength>(
        json.has("length") ? json.integer_in("length", 1, std::int64_t{1} << 31) : 5);
  }
  if (type == "CharDelimiterSplit") {
    return std::make_unique<PatternSplit>(
        literal_pattern(one_character(json, "delimiter", nullptr)), SplitBehavior::removed, false);
  }
  if (type == "Split") {
    return std::make_unique<PatternSplit>(read_pattern(json.get("pattern")),
                                          behavior_of(json, "Isolated"),
                                          json.boolean("invert", false));
  }
  if (type == "Metaspace") {
    return std::make_unique<Metaspace>(one_character(json, "replacement", "\xE2\x96\x81"),
                                       scheme_of(json), json.boolean("split", true));
  }
  throw Error(ErrorCode::unsupported, "tokenizer",
              json.place_of("type") + ": pre-tokenizer \"" + type + "\" is not known")
      .hint(kKnown);
}

}  // namespace perilune
