// Token models: what the published implementation answers for small vocabularies, and what a
// damaged file says.
#include "engine/text/vocabulary/token_model.h"

#include "engine/base/error.h"
#include "engine/base/json.h"
#include "tests/catch.h"
#include "tests/text/text_support.h"

using perilune::Error;
using perilune::ModelToken;
using perilune::parse_json;
using perilune::TextSpan;
using perilune::TokenModel;
using Tokens = std::vector<ModelToken>;
using namespace perilune_test;

namespace {

std::unique_ptr<TokenModel> read(const std::string& json, bool raw_bytes = false) {
  return perilune::read_token_model(parse_json(json, "tokenizer.json"), raw_bytes);
}

// "5[0,2) 7[2,3)"
std::string shown(const Tokens& tokens) {
  std::string text;
  for (const ModelToken& token : tokens) {
    text += (text.empty() ? "" : " ") + std::to_string(token.id) + "[" +
            std::to_string(token.first) + "," + std::to_string(token.last) + ")";
  }
  return text;
}

struct BpeCase {
  const char *vocab, *merges, *more, *text, *tokens;
};

// Twice: the second time the model remembers.
void check_tokens(const std::string& json, const std::string& text, const std::string& tokens) {
  INFO(json.substr(0, 400) << "  " << text);
  const auto model = read(json);
  CHECK(shown(tokenize(*model, text)) == tokens);
  CHECK(shown(tokenize(*model, text)) == tokens);
}

std::string bpe(const std::string& vocab, const std::string& merges, const std::string& more = "") {
  return R"({"type": "BPE", "vocab": {)" + vocab + R"(}, "merges": [)" + merges + "]" + more + "}";
}

std::string byte_token(int byte) {
  static const char* const kDigits = "0123456789ABCDEF";
  return std::string("<0x") + kDigits[byte / 16] + kDigits[byte % 16] + ">";
}

std::string all_bytes(int first_id) {
  std::string entries;
  for (int byte = 0; byte < 256; ++byte) {
    entries += ", \"" + byte_token(byte) + "\": " + std::to_string(first_id + byte);
  }
  return entries;
}

constexpr const char* kAbc = R"("<unk>": 0, "a": 1, "b": 2, "c": 3, "ab": 4, "bc": 5, "abc": 6)";

}  // namespace

TEST_CASE("BPE answers as published") {
  constexpr const char* kUnknown = R"(, "unk_token": "<unk>")";
  constexpr const char* kFused = R"(, "unk_token": "<unk>", "fuse_unk": true)";
  constexpr const char* kIgnore = R"(, "ignore_merges": true)";
  constexpr const char* kAbFirst = R"("a b", "ab c", "b c")";
  constexpr const char* kBcFirst = R"(["b", "c"], ["a", "b"])";
  constexpr const char* kAffixed =
      R"("a": 0, "b": 1, "##b": 2, "ab": 3, "##b</w>": 4, "ab</w>": 5, "a</w>": 6)";
  constexpr const char* kAffixMerges = R"("a ##b</w>", "a ##b")";
  constexpr const char* kAffixes =
      R"(, "continuing_subword_prefix": "##", "end_of_word_suffix": "</w>")";
  static const BpeCase kCases[] = {
      {kAbc, kAbFirst, "", "abc", "6[0,3)"},
      {kAbc, kBcFirst, "", "abc", "1[0,1) 5[1,3)"},
      {kAbc, kBcFirst, kIgnore, "abc", "6[0,3)"},
      {kAbc, kBcFirst, kIgnore, "abcabc", "1[0,1) 5[1,3) 1[3,4) 5[4,6)"},
      // Of a pair that is there twice the last counts.
      {kAbc, R"("a b", "b c", "a b")", "", "abc", "1[0,1) 5[1,3)"},
      {kAbc, kAbFirst, kUnknown, "axéb", "1[0,1) 0[1,2) 0[2,4) 2[4,5)"},
      {kAbc, kAbFirst, kFused, "axéb", "1[0,1) 0[1,4) 2[4,5)"},
      // Without an unknown token such characters vanish.
      {kAbc, kAbFirst, "", "axb", "4[0,3)"},
      {kAffixed, kAffixMerges, kAffixes, "ab", "5[0,2)"},
      {kAffixed, kAffixMerges, kAffixes, "abb", "3[0,2) 4[2,3)"},
      // What vanishes leaves the others where they are: no prefix for a first "a" only.
      {kAffixed, kAffixMerges, kAffixes, "xab", "4[2,3)"},
      {R"("a": 0, "a</w>": 1)", "", R"(, "end_of_word_suffix": "</w>")", "a", "1[0,1)"},
      // More than one space in a line of merges: the one way to read it.
      {R"(" ": 0, "  ": 1, "x": 2)", R"("   ")", "", "x  x", "2[0,1) 1[1,3) 2[3,4)"},
      {kAbc, R"("#version: 0.2", "a b")", R"(, "dropout": 0.0)", "ab", "4[0,2)"},
  };
  for (const BpeCase& one : kCases) {
    INFO(one.vocab << one.merges << one.more << "  " << one.text);
    check_tokens(bpe(one.vocab, one.merges, one.more), one.text, one.tokens);
  }
  check_tokens(bpe("\"<unk>\": 0, \"a\": 1" + all_bytes(2), "",
                   R"(, "unk_token": "<unk>", "byte_fallback": true)"),
               "aé", "1[0,1) 197[1,2) 171[2,3)");
}

TEST_CASE("The other models answer as published") {
  constexpr const char* kWordPiece =
      R"({"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
          "max_input_chars_per_word": 5, "vocab": {"[UNK]": 0, "un": 1, "##a": 2, "##ab": 3,
          "##le": 4, "é": 5, "able": 6, "##é": 7}})";
  constexpr const char* kUnigram =
      R"({"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", 0.0], ["b", 0.0],
          ["c", 0.0], ["d", 0.0], ["cd", 1.0], ["ab", 2.0], ["abc", 5.0], ["abcd", 10.0]]})";
  constexpr const char* kTied =
      R"({"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.0], ["aa", -2.0]]})";
  constexpr const char* kWordLevel =
      R"({"type": "WordLevel", "unk_token": "<unk>", "vocab": {"<unk>": 7, "word": 3}})";
  static const char* const kCases[][3] = {
      {kWordPiece, "unable", "0[0,6)"},
      {kWordPiece, "unab", "1[0,2) 3[2,4)"},
      {kWordPiece, "able", "6[0,4)"},
      {kWordPiece, "ééé", "5[0,2) 7[2,4) 7[4,6)"},
      {kWordPiece, "éééééé", "0[0,12)"},
      {kWordPiece, "unx", "0[0,3)"},
      {kUnigram, "abcdacdxx", "8[0,4) 1[4,5) 5[5,7) 0[7,9)"},
      {kTied, "aaaa", "2[0,2) 2[2,4)"},
      {kWordLevel, "word", "3[0,4)"},
      {kWordLevel, "words", "7[0,5)"},
  };
  for (const auto& [model, text, tokens] : kCases) check_tokens(model, text, tokens);
}

TEST_CASE("Unknown runs of a unigram model fall back to bytes together") {
  std::string vocab = R"(["<unk>", 0.0], ["a", -1.0])";
  for (int byte = 0; byte < 256; ++byte) vocab += ", [\"" + byte_token(byte) + "\", -5.0]";
  const auto model =
      read(R"({"type": "Unigram", "unk_id": 0, "byte_fallback": true, "vocab": [)" + vocab + "]}");
  CHECK(shown(tokenize(*model, "aéz")) == "1[0,1) 197[1,4) 171[1,4) 124[1,4)");
  CHECK(model->byte_ids().size() == 256);
}

TEST_CASE("Models without a type are known by their keys") {
  static const char* const kCases[][2] = {
      {R"({"vocab": {"a": 0}, "merges": []})", "bpe"},
      {R"({"vocab": [["<unk>", 0.0]], "unk_id": 0})", "unigram"},
      {R"({"vocab": {"a": 0}, "unk_token": "a", "continuing_subword_prefix": "##",
           "max_input_chars_per_word": 100})",
       "wordpiece"},
      {R"({"vocab": {"a": 0}, "unk_token": "a"})", "wordlevel"},
  };
  for (const auto& [json, kind] : kCases) CHECK(read(json)->kind() == std::string(kind));
}

TEST_CASE("Byte-level vocabularies take bytes and keep their spelling") {
  const auto model = read(
      bpe(R"("Ġ": 0, "a": 1, "Ġa": 2, "Ã": 3, "©": 4, "Ã©": 5, "<|end|>": 6)", R"("Ġ a", "Ã ©")"),
      true);
  CHECK(shown(tokenize(*model, " aé")) == "2[0,2) 5[2,4)");
  CHECK(model->id("Ġa") == 2);
  CHECK(model->id(" a") == std::nullopt);
  CHECK(*model->piece(5) == "Ã©");
  CHECK(model->piece(7) == nullptr);
  CHECK(model->size() == 7);
  CHECK(model->max_id() == 6);
}

TEST_CASE("Damaged models say what is wrong") {
  static const char* const kModels[][2] = {
      {R"({"type": "Neural"})", "Neural"},
      {R"({"type": "BPE", "merges": []})", "vocab"},
      {R"({"type": "WordPiece", "vocab": {}})", "unk_token"},
      {R"({"type": "WordLevel", "vocab": {}})", "unk_token"},
      {R"({"type": "Unigram", "unk_id": 1, "vocab": [["a", 0.0]]})", "unk_id"},
      {R"({"type": "Unigram", "vocab": [["a"]]})", "[piece, score]"},
      {R"({"type": "Unigram", "vocab": [[0.0, "a"]]})", "[piece, score]"},
  };
  for (const auto& [json, part] : kModels) {
    INFO(json);
    CHECK_THAT(message_of([json = json] { read(json); }), Catch::Matchers::Contains(part));
  }
  static const char* const kPairs[][4] = {
      {kAbc, R"("a d")", "", "needs \"d\", which is not in the vocabulary"},
      {kAbc, R"("c b")", "", "needs \"cb\", which is not in the vocabulary"},
      {kAbc, R"("abc")", "", "merges[0]"},
      {kAbc, R"(["a"])", "", "expected"},
      {kAbc, R"(3)", "", "expected"},
      {kAbc, "", R"(, "dropout": 0.1)", "dropout"},
      {R"("a": 0, "b": 0)", "", "", "same id 0"},
      {R"("a": -1)", "", "", "-1"},
      {R"("a": 16777216)", "", "", "16777216"},
      {R"("a": "0")", "", "", "an integer"},
  };
  for (const auto& [vocab, merges, more, part] : kPairs) {
    const std::string json = bpe(vocab, merges, more);
    INFO(json);
    CHECK_THAT(message_of([&] { read(json); }), Catch::Matchers::Contains(part));
  }
}

TEST_CASE("A word that needs a missing unknown token is an error, others are not") {
  for (const char* json :
       {R"({"type": "BPE", "unk_token": "<unk>", "vocab": {"a": 0}, "merges": []})",
        R"({"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": {"a": 0}})",
        R"({"type": "Unigram", "vocab": [["a", -1.0]]})",
        R"({"type": "WordLevel", "unk_token": "<unk>", "vocab": {"a": 0}})"}) {
    INFO(json);
    const auto model = read(json);
    CHECK(shown(tokenize(*model, "a")) == "0[0,1)");
    CHECK_THAT(message_of([&] { tokenize(*model, "x"); }), Catch::Matchers::Contains("unknown"));
  }
}

TEST_CASE("Pieces are told apart by their number") {
  const auto model = read(bpe(kAbc, R"("a b")"));
  const std::string text = "abc ab";
  const std::vector<TextSpan> pieces = {{0, 3}, {4, 6}};
  Tokens tokens;
  model->tokenize(text, pieces, tokens);
  REQUIRE(shown(tokens) == "4[0,2) 3[2,3) 4[4,6)");
  CHECK(tokens[0].word == 0);
  CHECK(tokens[1].word == 0);
  CHECK(tokens[2].word == 1);
}
