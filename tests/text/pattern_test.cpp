// Patterns: the scanners against PCRE2 running the same source, the syntax that is translated, and
// growth on hostile text.
#include "engine/text/pattern.h"

#include <random>

#include "engine/error.h"
#include "engine/text/pre_tokenizer.h"
#include "engine/text/scanner.h"
#include "engine/text/unicode.h"
#include "tests/catch.h"

using namespace perilune;

namespace {

const char* const kSources[] = {
    kGpt2Pattern,
    R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)",
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
    R"(<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+)",
};

std::vector<std::string> found(const Pattern& pattern, const std::string& text) {
  std::vector<TextSpan> spans;
  pattern.find(text, {0, static_cast<std::uint32_t>(text.size())}, spans);
  std::vector<std::string> out;
  for (const TextSpan& span : spans) out.push_back(text.substr(span.first, span.last - span.first));
  return out;
}

std::string random_text(std::mt19937& random) {
  const char* const parts[] = {
      "a",  "Z",      "é",      "漢", "ſ",  "'",  "'s",     "'S",     "'re",    "'LL",
      "'ſ", " ",      "  ",     "\t", "\n", "\r", "\r\n",   "\u00a0", "\u3000", "\u0085",
      "1",  "23",     "٣",      "Ⅷ",  "½",  "!",  "...",    "_",      "-",      "<|endoftext|>",
      "😀",  "\u0301", "\u200d", "한", "ن",  "$",  "\u2028", "K"};
  std::string text;
  const std::size_t length = random() % 24;
  for (std::size_t i = 0; i < length; ++i) text += parts[random() % std::size(parts)];
  return text;
}

}  // namespace

TEST_CASE("scanners cut as the expressions they stand for") {
  std::mt19937 random(7);
  for (const char* source : kSources) {
    const auto scanner = known_scanner(source);
    REQUIRE(scanner != nullptr);
    CHECK(scanner->scanner());
    const auto regex = pcre_pattern(source, "test");
    for (int i = 0; i < 20000; ++i) {
      const std::string text = random_text(random);
      const auto ours = found(*scanner, text), theirs = found(*regex, text);
      if (ours != theirs) {
        INFO(source << "\n" << text);
        REQUIRE(ours == theirs);
      }
    }
  }
}

TEST_CASE("the syntax of published files") {
  struct Case {
    const char *source, *text;
    std::vector<std::string> want;
  };
  const Case cases[] = {
      {R"(\s+)", "a\u00a0\u3000b\u0085c", {"\u00a0\u3000", "\u0085"}},
      {R"(\w+)", "né_1 -\u0301", {"né_1", "\u0301"}},
      {R"([^\s\w]+)", "a, b!?", {",", "!?"}},
      {R"(\h+)", "xyz12fg", {"12f"}},
      {R"(^b)", "a\nb", {"b"}},
      {R"((?m:a.b))", "a\nb", {"a\nb"}},
      {R"(a.b)", "a\nb", {}},
      {R"([^\r\n]+(?=\n))", "ab\ncd", {"ab"}},
      {R"(\p{Han}+)", "ab漢字", {"漢字"}},
      {R"(\u00e9)", "é", {"é"}},
      {R"(a++b)", "aab", {"aab"}},
      {R"([[:alpha:]]+)", "ab1", {"ab"}},
      {R"(x*)", "axxb", {"xx"}},
  };
  for (const Case& test : cases) {
    INFO(test.source << " in " << test.text);
    CHECK(found(*regex_pattern(test.source, "test"), test.text) == test.want);
  }
  CHECK(found(*literal_pattern("aa"), "aaaxaa") == std::vector<std::string>{"aa", "aa"});
}

TEST_CASE("what cannot be read is an error, what takes too long too") {
  CHECK_THROWS_AS(regex_pattern("(", "test"), Error);
  CHECK_THROWS_AS(regex_pattern("[a", "test"), Error);
  CHECK_THROWS_AS(regex_pattern(std::string(100000, 'a'), "test"), Error);
  const auto slow = regex_pattern("(a+)+$b", "test");
  const std::string text(64, 'a');
  std::vector<TextSpan> spans;
  try {
    slow->find(text, {0, 64}, spans);
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::length);
  }
}

TEST_CASE("a million of anything is read in one pass") {
  for (const char* source : kSources) {
    const auto pattern = known_scanner(source);
    for (const char* part : {"a", " ", "\n", "1", "'", "' ", "a ", " \n", "é", "<"}) {
      std::string text;
      while (text.size() < 1000000) text += part;
      std::vector<TextSpan> spans;
      pattern->find(text, {0, static_cast<std::uint32_t>(text.size())}, spans);
      CHECK(spans.size() <= text.size());
    }
  }
}
