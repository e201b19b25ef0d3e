// Pre-tokenizers: what each cuts, as the published library does.
#include "engine/text/cut/pre_tokenizer.h"

#include "engine/base/error.h"
#include "engine/text/unicode/byte_level.h"
#include "tests/catch.h"

using namespace perilune;

namespace {

using Words = std::vector<std::string>;

struct Cut {
  Words words;
  std::vector<TextSpan> spans;
};

Cut cut(const std::string& json, const std::string& text) {
  AlignedText aligned(text);
  std::vector<TextSpan> pieces;
  if (!text.empty()) pieces.push_back({0, aligned.size()});
  read_pre_tokenizer(parse_json(json, "tokenizer.json"))->split(aligned, pieces);
  Cut out;
  for (const TextSpan& piece : pieces) {
    out.words.push_back(aligned.text().substr(piece.first, piece.last - piece.first));
    out.spans.push_back(aligned.origin(piece.first, piece.last));
  }
  return out;
}

}  // namespace

TEST_CASE("every kind of pre-tokenizer") {
  struct Case {
    const char *json, *text;
    Words want;
  };
  const Case cases[] = {
      {R"({"type": "ByteLevel", "add_prefix_space": false})",
       "Hello  you're 42",
       {"Hello", " ", " you", "'re", " 42"}},
      {R"({"type": "ByteLevel", "add_prefix_space": true})", "a b", {" a", " b"}},
      {R"({"type": "ByteLevel", "add_prefix_space": true})", " a", {" a"}},
      {R"({"type": "ByteLevel", "add_prefix_space": true, "use_regex": false})", "a b", {" a b"}},
      {R"({"type": "Whitespace"})", "Hey, man_1!  ok", {"Hey", ",", "man_1", "!", "ok"}},
      {R"({"type": "WhitespaceSplit"})", " a,\u3000b ", {"a,", "b"}},
      {R"({"type": "BertPreTokenizer"})", "don't, stop", {"don", "'", "t", ",", "stop"}},
      {R"({"type": "Digits"})", "a12b3", {"a", "12", "b", "3"}},
      {R"({"type": "Digits", "individual_digits": true})", "a12", {"a", "1", "2"}},
      {R"({"type": "Punctuation"})", "a!!b", {"a", "!", "!", "b"}},
      {R"({"type": "Punctuation", "behavior": "Contiguous"})", "a!!b", {"a", "!!", "b"}},
      {R"({"type": "CharDelimiterSplit", "delimiter": "-"})", "a-b--c", {"a", "b", "c"}},
      {R"({"type": "UnicodeScripts"})", "どこで生れ。Yes", {"どこで生れ", "。", "Yes"}},
      {R"({"type": "UnicodeScripts"})", " a א1カー日", {"a ", "א", "1", "カー日"}},
      {R"({"type": "FixedLength", "length": 2})", "aé日bc", {"aé", "日b", "c"}},
      {R"({"type": "Split", "pattern": {"String": "-"}, "behavior": "Removed"})",
       "a-b--c",
       {"a", "b", "c"}},
      {R"({"type": "Split", "pattern": {"String": "-"}, "behavior": "Isolated"})",
       "a-b--c",
       {"a", "-", "b", "-", "-", "c"}},
      {R"({"type": "Split", "pattern": {"String": "-"}, "behavior": "MergedWithPrevious"})",
       "the-final--countdown",
       {"the-", "final-", "-", "countdown"}},
      {R"({"type": "Split", "pattern": {"String": "-"}, "behavior": "MergedWithNext"})",
       "the-final--countdown",
       {"the", "-final", "-", "-countdown"}},
      {R"({"type": "Split", "pattern": {"String": "-"}, "behavior": "Contiguous"})",
       "the-final--countdown",
       {"the", "-", "final", "--", "countdown"}},
      {R"({"type": "Split", "pattern": {"Regex": "[a-z]+"}, "behavior": "Removed", "invert": true})",
       "ab, cd",
       {"ab", "cd"}},
      {R"({"type": "Metaspace"})", "Hey  you", {"▁Hey", "▁", "▁you"}},
      {R"({"type": "Metaspace", "prepend_scheme": "never"})", "Hey you", {"Hey", "▁you"}},
      {R"({"type": "Metaspace", "add_prefix_space": false})", " Hey", {"▁Hey"}},
      {R"({"type": "Metaspace", "split": false})", "a b", {"▁a▁b"}},
      {R"({"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, {"type": "Metaspace"}]})",
       "a b",
       {"▁a", "▁b"}},
      {R"({"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, {"type": "Metaspace", "prepend_scheme": "first"}]})",
       "a b",
       {"▁a", "b"}},
      {R"({"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": true}, {"type": "ByteLevel", "add_prefix_space": false}]})",
       "a 12",
       {"a", " ", "1", "2"}},
      {R"({"type": "Whitespace"})", "né_1\u0301 ½ⓐ\u200da", {"né_1\u0301", "½", "ⓐ\u200da"}},
      {R"({"type": "BertPreTokenizer"})", "a+b…c\u00a0d", {"a", "+", "b", "…", "c", "d"}},
      // Punctuation of Unicode 9 is none here, what was punctuation in Unicode 8 still is.
      {R"({"type": "BertPreTokenizer"})", "a\u2e43b\u166dc", {"a\u2e43b", "\u166d", "c"}},
      {R"({"type": "Digits", "individual_digits": true})", "½Ⅷ٣", {"½", "Ⅷ", "٣"}},
      {R"({"type": "Punctuation", "behavior": "MergedWithPrevious"})", "a!b.", {"a!", "b."}},
      {R"re({"type": "Split", "pattern": {"Regex": "(?=[A-Z])"}, "behavior": "Isolated"})re",
       "aBcDE",
       {"a", "Bc", "D", "E"}},
      {R"re({"type": "Split", "pattern": {"Regex": "(?=(\\d{3})+(?!\\d))"}, "behavior": "Removed"})re",
       "n 1234567",
       {"n 1", "234", "567"}},
      {R"({"type": "Split", "pattern": {"String": ""}, "behavior": "Isolated"})", "aé", {"a", "é"}},
      {R"({"type": "Split", "pattern": {"Regex": "x*"}, "behavior": "MergedWithPrevious"})",
       "axxb",
       {"axx", "b"}},
      {R"({"type": "Split", "pattern": {"Regex": "\\s+"}, "behavior": "MergedWithNext", "invert": true})",
       "a  b",
       {"a  ", "b"}},
      {R"({"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious"})",
       "a b  c",
       {"a ", "b ", " ", "c"}},
      {R"({"type": "Metaspace", "replacement": "_", "prepend_scheme": "first"})",
       "_a b",
       {"_a", "_b"}},
      {R"({"type": "Metaspace", "prepend_scheme": "always"})", "▁a", {"▁a"}},
      {R"({"type": "Sequence", "pretokenizers": []})", "a b", {"a b"}},
      {R"({"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, {"type": "ByteLevel", "add_prefix_space": true}]})",
       "a b",
       {" a", " b"}},
      // Falcon's
      {R"({"type": "Sequence", "pretokenizers": [{"type": "Punctuation", "behavior": "Contiguous"}, {"type": "ByteLevel", "add_prefix_space": false}, {"type": "Digits"}, {"type": "Split", "pattern": {"Regex": "[0-9][0-9][0-9]"}, "behavior": "Isolated"}]})",
       "it's 12345?!",
       {"it", "'", "s", "Ġ", "123", "45", "?!"}},
      // In the middle of a sequence the bytes are written out.
      {R"({"type": "Sequence", "pretokenizers": [{"type": "ByteLevel", "add_prefix_space": false}, {"type": "Digits", "individual_digits": true}]})",
       "é 12",
       {"Ã©", "Ġ", "1", "2"}},
  };
  for (const Case& test : cases) {
    INFO(test.json << " of " << test.text);
    CHECK(cut(test.json, test.text).words == test.want);
  }
}

TEST_CASE("raw bytes only where the byte level comes last") {
  const auto raw = [](const char* json) {
    return read_pre_tokenizer(parse_json(json, "t"))->raw_bytes();
  };
  CHECK(raw(R"({"type": "ByteLevel"})"));
  CHECK(
      raw(R"({"type": "Sequence", "pretokenizers": [{"type": "Digits"}, {"type": "ByteLevel"}]})"));
  CHECK_FALSE(
      raw(R"({"type": "Sequence", "pretokenizers": [{"type": "ByteLevel"}, {"type": "Digits"}]})"));
  CHECK_FALSE(raw(R"({"type": "Whitespace"})"));
}

TEST_CASE("spans of what was put in and changed") {
  const Cut marked = cut(R"({"type": "Metaspace"})", "é b");
  CHECK(marked.spans == std::vector<TextSpan>{{0, 2}, {2, 4}});
  const Cut spaced = cut(R"({"type": "ByteLevel", "add_prefix_space": true})", "é b");
  CHECK(spaced.spans == std::vector<TextSpan>{{0, 2}, {2, 4}});
  // What the bytes of one character became stands for all of it.
  const Cut written = cut(
      R"({"type": "Sequence", "pretokenizers": [{"type": "ByteLevel", "add_prefix_space": false}, {"type": "Split", "pattern": {"String": "©"}, "behavior": "Isolated"}]})",
      "é 1");
  CHECK(written.words == Words{"Ã", "©", "Ġ1"});
  CHECK(written.spans == std::vector<TextSpan>{{0, 2}, {0, 2}, {2, 4}});
}

TEST_CASE("only the start of the caller's text is a first piece") {
  const auto first = read_pre_tokenizer(
      parse_json(R"({"type": "Metaspace", "prepend_scheme": "first"})", "tokenizer.json"));
  AlignedText later("a b", 7);
  std::vector<TextSpan> pieces{{0, 3}};
  first->split(later, pieces);
  CHECK(later.text() == "a▁b");
  CHECK(later.origin(pieces[1].first, pieces[1].last) == TextSpan{8, 10});
}

TEST_CASE("unknown types and behaviors are errors that name them") {
  const auto message = [](const std::string& json) -> std::string {
    try {
      (void)read_pre_tokenizer(parse_json(json, "tokenizer.json"));
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  CHECK(message(R"({"type": "Wordy"})").find("Wordy") != std::string::npos);
  CHECK(message(R"({"type": "Punctuation", "behavior": "Lost"})").find("Lost") !=
        std::string::npos);
  CHECK(message(R"({"type": "Metaspace", "prepend_scheme": "last"})").find("last") !=
        std::string::npos);
  CHECK(message(R"({"type": "CharDelimiterSplit", "delimiter": "ab"})").find("one character") !=
        std::string::npos);
}

TEST_CASE("the byte-level alphabet is one to one") {
  for (int byte = 0; byte < 256; ++byte) {
    const std::string one(1, static_cast<char>(byte));
    CHECK(bytes_of_byte_level(byte_level_of_bytes(one)) == one);
  }
  CHECK_FALSE(bytes_of_byte_level("漢").has_value());
}
