#include "engine/text/unigram.h"

#include <algorithm>
#include <cfloat>

#include "engine/text/stream_decoder.h"

namespace perilune {
namespace {

constexpr float kUnknownPenalty = 10.0f;

}  // namespace

Unigram::Unigram(const SentencePieceModel& model) : unknown_id_(model.unknown_id) {
  using Type = SentencePieceModel::Type;
  float lowest = FLT_MAX;
  highest_score_ = FLT_MIN;
  for (std::size_t i = 0; i < model.pieces.size(); ++i) {
    const auto& piece = model.pieces[i];
    scores_.push_back(piece.score);
    user_defined_.push_back(piece.type == Type::user_defined);
    if (piece.type == Type::normal) {
      lowest = std::min(lowest, piece.score);
      highest_score_ = std::max(highest_score_, piece.score);
    }
    if (piece.type == Type::normal || piece.type == Type::user_defined) {
      trie_.insert(piece.text, static_cast<std::int32_t>(i));
    }
  }
  unknown_score_ = lowest - kUnknownPenalty;
}

std::vector<Unigram::Segment> Unigram::segment(std::string_view text) const {
  struct Best {
    float score = 0;
    std::int32_t id = -1;
    std::uint32_t first = 0;
  };
  std::vector<Best> best(text.size() + 1);  // of the ways to end here
  const auto offer = [&](std::size_t first, std::size_t last, std::int32_t id, float score) {
    Best& end = best[last];
    const float sum = best[first].score + score;
    if (end.id < 0 || sum > end.score) end = {sum, id, static_cast<std::uint32_t>(first)};
  };
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t character = std::max<std::size_t>(utf8_character(text.substr(at)), 1);
    bool covered = false;
    std::uint32_t node = 0;
    for (std::size_t end = at; end < text.size();) {
      node = trie_.child(node, static_cast<unsigned char>(text[end++]));
      if (node == ByteTrie::kNone) break;
      const std::int32_t id = trie_.value(node);
      if (id < 0) continue;
      const auto index = static_cast<std::size_t>(id);
      const auto length = static_cast<double>(end - at);
      offer(at, end, id,
            user_defined_[index] ? static_cast<float>(length * highest_score_ - 0.1)
                                 : scores_[index]);
      covered = covered || end - at == character;
    }
    if (!covered) offer(at, at + character, unknown_id_, unknown_score_);
    at += character;
  }
  std::vector<Segment> segments;
  for (auto end = static_cast<std::uint32_t>(text.size()); end > 0;) {
    segments.push_back({best[end].first, end, best[end].id});
    end = best[end].first;
  }
  std::reverse(segments.begin(), segments.end());
  return segments;
}

}  // namespace perilune
