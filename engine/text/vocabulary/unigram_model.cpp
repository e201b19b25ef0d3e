#include "engine/text/vocabulary/unigram_model.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "engine/base/error.h"
#include "engine/text/vocabulary/entries.h"
#include "engine/text/vocabulary/memo.h"
#include "engine/text/vocabulary/unigram.h"

namespace perilune {
namespace {

constexpr std::size_t kMostPieces = std::size_t{1} << 20;

class UnigramModel final : public TokenModel {
 public:
  UnigramModel(std::vector<std::pair<std::string, double>> pieces, const UnigramOptions& options)
      : unigram_(pieces, options.unknown), options_(options), table_(pieces.size()) {
    // Published files have a few pieces twice; the last one is what a spelling means.
    for (std::size_t i = pieces.size(); i-- > 0;) {
      const auto id = static_cast<std::int32_t>(i);
      table_.insert(pieces[i].first, id);
      if (pieces[i].first.empty() && empty_ < 0) empty_ = id;
    }
    for (auto& [piece, score] : pieces) pieces_.push_back(std::move(piece));
    if (!options.byte_fallback) return;
    for (int byte = 0; byte < 256; ++byte) {
      const auto found = id(byte_fallback_spelling(static_cast<unsigned char>(byte)));
      byte_numbers_.push_back(found.value_or(-1));
    }
    all_bytes_ = std::count(byte_numbers_.begin(), byte_numbers_.end(), -1) == 0;
  }

  const char* kind() const override { return "unigram"; }

  void tokenize(std::string_view text, std::span<const TextSpan> pieces,
                std::vector<ModelToken>& out) const override {
    Unigram::Scratch scratch;
    std::vector<Unigram::Segment> segments;
    with_memory(memos_, text, pieces, out, [&](TextSpan piece, std::int32_t word) {
      unigram_.segment(text.substr(piece.first, piece.last - piece.first), scratch, segments);
      for (std::size_t i = 0; i < segments.size(); ++i) {
        const std::uint32_t first = piece.first + segments[i].first;
        if (segments[i].id != options_.unknown) {
          out.push_back({segments[i].id, first, piece.first + segments[i].last, word});
          continue;
        }
        while (i + 1 < segments.size() && segments[i + 1].id == options_.unknown) ++i;
        add_unknown(text, {first, piece.first + segments[i].last}, word, out);
      }
    });
  }

  std::int32_t size() const override { return static_cast<std::int32_t>(pieces_.size()); }
  std::int32_t max_id() const override { return size() - 1; }
  std::optional<std::int32_t> id(std::string_view piece) const override {
    if (piece.empty()) return empty_ < 0 ? std::nullopt : std::optional(empty_);
    const PieceTable::Slot* slot = table_.find(piece);
    if (slot == nullptr) return std::nullopt;
    return slot->number();
  }
  const std::string* piece(std::int32_t id) const override {
    if (id < 0 || id >= size()) return nullptr;
    return &pieces_[static_cast<std::size_t>(id)];
  }
  std::optional<std::int32_t> unknown() const override { return options_.unknown; }
  std::span<const std::int32_t> byte_ids() const override {
    if (all_bytes_) return byte_numbers_;
    return {};
  }

 private:
  // A run of unknown characters is one token, or its bytes.
  void add_unknown(std::string_view text, TextSpan run, std::int32_t word,
                   std::vector<ModelToken>& out) const {
    const std::string_view bytes = text.substr(run.first, run.last - run.first);
    const auto entry = id(bytes);
    const auto number = [this](char byte) {
      return byte_numbers_[static_cast<unsigned char>(byte)];
    };
    const auto missing = [&](char byte) { return number(byte) < 0; };
    if (!entry && options_.byte_fallback && std::none_of(bytes.begin(), bytes.end(), missing)) {
      for (const char byte : bytes) out.push_back({number(byte), run.first, run.last, word});
      return;
    }
    out.push_back({entry.value_or(*options_.unknown), run.first, run.last, word});
  }

  std::vector<std::string> pieces_;
  Unigram unigram_;
  UnigramOptions options_;
  PieceTable table_;
  mutable MemoPool memos_;
  std::int32_t empty_ = -1;
  std::vector<std::int32_t> byte_numbers_;
  bool all_bytes_ = false;
};

}  // namespace

double published_score(double score) {
  constexpr int kPowers = 23;
  static const std::array<double, kPowers> kExact = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                     1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                                     1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
  if (score == 0 || !std::isfinite(score)) return score;
  char text[40];
  const auto written =
      std::to_chars(text, text + sizeof text, std::abs(score), std::chars_format::scientific);
  std::uint64_t digits = 0;
  int power = 0;
  const char* at = text;
  for (; at < written.ptr && *at != 'e'; ++at) {
    if (*at == '.') continue;
    digits = digits * 10 + static_cast<std::uint64_t>(*at - '0');
    --power;
  }
  if (at == written.ptr) return score;
  const char* const exponent = at[1] == '+' ? at + 2 : at + 1;
  int shift = 0;
  std::from_chars(exponent, written.ptr, shift);
  power += shift + 1;  // of the last digit
  if (std::abs(power) >= kPowers) return score;
  const double whole = static_cast<double>(digits),
               ten = kExact[static_cast<std::size_t>(std::abs(power))];
  return std::copysign(power < 0 ? whole / ten : whole * ten, score);
}

std::unique_ptr<TokenModel> make_unigram(std::vector<std::pair<std::string, double>> pieces,
                                         const UnigramOptions& options, std::string_view place) {
  const auto fail = [&](const std::string& problem) {
    throw Error(ErrorCode::format, "load", std::string(place) + ": " + problem);
  };
  if (pieces.size() > kMostPieces) {
    fail(std::to_string(pieces.size()) + " pieces; at most 1048576 are allowed");
  }
  if (options.unknown &&
      (*options.unknown < 0 || static_cast<std::size_t>(*options.unknown) >= pieces.size())) {
    fail("unk_id is " + std::to_string(*options.unknown) + ", but there are " +
         std::to_string(pieces.size()) + " pieces");
  }
  return std::make_unique<UnigramModel>(std::move(pieces), options);
}

}  // namespace perilune
