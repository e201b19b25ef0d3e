#include "engine/text/decode/piece_steps.h"

#include <optional>

#include "engine/text/decode/growth.h"
#include "engine/text/decode/stream_decoder.h"
#include "engine/text/unicode/byte_level.h"

namespace perilune {
namespace {

using Strings = std::vector<std::string>;

void replace_all(std::string& text, std::string_view what, std::string_view with) {
  std::size_t found = what.empty() ? std::string::npos : text.find(what);
  if (found == std::string::npos) return;
  std::string out;
  std::size_t at = 0;
  for (; found != std::string::npos; found = text.find(what, at)) {
    out.append(text, at, found - at).append(with);
    check_growth(out.size(), text.size());
    at = found + what.size();
  }
  text = out.append(text, at);
}

/// The published clean-up of one word: spaces before punctuation and contractions.
void clean_word(std::string& text) {
  constexpr std::pair<const char*, const char*> kRules[] = {
      {" .", "."},   {" ?", "?"},     {" !", "!"},    {" ,", ","},
      {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},  {" do not", " don't"},
      {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [what, with] : kRules) replace_all(text, what, with);
}

/// A step that needs nothing but the piece and whether it is the first.
template <class Change>
class PieceStep final : public PieceDecoder {
 public:
  explicit PieceStep(Change change) : change_(std::move(change)) {}
  void push(std::string piece, Strings& out) override {
    change_(piece, first_);
    first_ = false;
    out.push_back(std::move(piece));
  }
  void finish(Strings&) override {}

 private:
  Change change_;
  bool first_ = true;
};

template <class Change>
DecoderStep piece_step(Change change) {
  return std::make_unique<PieceStep<Change>>(std::move(change));
}

class ByteLevelStep final : public PieceDecoder {
 public:
  void push(std::string piece, Strings& out) override {
    const auto bytes = bytes_of_byte_level(piece);
    std::string text;
    buffer_.push(bytes ? *bytes : piece, text);
    if (!text.empty()) out.push_back(std::move(text));
  }
  void finish(Strings& out) override {
    std::string text;
    buffer_.flush(text);
    if (!text.empty()) out.push_back(std::move(text));
  }

 private:
  Utf8Buffer buffer_{Utf8Replacement::subpart};
};

class SuffixStep final : public PieceDecoder {
 public:
  explicit SuffixStep(std::string suffix) : suffix_(std::move(suffix)) {}
  void push(std::string piece, Strings& out) override {
    if (held_) give(" ", out);
    held_ = std::move(piece);
  }
  void finish(Strings& out) override {
    if (held_) give("", out);
  }

 private:
  void give(std::string_view with, Strings& out) {
    replace_all(*held_, suffix_, with);
    out.push_back(std::move(*held_));
    held_.reset();
  }
  std::string suffix_;
  std::optional<std::string> held_;
};

class ByteFallbackStep final : public PieceDecoder {
 public:
  void push(std::string piece, Strings& out) override {
    if (const auto byte = byte_of(piece)) {
      bytes_ += *byte;
      return;
    }
    finish(out);
    out.push_back(std::move(piece));
  }
  void finish(Strings& out) override {
    if (bytes_.empty()) return;
    if (is_utf8(bytes_)) {
      out.push_back(bytes_);
    } else {
      for (std::size_t i = 0; i < bytes_.size(); ++i) out.emplace_back("\xEF\xBF\xBD");
    }
    bytes_.clear();
  }

 private:
  static std::optional<char> byte_of(const std::string& piece) {
    if (piece.size() != 6 || piece.compare(0, 3, "<0x") != 0 || piece[5] != '>')
      return std::nullopt;
    int value = 0;
    for (const char c : {piece[3] == '+' ? '0' : piece[3], piece[4]}) {  // Rust reads a sign too
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                               : -1;
      if (digit < 0) return std::nullopt;
      value = value * 16 + digit;
    }
    return static_cast<char>(value);
  }
  std::string bytes_;
};

class CtcStep final : public PieceDecoder {
 public:
  CtcStep(std::string pad, std::string delimiter, bool clean_up)
      : pad_(std::move(pad)), delimiter_(std::move(delimiter)), clean_up_(clean_up) {}
  void push(std::string piece, Strings& out) override {
    if (last_ && *last_ == piece) return;
    last_ = piece;
    replace_all(piece, pad_, "");
    if (clean_up_) {
      clean_word(piece);
      replace_all(piece, delimiter_, " ");
    }
    if (!piece.empty()) out.push_back(std::move(piece));
  }
  void finish(Strings&) override {}

 private:
  std::string pad_, delimiter_;
  bool clean_up_;
  std::optional<std::string> last_;
};

/// Drops `content` up to `start` times at the beginning, holds back up to `stop` of them at the
/// end.
class StripStream final : public PieceDecoder {
 public:
  StripStream(std::string content, std::size_t start, std::size_t stop)
      : content_(std::move(content)), start_(start), stop_(stop) {}
  void push(std::string piece, Strings& out) override {
    text_ += piece;
    while (start_ > 0 && text_.compare(0, content_.size(), content_) == 0) {
      text_.erase(0, content_.size());
      --start_;
    }
    if (text_.empty()) return;
    start_ = 0;
    std::size_t held = 0;
    for (std::size_t i = 0; i < stop_ && ends(held); ++i) held += content_.size();
    out.push_back(text_.substr(0, text_.size() - held));
    text_.erase(0, text_.size() - held);
  }
  void finish(Strings&) override { text_.clear(); }

 private:
  bool ends(std::size_t before) const {
    return text_.size() >= before + content_.size() &&
           text_.compare(text_.size() - before - content_.size(), content_.size(), content_) == 0;
  }
  std::string content_, text_;
  std::size_t start_, stop_;
};

class ReplaceStream final : public PieceDecoder {
 public:
  ReplaceStream(std::string what, std::string content)
      : replace_(std::move(what), std::move(content)) {}
  void push(std::string piece, Strings& out) override {
    std::string text;
    replace_.push(piece, text);
    if (!text.empty()) out.push_back(std::move(text));
  }
  void finish(Strings& out) override {
    std::string text;
    replace_.flush(text);
    if (!text.empty()) out.push_back(std::move(text));
  }

 private:
  StreamReplace replace_;
};

class WholeStep final : public PieceDecoder {
 public:
  explicit WholeStep(DecoderStep step) : step_(std::move(step)) {}
  void push(std::string piece, Strings&) override { text_ += piece; }
  void finish(Strings& out) override {
    step_->push(std::move(text_), out);
    step_->finish(out);
    text_.clear();
  }

 private:
  DecoderStep step_;
  std::string text_;
};

}  // namespace

DecoderStep pass_step() {
  return piece_step([](std::string&, bool) {});
}

DecoderStep spaced_step() {
  return piece_step([](std::string& piece, bool first) {
    if (!first) piece.insert(0, 1, ' ');
  });
}

DecoderStep byte_level_step() {
  return std::make_unique<ByteLevelStep>();
}

DecoderStep wordpiece_step(std::string prefix, bool clean_up) {
  return piece_step([prefix = std::move(prefix), clean_up](std::string& piece, bool first) {
    if (!first) {
      if (piece.compare(0, prefix.size(), prefix) == 0) {
        piece.erase(0, prefix.size());
      } else {
        piece.insert(0, 1, ' ');
      }
    }
    if (clean_up) clean_word(piece);
  });
}

DecoderStep metaspace_step(std::string mark, MarksLost lost) {
  return piece_step([mark = std::move(mark), lost](std::string& piece, bool first) {
    const bool loses = lost == MarksLost::all || (lost == MarksLost::first_piece && first);
    replace_all(piece, mark, loses ? "" : " ");
  });
}

DecoderStep suffix_step(std::string suffix) {
  return std::make_unique<SuffixStep>(std::move(suffix));
}

DecoderStep byte_fallback_step() {
  return std::make_unique<ByteFallbackStep>();
}

DecoderStep strip_step(std::string content, std::size_t start, std::size_t stop) {
  return piece_step([content = std::move(content), start, stop](std::string& piece, bool) {
    std::size_t first = 0, last = piece.size();
    for (std::size_t i = 0; i < start && piece.compare(first, content.size(), content) == 0; ++i) {
      first += content.size();
    }
    for (std::size_t i = 0; i < stop && last >= first + content.size() &&
                            piece.compare(last - content.size(), content.size(), content) == 0;
         ++i) {
      last -= content.size();
    }
    piece = piece.substr(first, last - first);
  });
}

DecoderStep replace_step(std::shared_ptr<const Pattern> pattern, std::string content) {
  return piece_step(
      [pattern = std::move(pattern), content = std::move(content)](std::string& piece, bool) {
        std::vector<TextSpan> matches;
        pattern->find(piece, {0, static_cast<std::uint32_t>(piece.size())}, matches);
        std::string out;
        std::uint32_t at = 0;
        for (const TextSpan& match : matches) {
          out.append(piece, at, match.first - at).append(content);
          check_growth(out.size(), piece.size());
          at = match.last;
        }
        piece = out.append(piece, at, piece.size() - at);
      });
}

DecoderStep ctc_step(std::string pad, std::string delimiter, bool clean_up) {
  return std::make_unique<CtcStep>(std::move(pad), std::move(delimiter), clean_up);
}

DecoderStep strip_stream_step(std::string content, std::size_t start, std::size_t stop) {
  return std::make_unique<StripStream>(std::move(content), start, stop);
}

DecoderStep replace_stream_step(std::string what, std::string content) {
  return std::make_unique<ReplaceStream>(std::move(what), std::move(content));
}

DecoderStep whole_step(DecoderStep step) {
  return std::make_unique<WholeStep>(std::move(step));
}

}  // namespace perilune
