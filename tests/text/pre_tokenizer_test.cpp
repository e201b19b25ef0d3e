// Pre-tokenizers: what each cuts, as the published library does.
#include "engine/text/pre_tokenizer.h"

#include "engine/error.h"
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
