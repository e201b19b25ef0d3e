// Merging by pairs and by ranks against the definition, its growth with the text, and threads.
#include <algorithm>
#include <map>
#include <random>
#include <thread>

#include "engine/base/json.h"
#include "engine/text/vocabulary/token_model.h"
#include "tests/catch.h"
#include "tests/text/text_support.h"

using perilune::BpeOptions;
using perilune::ModelToken;
using perilune::TextSpan;
using perilune::TokenModel;
using perilune::Vocabulary;
using Tokens = std::vector<ModelToken>;
using Merges = std::vector<std::pair<std::string, std::string>>;
using namespace perilune_test;

namespace {

std::vector<std::int32_t> ids_of(const Tokens& tokens) {
  std::vector<std::int32_t> ids;
  for (const ModelToken& token : tokens) ids.push_back(token.id);
  return ids;
}

// Joins as the definition says: again and again the pair of the lowest rank, the leftmost first.
std::vector<std::string> merge_naively(
    std::vector<std::string> parts,
    const std::map<std::pair<std::string, std::string>, int>& ranks) {
  for (;;) {
    int lowest = -1;
    std::size_t where = 0;
    for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
      const auto found = ranks.find({parts[i], parts[i + 1]});
      if (found == ranks.end() || (lowest >= 0 && found->second >= lowest)) continue;
      lowest = found->second;
      where = i;
    }
    if (lowest < 0) return parts;
    parts[where] += parts[where + 1];
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(where) + 1);
  }
}

std::vector<std::string> letters_of(const std::string& text) {
  std::vector<std::string> letters;
  for (const char c : text) letters.emplace_back(1, c);
  return letters;
}

std::string random_text(std::mt19937& random, int letters, std::size_t size) {
  std::string text;
  for (std::size_t i = 0; i < size; ++i)
    text.push_back(static_cast<char>('a' + random() % letters));
  return text;
}

// Letters a to f and random merges of what is there.
struct RandomBpe {
  Vocabulary vocabulary;
  Merges merges;
  std::map<std::string, std::int32_t> ids;
  std::map<std::pair<std::string, std::string>, int> ranks;

  explicit RandomBpe(std::mt19937& random) {
    for (char c = 'a'; c < 'g'; ++c) add(std::string(1, c));
    for (int i = 0; i < 60; ++i) {
      const std::string left = vocabulary[random() % vocabulary.size()].first;
      const std::string right = vocabulary[random() % vocabulary.size()].first;
      if (left.size() + right.size() > 12 || ranks.count({left, right}) > 0) continue;
      ranks[{left, right}] = static_cast<int>(merges.size());
      merges.emplace_back(left, right);
      if (ids.count(left + right) == 0) add(left + right);
    }
  }
  void add(const std::string& piece) {
    ids[piece] = static_cast<std::int32_t>(vocabulary.size());
    vocabulary.emplace_back(piece, ids[piece]);
  }
};

}  // namespace

TEST_CASE("Merging by any length of text is merging by the definition") {
  for (unsigned seed = 0; seed < 40; ++seed) {
    std::mt19937 random(seed);
    RandomBpe made(random);
    const auto model = perilune::make_bpe(made.vocabulary, made.merges, BpeOptions{}, "random");
    for (const std::size_t size : {1, 2, 3, 5, 9, 16, 17, 33, 100, 255, 256, 257, 700}) {
      const std::string text = random_text(random, 6, size);
      INFO("seed " << seed << " " << text);
      std::vector<std::int32_t> expected;
      for (const auto& part : merge_naively(letters_of(text), made.ranks)) {
        expected.push_back(made.ids[part]);
      }
      REQUIRE(ids_of(tokenize(*model, text)) == expected);
    }
  }
}

TEST_CASE("Ranks alone are merged by the rank of what two parts give") {
  for (unsigned seed = 0; seed < 20; ++seed) {
    std::mt19937 random(seed);
    Vocabulary ranks;
    std::map<std::string, int> rank_of;
    const auto add = [&](const std::string& bytes) {
      if (!rank_of.emplace(bytes, static_cast<int>(ranks.size())).second) return;
      ranks.emplace_back(bytes, static_cast<std::int32_t>(ranks.size()));
    };
    for (int byte = 0; byte < 256; ++byte) add(std::string(1, static_cast<char>(byte)));
    for (int i = 0; i < 80; ++i) add(random_text(random, 3, 2 + random() % 4));
    std::shuffle(ranks.begin(), ranks.end(), random);  // any order of lines
    const auto model = perilune::make_rank_bpe(ranks, "ranks");
    CHECK(model->size() == static_cast<std::int32_t>(ranks.size()));
    for (const std::size_t size : {1, 3, 4, 20, 90, 300}) {
      const std::string text = random_text(random, 3, size);
      std::map<std::pair<std::string, std::string>, int> pairs;
      for (const auto& [bytes, rank] : rank_of) {
        for (std::size_t at = 1; at < bytes.size(); ++at) {
          pairs[{bytes.substr(0, at), bytes.substr(at)}] = rank;
        }
      }
      std::vector<std::int32_t> expected;
      if (rank_of.count(text) > 0) {
        expected.push_back(rank_of[text]);
      } else {
        for (const auto& part : merge_naively(letters_of(text), pairs)) {
          expected.push_back(rank_of[part]);
        }
      }
      INFO("seed " << seed << " " << text);
      REQUIRE(ids_of(tokenize(*model, text)) == expected);
    }
  }
}

TEST_CASE("One word of a million letters takes about n log n") {
  std::mt19937 random(7);
  RandomBpe made(random);
  const auto merging = perilune::make_bpe(made.vocabulary, made.merges, BpeOptions{}, "random");
  const auto scoring = perilune::read_token_model(
      perilune::parse_json(
          R"({"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.0], ["aa", -1.5]]})",
          "growth"),
      false);
  // Squared growth would take hours, and the test's time limit would tell.
  for (const TokenModel* model : {merging.get(), scoring.get()}) {
    for (const int letters : {1, 6}) {
      CHECK(!tokenize(*model, random_text(random, letters, 1000000)).empty());
    }
  }
}

TEST_CASE("Threads share a model") {
  std::mt19937 random(3);
  RandomBpe made(random);
  const auto model = perilune::make_bpe(made.vocabulary, made.merges, BpeOptions{}, "random");
  const auto fresh = perilune::make_bpe(made.vocabulary, made.merges, BpeOptions{}, "random");
  std::vector<std::string> texts;
  std::vector<std::vector<std::int32_t>> expected;
  for (int i = 0; i < 200; ++i) {
    texts.push_back(random_text(random, 6, 1 + random() % 20));
    expected.push_back(ids_of(tokenize(*fresh, texts.back())));
  }
  std::vector<int> wrong(4, 0);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t i = 0; i < texts.size(); ++i) {
        const std::size_t at = (i * 7 + t * 31) % texts.size();
        if (ids_of(tokenize(*model, texts[at])) != expected[at]) ++wrong[t];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == std::vector<int>(4, 0));
}
