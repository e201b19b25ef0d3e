// General regular expressions: the syntax of published tokenizer files (Oniguruma's Ruby flavour)
// turned into PCRE2's, run with limits on steps and memory.
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <string>

#include "engine/error.h"
#include "engine/text/scanner.h"

namespace perilune {
namespace {

constexpr std::size_t kMaxSource = 1 << 16;
constexpr std::uint32_t kSteps = 20'000'000, kHeapKib = 64 << 10;

struct FreeCode {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};
struct FreeMatch {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};
struct FreeContext {
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};

/// What a class escape is in PCRE2: outside of a class, and inside.
struct Escape {
  char name;
  const char *outside, *inside;
};
// Word characters are what the published library takes for such: Latin-1's small digits and
// fractions too.
constexpr Escape kEscapes[] = {
    {'s', R"(\p{White_Space})", R"(\p{White_Space})"},
    {'S', R"(\P{White_Space})", R"(\P{White_Space})"},
    {'w', R"([\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{B2}\x{B3}\x{B9}\x{BC}-\x{BE}])",
     R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{B2}\x{B3}\x{B9}\x{BC}-\x{BE})"},
    {'W', R"([^\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{B2}\x{B3}\x{B9}\x{BC}-\x{BE}])", nullptr},
    {'h', "[0-9a-fA-F]", "0-9a-fA-F"},
    {'H', "[^0-9a-fA-F]", nullptr},
};

// POSIX classes inside a class, as the published library has them.
constexpr std::pair<const char*, const char*> kPosix[] = {
    {"[:punct:]", R"(\p{P}\p{S})"},
    {"[:alpha:]", R"(\p{Alphabetic})"},
    {"[:alnum:]", R"(\p{Alphabetic}\p{Nd})"},
    {"[:word:]", R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})"},
};

// Names of scripts: a character has one script, and does not count for others it is used with.
constexpr std::string_view kScripts[] = {
    "Han",    "Hiragana", "Katakana", "Hangul",     "Latin",    "Greek",    "Cyrillic", "Arabic",
    "Hebrew", "Thai",     "Lao",      "Devanagari", "Bengali",  "Tamil",    "Telugu",   "Khmer",
    "Common", "Myanmar",  "Tibetan",  "Georgian",   "Ethiopic", "Armenian", "Mongolian"};

/// \p{Han} or \P{Han} at `at`: appends its PCRE2 form and returns where it ends; else returns `at`.
std::size_t translate_script(const std::string& source, std::size_t at, std::string& out) {
  if (source.compare(at + 2, 1, "{") != 0) return at;
  for (const std::string_view script : kScripts) {
    const std::string name = std::string(script) + "}";
    if (source.compare(at + 3, name.size(), name) != 0) continue;
    out += source.substr(at, 3) + "sc:" + name;
    return at + 3 + name.size();
  }
  return at;
}

/// Appends what the escape at `at` (its backslash) means; returns where it ends.
std::size_t translate_escape(const std::string& source, std::size_t at, bool in_class,
                             std::string& out) {
  if (at + 1 >= source.size()) {
    out += '\\';
    return at + 1;
  }
  const char name = source[at + 1];
  for (const Escape& escape : kEscapes) {
    const char* with = in_class ? escape.inside : escape.outside;
    if (escape.name != name || with == nullptr) continue;
    out += with;
    return at + 2;
  }
  if (name == 'p' || name == 'P') {
    const std::size_t end = translate_script(source, at, out);
    if (end != at) return end;
  }
  if (name == 'u' && at + 6 <= source.size() && source[at + 2] != '{') {
    out += "\\x{" + source.substr(at + 2, 4) + "}";
    return at + 6;
  }
  if (name == 'u') {
    out += "\\x";
    return at + 2;
  }
  out += source.substr(at, 2);
  return at + 2;
}

/// (?m) is "dot takes newlines" there, (?s) here.
std::size_t translate_group(const std::string& source, std::size_t at, std::string& out) {
  out += "(?";
  at += 2;
  for (; at < source.size() &&
         (source[at] == 'm' || source[at] == 'i' || source[at] == 'x' || source[at] == '-');
       ++at) {
    out += source[at] == 'm' ? 's' : source[at];
  }
  return at;
}

std::string translate(const std::string& source) {
  std::string out;
  int depth = 0;  // of nested classes
  for (std::size_t at = 0; at < source.size();) {
    const char c = source[at];
    if (c == '\\') {
      at = translate_escape(source, at, depth > 0, out);
      continue;
    }
    if (depth == 0 && c == '(' && source.compare(at, 2, "(?") == 0) {
      at = translate_group(source, at, out);
      continue;
    }
    const bool posix = depth > 0 && c == '[' && at + 1 < source.size() && source[at + 1] == ':';
    if (c == '[' && !posix) ++depth;
    if (posix) {  // [:alpha:] up to its end
      const std::size_t end = source.find(":]", at);
      if (end != std::string::npos) {
        std::string name = source.substr(at, end + 2 - at);
        for (const auto& [posix_name, with] : kPosix) {
          if (name == posix_name) name = with;
        }
        out += name;
        at = end + 2;
        continue;
      }
    }
    if (c == ']' && depth > 0) --depth;
    out += c;
    ++at;
  }
  return out;
}

std::string message_of(int code) {
  PCRE2_UCHAR text[256];
  const int length = pcre2_get_error_message(code, text, sizeof text);
  return length < 0 ? "error " + std::to_string(code) : reinterpret_cast<const char*>(text);
}

class PcrePattern final : public Pattern {
 public:
  PcrePattern(const std::string& source, std::string_view place) : source_(source) {
    if (source.size() > kMaxSource) {
      throw Error(ErrorCode::format, "tokenizer",
                  std::string(place) + ": a pattern of " + std::to_string(source.size()) +
                      " bytes; at most " + std::to_string(kMaxSource) + " are read");
    }
    const std::string translated = translate(source);
    int code = 0;
    PCRE2_SIZE offset = 0;
    code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                              PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                              &code, &offset, nullptr));
    if (code_ == nullptr) {
      throw Error(ErrorCode::format, "tokenizer",
                  std::string(place) + ": the pattern \"" + source + "\" cannot be read: " +
                      message_of(code) + " (near character " + std::to_string(offset) + ")");
    }
    pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE);  // where there is none it is interpreted
    context_.reset(pcre2_match_context_create(nullptr));
    if (context_ == nullptr) throw Error(ErrorCode::memory, "tokenizer", "no memory for a pattern");
    pcre2_set_match_limit(context_.get(), kSteps);
    pcre2_set_depth_limit(context_.get(), 1 << 16);
    pcre2_set_heap_limit(context_.get(), kHeapKib);
  }

  void find(std::string_view text, TextSpan range, std::vector<TextSpan>& out) const override {
    const std::string_view part = text.substr(range.first, range.last - range.first);
    const std::unique_ptr<pcre2_match_data, FreeMatch> data(pcre2_match_data_create(1, nullptr));
    if (data == nullptr) throw Error(ErrorCode::memory, "tokenizer", "no memory for a match");
    for (std::size_t at = 0; at < part.size();) {
      const int found = match(part, at, data.get());
      if (found == PCRE2_ERROR_NOMATCH) return;
      const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(data.get());
      const std::size_t first = ends[0], last = ends[1];
      if (last > first) {
        out.push_back({range.first + static_cast<std::uint32_t>(first),
                       range.first + static_cast<std::uint32_t>(last)});
      }
      at = last > at ? last : next_character(part, std::max(at, last));
    }
  }

 private:
  int match(std::string_view part, std::size_t at, pcre2_match_data* data) const {
    const int found = pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(part.data()),
                                  part.size(), at, PCRE2_NO_UTF_CHECK, data, context_.get());
    if (found < 0 && found != PCRE2_ERROR_NOMATCH) {
      throw Error(
          ErrorCode::length, "tokenizer",
          "the pattern \"" + source_ + "\" takes too many steps on this text: " + message_of(found))
          .hint("encode the text in parts");
    }
    return found;
  }

  static std::size_t next_character(std::string_view part, std::size_t at) {
    do {
      ++at;
    } while (at < part.size() && (static_cast<unsigned char>(part[at]) & 0xC0) == 0x80);
    return at;
  }

  std::string source_;
  std::unique_ptr<pcre2_code, FreeCode> code_;
  std::unique_ptr<pcre2_match_context, FreeContext> context_;
};

}  // namespace

std::unique_ptr<Pattern> pcre_pattern(const std::string& source, std::string_view place) {
  return std::make_unique<PcrePattern>(source, place);
}

}  // namespace perilune
