// Reading merges and ranks into the tables of byte pair encoding.
#include <algorithm>
#include <bit>

#include "engine/base/error.h"
#include "engine/base/utf8.h"
#include "engine/text/unicode/byte_level.h"
#include "engine/text/vocabulary/bpe.h"

namespace perilune {
namespace {

using Merges = std::vector<std::pair<std::string, std::string>>;

constexpr std::size_t kSmallestJoins = std::size_t{1} << 16;
constexpr std::size_t kJoinBits = 8;  // for each pair of symbols that may join

[[noreturn]] void fail(std::string_view place, const std::string& problem) {
  throw Error(ErrorCode::format, "load", std::string(place) + ": " + problem);
}

// The symbols that meet where a pair joins, packed; what text is cut by.
class JoinSet {
 public:
  void add(std::int32_t left, std::int32_t right) {
    if (left < 0 || right < 0) return;
    met_.push_back(static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint64_t>(right));
    if (met_.size() >= kCompact) compact();
  }
  std::vector<bool> bits() {
    compact();
    std::vector<bool> joins(std::bit_ceil(std::max(met_.size() * kJoinBits, kSmallestJoins)));
    for (const std::uint64_t pair : met_) {
      joins[Bpe::join_place(static_cast<std::uint32_t>(pair >> 32),
                            static_cast<std::uint32_t>(pair), joins.size())] = true;
    }
    return joins;
  }

 private:
  static constexpr std::size_t kCompact = std::size_t{1} << 22;
  void compact() {
    std::sort(met_.begin(), met_.end());
    met_.erase(std::unique(met_.begin(), met_.end()), met_.end());
  }
  std::vector<std::uint64_t> met_;
};

std::string_view first_character(std::string_view text) {
  return text.substr(0, std::max<std::size_t>(utf8_character(text), 1));
}

std::string_view last_character(std::string_view text) {
  std::size_t at = text.empty() ? 0 : text.size() - 1;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  return text.substr(at);
}

class MergeReader {
 public:
  MergeReader(Vocabulary vocabulary, const Merges& merges, const BpeOptions& options,
              std::string_view place)
      : options_(options),
        place_(place),
        tables_{
            VocabularyIndex(std::move(vocabulary), place), PairTable(merges.size()), {}, false} {
    if (merges.size() > PairTable::kMaxPairs) {
      fail(place, std::to_string(merges.size()) + " merges; at most " +
                      std::to_string(PairTable::kMaxPairs) + " are allowed");
    }
    find_characterless();
    tables_.cuts = options.continuing_prefix.empty() && options.end_of_word_suffix.empty();
    for (std::size_t i = 0; i < merges.size(); ++i) read(merges[i], i);
    if (tables_.cuts) tables_.joins = joins_.bits();
  }
  BpeTables take() { return std::move(tables_); }

 private:
  // Symbols that stand for no character of their own spelling: where one of them takes part in a
  // merge, spellings do not tell which symbols meet.
  void find_characterless() {
    const VocabularyIndex& vocabulary = tables_.vocabulary;
    if (options_.unknown) characterless_.push_back(vocabulary.number(*options_.unknown));
    if (options_.byte_fallback) {
      const std::vector<std::int32_t> bytes = vocabulary.byte_numbers();
      characterless_.insert(characterless_.end(), bytes.begin(), bytes.end());
    }
    std::sort(characterless_.begin(), characterless_.end());
  }

  bool characterless(std::int32_t number) const {
    return std::binary_search(characterless_.begin(), characterless_.end(), number);
  }

  std::int32_t entry(const std::string& spelling, const std::pair<std::string, std::string>& merge,
                     std::size_t index) const {
    const std::int32_t number = tables_.vocabulary.number(spelling);
    if (number < 0) {
      fail(place_, "merge " + std::to_string(index) + ", \"" + merge.first + "\" with \"" +
                       merge.second + "\", needs \"" + spelling +
                       "\", which is not in the vocabulary");
    }
    return number;
  }

  void read(const std::pair<std::string, std::string>& merge, std::size_t index) {
    const auto& [left, right] = merge;
    const std::size_t prefix = options_.continuing_prefix.size();
    const std::int32_t a = entry(left, merge, index), b = entry(right, merge, index);
    if (right.size() < prefix) {
      fail(place_, "merge " + std::to_string(index) + ": \"" + right +
                       "\" is shorter than the prefix \"" + options_.continuing_prefix + "\"");
    }
    const std::int32_t joined = entry(left + right.substr(prefix), merge, index);
    tables_.pairs.insert(static_cast<std::uint32_t>(a), static_cast<std::uint32_t>(b),
                         static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(joined));
    if (!tables_.cuts) return;
    if (left.empty() || right.empty() || characterless(a) || characterless(b)) {
      tables_.cuts = false;
    } else {
      joins_.add(tables_.vocabulary.number(last_character(left)),
                 tables_.vocabulary.number(first_character(right)));
    }
  }

  const BpeOptions& options_;
  std::string_view place_;
  BpeTables tables_;
  JoinSet joins_;
  std::vector<std::int32_t> characterless_;
};

// Ranks to pairs. Before an entry can come about, everything of a lower rank inside it has been
// joined; where that leaves two parts, no other two ever give it.
class RankReader {
 public:
  RankReader(Vocabulary ranks, std::string_view place)
      : ranks_(std::move(ranks)), place_(place), table_(ranks_.size()), pairs_(ranks_.size()) {
    for (std::size_t i = 0; i < ranks_.size(); ++i) {
      const auto& [bytes, rank] = ranks_[i];
      if (bytes.size() > kLongest) {
        fail(place, "rank " + std::to_string(rank) + " has " + std::to_string(bytes.size()) +
                        " bytes; at most " + std::to_string(kLongest) + " are allowed");
      }
      if (!table_.insert(bytes, static_cast<std::int32_t>(i))) {
        fail(place, "the bytes of rank " + std::to_string(rank) + " are there twice");
      }
    }
    find_bytes();
    for (std::size_t i = 0; i < ranks_.size(); ++i) {
      if (ranks_[i].first.size() > 1) read(static_cast<std::int32_t>(i));
    }
  }

  BpeTables take() {
    Vocabulary spellings;
    spellings.reserve(ranks_.size());
    for (const auto& [bytes, rank] : ranks_) {
      spellings.emplace_back(byte_level_of_bytes(bytes), rank);
    }
    return {VocabularyIndex(std::move(spellings), place_), std::move(pairs_), joins_.bits(), true};
  }

 private:
  static constexpr std::size_t kLongest = 512;

  void find_bytes() {
    for (int byte = 0; byte < 256; ++byte) {
      const PieceTable::Slot* slot = table_.find(std::string(1, static_cast<char>(byte)));
      if (slot == nullptr) fail(place_, "byte " + std::to_string(byte) + " has no rank");
      byte_numbers_[static_cast<std::size_t>(byte)] = slot->number();
    }
  }

  std::int32_t number_of(char byte) const {
    return byte_numbers_[static_cast<unsigned char>(byte)];
  }

  void read(std::int32_t number) {
    const std::string_view bytes = ranks_[static_cast<std::size_t>(number)].first;
    symbols_.clear();
    for (std::uint32_t at = 0; at < bytes.size(); ++at) {
      symbols_.push_back({static_cast<std::uint32_t>(number_of(bytes[at])), at, at + 1});
    }
    parts_.clear();
    merge_symbols(pairs_, symbols_.data(), symbols_.size(), parts_);
    if (parts_.size() == 2) {
      add(bytes, parts_[0].last, number, parts_[0].symbol, parts_[1].symbol);
      return;
    }
    for (std::uint32_t at = 1; at < bytes.size(); ++at) {
      const PieceTable::Slot* left = table_.find(bytes.substr(0, at));
      const PieceTable::Slot* right = left == nullptr ? nullptr : table_.find(bytes.substr(at));
      if (right == nullptr) continue;
      add(bytes, at, number, static_cast<std::uint32_t>(left->number()),
          static_cast<std::uint32_t>(right->number()));
    }
  }

  void add(std::string_view bytes, std::uint32_t cut, std::int32_t number, std::uint32_t left,
           std::uint32_t right) {
    const auto joined = static_cast<std::uint32_t>(number);
    pairs_.insert(left, right, joined, joined);
    joins_.add(number_of(bytes[cut - 1]), number_of(bytes[cut]));
  }

  Vocabulary ranks_;
  std::string_view place_;
  PieceTable table_;  // by bytes, the place in `ranks_`
  PairTable pairs_;
  JoinSet joins_;
  std::array<std::int32_t, 256> byte_numbers_;
  std::vector<BpeSymbol> symbols_, parts_;
};

}  // namespace

std::unique_ptr<TokenModel> make_bpe(Vocabulary vocabulary, Merges merges,
                                     const BpeOptions& options, std::string_view place) {
  MergeReader reader(std::move(vocabulary), merges, options, place);
  return std::make_unique<Bpe>(reader.take(), options);
}

std::unique_ptr<TokenModel> make_rank_bpe(Vocabulary ranks, std::string_view place) {
  constexpr std::size_t kMostRanks = std::size_t{1} << 20;
  if (ranks.size() > kMostRanks) {
    fail(place, std::to_string(ranks.size()) + " ranks; at most 1048576 are allowed");
  }
  std::sort(ranks.begin(), ranks.end(),
            [](const auto& a, const auto& b) { return a.second < b.second; });
  BpeOptions options;
  options.raw_bytes = true;
  options.ignore_merges = true;
  return std::make_unique<Bpe>(RankReader(std::move(ranks), place).take(), options);
}

}  // namespace perilune
