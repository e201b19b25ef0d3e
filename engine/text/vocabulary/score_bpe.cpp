#include "engine/text/vocabulary/score_bpe.h"

#include <algorithm>
#include <bit>
#include <unordered_map>

#include "engine/base/interrupt.h"
#include "engine/text/unicode/unicode.h"

namespace perilune {
namespace {

using Type = SentencePieceModel::Type;

constexpr std::size_t kLeastJoins = std::size_t{1} << 16, kMostJoins = std::size_t{1} << 24;

bool joinable(Type type) {
  return type == Type::normal || type == Type::user_defined || type == Type::unused;
}

}  // namespace

ScoreBpe::ScoreBpe(const SentencePieceModel& model)
    : model_(model), pieces_(model.pieces.size()), reserved_(model.pieces.size()) {
  std::size_t bytes = 0;
  for (const auto& piece : model.pieces) bytes += piece.text.size();
  joins_.resize(std::clamp(std::bit_ceil(bytes * 8), kLeastJoins, kMostJoins));
  for (std::size_t i = 0; i < model.pieces.size(); ++i) {
    const auto& piece = model.pieces[i];
    const auto id = static_cast<std::int32_t>(i);
    if (!joinable(piece.type)) {
      if (piece.type != Type::control) reserved_.insert(piece.text, id);
      continue;
    }
    pieces_.insert(piece.text, id);
    note_joins(piece.text);
    if (piece.type == Type::user_defined) user_defined_.insert(piece.text, id);
    unused_ = unused_ || piece.type == Type::unused;
  }
}

void ScoreBpe::note_joins(std::string_view piece) {
  char32_t before = 0;
  for (std::size_t at = 0; at < piece.size();) {
    const Character c = character_at(piece, at);
    if (at > 0) joins_[(before * std::size_t{509} + c.value) & (joins_.size() - 1)] = true;
    before = c.value;
    at += c.size;
  }
}

class ScoreBpe::Encoder {
 public:
  Encoder(const ScoreBpe& model, PieceMemo& memo, std::string_view text,
          std::vector<ModelToken>& out)
      : model_(model), memo_(memo), text_(text), out_(out) {}

  void run() {
    char32_t before = 0;
    for (std::uint32_t at = 0; at < text_.size();) {
      stop_if_interrupted("encode");
      const std::size_t whole =
          model_.user_defined_.empty() ? 0 : model_.user_defined_.longest_prefix(text_.substr(at));
      const Character c = character_at(text_, at);
      const auto size = whole > 0 ? static_cast<std::uint32_t>(whole) : c.size;
      const bool fixed = whole > 0;
      const bool apart = !symbols_.empty() &&
                         (fixed || symbols_.back().fixed || !model_.may_join(before, c.value));
      if (apart && !model_.unused_) finish();
      symbols_.push_back({at, at + size, kNone, kNone, fixed});
      before = c.value;
      at += size;
    }
    finish();
  }

 private:
  static constexpr std::uint32_t kNone = 0xFFFFFFFF;
  struct Symbol {
    std::uint32_t first, last;  // empty: it became a part of the one before
    std::uint32_t before, after;
    bool fixed;  // never joined
  };
  struct Pair {
    float score;
    std::uint32_t left, right, size;
    bool operator<(const Pair& other) const {  // the heap's top is the greatest
      return score < other.score || (score == other.score && left > other.left);
    }
  };

  std::string_view bytes(std::uint32_t first, std::uint32_t last) const {
    return text_.substr(first, last - first);
  }

  std::int32_t id_of(std::string_view piece) const {
    const PieceTable::Slot* found = model_.pieces_.find(piece);
    if (found == nullptr) found = model_.reserved_.find(piece);
    return found == nullptr ? model_.model_.unknown_id : found->number();
  }

  void emit(std::uint32_t first, std::uint32_t last) {
    out_.push_back({id_of(bytes(first, last)), first, last, 0});
  }

  // The symbols gathered so far are a part of the text that nothing around it can change.
  void finish() {
    if (symbols_.empty()) return;
    const std::uint32_t first = symbols_.front().first, last = symbols_.back().last;
    if (symbols_.size() == 1) {
      emit(first, last);
    } else if (model_.unused_ || !memo_.recall(bytes(first, last), first, 0, out_)) {
      const std::size_t before = out_.size();
      merge();
      if (!model_.unused_) {
        memo_.remember(bytes(first, last), first, std::span(out_).subspan(before));
      }
    }
    symbols_.clear();
  }

  void merge() {
    const auto count = static_cast<std::uint32_t>(symbols_.size());
    for (std::uint32_t i = 0; i < count; ++i) {
      symbols_[i].before = i == 0 ? kNone : i - 1;
      symbols_[i].after = i + 1 == count ? kNone : i + 1;
    }
    pairs_.clear();
    for (std::uint32_t i = 1; i < count; ++i) offer(i - 1, i);
    while (!pairs_.empty()) {
      stop_if_interrupted("encode");
      std::pop_heap(pairs_.begin(), pairs_.end());
      const Pair top = pairs_.back();
      pairs_.pop_back();
      Symbol &left = symbols_[top.left], &right = symbols_[top.right];
      const bool there =
          left.last > left.first && right.last > right.first && right.last - left.first == top.size;
      if (there) join(top.left, top.right);
    }
    for (std::uint32_t i = 0; i != kNone; i = symbols_[i].after) {
      give(symbols_[i].first, symbols_[i].last);
    }
    splits_.clear();
  }

  void offer(std::uint32_t left, std::uint32_t right) {
    if (left == kNone || right == kNone) return;
    const Symbol &a = symbols_[left], &b = symbols_[right];
    if (a.fixed || b.fixed) return;
    const std::string_view both = bytes(a.first, b.last);
    const PieceTable::Slot* found = model_.pieces_.find(both);
    if (found == nullptr) return;
    const auto& piece = model_.model_.pieces[static_cast<std::size_t>(found->number())];
    pairs_.push_back({piece.score, left, right, static_cast<std::uint32_t>(both.size())});
    std::push_heap(pairs_.begin(), pairs_.end());
    if (piece.type == Type::unused) splits_[both] = a.last - a.first;
  }

  void join(std::uint32_t left, std::uint32_t right) {
    Symbol &a = symbols_[left], &b = symbols_[right];
    a.last = b.last;
    a.after = b.after;
    if (b.after != kNone) symbols_[b.after].before = left;
    b.last = b.first;
    offer(a.before, left);
    offer(left, a.after);
  }

  // Unused pieces as what they were made of, recursively.
  void give(std::uint32_t first, std::uint32_t last) {
    const PieceTable::Slot* found =
        model_.unused_ ? model_.pieces_.find(bytes(first, last)) : nullptr;
    const bool unused =
        found != nullptr &&
        model_.model_.pieces[static_cast<std::size_t>(found->number())].type == Type::unused;
    const auto split = unused ? splits_.find(bytes(first, last)) : splits_.end();
    if (split == splits_.end()) return emit(first, last);
    give(first, first + split->second);
    give(first + split->second, last);
  }

  const ScoreBpe& model_;
  PieceMemo& memo_;
  const std::string_view text_;
  std::vector<ModelToken>& out_;
  std::vector<Symbol> symbols_;
  std::vector<Pair> pairs_;                                     // a heap
  std::unordered_map<std::string_view, std::uint32_t> splits_;  // of unused pieces: the left size
};

void ScoreBpe::segment(std::string_view text, std::vector<ModelToken>& out) const {
  const MemoPool::Lease memo(memos_);
  Encoder(*this, *memo, text, out).run();
}

}  // namespace perilune
