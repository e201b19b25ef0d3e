// Published test vectors of llama.cpp and ggml, each over every file of that vocabulary there is.
#include <algorithm>
#include <filesystem>
#include <sstream>

#include "engine/base/file.h"
#include "engine/text/readers/open.h"
#include "engine/text/tokenizer/tokenizer.h"
#include "tests/catch.h"

using namespace perilune;
using Ids = std::vector<std::int32_t>;

namespace {

Ids encode(const Tokenizer& tokenizer, std::string_view text) {
  EncodeOptions options;
  options.special = false;
  return tokenizer.encode(text, options).ids;
}

struct Vector {
  std::string text;
  Ids ids;
};

std::vector<Vector> llama_cpp_vectors(const std::string& path) {
  const std::string texts = read_file(path + ".inp", 1 << 20);
  std::istringstream lines(read_file(path + ".out", 1 << 20));
  const std::string separator = "\n__ggml_vocab_test__\n";
  std::vector<Vector> vectors;
  std::size_t at = 0;
  for (std::string line; std::getline(lines, line);) {
    const std::size_t end = std::min(texts.find(separator, at), texts.size());
    std::istringstream numbers(line);
    vectors.push_back({texts.substr(at, end - at), {}});
    for (std::int32_t id = 0; numbers >> id;) vectors.back().ids.push_back(id);
    at = std::min(end + separator.size(), texts.size());
  }
  return vectors;
}

std::vector<Vector> ggml_vectors(const std::string& path) {
  std::istringstream lines(read_file(path, 1 << 20));
  std::vector<Vector> vectors;
  for (std::string line; std::getline(lines, line);) {
    const std::size_t at = line.rfind(" => ");
    if (at == std::string::npos) continue;
    std::string list = line.substr(at + 4);
    std::replace(list.begin(), list.end(), ',', ' ');
    std::istringstream numbers(list);
    vectors.push_back({line.substr(0, at), {}});
    for (std::int32_t id = 0; numbers >> id;) vectors.back().ids.push_back(id);
  }
  return vectors;
}

// Texts with `apart` in them are known to differ, and must: "" for none.
void compare(const Tokenizer& tokenizer, const std::vector<Vector>& vectors,
             const std::string& apart = "") {
  for (const Vector& vector : vectors) {
    INFO(vector.text);
    const bool known = !apart.empty() && vector.text.find(apart) != std::string::npos;
    CHECK((encode(tokenizer, vector.text) == vector.ids) == !known);
    if (known) CHECK(tokenizer.decode(vector.ids) == vector.text);
  }
}

}  // namespace

TEST_CASE("published vectors of llama.cpp") {
  const std::string data = "../shared/data/";
  if (!std::filesystem::is_directory(data + "vectors/llama-cpp")) {
    PERILUNE_SKIP("no reference values: vectors/llama-cpp");
  }
  const std::vector<std::pair<const char*, const char*>> cases = {
      {"llama-spm", "gguf/ggml-vocab-llama-spm.gguf"},
      {"phi-3", "gguf/ggml-vocab-phi-3.gguf"},
      {"gpt-2", "gguf/ggml-vocab-gpt-2.gguf"},
      {"bert-bge", "gguf/ggml-vocab-bert-bge.gguf"},
      {"llama-spm", "llama2/tokenizer.model"},
      {"gpt-2", "gpt2/vocab.json"},
      {"bert-bge", "bert-base-uncased/tokenizer.json"},
      {"llama-bpe", "llama3/tokenizer.model"},
      {"qwen2", "qwen/qwen.tiktoken"},
      {"roberta-bpe", "roberta-base/tokenizer.json"},
  };
  for (const auto& [name, file] : cases) {
    INFO(file);
    const auto tokenizer = load_tokenizer(data + "tokenizers/" + file);
    REQUIRE(tokenizer != nullptr);
    const auto vectors = llama_cpp_vectors(data + "vectors/llama-cpp/ggml-vocab-" + name + ".gguf");
    CHECK(vectors.size() == 46);
    compare(*tokenizer, vectors);
  }
}

TEST_CASE("published vectors of ggml") {
  const std::string data = "../shared/data/";
  if (!std::filesystem::is_directory(data + "vectors/ggml-prompts")) {
    PERILUNE_SKIP("no reference values: vectors/ggml-prompts");
  }
  struct Case {
    const char *name, *file, *apart;
  };
  const std::vector<Case> cases = {
      {"gpt-2", "gpt2/vocab.json", ""},
      {"gpt-2", "gguf/ggml-vocab-gpt-2.gguf", ""},
      {"gpt-j", "gpt2/vocab.json", ""},
      // These were made without the first merge, a space and t, which was taken for a heading.
      {"whisper", "whisper/multilingual.tiktoken", " t"},
  };
  for (const Case& c : cases) {
    INFO(c.name << ", " << c.file);
    const auto tokenizer = load_tokenizer(data + "tokenizers/" + c.file);
    REQUIRE(tokenizer != nullptr);
    const auto vectors = ggml_vectors(data + "vectors/ggml-prompts/" + c.name + ".txt");
    CHECK(vectors.size() == 100);
    compare(*tokenizer, vectors, c.apart);
  }
}
