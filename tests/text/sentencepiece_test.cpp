// SentencePiece models of every kind against the published library, which only this test knows.
#include <sentencepiece_processor.h>

#include <random>

#include "engine/base/file.h"
#include "engine/text/sentencepiece/file.h"
#include "engine/text/tokenizer/sentencepiece.h"
#include "tests/catch.h"
#include "tests/text/text_support.h"

using perilune::DecodeOptions;
using perilune::EncodeOptions;
using perilune::Encoding;
using perilune::SentencePieceModel;
using perilune::SentencePieceTokenizer;
using namespace perilune_test;

namespace {

using Type = SentencePieceModel::Type;
using Algorithm = SentencePieceModel::Algorithm;

const std::string kLlama = "tests/golden/llama-gqa";
const std::string kT5 = "tests/golden/t5-gated-untied";
const std::string kSpace = "\xE2\x96\x81";

/// Ids and places equal to the library's. It gives a character's place to the last of its bytes
/// only; we give it to each.
bool as_library(const SentencePieceTokenizer& ours, sentencepiece::SentencePieceProcessor& library,
                const std::string& text) {
  EncodeOptions options;
  options.tokens = true;
  const Encoding encoding = ours.encode(text, options);
  const auto theirs = library.EncodeAsImmutableProto(text);
  if (encoding.ids.size() != theirs.pieces_size()) return false;
  for (std::size_t i = 0; i < encoding.ids.size(); ++i) {
    const auto piece = theirs.pieces(static_cast<int>(i));
    const perilune::Token& token = encoding.tokens[i];
    if (static_cast<std::uint32_t>(token.id) != piece.id() || token.first != piece.begin()) {
      return false;
    }
    const bool inner = ours.is_byte(token.id) && piece.end() == piece.begin();
    if (!inner && token.last != piece.end()) return false;
  }
  return true;
}

std::unique_ptr<SentencePieceTokenizer> both(const SentencePieceModel& model,
                                             sentencepiece::SentencePieceProcessor& library) {
  const std::string bytes = model.serialize();
  REQUIRE(library.LoadFromSerializedProto(bytes).ok());
  return std::make_unique<SentencePieceTokenizer>(perilune::parse_sentencepiece(bytes, "a.model"),
                                                  "a.model");
}

/// Pieces over few letters, so that most neighbours may join; scores that are often equal.
class RandomModel {
 public:
  explicit RandomModel(std::uint32_t seed) : random_(seed) {}

  SentencePieceModel make() {
    SentencePieceModel model;
    const Algorithm all[] = {Algorithm::bpe, Algorithm::bpe, Algorithm::bpe, Algorithm::word,
                             Algorithm::character};
    model.algorithm = all[random_() % 5];
    model.byte_fallback = coin();
    model.add_dummy_prefix = coin();
    model.remove_extra_whitespaces = coin();
    model.escape_whitespaces = random_() % 8 != 0;
    model.whitespace_as_suffix = random_() % 8 == 0;
    put(model, "<unk>", Type::unknown);
    put(model, "<s>", Type::control);
    for (int byte = 0; model.byte_fallback && byte < 256; ++byte) {
      char spelling[8];
      std::snprintf(spelling, sizeof spelling, "<0x%02X>", byte);
      put(model, spelling, Type::byte);
    }
    const bool unused = random_() % 4 == 0, user = coin();
    for (std::size_t n = 4 + random_() % 40; n-- > 0;) {
      const std::uint32_t draw = random_() % 8;
      Type type = Type::normal;
      if (draw == 0 && unused) type = Type::unused;
      if (draw == 1 && user) type = Type::user_defined;
      put(model, text(1 + random_() % 4), type);
    }
    return model;
  }

  std::string text(std::size_t letters) {
    static const std::string kLetters[] = {
        "a", "b", "c", kSpace, "\xC3\xA9", "1", "\n", "\xE7\x8C\xAB", "\xF0\x9F\x98\x80"};
    std::string out;
    while (letters-- > 0) out += kLetters[random_() % std::size(kLetters)];
    return out;
  }

  std::string sentence() {
    std::string out;
    for (std::size_t n = random_() % 12; n-- > 0;) {
      out += text(random_() % 5);
      if (coin()) out += ' ';
      if (random_() % 16 == 0) out += "\xFFz";
    }
    return out;
  }

 private:
  bool coin() { return random_() % 2 == 0; }

  void put(SentencePieceModel& model, const std::string& piece, Type type) {
    for (const auto& known : model.pieces) {
      if (known.text == piece) return;
    }
    const float score = -static_cast<float>(random_() % 12);
    model.pieces.push_back({piece, type == Type::user_defined && coin() ? 0.0f : score, type});
  }

  std::mt19937 random_;
};

}  // namespace

TEST_CASE("random models of pairs, words and characters") {
  RandomModel random(perilune_test::seeded(21));
  for (int round = 0; round < 400; ++round) {
    const SentencePieceModel model = random.make();
    sentencepiece::SentencePieceProcessor library;
    const auto ours = both(model, library);
    for (int i = 0; i < 25; ++i) {
      const std::string text = random.sentence();
      INFO("round " << round << ": " << text);
      REQUIRE(as_library(*ours, library, text));
    }
  }
}

TEST_CASE("books by models of pairs, line by line and whole") {
  const std::vector<std::pair<std::string, std::size_t>> models = {
      {"scripts/models/tales/tokenizer.model", 40000},
      {"tests/golden/gemma2-softcap/tokenizer.model", 40000},
      {"../shared/data/tokenizers/llama2/tokenizer.model", 400000}};
  for (const auto& [path, most] : models) {
    if (!perilune::file_exists(path)) continue;
    sentencepiece::SentencePieceProcessor library;
    const auto ours =
        both(perilune::parse_sentencepiece(perilune::read_file(path, 1 << 28), path), library);
    for (const char* book : {"frankenstein.txt", "wagahaiwa_nekodearu.txt", "blns.txt"}) {
      const std::string file = std::string("../shared/data/corpora/") + book;
      if (!perilune::file_exists(file)) PERILUNE_SKIP("../shared/data is not there");
      const std::string text = perilune::read_file(file, 1 << 28).substr(0, most);
      INFO(path << " " << book);
      CHECK(as_library(*ours, library, text));
      std::size_t at = 0;
      while (at < text.size()) {
        const std::size_t end = std::min(text.find('\n', at), text.size());
        const std::string line = text.substr(at, end - at);
        INFO(line);
        REQUIRE(as_library(*ours, library, line));
        at = end + 1;
      }
    }
  }
}

TEST_CASE("any ids decode as the library decodes them, streamed or not") {
  for (const std::string& path : {kLlama + "/tokenizer.model", kT5 + "/spiece.model"}) {
    const auto tokenizer = load(path);
    sentencepiece::SentencePieceProcessor library;
    REQUIRE(library.Load(path).ok());
    std::mt19937 random(perilune_test::seeded(3));
    for (int round = 0; round < 3000; ++round) {
      Ids ids;
      for (std::size_t n = random() % 12; n-- > 0;) {
        // Bytes, which make broken characters, half of the time.
        const std::uint32_t limit = random() % 2 == 0 ? 260 : 384;
        ids.push_back(static_cast<std::int32_t>(
            random() % std::min<std::uint32_t>(limit, tokenizer->vocab_size())));
      }
      std::string expected;
      REQUIRE(library.Decode(ids, &expected).ok());
      REQUIRE(tokenizer->decode(ids) == expected);
      REQUIRE(stream(*tokenizer, ids) == expected);
      const DecodeOptions with_special{true, false};
      REQUIRE(stream(*tokenizer, ids, with_special) == tokenizer->decode(ids, with_special));
    }
  }
}

TEST_CASE("our unigram segmentation is the library's, ties apart") {
  const std::string path = kT5 + "/spiece.model";
  const auto tokenizer = load(path);
  sentencepiece::SentencePieceProcessor library;
  REQUIRE(library.Load(path).ok());
  const std::vector<std::string> parts = {" ",
                                          "the ",
                                          "was",
                                          "ing",
                                          "\xEF\xBC\xA1",
                                          "\xE2\x91\xA0",
                                          "e\xCC\x81",
                                          "\xE7\x8C\xAB",
                                          "\xFF",
                                          "\t",
                                          "1",
                                          "\xC2\xA0",
                                          "\xEF\xB7\xBA",
                                          "\xE2\x80\x8B",
                                          "Gutenberg",
                                          "</s>"};
  std::mt19937 random(perilune_test::seeded(9));
  int ties = 0;
  constexpr int kRounds = 5000;
  for (int round = 0; round < kRounds; ++round) {
    std::string text;
    for (std::size_t n = random() % 20; n-- > 0;) text += parts[random() % parts.size()];
    EncodeOptions options;
    options.tokens = true;
    const Encoding ours = tokenizer->encode(text, options);
    const auto theirs = library.EncodeAsImmutableProto(text);
    if (ours.ids.size() != theirs.pieces_size() ||
        !std::equal(ours.ids.begin(), ours.ids.end(), library.EncodeAsIds(text).begin())) {
      ++ties;
      continue;
    }
    for (std::size_t i = 0; i < ours.ids.size(); ++i) {
      REQUIRE(ours.tokens[i].first == theirs.pieces(static_cast<int>(i)).begin());
      REQUIRE(ours.tokens[i].last == theirs.pieces(static_cast<int>(i)).end());
    }
  }
  CHECK(ties < kRounds / 50);
}
