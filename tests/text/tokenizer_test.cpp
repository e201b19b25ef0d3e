// SentencePiece tokenizers against their golden values, and what the folder's files change.
#include "engine/text/tokenizer/tokenizer.h"

#include <filesystem>
#include <random>
#include <sstream>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/base/json.h"
#include "engine/text/readers/open.h"
#include "tests/catch.h"
#include "tests/text/text_support.h"

namespace fs = std::filesystem;
using perilune::DecodeOptions;
using perilune::EncodeOptions;
using perilune::Encoding;
using perilune::Error;
using perilune::Json;
using perilune::Tokenizer;
using namespace perilune_test;

namespace {

const std::string kLlama = "tests/golden/llama-gqa";
const std::string kT5 = "tests/golden/t5-gated-untied";

Ids operator+(Ids left, const Ids& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

Ids encode(const Tokenizer& tokenizer, const std::string& text, bool special = false) {
  EncodeOptions options;
  options.special = special;
  return tokenizer.encode(text, options).ids;
}

void check_golden_text(const std::string& name) {
  const std::string path = "../shared/golden/text/sentencepiece-" + name + ".jsonl";
  if (!perilune::file_exists(path)) PERILUNE_SKIP("../shared/golden is not there");
  std::istringstream rows(perilune::read_file(path, 1 << 28));
  std::string line;
  std::getline(rows, line);
  const Json head = perilune::parse_json(line, name);
  const auto tokenizer = load("../shared/data/" + head.string("tokenizer"));
  int count = 0;
  while (std::getline(rows, line)) {
    const Json row = perilune::parse_json(line, name);
    const std::string& text = row.string("text");
    INFO(text);
    EncodeOptions options;
    options.tokens = true;
    const Encoding encoding = tokenizer->encode(text, options);
    CHECK(encoding.ids == ids_of(row.get("ids")));
    CHECK(stream(*tokenizer, encoding.ids) == row.string("decoded"));
    std::size_t before = 0;
    for (const perilune::Token& token : encoding.tokens) {
      REQUIRE(token.first <= token.last);
      REQUIRE(token.first >= std::min(before, token.first));
      REQUIRE(token.last <= text.size());
      before = token.first;
    }
    ++count;
  }
  CHECK(count > 300);
}

}  // namespace

TEST_CASE("golden text: llama2") {
  check_golden_text("llama2-tokenizer");
}
TEST_CASE("golden text: mistral v1") {
  check_golden_text("mistral-l.v1");
}
TEST_CASE("golden text: mistral v7") {
  check_golden_text("mistral-v7m1");
}
TEST_CASE("golden text: t5") {
  check_golden_text("t5-small-spiece");
}
TEST_CASE("golden text: Japanese") {
  check_golden_text("sentencepiece-test-test_ja_model");
}

TEST_CASE("the golden models' texts become their ids") {
  int rows = 0;
  for (const std::string& folder :
       {kLlama, kT5, std::string("tests/golden/mistral-window"),
        std::string("tests/golden/phi3-fused-qkv"), std::string("tests/golden/gemma2-softcap"),
        std::string("tests/golden/t5-relu-tied"), std::string("scripts/models/tales")}) {
    INFO(folder);
    const auto tokenizer = load(folder);
    const Json expected = perilune::read_json(folder + "/expected.json");
    for (const char* list : {"prompts", "forward"}) {
      const Json* cases = expected.find(list);
      if (cases == nullptr) continue;
      for (const Json& row : cases->items()) {
        if (!row.has("text")) continue;
        CHECK(encode(*tokenizer, row.string("text"), true) == ids_of(row.get("ids")));
        CHECK(tokenizer->decode(ids_of(row.get("ids"))) == row.string("text"));
        ++rows;
      }
    }
  }
  CHECK(rows >= 6);
}

TEST_CASE("a Llama folder") {
  const auto tokenizer = load(kLlama);
  CHECK(std::string(tokenizer->kind()) == "sentencepiece");
  CHECK(tokenizer->specials().bos == 1);
  CHECK(tokenizer->specials().eos == 2);
  CHECK(tokenizer->specials().unk == 0);
  CHECK_FALSE(tokenizer->specials().pad);
  CHECK(tokenizer->max_id() == tokenizer->vocab_size() - 1);
  CHECK(tokenizer->max_base_id() == tokenizer->max_id());
  CHECK(tokenizer->piece(1) == "<s>");
  CHECK(tokenizer->id("</s>") == 2);
  CHECK_FALSE(tokenizer->id("no such piece"));
  CHECK(tokenizer->is_special(1));
  CHECK_FALSE(tokenizer->is_special(300));
  CHECK_FALSE(tokenizer->is_special(-1));
  CHECK(tokenizer->is_byte(*tokenizer->id("<0x0A>")));
  CHECK(encode(*tokenizer, "", true) == Ids{1});
  CHECK(encode(*tokenizer, "").empty());
}

TEST_CASE("tokens know their bytes") {
  const auto tokenizer = load(kLlama);
  EncodeOptions options;
  options.tokens = true;
  const std::string text = "of the \xE7\x8C\xAB fact</s>";
  const Encoding encoding = tokenizer->encode(text, options);
  REQUIRE(encoding.tokens.size() == encoding.ids.size());
  CHECK(encoding.tokens[0].id == 1);
  CHECK(encoding.tokens[0].text == -1);
  CHECK(encoding.tokens[0].special);
  CHECK(encoding.tokens[1].first == 0);
  CHECK(tokenizer->piece(encoding.tokens.back().id) == "</s>");
  CHECK(encoding.tokens.back().first == text.size() - 4);
  CHECK(encoding.tokens.back().last == text.size());
  int bytes = 0;
  for (const perilune::Token& token : encoding.tokens) {
    if (!tokenizer->is_byte(token.id)) continue;
    ++bytes;
    CHECK(token.first == 7);
    CHECK(token.last == 10);
  }
  CHECK(bytes == 3);
}

TEST_CASE("special tokens that are written out are recognised") {
  const auto tokenizer = load(kLlama);
  const Ids words = encode(*tokenizer, "of the");
  EncodeOptions plain;
  plain.recognize = false;
  plain.special = false;
  CHECK(encode(*tokenizer, "<s>of the</s>").front() == 1);
  CHECK(encode(*tokenizer, "of the</s>") == words + Ids{2});
  const Ids spelled = tokenizer->encode("<s>of the</s>", plain).ids;
  CHECK(std::count(spelled.begin(), spelled.end(), 1) == 0);
  CHECK(tokenizer->decode(spelled) == "<s>of the</s>");
}

TEST_CASE("legacy decides whether text after a special token gets a space") {
  const std::string model = kLlama + "/tokenizer.model";
  const TemporaryFolder modern, legacy;
  modern.copy(model);
  legacy.copy(model);
  modern.write("tokenizer_config.json",
               R"({"tokenizer_class": "LlamaTokenizer", "legacy": false})");
  legacy.write("tokenizer_config.json", R"({"tokenizer_class": "LlamaTokenizer"})");
  const auto new_style = load(modern.path()), old_style = load(legacy.path());
  CHECK(encode(*new_style, "of the") == encode(*old_style, "of the"));
  CHECK(encode(*old_style, "<s>of the") == Ids{1} + encode(*old_style, "of the"));
  CHECK(encode(*new_style, "<s> of the") == Ids{1} + encode(*new_style, "of the"));
  const Ids glued = encode(*new_style, "<s>of the");
  CHECK(glued != Ids{1} + encode(*new_style, "of the"));
  CHECK(new_style->decode(glued) == "of the");
  CHECK(stream(*new_style, glued, {true, false}) == "<s>of the");
}

TEST_CASE("a T5 folder") {
  const auto tokenizer = load(kT5);
  const std::int32_t base = tokenizer->vocab_size();
  CHECK_FALSE(tokenizer->specials().bos);
  CHECK(tokenizer->specials().eos == 1);
  CHECK(tokenizer->specials().pad == 0);
  CHECK(tokenizer->id("<extra_id_0>") == base + 99);
  CHECK(tokenizer->id("<extra_id_99>") == base);
  CHECK(tokenizer->max_id() == base + 99);
  CHECK(tokenizer->max_base_id() == base - 1);
  const Ids ids = encode(*tokenizer, "was a <extra_id_3> great  loss", true);
  CHECK(ids ==
        encode(*tokenizer, "was a") + Ids{base + 96} + encode(*tokenizer, "great loss") + Ids{1});
  CHECK(tokenizer->decode(ids) == "was a great loss");
  CHECK(tokenizer->decode(ids, {true, false}) == "was a<extra_id_3> great loss</s>");
  EncodeOptions options;
  const Encoding pair = tokenizer->encode_pair("was a", "great loss", options);
  CHECK(pair.ids == encode(*tokenizer, "was a", true) + encode(*tokenizer, "great loss", true));
}

TEST_CASE("settings change what is put in") {
  const TemporaryFolder folder;
  folder.copy(kLlama + "/tokenizer.model");
  folder.write("tokenizer_config.json",
               R"({"tokenizer_class": "LlamaTokenizerFast", "add_bos_token": false,
                   "add_eos_token": true, "bos_token": {"content": "<s>"},
                   "pad_token": "<pad>", "model_max_length": 1000000000000000019884624838656,
                   "added_tokens_decoder": {
                     "500": {"content": "<tool>", "special": true, "rstrip": true},
                     "501": {"content": "<toolbox>", "special": false},
                     "502": {"content": "cat", "single_word": true}}})");
  const auto tokenizer = load(folder.path());
  CHECK_FALSE(tokenizer->model_max_length());
  CHECK(tokenizer->specials().pad == 503);
  CHECK(tokenizer->warnings().size() == 1);
  CHECK(tokenizer->max_id() == 503);
  CHECK(encode(*tokenizer, "<tool>  <toolbox>", true) == Ids{500, 501, 2});
  CHECK(tokenizer->decode(Ids{500, 501, 2}) == "<toolbox>");
  CHECK(tokenizer->decode(Ids{500, 501}, {true, false}) == "<tool><toolbox>");
  CHECK(tokenizer->piece(500) == "<tool>");
  CHECK(tokenizer->id("<toolbox>") == 501);
  const Ids scattered = encode(*tokenizer, "scattered");
  CHECK(std::count(scattered.begin(), scattered.end(), 502) == 0);
  const Ids cat = encode(*tokenizer, "a cat!");
  CHECK(std::count(cat.begin(), cat.end(), 502) == 1);
  const std::vector<std::string> more = {"<tool>", "<new>"};
  CHECK(tokenizer->add(more, true) == Ids{500, 504});
  CHECK(encode(*tokenizer, "<new><tool>") == Ids{504, 500});
}

TEST_CASE("ids that do not exist are refused and change nothing") {
  const auto tokenizer = load(kLlama);
  const std::string message = message_of([&] { tokenizer->decode(Ids{5, 99999}); });
  CHECK(message ==
        "decode: there is no token 99999: ids are 0 to " + std::to_string(tokenizer->max_id()));
  CHECK_THROWS_AS(tokenizer->piece(-1), Error);
  const Ids ids = encode(*tokenizer, "of the fact");
  const auto decoder = tokenizer->decoder({});
  std::string text = decoder->push(ids[0]);
  CHECK_THROWS_AS(decoder->push(-5), Error);
  for (std::size_t i = 1; i < ids.size(); ++i) text += decoder->push(ids[i]);
  CHECK(text + decoder->flush() == "of the fact");
}

TEST_CASE("a decoder that continues keeps the first space") {
  const auto tokenizer = load(kLlama);
  const Ids ids = encode(*tokenizer, "of the fact");
  CHECK(stream(*tokenizer, ids) == "of the fact");
  CHECK(stream(*tokenizer, ids, {false, true}) == " of the fact");
}

TEST_CASE("any bytes are encoded") {
  std::mt19937 random(perilune_test::seeded(5));
  for (const std::string& folder : {kLlama, kT5}) {
    const auto tokenizer = load(folder);
    for (int round = 0; round < 2000; ++round) {
      std::string text;
      for (std::size_t n = random() % 40; n-- > 0;) {
        text +=
            random() % 3 == 0 ? static_cast<char>(random()) : "a b<s>/\xE2\x96\x81"[random() % 10];
      }
      EncodeOptions options;
      options.tokens = true;
      const Encoding encoding = tokenizer->encode(text, options);
      REQUIRE(encoding.tokens.size() == encoding.ids.size());
      for (const perilune::Token& token : encoding.tokens) {
        REQUIRE(token.id >= 0);
        REQUIRE(token.id <= tokenizer->max_id());
        REQUIRE(token.first <= token.last);
        REQUIRE(token.last <= text.size());
      }
      REQUIRE(perilune::is_utf8(tokenizer->decode(encoding.ids)));
    }
  }
}

TEST_CASE("a folder whose tokenizer is not understood says so") {
  struct Case {
    const char* file;
    const char* text;
    const char* reason;
  };
  const std::vector<Case> cases = {
      {"tekken.json", "{}", "tekken.json is not understood yet: the model takes ids"},
      {"README.md", "", "the folder has no tokenizer"},
  };
  for (const Case& c : cases) {
    const TemporaryFolder folder;
    folder.write(c.file, c.text);
    std::string why_not;
    CHECK(perilune::load_tokenizer(folder.path(), &why_not) == nullptr);
    CHECK(why_not.find(c.reason) != std::string::npos);
  }
  const TemporaryFolder albert;
  albert.copy(kT5 + "/spiece.model");
  albert.write("tokenizer_config.json", R"({"tokenizer_class": "AlbertTokenizer"})");
  std::string why_not;
  CHECK(perilune::load_tokenizer(albert.path(), &why_not) == nullptr);
  CHECK(why_not.find("AlbertTokenizer") != std::string::npos);
}

TEST_CASE("bad settings are one clear error") {
  struct Case {
    const char* text;
    const char* part;
  };
  const std::vector<Case> cases = {
      {"[1]", "tokenizer_config.json: expected an object, got a list of 1"},
      {R"({"add_bos_token": "yes"})", "add_bos_token: expected true or false, got \"yes\""},
      {R"({"bos_token": 1})", "bos_token: expected a string, got 1"},
      {R"({"bos_token": ""})", "bos_token: the token is empty"},
      {R"({"bos_token": {"contents": "x"}})", "bos_token: no key \"content\""},
      {R"({"added_tokens_decoder": {"x": {"content": "a"}}})", "\"x\" is not a token id"},
      {R"({"added_tokens_decoder": {"9999999999": {"content": "a"}}})", "is not a token id"},
      {R"({"added_tokens_decoder": {"1999999999": {"content": "a"}}})", "far beyond"},
      {R"({"model_max_length": -1})", "expected a positive number"},
      {R"({"extra_ids": 1000000000})", "is not within 0 to"},
      {R"({"legacy": true, "legacy": false})", "is there twice"},
  };
  for (const Case& c : cases) {
    const TemporaryFolder folder;
    folder.copy(kLlama + "/tokenizer.model");
    folder.write("tokenizer_config.json", c.text);
    const std::string message = message_of([&] { perilune::load_tokenizer(folder.path()); });
    INFO(message);
    CHECK(message.find(c.part) != std::string::npos);
  }
}
