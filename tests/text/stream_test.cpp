// Stop strings, UTF-8 across tokens, clean-up of spaces: the same result however the text is cut.
#include <random>

#include "engine/base/error.h"
#include "engine/text/decode/stop_matcher.h"
#include "engine/text/decode/stream_decoder.h"
#include "tests/catch.h"

using perilune::StopMatcher;
using perilune::Utf8Buffer;
using perilune::Utf8Replacement;

namespace {

using Random = std::mt19937;

std::size_t below(Random& random, std::size_t limit) {
  return random() % limit;
}

// Cuts `text` at random places.
std::vector<std::string> cut(const std::string& text, Random& random) {
  std::vector<std::string> parts;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = 1 + below(random, below(random, 2) == 0 ? 2 : 9);
    parts.push_back(text.substr(at, length));
    at += length;
  }
  return parts;
}

// The first end of any stop string, straight from the definition.
struct Expected {
  std::string text;
  int index = -1;
};

Expected search(const std::string& text, const std::vector<std::string>& stops) {
  for (std::size_t end = 1; end <= text.size(); ++end) {
    int found = -1;
    for (std::size_t i = 0; i < stops.size(); ++i) {
      const std::string& stop = stops[i];
      const bool here =
          stop.size() <= end && text.compare(end - stop.size(), stop.size(), stop) == 0;
      if (here && (found < 0 || stop.size() > stops[static_cast<std::size_t>(found)].size())) {
        found = static_cast<int>(i);
      }
    }
    if (found >= 0) {
      return {text.substr(0, end - stops[static_cast<std::size_t>(found)].size()), found};
    }
  }
  return {text, -1};
}

std::string utf8_of(const std::string& bytes, Utf8Replacement replacement, Random* random) {
  Utf8Buffer buffer(replacement);
  std::string out;
  if (random == nullptr) {
    buffer.push(bytes, out);
  } else {
    for (const std::string& part : cut(bytes, *random)) buffer.push(part, out);
  }
  buffer.flush(out);
  return out;
}

std::string replace_all(std::string text, const std::string& pattern, const std::string& with) {
  for (std::size_t at = 0; (at = text.find(pattern, at)) != text.npos; at += with.size()) {
    text.replace(at, pattern.size(), with);
  }
  return text;
}

}  // namespace

TEST_CASE("a stop string ends the text before it") {
  StopMatcher matcher({"\n\n", "END"});
  CHECK(matcher.push("Hello") == "Hello");
  CHECK(matcher.push(" E") == " ");
  CHECK(matcher.push("N") == "");
  CHECK(matcher.push("G\n") == "ENG");
  CHECK_FALSE(matcher.matched());
  CHECK(matcher.push("\nmore") == "");
  CHECK(matcher.matched());
  CHECK(matcher.matched_index() == 0);
  CHECK(matcher.matched_text() == "\n\n");
  CHECK(matcher.push("x") == "");
  CHECK(matcher.flush() == "");
}

TEST_CASE("held text comes out at the end") {
  StopMatcher matcher({"</s>"});
  CHECK(matcher.push("a </") == "a ");
  CHECK(matcher.flush() == "</");
  CHECK(matcher.push("s>") == "s>");
  matcher.reset();
  CHECK(matcher.push("</s>") == "");
  CHECK(matcher.matched());
}

TEST_CASE("no stop strings hold nothing; an empty one is refused") {
  StopMatcher matcher;
  CHECK(matcher.push("abc") == "abc");
  CHECK(matcher.flush() == "");
  CHECK_THROWS_AS(StopMatcher({"a", ""}), perilune::Error);
}

TEST_CASE("of two stops that end together the longer one counts") {
  StopMatcher matcher({"b", "ab"});
  CHECK(matcher.push("xab") == "x");
  CHECK(matcher.matched_index() == 1);
}

TEST_CASE("a stop matcher does not depend on where the text is cut") {
  Random random(7);
  int matches = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string text;
    for (std::size_t n = below(random, 30); n-- > 0;) text += "ab\xC3\xA9"[below(random, 4)];
    std::vector<std::string> stops(1 + below(random, 3));
    for (std::string& stop : stops) {
      for (std::size_t n = 1 + below(random, 5); n-- > 0;) stop += "ab\xC3\xA9"[below(random, 4)];
    }
    const Expected expected = search(text, stops);
    StopMatcher matcher(stops);
    std::string got;
    for (const std::string& part : cut(text, random)) {
      got += matcher.push(part);
      // Nothing that is released may be taken back.
      REQUIRE(expected.text.compare(0, got.size(), got) == 0);
    }
    got += matcher.flush();
    REQUIRE(got == expected.text);
    REQUIRE(matcher.matched() == (expected.index >= 0));
    if (expected.index >= 0) {
      ++matches;
      REQUIRE(matcher.matched_text() == stops[static_cast<std::size_t>(expected.index)]);
    }
  }
  CHECK(matches > 5000);
}

TEST_CASE("bytes that are not UTF-8 are replaced") {
  struct Case {
    const char* bytes;
    const char* by_byte;
    const char* by_subpart;
  };
  const std::vector<Case> cases = {
      {"a\xC3\xA9z", "aéz", "aéz"},
      {"\xF0\x9F\x98\x80", "😀", "😀"},
      {"\xF0\x9F\x98", "\uFFFD\uFFFD\uFFFD", "\uFFFD"},
      {"\xE2\x82"
       "A",
       "\uFFFD\uFFFD"
       "A",
       "\uFFFD"
       "A"},
      {"\xC0\x80", "\uFFFD\uFFFD", "\uFFFD\uFFFD"},
      {"\xED\xA0\x80", "\uFFFD\uFFFD\uFFFD", "\uFFFD\uFFFD\uFFFD"},
      {"\xF4\x90\x80\x80", "\uFFFD\uFFFD\uFFFD\uFFFD", "\uFFFD\uFFFD\uFFFD\uFFFD"},
      {"\x80"
       "b\xFF",
       "\uFFFD"
       "b\uFFFD",
       "\uFFFD"
       "b\uFFFD"},
      {"\xE1\x80\xE2\xF0\x91\x92\xF1\xBF"
       "A",
       "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFDA",
       "\uFFFD\uFFFD\uFFFD\uFFFD"
       "A"},  // Unicode, table 3-11
  };
  for (const Case& c : cases) {
    CHECK(utf8_of(c.bytes, Utf8Replacement::byte, nullptr) == c.by_byte);
    CHECK(utf8_of(c.bytes, Utf8Replacement::subpart, nullptr) == c.by_subpart);
  }
}

TEST_CASE("UTF-8 does not depend on where the bytes are cut") {
  Random random(11);
  for (int round = 0; round < 20000; ++round) {
    std::string bytes;
    for (std::size_t n = below(random, 12); n-- > 0;) {
      bytes +=
          "\xE2\x96\x81"
          "a\xF0\x9F\x98\x80\xC3\xA9\xFF\xED\xA0"[below(random, 13)];
    }
    for (const auto replacement : {Utf8Replacement::byte, Utf8Replacement::subpart}) {
      Utf8Buffer buffer(replacement);
      std::string got;
      for (const std::string& part : cut(bytes, random)) {
        std::string out;
        buffer.push(part, out);
        REQUIRE(perilune::is_utf8(out));
        got += out;
      }
      buffer.flush(got);
      REQUIRE(got == utf8_of(bytes, replacement, nullptr));
      REQUIRE(perilune::is_utf8(got));
    }
  }
}

TEST_CASE("the clean-up of spaces equals the published replacements") {
  const std::vector<std::pair<std::string, std::string>> rules = {
      {" .", "."},     {" ?", "?"},   {" !", "!"},   {" ,", ","},     {" ' ", "'"},
      {" n't", "n't"}, {" 'm", "'m"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  Random random(13);
  const std::vector<std::string> words = {" ",  ".",  "?", "'", "n't", "m",
                                          "'s", "ve", "a", ",", " '"};
  for (int round = 0; round < 20000; ++round) {
    std::string text;
    for (std::size_t n = below(random, 16); n-- > 0;) text += words[below(random, words.size())];
    std::string expected = text;
    for (const auto& [pattern, with] : rules) expected = replace_all(expected, pattern, with);
    perilune::StreamCleanUp clean;
    std::string got;
    for (const std::string& part : cut(text, random)) clean.push(part, got);
    clean.flush(got);
    REQUIRE(got == expected);
  }
}
