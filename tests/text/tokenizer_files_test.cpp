// Tokenizers from vocab.json with merges.txt, vocab.txt and tiktoken ranks, against golden values
// and against the tokenizer.json of the same model.
#include <sstream>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/base/json.h"
#include "engine/text/readers/open.h"
#include "engine/text/tokenizer/config.h"
#include "engine/text/tokenizer/pipeline.h"
#include "tests/catch.h"
#include "tests/text/text_support.h"

using perilune::EncodeOptions;
using perilune::Encoding;
using perilune::file_exists;
using perilune::Json;
using perilune::Tokenizer;
using namespace perilune_test;

namespace {

const std::string kData = "../shared/data/tokenizers/";
const std::string kGolden = "../shared/golden/text/";

const std::vector<std::string> kTexts = {"",
                                         "Hello, world!",
                                         "  two  spaces and a tab\t.",
                                         "It's naïve — don't you THINK so?",
                                         "東京へ行った。12345 times",
                                         "line\r\nline\n\n\nend ",
                                         "🙂🙃 emoji <s> [SEP] <|endoftext|> <mask> x",
                                         "Ünïcödé ﬁ ligature ²",
                                         "let a = obj.toString();"};

void check_golden(const std::string& name) {
  if (!file_exists(kGolden + name)) PERILUNE_SKIP("../shared/golden is not there");
  std::istringstream rows(perilune::read_file(kGolden + name, 1 << 28));
  std::string line;
  std::getline(rows, line);
  const Json head = perilune::parse_json(line, name);
  perilune::TokenizerLoad options;
  if (head.has("pattern")) options.pattern = head.string("pattern");
  // Every published set of ranks is known by its size, too.
  const std::string path = "../shared/data/" + head.string("tokenizer");
  const auto tokenizer = perilune::load_tokenizer(path, nullptr, options);
  const auto by_size = load(path);
  REQUIRE(tokenizer != nullptr);
  EncodeOptions plain;
  plain.special = plain.recognize = false;
  int count = 0;
  while (std::getline(rows, line)) {
    const Json row = perilune::parse_json(line, name);
    const std::string& text = row.string("text");
    INFO(text);
    const Ids ids = tokenizer->encode(text, plain).ids;
    CHECK(ids == ids_of(row.get("ids")));
    CHECK(by_size->encode(text, plain).ids == ids);
    perilune::DecodeOptions all;
    all.special = true;
    CHECK(tokenizer->decode(ids, all) == row.string("decoded"));
    ++count;
  }
  CHECK(count == 318);
}

// Two readings of one model: ids, types and places of tokens, of texts and of pairs.
void check_same(const Tokenizer& one, const Tokenizer& other) {
  EncodeOptions options;
  options.tokens = true;
  for (const std::string& text : kTexts) {
    INFO(text);
    for (const bool pair : {false, true}) {
      const Encoding a =
          pair ? one.encode_pair(text, "a pair", options) : one.encode(text, options);
      const Encoding b =
          pair ? other.encode_pair(text, "a pair", options) : other.encode(text, options);
      CHECK(a.ids == b.ids);
      CHECK(a.type_ids == b.type_ids);
      REQUIRE(a.tokens.size() == b.tokens.size());
      for (std::size_t i = 0; i < a.tokens.size(); ++i) {
        CHECK(a.tokens[i].first == b.tokens[i].first);
        CHECK(a.tokens[i].last == b.tokens[i].last);
        CHECK(a.tokens[i].special == b.tokens[i].special);
      }
      CHECK(one.decode(a.ids) == other.decode(b.ids));
    }
  }
}

// The vocabulary of a tokenizer.json as the two files that came before it.
void write_bpe_files(const std::string& json_path, const TemporaryFolder& folder) {
  const Json json = perilune::read_json(json_path);
  const Json& model = json.get("model");
  std::string merges = "#version: 0.2\n";
  for (const Json& merge : model.get("merges").items()) merges += merge.as_string() + "\n";
  folder.write("vocab.json", perilune::write_json(model.get("vocab")));
  folder.write("merges.txt", merges);
}

std::string base64_line(const std::string& bytes, int rank) {
  static const char* const kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string line;
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    std::uint32_t bits = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      bits = bits << 8 | (at + i < bytes.size() ? static_cast<unsigned char>(bytes[at + i]) : 0u);
    }
    for (std::size_t i = 0; i < 4; ++i) {
      line += at + i > bytes.size() ? '=' : kAlphabet[bits >> (18 - 6 * i) & 63];
    }
  }
  return line + " " + std::to_string(rank) + "\n";
}

std::string byte_ranks() {
  std::string ranks;
  for (int byte = 0; byte < 256; ++byte) {
    ranks += base64_line(std::string(1, static_cast<char>(byte)), byte);
  }
  return ranks;
}

}  // namespace

TEST_CASE("Golden: GPT-2's vocab.json and merges.txt") {
  check_golden("bytebpe-gpt2.jsonl");
}
TEST_CASE("Golden: Llama 3's ranks") {
  check_golden("tiktoken-llama3.jsonl");
}
TEST_CASE("Golden: Qwen's ranks") {
  check_golden("tiktoken-qwen.jsonl");
}
TEST_CASE("Golden: Whisper's ranks") {
  check_golden("tiktoken-whisper.jsonl");
}

TEST_CASE("vocab.txt alone is BERT's, with the case its entries have") {
  for (const char* name : {"bert-base-cased", "bert-base-uncased"}) {
    const std::string path = kData + name + "/vocab.txt";
    if (!file_exists(path)) PERILUNE_SKIP("../shared/data is not there");
    const auto tokenizer = load(path);
    const bool cased = std::string(name) == "bert-base-cased";
    CHECK(tokenizer->kind() == std::string("wordpiece"));
    CHECK(tokenizer->warnings().size() == (cased ? 1u : 0u));
    const Json cases = perilune::read_json("../shared/data/vectors/transformers-js/Xenova__" +
                                           std::string(name) + ".json");
    for (const Json& one : cases.get("cases").items()) {
      INFO(one.string("text"));
      const Encoding encoding =
          one.has("text_pair") ? tokenizer->encode_pair(one.string("text"), one.string("text_pair"))
                               : tokenizer->encode(one.string("text"));
      CHECK(encoding.ids == ids_of(one.get("ids")));
    }
    CHECK(tokenizer->specials().cls == 101);
    CHECK(tokenizer->specials().pad == 0);
  }
}

TEST_CASE("Old files of a model are read as its tokenizer.json") {
  if (!file_exists(kData + "roberta-base/vocab.json")) PERILUNE_SKIP("../shared/data is not there");
  SECTION("RoBERTa") {
    TemporaryFolder folder;
    folder.copy(kData + "roberta-base/vocab.json");
    folder.copy(kData + "roberta-base/merges.txt");
    folder.write("tokenizer_config.json", R"({"tokenizer_class": "RobertaTokenizer"})");
    check_same(*load(folder.path()), *load(kData + "roberta-base/tokenizer.json"));
  }
  SECTION("RoBERTa by config.json") {
    TemporaryFolder folder;
    folder.copy(kData + "roberta-base/vocab.json");
    folder.copy(kData + "roberta-base/merges.txt");
    folder.write("config.json", R"({"model_type": "roberta"})");
    check_same(*load(folder.path()), *load(kData + "roberta-base/tokenizer.json"));
  }
  SECTION("CLIP") {
    TemporaryFolder folder, whole;
    write_bpe_files(kData + "clip/tokenizer.json", folder);
    folder.copy(kData + "clip/tokenizer_config.json");
    check_same(*load(folder.path()), *load(kData + "clip/tokenizer.json"));
    CHECK(load(folder.path())->model_max_length() == 77);
  }
  SECTION("Whisper") {
    TemporaryFolder folder;
    write_bpe_files(kData + "whisper/tokenizer.json", folder);
    folder.copy(kData + "whisper/tokenizer_config.json");
    check_same(*load(folder.path()), *load(kData + "whisper"));
  }
  SECTION("BERT") {
    TemporaryFolder folder;
    folder.copy(kData + "bert-base-uncased/vocab.txt");
    folder.write("tokenizer_config.json",
                 R"({"tokenizer_class": "BertTokenizer", "do_lower_case": true})");
    check_same(*load(folder.path()), *load(kData + "bert-base-uncased/tokenizer.json"));
  }
}

TEST_CASE("Ranks in a folder: special tokens of the settings, bos as the class puts it") {
  if (!file_exists(kData + "llama3/tokenizer.model")) PERILUNE_SKIP("../shared/data is not there");
  const auto tokenizer = load(kData + "llama3");
  CHECK(tokenizer->kind() == std::string("tiktoken"));
  CHECK(tokenizer->vocab_size() == 128000);
  CHECK(tokenizer->max_id() == 128255);
  CHECK(tokenizer->specials().bos == 128000);
  CHECK(tokenizer->specials().eos == 128009);
  CHECK(tokenizer->encode("Hi<|eot_id|>").ids == Ids{128000, 13347, 128009});
  CHECK(tokenizer->encode_pair("Hi", "Hi").ids == Ids{128000, 13347, 128000, 13347});
  CHECK(tokenizer->decode(Ids{128000, 13347}) == "Hi");
  CHECK(tokenizer->id("<|eot_id|>") == 128009);

  TemporaryFolder qwen;
  qwen.copy(kData + "qwen/qwen.tiktoken");
  qwen.write("tokenizer_config.json",
             perilune::read_file(kData + "qwen/qwen2.5-tokenizer_config.json", 1 << 20));
  const auto second = load(qwen.path());
  CHECK(second->encode("<|im_start|>user").ids == Ids{151644, 872});
  CHECK(second->specials().eos == 151645);
  CHECK(second->specials().pad == 151643);
  CHECK(second->max_id() == 151664);
}

TEST_CASE("Ranks alone bring the tokens that their own library adds, and nothing around") {
  if (!file_exists(kData + "qwen/qwen.tiktoken")) PERILUNE_SKIP("../shared/data is not there");
  const auto qwen = load(kData + "qwen/qwen.tiktoken");
  CHECK(qwen->encode("<|im_start|>user").ids == Ids{151644, 872});
  const auto llama = load(kData + "llama3/tokenizer.model");
  CHECK(llama->encode("Hi").ids == Ids{13347});
}

TEST_CASE("Ranks of nobody we know need a pattern") {
  TemporaryFolder folder;
  folder.write("odd.tiktoken", base64_line("ab", 256) + byte_ranks() + base64_line(" a", 300));
  const std::string path = folder.file("odd.tiktoken");
  CHECK_THAT(message_of([&] { perilune::load_tokenizer(path); }),
             Catch::Matchers::Contains("258 ranks") && Catch::Matchers::Contains("pattern="));
  perilune::TokenizerLoad options;
  options.pattern = "\\S+|\\s";
  const auto tokenizer = perilune::load_tokenizer(path, nullptr, options);
  CHECK(tokenizer->encode("ab a").ids == Ids{256, 32, 97});
  CHECK(tokenizer->max_id() == 300);
}

TEST_CASE("Damaged ranks say which line") {
  const std::string bytes = byte_ranks();
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "no ranks"},
      {"IQ==\n", "line 1"},
      {"IQ== x\n", "not a rank"},
      {"IQ== -1\n", "not a rank"},
      {"IQ== 99999999\n", "ranks are from 0"},
      {"IQ=== 1\n", "cut short"},
      {"I!== 1\n", "not base64"},
      {"==== 1\n", "not base64"},
      {bytes + base64_line("a", 256), "twice"},
      {bytes + base64_line("ab", 255), "same id 255"},
      {base64_line("ab", 0), "byte 0 has no rank"},
  };
  for (const auto& [text, part] : cases) {
    TemporaryFolder folder;
    folder.write("x.tiktoken", text);
    INFO(text.substr(0, 40));
    const std::string pattern = ".";
    CHECK_THAT(message_of([&, &text = text] {
                 perilune::load_tiktoken(folder.file("x.tiktoken"), nullptr, &pattern);
               }),
               Catch::Matchers::Contains(part));
  }
}

TEST_CASE("Damaged vocabularies and merges say where") {
  static const char* const kCases[][3] = {
      {R"({"a": 0})", "a b\n", "needs \"b\""},
      {R"({"a": 0})", "#version: 0.2\n\nab\n", "line 3"},
      {R"({"a": -1})", "", "-1"},
      {R"({"a": 0, "b": 0})", "", "same id"},
      {R"(["a"])", "", "expected"},
      {R"({"a": 0})", "\xFF \xFF\n", "not UTF-8"},
  };
  for (const auto& [vocab, merges, part] : kCases) {
    TemporaryFolder folder;
    folder.write("vocab.json", vocab);
    folder.write("merges.txt", merges);
    INFO(vocab);
    CHECK_THAT(message_of([&] { perilune::load_tokenizer(folder.path()); }),
               Catch::Matchers::Contains(part));
  }
  TemporaryFolder folder;
  folder.write("vocab.txt", "a\nb\n");
  CHECK_THAT(message_of([&] { perilune::load_tokenizer(folder.path()); }),
             Catch::Matchers::Contains("[CLS]"));
}

TEST_CASE("A class that is not known is refused by name") {
  TemporaryFolder bpe, words;
  bpe.write("vocab.json", R"({"a": 0})");
  bpe.write("merges.txt", "");
  bpe.write("tokenizer_config.json", R"({"tokenizer_class": "OwnTokenizer"})");
  words.write("vocab.txt", "[UNK]\n[CLS]\n[SEP]\na\n");
  words.write("tokenizer_config.json", R"({"tokenizer_class": "BertJapaneseTokenizer"})");
  CHECK_THAT(message_of([&] { perilune::load_tokenizer(bpe.path()); }),
             Catch::Matchers::Contains("OwnTokenizer"));
  CHECK_THAT(message_of([&] { perilune::load_tokenizer(words.path()); }),
             Catch::Matchers::Contains("BertJapaneseTokenizer"));
}

TEST_CASE("vocab.txt: lines, settings and roles") {
  const std::string entries =
      "[PAD]\r\n[UNK]\r\n[CLS]\r\n[SEP]\r\n[MASK]\r\nnaive\r\nna\r\n##ïve\r\n好\r\n";
  TemporaryFolder folder;
  folder.write("vocab.txt", entries);
  CHECK(load(folder.path())->encode("NAÏVE [MASK]").ids == Ids{2, 5, 4, 3});
  CHECK(load(folder.path())->encode("好好").ids == Ids{2, 8, 8, 3});
  folder.write("tokenizer_config.json",
               R"({"strip_accents": false, "tokenize_chinese_chars": false, "model_max_length": 9,
                   "cls_token": "[MASK]"})");
  const auto tokenizer = load(folder.path());
  CHECK(tokenizer->encode("NAÏVE").ids == Ids{4, 6, 7, 3});
  CHECK(tokenizer->encode("好好").ids == Ids{4, 1, 3});
  CHECK(tokenizer->model_max_length() == 9);
  CHECK(tokenizer->specials().cls == 4);
}
