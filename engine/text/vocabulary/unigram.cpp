#include "engine/text/vocabulary/unigram.h"

#include <algorithm>
#include <cfloat>
#include <limits>

#include "engine/base/error.h"
#include "engine/base/interrupt.h"
#include "engine/base/utf8.h"

namespace perilune {
namespace {

constexpr float kUnknownPenalty = 10.0f;

}  // namespace

Unigram::Unigram(const SentencePieceModel& model) : unknown_id_(model.unknown_id) {
  using Type = SentencePieceModel::Type;
  float lowest = FLT_MAX, highest = FLT_MIN;
  for (const auto& piece : model.pieces) {
    if (piece.type != Type::normal) continue;
    lowest = std::min(lowest, piece.score);
    highest = std::max(highest, piece.score);
  }
  for (std::size_t i = 0; i < model.pieces.size(); ++i) {
    const auto& piece = model.pieces[i];
    // What the user defined scores more the longer it is, so that it wins.
    const bool user_defined = piece.type == Type::user_defined;
    const auto length = static_cast<double>(piece.text.size());
    scores_.push_back(user_defined ? static_cast<float>(length * highest - 0.1) : piece.score);
    if (piece.type == Type::normal || user_defined) {
      trie_.insert(piece.text, static_cast<std::int32_t>(i));
    }
  }
  unknown_score_ = lowest - kUnknownPenalty;
}

Unigram::Unigram(const std::vector<std::pair<std::string, double>>& pieces,
                 std::optional<std::int32_t> unknown)
    : unknown_id_(unknown), single_precision_(false) {
  double lowest = std::numeric_limits<double>::infinity();
  for (const auto& [piece, score] : pieces) {
    if (!piece.empty()) trie_.insert(piece, static_cast<std::int32_t>(scores_.size()));
    scores_.push_back(score);
    lowest = std::min(lowest, score);
  }
  unknown_score_ = lowest - static_cast<double>(kUnknownPenalty);
}

template <typename Sum>
void Unigram::find_best(std::string_view text, Scratch& scratch) const {
  auto& best = scratch.best;
  best.assign(text.size() + 1, {});
  for (std::size_t at = 0; at < text.size();) {
    stop_if_interrupted("encode");
    const auto here = static_cast<Sum>(best[at].score);
    const auto offer = [&](std::size_t last, std::int32_t id, double score) {
      Scratch::Best& end = best[last];
      const Sum sum = here + static_cast<Sum>(score);
      if (end.id < 0 || sum > static_cast<Sum>(end.score)) {
        end = {sum, id, static_cast<std::uint32_t>(at)};
      }
    };
    const std::size_t character = std::max<std::size_t>(utf8_character(text.substr(at)), 1);
    bool covered = false;
    std::uint32_t node = 0;
    for (std::size_t end = at; end < text.size();) {
      node = trie_.child(node, static_cast<unsigned char>(text[end++]));
      if (node == ByteTrie::kNone) break;
      const std::int32_t id = trie_.value(node);
      if (id < 0) continue;
      offer(end, id, scores_[static_cast<std::size_t>(id)]);
      covered = covered || end - at == character;
    }
    if (!covered) {
      const Scratch::Best& end = best[at + character];
      const Sum sum = here + static_cast<Sum>(unknown_score_);
      if (!unknown_id_ && (end.id < 0 || sum > static_cast<Sum>(end.score))) {
        throw Error(ErrorCode::format, "encode",
                    "the vocabulary does not cover a character and has no unknown token")
            .operand("character", "\"" + std::string(text.substr(at, character)) + "\"");
      }
      if (unknown_id_) offer(at + character, *unknown_id_, unknown_score_);
    }
    at += character;
  }
}

void Unigram::segment(std::string_view text, Scratch& scratch, std::vector<Segment>& out) const {
  if (single_precision_) {
    find_best<float>(text, scratch);
  } else {
    find_best<double>(text, scratch);
  }
  out.clear();
  for (auto end = static_cast<std::uint32_t>(text.size()); end > 0;) {
    const Scratch::Best& best = scratch.best[end];
    out.push_back({best.first, end, best.id});
    end = best.first;
  }
  std::reverse(out.begin(), out.end());
}

std::vector<Unigram::Segment> Unigram::segment(std::string_view text) const {
  Scratch scratch;
  std::vector<Segment> segments;
  segment(text, scratch, segments);
  return segments;
}

}  // namespace perilune
