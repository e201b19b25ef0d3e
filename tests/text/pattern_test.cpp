// Patterns: the scanners against PCRE2 running the same source, the syntax that is translated, and
// growth on hostile text.
#include "engine/text/pattern/pattern.h"

#include <random>

#include "engine/base/error.h"
#include "engine/text/cut/pre_tokenizer.h"
#include "engine/text/pattern/scanner.h"
#include "engine/text/unicode/unicode.h"
#include "tests/catch.h"

using namespace perilune;

namespace {

using Words = std::vector<std::string>;

#define FOLDED "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define SPACES R"(|\s*[\r\n]+|\s+(?!\S)|\s+)"
#define LETTERS R"(|[^\r\n\p{L}\p{N}]?\p{L}+|)"
#define CAPITALS R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])"
#define SMALL R"([\p{Ll}\p{Lm}\p{Lo}\p{M}])"
#define CASED(TAIL)                                                                               \
  R"([^\r\n\p{L}\p{N}]?)" CAPITALS "*" SMALL "+" TAIL R"(|[^\r\n\p{L}\p{N}]?)" CAPITALS "+" SMALL \
  "*" TAIL

const char* const kSources[] = {
    kGpt2Pattern,
    R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)",
    R"('(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s)",
    FOLDED LETTERS R"(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)" SPACES,
    FOLDED LETTERS R"(\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*)" SPACES,
    FOLDED LETTERS R"(\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*)" SPACES,
    FOLDED LETTERS R"(\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+)" SPACES,
    R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)",
    R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)",
    FOLDED R"(|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*)" SPACES,
    CASED(FOLDED "?") R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*)" SPACES,
    CASED(FOLDED "?") R"(|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*)" SPACES,
    CASED("") R"(|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*)" SPACES,
    R"('s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+)",
    R"(<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+)",
    R"re([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re",
    R"(\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N})))",
    R"(\d{1,3}(?=(?:\d{3})*\b))",
    R"(\s+$)",
    R"(\p{N})",
    R"(\p{N}+)",
    R"(\p{N}{1,3})",
    R"(\d)",
    R"(\d+)",
    "[0-9]",
    "[0-9]+",
    "[0-9][0-9][0-9]",
    R"([\r\n])",
    R"(\s+)",
    R"(\s?\p{L}+)",
    R"(\s?\p{P}+)",
    "[一-龥\u3040-ゟ゠-ヿ]+",
    "[一-龥ࠀ-一가-\uD7FF]+",
};

Words found(const Pattern& pattern, const std::string& text) {
  std::vector<TextSpan> spans;
  pattern.find(text, {0, static_cast<std::uint32_t>(text.size())}, spans);
  Words out;
  for (const TextSpan& span : spans) out.push_back(text.substr(span.first, span.last - span.first));
  return out;
}

std::string random_text(std::mt19937& random) {
  const char* const parts[] = {"a",
                               "Z",
                               "é",
                               "É",
                               "漢",
                               "ſ",
                               "'",
                               "'s",
                               "'S",
                               "'re",
                               "'LL",
                               "'ſ",
                               " ",
                               "  ",
                               "\t",
                               "\n",
                               "\r",
                               "\r\n",
                               "\u00a0",
                               "\u3000",
                               "\u0085",
                               "1",
                               "23",
                               "456",
                               "٣",
                               "Ⅷ",
                               "½",
                               "!",
                               "...",
                               "_",
                               "-",
                               "/",
                               "<|endoftext|>",
                               "<|startoftext|>",
                               "😀",
                               "\u0301",
                               "\u0903",
                               "\u200d",
                               "\u200b",
                               "한",
                               "ن",
                               "$",
                               "\u2028",
                               "K",
                               "ǅ",
                               "ᾈ",
                               "ʰ",
                               "ª",
                               "\x07",
                               "。",
                               "ひ",
                               "²"};
  const std::size_t kinds = random() % 3 == 0 ? 5 : std::size(parts), shift = random();
  std::string text;
  for (std::size_t i = random() % 24; i > 0; --i) {
    text += parts[(shift + random() % kinds) % std::size(parts)];
  }
  return text;
}

std::string message_of(const std::string& source) {
  try {
    regex_pattern(source, "here");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::format);
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("scanners cut as the expressions they stand for") {
  std::mt19937 random(perilune_test::seeded(7));
  for (const char* source : kSources) {
    INFO(source);
    const auto scanner = known_scanner(source);
    REQUIRE(scanner != nullptr);
    CHECK(scanner->scanner());
    const auto regex = pcre_pattern(source, "test");
    for (int i = 0; i < 3000; ++i) {
      const std::string text = random_text(random);
      const Words ours = found(*scanner, text), theirs = found(*regex, text);
      if (ours != theirs) {
        INFO(text);
        REQUIRE(ours == theirs);
      }
    }
  }
}

TEST_CASE("a scanner sees nothing outside of its range") {
  const std::string text = "ab  12ab";
  for (const char* source : kSources) {
    INFO(source);
    std::vector<TextSpan> ours, theirs;
    known_scanner(source)->find(text, {1, 5}, ours);
    pcre_pattern(source, "test")->find(text, {1, 5}, theirs);
    CHECK(ours == theirs);
  }
}

TEST_CASE("characters of Unicode 16 are what they are") {
  // A Han character, a Garay digit, a capital and a small letter.
  CHECK(found(*known_scanner(kGpt2Pattern), "一\U0002EBF0 \U00010D40") ==
        Words{"一\U0002EBF0", " \U00010D40"});
  CHECK(found(*known_scanner(kSources[10]), "a\u1C89\u1C8A") == Words{"a", "\u1C89\u1C8A"});
}

TEST_CASE("ranks' own spelling takes digits in threes at most") {
  // Here {1,3}+ gives nothing back; in tokenizer.json it would repeat a repetition.
  const auto pattern = known_scanner(
      R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s)");
  REQUIRE(pattern != nullptr);
  CHECK(found(*pattern, "12345 it's\n \n b\n  ") ==
        Words{"123", "45", " it", "'s", "\n \n", " b", "\n  "});
}

TEST_CASE("the syntax of published files") {
  struct Case {
    const char *source, *text;
    Words want;
  };
  const Case cases[] = {
      {R"(\s+)", "a\u00a0\u3000b\u0085c\u180ed", {"\u00a0\u3000", "\u0085"}},
      {R"(\w+|z)", "né_1 -\u0301 ⓐ Ⅷ½", {"né_1", "\u0301", "ⓐ", "Ⅷ½"}},
      {R"([\w]+)", "a½", {"a"}},
      {R"([^\W_]+)", "a_b ½", {"a", "b"}},
      {R"([^\S\n]+)", "a \n\tb", {" ", "\t"}},
      {R"([^\s\w]+)", "a, b!?", {",", "!?"}},
      {R"(\bfoo\b)", "foo éfoo foo", {"foo", "foo"}},
      {R"(\h+)", "xyz12fg", {"12f"}},
      {R"(^b)", "a\nb", {"b"}},
      {R"(a$)", "a\na", {"a", "a"}},
      {R"(a\z)", "a\na", {"a"}},
      {R"((?m:a.b))", "a\nb", {"a\nb"}},
      {R"(a.b)", "a\nb a\rb", {"a\rb"}},
      {R"(\O+)", "a\nb", {"a\nb"}},
      {R"((?i:'s))", "'S 's 'ſ", {"'S", "'s", "'ſ"}},
      // An option in the middle reaches over the bar to the end of its group.
      {R"(a(?i)b|c)", "aB C aC", {"aB", "aC"}},
      {R"((?x) a # an (a
           b)",
       "a b ab",
       {"ab"}},
      {R"([^\r\n]+(?=\n))", "ab\ncd", {"ab"}},
      {R"(\p{Han}+)", "ab漢字々。", {"漢字々"}},
      {R"(\p{^L}+|\P{^N})", "a-1", {"-1"}},
      {R"(\p{Alpha}+)", "ab\u0345-", {"ab\u0345"}},
      {R"(\p{Letter}+)", "ab\u0345-", {"ab"}},
      {R"([[:alpha:]]+)", "ab1", {"ab"}},
      {R"([[:punct:]]+)", "a+。", {"+。"}},
      {R"([[:^space:]a]+)", "a b", {"a", "b"}},
      {R"([a-z&&[^b]]+)", "abc", {"a", "c"}},
      {R"([^a-z&&[^b]]+)", "abc1", {"b", "1"}},
      {R"([a[bc]]+)", "abcd", {"abc"}},
      {R"([]a]+|[a\-b-]{3})", "]a--b", {"]a", "--b"}},
      {R"(\u00e9|\x41|\x{42}|\103)", "éABCD", {"é", "A", "B", "C"}},
      {R"(a++b|(?>c+)d)", "aab cccd", {"aab", "cccd"}},
      {R"(x{1,2}+y)", "xxxxy", {"xxxxy"}},
      {R"(x{2}?y)", "xxyy", {"xxy", "y"}},
      {R"(x{,2}y)", "xxxy", {"xxy"}},
      {R"(a**b)", "aab", {"aab"}},
      {R"(\{a}|a{,}|b{1)", "{a}a{,}b{1", {"{a}", "a{,}", "b{1"}},
      {R"(\Qa\E)", "QaE", {"QaE"}},
      {R"((?<x>a|b)\k<x>|(c)\1?)", "abb", {"bb"}},
      {R"(\v)", "\x0b\n", {"\x0b"}},
      {R"(\X)", "e\u0301😀😀🇺🇸\r\n", {"e\u0301", "😀", "😀", "🇺🇸", "\r\n"}},
      // Nothing is found too, but not right after something.
      {R"(x*)", "axxb", {"", "xx", ""}},
      {R"((?=\p{Lu}))", "aBC", {"", ""}},
      {"", "ab", {"", "", ""}},
  };
  for (const Case& test : cases) {
    INFO(test.source << " in " << test.text);
    CHECK(found(*regex_pattern(test.source, "test"), test.text) == test.want);
  }
  CHECK(found(*literal_pattern("aa"), "aaaxaa") == Words{"aa", "aa"});
  CHECK(found(*literal_pattern(""), "é") == Words{"", ""});
}

TEST_CASE("what cannot be read is an error that says where") {
  struct Case {
    const char *source, *want;
  };
  const Case cases[] = {
      {"ab(", "at byte 3"},
      {"a)", "at byte 1"},
      {"é[a", "at byte 4"},
      {"*a", "nothing to repeat"},
      {"a(*LIMIT_MATCH=1)", "nothing to repeat"},
      {"a(?C1)", "not supported"},
      {R"(\Xa)", "not supported"},
      {"(?R)", "not supported"},
      {R"(a\p{Nowhere})", "\"Nowhere\""},
      {R"([a-\d])", "range"},
      {R"(\)", "ends too early"},
      {R"(abc\k<no>)", "at byte 3"},
      {"ab(?<=a+)", "at byte"},
  };
  for (const Case& test : cases) {
    const std::string message = message_of(test.source);
    INFO(test.source << ": " << message);
    CHECK(message.find(test.want) != std::string::npos);
    CHECK(message.find("here") != std::string::npos);
  }
  CHECK_FALSE(message_of(std::string(100000, 'a')).empty());
  CHECK_FALSE(message_of(std::string(5000, '(')).empty());
  CHECK_FALSE(message_of(std::string(5000, '[')).empty());
  CHECK_FALSE(message_of("a" + std::string(5000, '*')).empty());
}

TEST_CASE("an expression that takes too many steps is an error, however it spends them") {
  const std::string spaces(200000, ' '), letters(40, 'a'), long_word(200000, 'a');
  const std::pair<const char*, std::string> cases[] = {
      {"(a+)+b", letters + "cb"},
      {R"( +x)", spaces + "ax"},
      {R"((.+)\1x)", long_word.substr(0, 20000) + "bx"},
      {R"((?=.*x)a)", long_word},
  };
  for (const auto& [source, text] : cases) {
    INFO(source);
    std::vector<TextSpan> spans;
    const auto pattern = regex_pattern(source, "test");
    try {
      pattern->find(text, {0, static_cast<std::uint32_t>(text.size())}, spans);
      FAIL("no error");
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::length);
      CHECK(std::string(error.what()).find(source) != std::string::npos);
    }
    // The next text is not the worse for it.
    CHECK(found(*pattern, "-").empty());
  }
}

TEST_CASE("expressions without a scanner read long texts") {
  std::string words;
  while (words.size() < 400000) words += "aé b";
  const auto pattern = regex_pattern(R"((?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|x)", "test");
  CHECK(found(*pattern, words) == Words{words});
  CHECK(found(*regex_pattern(R"([^\s,]+|,)", "test"), std::string(400000, 'a')).size() == 1);
}

TEST_CASE("a long run of anything is read in one pass") {
  for (const char* source : kSources) {
    const auto pattern = known_scanner(source);
    for (const char* part :
         {"a", "A", " ", "\n", "1", "'", "' ", "a ", " \n", "é", "<", "\u0301", "漢A"}) {
      std::string text;
      while (text.size() < 300000) text += part;  // minutes, were it quadratic
      std::vector<TextSpan> spans;
      pattern->find(text + "x", {0, static_cast<std::uint32_t>(text.size() + 1)}, spans);
      CHECK(spans.size() <= text.size() + 1);
    }
  }
}
