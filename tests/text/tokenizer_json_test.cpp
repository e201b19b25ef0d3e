// tokenizer.json against golden values, and what its blocks do.
#include <filesystem>
#include <sstream>

#include "engine/base/file.h"
#include "engine/base/json.h"
#include "engine/text/tokenizer/tokenizer.h"
#include "tests/catch.h"
#include "tests/text/text_support.h"

namespace fs = std::filesystem;
using perilune::EncodeOptions;
using perilune::Encoding;
using perilune::Json;
using perilune::Token;
using perilune::Tokenizer;
using namespace perilune_test;

namespace {

Ids encode(const Tokenizer& tokenizer, const std::string& text, bool special = true) {
  EncodeOptions options;
  options.special = special;
  return tokenizer.encode(text, options).ids;
}

std::string decode(const Tokenizer& tokenizer, const Ids& ids, bool special = false) {
  return tokenizer.decode(ids, {special, false});
}

// The number of the character that begins at each byte; of the end, their count.
std::vector<std::int64_t> character_numbers(const std::string& text) {
  std::vector<std::int64_t> numbers;
  std::int64_t count = -1;
  for (const char c : text) {
    if ((static_cast<unsigned char>(c) & 0xC0) != 0x80) ++count;
    numbers.push_back(count);
  }
  numbers.push_back(count + 1);
  return numbers;
}

std::vector<Json> rows_of(const std::string& path) {
  std::istringstream lines(perilune::read_file(path, 1 << 28));
  std::vector<Json> rows;
  for (std::string line; std::getline(lines, line);) {
    rows.push_back(perilune::parse_json(line, perilune::base_name(path)));
  }
  return rows;
}

void check_offsets(const std::string& text, const Encoding& encoding, const Json& row) {
  const auto numbers = character_numbers(text);
  const Json& offsets = row.get("offsets");
  const Ids special = ids_of(row.get("special"));
  REQUIRE(encoding.tokens.size() == offsets.size());
  for (std::size_t i = 0; i < offsets.size(); ++i) {
    const Token& token = encoding.tokens[i];
    INFO("token " << i);
    CHECK((token.text < 0) == (special[i] == 1));
    CHECK(numbers[token.first] == offsets.at(i).at(0).as_integer());
    // The published place of a character that was put together is its first one's alone.
    std::size_t next = i + 1;
    const std::int64_t first = offsets.at(i).at(0).as_integer();
    while (next < offsets.size() && offsets.at(next).at(0).as_integer() <= first) ++next;
    const auto last = static_cast<std::int64_t>(numbers[token.last]);
    CHECK(last >= offsets.at(i).at(1).as_integer());
    if (last != offsets.at(i).at(1).as_integer() && next < offsets.size()) {
      CHECK(last <= offsets.at(next).at(0).as_integer());
    }
  }
}

void check_golden_row(const Tokenizer& tokenizer, const Json& row) {
  const std::string& text = row.string("text");
  INFO(text);
  EncodeOptions options;
  options.tokens = true;
  const Encoding encoding = tokenizer.encode(text, options);
  CHECK(encoding.ids == ids_of(row.get("ids")));
  CHECK(encode(tokenizer, text) == encoding.ids);
  if (row.has("plain_ids")) CHECK(encode(tokenizer, text, false) == ids_of(row.get("plain_ids")));
  if (row.has("offsets")) check_offsets(text, encoding, row);
  CHECK(decode(tokenizer, encoding.ids) == row.string("decoded"));
  if (row.has("decoded_all")) {
    CHECK(decode(tokenizer, encoding.ids, true) == row.string("decoded_all"));
  }
}

std::vector<std::string> golden_files(const std::string& prefix) {
  std::vector<std::string> files;
  const fs::path folder = "../shared/golden/text";
  if (!fs::exists(folder)) return files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().filename().string().rfind(prefix, 0) == 0) {
      files.push_back(entry.path().string());
    }
  }
  return files;
}

}  // namespace

TEST_CASE("golden text: ids, places and decoded text of every file") {
  const auto files = golden_files("tokenizer-");
  if (files.empty()) PERILUNE_SKIP("../shared/golden is not there");
  CHECK(files.size() >= 6);
  for (const std::string& file : files) {
    INFO(file);
    const auto rows = rows_of(file);
    const auto tokenizer = load("../shared/data/" + rows.at(0).string("tokenizer"));
    CHECK(rows.size() > 300);
    for (std::size_t i = 1; i < rows.size(); ++i) check_golden_row(*tokenizer, rows[i]);
  }
}

TEST_CASE("golden pairs: ids, type ids and which text a token is of") {
  const auto files = golden_files("pairs-");
  if (files.empty()) PERILUNE_SKIP("../shared/golden is not there");
  EncodeOptions options;
  options.tokens = true;
  for (const std::string& file : files) {
    INFO(file);
    const auto rows = rows_of(file);
    const auto tokenizer = load("../shared/data/" + rows.at(0).string("tokenizer"));
    for (std::size_t i = 1; i < rows.size(); ++i) {
      INFO("row " << i);
      const Encoding encoding =
          tokenizer->encode_pair(rows[i].string("text"), rows[i].string("pair"), options);
      CHECK(encoding.ids == ids_of(rows[i].get("ids")));
      Ids types = encoding.type_ids, sequence;
      types.resize(encoding.ids.size(), 0);
      CHECK(types == ids_of(rows[i].get("type_ids")));
      for (const Token& token : encoding.tokens) sequence.push_back(token.text);
      CHECK(sequence == ids_of(rows[i].get("sequence")));
    }
  }
}

TEST_CASE("golden models: every text becomes its ids") {
  int checked = 0;
  for (const auto& entry : fs::directory_iterator("tests/golden")) {
    const std::string folder = entry.path().string();
    if (!fs::exists(folder + "/tokenizer.json")) continue;
    INFO(folder);
    const auto tokenizer = load(folder);
    const Json expected = perilune::read_json(folder + "/expected.json");
    for (const char* key : {"prompts", "forward"}) {
      const Json* list = expected.find_value(key);
      for (std::size_t i = 0; list != nullptr && i < list->size(); ++i) {
        const Json& row = list->at(i);
        const Json* text = row.find_value("text");
        if (text == nullptr || row.find_value("ids") == nullptr) continue;
        Ids ids;
        if (text->is_string()) {
          ids = encode(*tokenizer, text->as_string());
        } else if (text->size() == 1) {
          ids = encode(*tokenizer, text->at(0).as_string());
        } else {
          ids = tokenizer->encode_pair(text->at(0).as_string(), text->at(1).as_string()).ids;
        }
        CHECK(ids == ids_of(row.get("ids")));
        ++checked;
      }
    }
  }
  CHECK(checked > 60);
}

TEST_CASE("vectors of another implementation") {
  const std::string vectors = "../shared/data/vectors/transformers-js/";
  const std::string data = "../shared/data/tokenizers/";
  if (!fs::exists(vectors)) PERILUNE_SKIP("../shared/data is not there");
  const std::vector<std::pair<const char*, const char*>> pairs = {
      {"Xenova__all-distilroberta-v1", "roberta-base/tokenizer.json"},
      {"Xenova__bert-base-uncased", "bert-base-uncased/tokenizer.json"},
      {"Xenova__distilbert-base-uncased-finetuned-sst-2-english",
       "bert-base-uncased/tokenizer.json"},
      {"Xenova__clip-vit-base-patch16", "clip/tokenizer.json"},
      {"Xenova__t5-small", "t5-small/tokenizer.json"},
  };
  for (const auto& [name, path] : pairs) {
    const Json file = perilune::read_json(vectors + name + ".json");
    const auto tokenizer = load(data + path);
    INFO(name);
    for (const Json& row : file.get("cases").items()) {
      INFO(row.string("name"));
      const Json* pair = row.find_value("text_pair");
      const std::string& text = row.string("text");
      const Encoding encoding = pair != nullptr ? tokenizer->encode_pair(text, pair->as_string())
                                                : tokenizer->encode(text);
      CHECK(encoding.ids == ids_of(row.get("ids")));
    }
  }
}
