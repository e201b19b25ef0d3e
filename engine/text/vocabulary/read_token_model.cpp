#include "engine/text/vocabulary/token_model.h"

#include "engine/base/error.h"
#include "engine/text/vocabulary/bpe_merge_lines.h"
#include "engine/text/vocabulary/unigram_model.h"
#include "engine/text/vocabulary/wordlevel.h"

namespace perilune {
namespace {

constexpr std::int64_t kMaxId = (std::int64_t{1} << 24) - 1;
constexpr std::int64_t kMaxWord = (std::int64_t{1} << 31) - 1;

Vocabulary read_vocabulary(const Json& json) {
  const Json& entries = json.get("vocab");
  Vocabulary vocabulary;
  vocabulary.reserve(entries.size());
  for (const auto& [piece, value] : entries.members()) {
    const std::int64_t id = value.as_integer(entries.place());
    if (id < 0 || id > kMaxId) {
      throw Error(ErrorCode::format, "load",
                  entries.place() + ": \"" + piece.substr(0, 100) + "\" has id " +
                      std::to_string(id) + "; ids are from 0 to " + std::to_string(kMaxId));
    }
    vocabulary.emplace_back(piece, static_cast<std::int32_t>(id));
  }
  return vocabulary;
}

std::vector<std::pair<std::string, std::string>> read_merges(const Json& json,
                                                             const Vocabulary& vocabulary) {
  const Json& list = json.get("merges");
  const std::vector<Json>& items = list.items();
  std::vector<std::pair<std::string, std::string>> merges;
  merges.reserve(items.size());
  MergeLines lines(vocabulary);
  for (std::size_t i = 0; i < items.size(); ++i) {
    const Json& merge = items[i];
    if (merge.is_string()) {
      if (merge.as_string().starts_with("#version")) continue;
      auto parts = lines.read(merge.as_string());
      if (!parts) {
        throw Error(ErrorCode::format, "load",
                    list.place_of(i) + ": expected two entries with a space between them, got \"" +
                        merge.as_string().substr(0, 100) + "\"");
      }
      merges.push_back(std::move(*parts));
    } else if (merge.is_array() && merge.size() == 2 && merge.at(0).is_string() &&
               merge.at(1).is_string()) {
      merges.emplace_back(merge.at(0).as_string(), merge.at(1).as_string());
    } else {
      throw Error(ErrorCode::format, "load",
                  list.place_of(i) + ": expected \"a b\" or [\"a\", \"b\"]");
    }
  }
  return merges;
}

std::unique_ptr<TokenModel> read_bpe(const Json& json, bool raw_bytes) {
  if (json.number("dropout", 0) != 0) {
    throw Error(ErrorCode::unsupported, "load",
                json.place_of("dropout") + ": merging at random is for training")
        .operand("dropout", std::to_string(json.number("dropout")))
        .hint("set it to null");
  }
  BpeOptions options;
  options.raw_bytes = raw_bytes;
  options.byte_fallback = json.boolean("byte_fallback", false);
  options.ignore_merges = json.boolean("ignore_merges", false);
  options.fuse_unknown = json.boolean("fuse_unk", false);
  if (json.find_value("unk_token") != nullptr) options.unknown = json.string("unk_token");
  options.continuing_prefix = json.string("continuing_subword_prefix", "");
  options.end_of_word_suffix = json.string("end_of_word_suffix", "");
  Vocabulary vocabulary = read_vocabulary(json);
  auto merges = read_merges(json, vocabulary);
  return make_bpe(std::move(vocabulary), std::move(merges), options, json.place());
}

std::unique_ptr<TokenModel> read_wordpiece(const Json& json) {
  WordPieceOptions options;
  options.unknown = json.string("unk_token");
  options.continuing_prefix = json.string("continuing_subword_prefix");
  options.max_characters = json.integer_in("max_input_chars_per_word", 0, kMaxWord);
  return make_wordpiece(read_vocabulary(json), options, json.place());
}

std::unique_ptr<TokenModel> read_unigram(const Json& json) {
  const Json& list = json.get("vocab");
  const std::vector<Json>& items = list.items();
  std::vector<std::pair<std::string, double>> pieces;
  pieces.reserve(items.size());
  for (std::size_t i = 0; i < items.size(); ++i) {
    const Json& item = items[i];
    if (!item.is_array() || item.size() != 2 || !item.at(0).is_string() ||
        !item.at(1).is_number()) {
      throw Error(ErrorCode::format, "load", list.place_of(i) + ": expected [piece, score]");
    }
    pieces.emplace_back(item.at(0).as_string(), published_score(item.at(1).as_number()));
  }
  UnigramOptions options;
  options.byte_fallback = json.boolean("byte_fallback", false);
  if (json.find_value("unk_id") != nullptr) {
    options.unknown = static_cast<std::int32_t>(json.integer_in("unk_id", 0, kMaxId));
  }
  return make_unigram(std::move(pieces), options, json.place());
}

// Files of early releases do not say which model they hold.
std::string type_of(const Json& json) {
  if (json.find_value("type") != nullptr) return json.string("type");
  if (json.has("merges")) return "BPE";
  if (json.get("vocab").is_array()) return "Unigram";
  return json.has("continuing_subword_prefix") ? "WordPiece" : "WordLevel";
}

}  // namespace

std::unique_ptr<TokenModel> read_token_model(const Json& json, bool raw_bytes) {
  json.members();  // throws where it is no object
  const std::string type = type_of(json);
  if (type == "BPE") return read_bpe(json, raw_bytes);
  if (type == "WordPiece") return read_wordpiece(json);
  if (type == "Unigram") return read_unigram(json);
  if (type == "WordLevel") {
    return make_wordlevel(read_vocabulary(json), json.string("unk_token"), json.place());
  }
  throw Error(ErrorCode::unsupported, "load", json.place_of("type") + ": unknown model")
      .operand("type", "\"" + type.substr(0, 100) + "\"")
      .hint("known ones are BPE, WordPiece, Unigram and WordLevel");
}

}  // namespace perilune
