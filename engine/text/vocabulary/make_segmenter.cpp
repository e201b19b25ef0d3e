#include "engine/text/vocabulary/make_segmenter.h"

#include "engine/text/unicode/byte_trie.h"
#include "engine/text/unicode/unicode.h"
#include "engine/text/vocabulary/entries.h"
#include "engine/text/vocabulary/score_bpe.h"
#include "engine/text/vocabulary/unigram.h"

namespace perilune {
namespace {

using Type = SentencePieceModel::Type;

class UnigramSegmenter final : public Segmenter {
 public:
  explicit UnigramSegmenter(const SentencePieceModel& model) : unigram_(model) {}
  void segment(std::string_view text, std::vector<ModelToken>& out) const override {
    for (const Unigram::Segment& segment : unigram_.segment(text)) {
      out.push_back({segment.id, segment.first, segment.last, 0});
    }
  }

 private:
  Unigram unigram_;
};

/// Words (what a space's mark begins) or characters, each looked up as it is.
class LookUpSegmenter final : public Segmenter {
 public:
  LookUpSegmenter(const SentencePieceModel& model, bool words)
      : words_(words), unknown_(model.unknown_id), pieces_(model.pieces.size()) {
    for (std::size_t i = 0; i < model.pieces.size(); ++i) {
      const auto& piece = model.pieces[i];
      const auto id = static_cast<std::int32_t>(i);
      if (piece.type != Type::control) pieces_.insert(piece.text, id);
      if (piece.type == Type::user_defined) user_defined_.insert(piece.text, id);
    }
  }

  void segment(std::string_view text, std::vector<ModelToken>& out) const override {
    for (std::size_t first = 0; first < text.size();) {
      const std::size_t last = words_ ? word_end(text, first) : first + unit(text.substr(first));
      const PieceTable::Slot* found = pieces_.find(text.substr(first, last - first));
      out.push_back({found == nullptr ? unknown_ : found->number(),
                     static_cast<std::uint32_t>(first), static_cast<std::uint32_t>(last), 0});
      first = last;
    }
  }

 private:
  static std::size_t word_end(std::string_view text, std::size_t first) {
    constexpr std::string_view kSpace = "\xE2\x96\x81";
    return std::min(text.find(kSpace, first + 1), text.size());
  }

  std::size_t unit(std::string_view text) const {
    const std::size_t whole = user_defined_.empty() ? 0 : user_defined_.longest_prefix(text);
    return whole > 0 ? whole : character_at(text, 0).size;
  }

  bool words_;
  std::int32_t unknown_;
  PieceTable pieces_;
  ByteTrie user_defined_;
};

}  // namespace

std::unique_ptr<Segmenter> make_segmenter(const SentencePieceModel& model) {
  using Algorithm = SentencePieceModel::Algorithm;
  switch (model.algorithm) {
    case Algorithm::unigram: return std::make_unique<UnigramSegmenter>(model);
    case Algorithm::bpe: return std::make_unique<ScoreBpe>(model);
    default: break;
  }
  return std::make_unique<LookUpSegmenter>(model, model.algorithm == Algorithm::word);
}

}  // namespace perilune
