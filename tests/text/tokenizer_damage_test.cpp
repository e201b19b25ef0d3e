// Damaged tokenizer files of three kinds. SentencePiece's packaged library crashes on some; ours
// may not. The work is done in child processes, so that a crash is counted and not only suffered.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/files/gguf/head.h"
#include "engine/text/readers/gguf.h"
#include "engine/text/readers/open.h"
#include "engine/text/sentencepiece/file.h"
#include "engine/text/sentencepiece/wire.h"
#include "engine/text/tokenizer/pipeline.h"
#include "engine/text/tokenizer/sentencepiece.h"
#include "tests/catch.h"
#include "tests/engine/store_support.h"

using perilune::Error;
using perilune::ErrorCode;
using perilune::ProtoWriter;

namespace {

const char* const kFiles[] = {"tests/golden/llama-gqa/tokenizer.model",
                              "tests/golden/t5-gated-untied/spiece.model"};
const std::string kText =
    "Hello  World! \xEF\xBC\xA1\xE2\x91\xA0 \xCC\x81 caf\xC3\xA9 \xE7\x8C\xAB\t\n\xFF 123";

enum Outcome : unsigned char { loaded, refused, wrong };

using Load = std::function<std::shared_ptr<perilune::Tokenizer>(const std::string& bytes)>;

std::shared_ptr<perilune::Tokenizer> load_sentencepiece(const std::string& bytes) {
  return std::make_shared<perilune::SentencePieceTokenizer>(
      perilune::parse_sentencepiece(bytes, "tokenizer.model"), "tokenizer.model");
}

std::shared_ptr<perilune::Tokenizer> load_gguf(const std::string& bytes) {
  const auto file = perilune::GgufFile::parse(bytes, "a.gguf");
  std::string why_not;
  auto tokenizer = perilune::read_gguf_tokenizer(*file, &why_not);
  if (tokenizer == nullptr) throw Error(ErrorCode::unsupported, "load", why_not);
  return tokenizer;
}

// Loads, encodes and decodes; an exception that is no Error counts as wrong.
Outcome try_bytes(const Load& load, const std::string& bytes) {
  try {
    const auto tokenizer = load(bytes);
    const auto ids = tokenizer->encode(kText, {}).ids;
    tokenizer->decode(ids);
    std::string all;
    for (int c = 1; c < 256; ++c) all += static_cast<char>(c);
    tokenizer->encode_pair(all, kText, {});
    return loaded;
  } catch (const Error& error) {
    return std::strlen(error.what()) > 10 ? refused : wrong;
  } catch (...) {
    return wrong;
  }
}

struct Counts {
  int loaded = 0, refused = 0, wrong = 0, crashed = 0;
};

// Runs `make(i)` for [0, count) through try_bytes in children of `batch` files each.
Counts run(int count, const std::function<std::string(int)>& make,
           const Load& load = load_sentencepiece) {
  constexpr int kBatch = 100;
  Counts counts;
  for (int first = 0; first < count; first += kBatch) {
    const int last = std::min(count, first + kBatch);
    int ends[2] = {-1, -1};
    REQUIRE(pipe(ends) == 0);
    std::fflush(nullptr);
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      for (int i = first; i < last; ++i) {
        const Outcome outcome = try_bytes(load, make(i));
        if (write(ends[1], &outcome, 1) != 1) _exit(2);
      }
      _exit(0);
    }
    close(ends[1]);
    unsigned char outcome = 0;
    int done = 0;
    while (read(ends[0], &outcome, 1) == 1) {
      ++done;
      ++(outcome == loaded ? counts.loaded : outcome == refused ? counts.refused : counts.wrong);
    }
    close(ends[0]);
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    if (done < last - first) {
      ++counts.crashed;
      UNSCOPED_INFO("file " << first + done << " ended its process, status " << status);
    }
  }
  return counts;
}

// The bytes of the file where the normalization map begins, found by its own bytes.
std::size_t charsmap_at(const std::string& bytes) {
  const std::string map = perilune::parse_sentencepiece(bytes, "x").charsmap;
  REQUIRE(map.size() > 1000);
  return bytes.find(map);
}

bool sanitized() {
  const char* value = std::getenv("PERILUNE_SANITIZE");
  return value != nullptr && *value != '\0';
}

// JSON that mostly stays JSON: words, numbers and short stretches take one another's place.
std::string change_json(std::string text, std::mt19937& random) {
  static const char* const kWords[] = {"null", "true", "-1",      "4294967296", "[]",
                                       "{}",   "\"\"", "\"BPE\"", "[null]",     "1e300"};
  for (unsigned i = 0; i <= random() % 3; ++i) {
    const std::size_t colon = text.find(random() % 2 == 0 ? ':' : ',', random() % text.size());
    if (colon == std::string::npos) continue;
    const std::size_t end = text.find_first_of(",}]", colon + 1);
    if (end == std::string::npos) continue;
    switch (random() % 4) {
      case 0: text.replace(colon + 1, end - colon - 1, kWords[random() % std::size(kWords)]); break;
      case 1: text.erase(colon, end - colon); break;
      case 2: text.insert(end, text.substr(colon, end - colon)); break;
      default:
        text[colon + 1 + random() % (end - colon)] = static_cast<char>(random() % 128);
        break;
    }
  }
  return text;
}

std::size_t charsmap_size(const std::string& bytes) {
  return perilune::parse_sentencepiece(bytes, "x").charsmap.size();
}

std::string flip(std::string bytes, std::mt19937& random, std::size_t from, std::size_t length,
                 int count) {
  for (int i = 0; i < count; ++i) {
    const std::size_t at = from + random() % length;
    bytes[at] = static_cast<char>(bytes[at] ^ (1 + random() % 255));
  }
  return bytes;
}

// A model by hand: the pieces given (text, type), unigram, no normalization rules.
std::string model_of(const std::vector<std::pair<std::string, int>>& pieces,
                     const std::string& trainer = "", const std::string& charsmap = "") {
  ProtoWriter out;
  for (const auto& [text, type] : pieces) {
    ProtoWriter piece;
    piece.bytes(1, text);
    piece.float32(2, -1.0f);
    piece.integer(3, static_cast<std::uint64_t>(type));
    out.bytes(1, piece.text());
  }
  out.bytes(2, trainer);
  ProtoWriter normalizer;
  normalizer.bytes(2, charsmap);
  out.bytes(3, normalizer.text());
  return out.take();
}

std::string message_of(const std::string& bytes) {
  return perilune_test::message_of([&] {
    perilune::SentencePieceTokenizer tokenizer(perilune::parse_sentencepiece(bytes, "a.model"),
                                               "a.model");
    tokenizer.encode(kText, {});
  });
}

std::string words(std::initializer_list<std::uint32_t> units) {
  std::string bytes;
  for (const std::uint32_t unit : units) {
    for (int i = 0; i < 4; ++i) bytes += static_cast<char>(unit >> (8 * i));
  }
  return bytes;
}

// A charsmap of one 256-unit block in which the byte `label` of the root leads to `unit`, and the
// leaf at 0 of that block holds `value`.
std::string charsmap_of(std::uint32_t root, std::uint32_t child_at, std::uint32_t child,
                        std::uint32_t leaf, const std::string& replacements) {
  std::string trie;
  for (int i = 0; i < 256; ++i) trie += words({1u << 31});  // no byte has this label
  const auto put = [&](std::uint32_t index, std::uint32_t unit) {
    trie.replace(index * 4, 4, words({unit}));
  };
  put(2, leaf);
  put(child_at, child);
  put(0, root);
  return words({1024}) + trie + replacements;
}

}  // namespace

// 9,000 files in three parts, the same number of each; a tenth of them under a sanitizer.
TEST_CASE("byte flips in the head of the normalization map, in its tail, in the pieces") {
  const int count = sanitized() ? 150 : 900;
  for (const char* file : kFiles) {
    const std::string bytes = perilune::read_file(file, 1 << 24);
    const std::size_t at = charsmap_at(bytes), map = charsmap_size(bytes);
    const Counts head = run(count, [&](int i) {
      std::mt19937 random(perilune_test::seeded(static_cast<unsigned>(i)));
      return flip(bytes, random, at, i % 2 == 0 ? 64 : 4096, 1 + i % 8);
    });
    const Counts tail = run(count, [&](int i) {
      std::mt19937 random(perilune_test::seeded(static_cast<unsigned>(i)));
      const std::size_t from = i % 2 == 0 ? at : at + map / 2;
      return flip(bytes, random, from, at + map - from, 1 + i % 32);
    });
    const Counts pieces = run(count, [&](int i) {
      std::mt19937 random(perilune_test::seeded(static_cast<unsigned>(i)));
      return flip(bytes, random, 0, at, 1 + i % 4);
    });
    for (const Counts& counts : {head, tail, pieces}) {
      CHECK(counts.crashed == 0);
      CHECK(counts.wrong == 0);
      CHECK(counts.loaded + counts.refused == count);
    }
    // Both ends are reached: neither everything is refused, nor is everything taken.
    CHECK(head.refused > 0);
    CHECK(pieces.loaded > 0);
    CHECK(pieces.refused > 0);
  }
}

TEST_CASE("truncated files, and files with parts removed or repeated") {
  for (const char* file : kFiles) {
    const std::string bytes = perilune::read_file(file, 1 << 24);
    const Counts counts = run(400, [&](int i) {
      std::mt19937 random(perilune_test::seeded(static_cast<unsigned>(i)));
      std::string damaged = bytes;
      if (i < 100) return damaged.substr(0, static_cast<std::size_t>(i));
      const std::size_t at = random() % bytes.size();
      const std::size_t length = std::min<std::size_t>(bytes.size() - at, 1 + random() % 300);
      if (i % 3 == 0) return damaged.substr(0, at);
      if (i % 3 == 1) return damaged.erase(at, length);
      return damaged.insert(random() % bytes.size(), bytes.substr(at, length));
    });
    CHECK(counts.crashed == 0);
    CHECK(counts.wrong == 0);
    CHECK(counts.refused > 100);
  }
}

TEST_CASE("changed tokenizer.json files") {
  const perilune_test::TemporaryFolder folder;
  const int count = sanitized() ? 100 : 600;
  const Load load = [&](const std::string& bytes) {
    return perilune::load_tokenizer_json(folder.write("tokenizer.json", bytes), nullptr);
  };
  for (const char* model : {"bert-sequence", "gpt2-plain", "roberta-sequence"}) {
    INFO(model);
    const std::string bytes =
        perilune::read_file(std::string("tests/golden/") + model + "/tokenizer.json", 1 << 24);
    // The vocabulary is most of a file, and everything else is before it.
    const std::size_t vocab = bytes.find("\"vocab\"");
    REQUIRE(vocab != std::string::npos);
    const Counts counts = run(
        count,
        [&](int i) {
          std::mt19937 random(perilune_test::seeded(static_cast<unsigned>(i)));
          if (i % 4 == 0) return change_json(bytes, random);
          return change_json(bytes.substr(0, vocab + 8), random) + bytes.substr(vocab + 8);
        },
        load);
    CHECK(counts.crashed == 0);
    CHECK(counts.wrong == 0);
    CHECK(counts.loaded > 0);
    CHECK(counts.refused > 0);
  }
}

TEST_CASE("byte flips in GGUF files, and parts removed or repeated") {
  const int count = sanitized() ? 100 : 600;
  for (const char* name : {"bpe", "llama", "t5", "bert"}) {
    INFO(name);
    const std::string bytes =
        perilune::read_file(std::string("tests/fuzz/seeds/gguf/") + name + ".gguf", 1 << 24);
    const Counts counts = run(
        count,
        [&](int i) {
          std::mt19937 random(perilune_test::seeded(static_cast<unsigned>(i)));
          std::string damaged = bytes;
          const std::size_t at = random() % bytes.size();
          const std::size_t length = std::min<std::size_t>(bytes.size() - at, 1 + random() % 40);
          if (i % 5 == 3) return damaged.erase(at, length);
          if (i % 5 == 4) return damaged.insert(random() % bytes.size(), bytes.substr(at, length));
          return flip(std::move(damaged), random, 0, bytes.size(), 1 + i % 3);
        },
        load_gguf);
    CHECK(counts.crashed == 0);
    CHECK(counts.wrong == 0);
    CHECK(counts.loaded > 0);
    CHECK(counts.refused > 0);
  }
}

TEST_CASE("each damage is named") {
  const std::vector<std::pair<std::string, int>> good = {{"<unk>", 2}, {"<s>", 3}, {"a", 1}};
  CHECK(message_of(model_of(good)) == "no error");
  ProtoWriter byte_fallback, far_id, bad_type;
  byte_fallback.integer(35, 1);
  far_id.integer(41, 99);
  bad_type.integer(3, 9);
  struct Case {
    std::string bytes;
    const char* part;
  };
  const std::vector<Case> cases = {
      {"", "a.model: the file is empty"},
      {"hello world", "a.model: SentencePiece model"},
      {model_of({}), "it has no pieces"},
      {model_of({{"<s>", 3}, {"a", 1}}), "no piece is of type unknown"},
      {model_of({{"<unk>", 2}, {"u", 2}, {"a", 1}}), "piece 1 is unknown, as is piece 0"},
      {model_of({{"<unk>", 2}, {"a", 1}, {"a", 1}}), "piece 2 is there twice"},
      {model_of({{"<unk>", 2}, {"", 1}}), "piece 1 is empty"},
      {model_of({{"<unk>", 2}, {std::string("a\0b", 3), 1}}), "piece 1 holds a NUL"},
      {model_of({{"<unk>", 2}, {"\xFF", 1}}), "piece 1 is not UTF-8"},
      {model_of({{"<unk>", 2}, {std::string(2000, 'a'), 1}}), "piece 1 has 2000 bytes"},
      {model_of({{"<unk>", 2}, {"<0x41>", 6}}), "byte_fallback is not set"},
      {model_of({{"<unk>", 2}, {"a", 7}}), "piece 1, field 3: 7 is not within 1 to 6"},
      {model_of({{"<unk>", 2}, {"<s>", 3}}), "no piece that text could become"},
      {model_of(good, byte_fallback.text()), "the piece of byte 0 is missing"},
      {model_of(good, far_id.text()), "bos_id is 99, and there are 3 pieces"},
      {model_of(good, bad_type.text()), "trainer_spec, field 3"},
      {model_of(good, "", "abc"), "precompiled_charsmap: it is too short"},
      {model_of(good, "", words({4000}) + std::string(100, 'a')), "its trie is longer"},
      {model_of(good, "", words({6}) + std::string(100, 'a')), "no whole number of units"},
      {model_of(good, "", words({4, 0}) + "abc"), "its replacements do not end"},
      {model_of(good, "", words({4, 0}) + std::string(1, '\0')), "its trie points outside"},
  };
  for (const Case& c : cases) {
    const std::string message = message_of(c.bytes);
    INFO(message);
    CHECK(message.find(c.part) != std::string::npos);
  }
}

TEST_CASE("a normalization trie is walked whole") {
  const std::vector<std::pair<std::string, int>> pieces = {{"<unk>", 2}, {"a", 1}};
  const std::string end(1, '\0');
  // Root: offset 1 (bits 10 and up), so byte 'A' leads to unit 1 ^ 'A' = 64.
  const std::uint32_t root = 1u << 10;
  // The child has a leaf; its offset 66 takes it from 64 to unit 2, which holds the value.
  const std::uint32_t child = 66u << 10 | 1u << 8 | 'A';
  const auto check = [&](const std::string& map) { return message_of(model_of(pieces, "", map)); };
  CHECK(check(charsmap_of(root, 64, child, 1u << 31, "b" + end)) == "no error");
  CHECK(check(charsmap_of(root, 64, child, 1u << 31 | 5, "b" + end)).find("outside the file") !=
        std::string::npos);
  CHECK(check(charsmap_of(root, 64, child, 1u << 31, "\xC3" + end)).find("not UTF-8") !=
        std::string::npos);
  CHECK(check(charsmap_of(root, 64, child, 1u << 31, std::string(5000, 'b') + end))
            .find("does not end") != std::string::npos);
  // An offset that leaves the array, and one that leads back to the root's block.
  CHECK(check(charsmap_of(root, 64, 1u << 20 | 'A', 1u << 31, "b" + end)).find("outside itself") !=
        std::string::npos);
  CHECK(check(charsmap_of(root, 64, 65u << 10 | 'A', 1u << 31, "b" + end)).find("cycle") !=
        std::string::npos);
}

TEST_CASE("symbols that begin one another are bounded") {
  std::vector<std::pair<std::string, int>> pieces = {{"<unk>", 2}, {"a", 1}};
  for (int i = 2; i <= 64; ++i)
    pieces.emplace_back(std::string(static_cast<std::size_t>(i), 'a'), 4);
  CHECK(message_of(model_of(pieces)) == "no error");
  for (int i = 65; i <= 80; ++i)
    pieces.emplace_back(std::string(static_cast<std::size_t>(i), 'a'), 4);
  CHECK(message_of(model_of(pieces)).find("begin one another") != std::string::npos);
}
