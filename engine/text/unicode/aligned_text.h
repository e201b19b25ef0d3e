// A text that is normalized while every byte remembers where it came from.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace perilune {

/// Bytes [first, last) of a text.
struct TextSpan {
  std::uint32_t first = 0, last = 0;
  friend bool operator==(const TextSpan&, const TextSpan&) = default;
};

/// Valid UTF-8 made from a stretch of an original text. While nothing was changed no alignment is
/// stored. Alignment follows the published tokenizers: a changed character keeps the span of the
/// one it replaces, an inserted one takes the span of the character before it (an empty span at the
/// very start), the span of a range reaches from its first byte's start to its last byte's end.
/// Every byte of a character has the span of the whole original character, so a part of a character
/// stands for all of it.
class AlignedText {
 public:
  /// `original` is valid UTF-8 (replace_invalid_utf8) that starts at byte `offset` of the caller's
  /// text. Throws Error(length) where they end beyond 2^31 bytes.
  explicit AlignedText(std::string_view original, std::uint32_t offset = 0);

  const std::string& text() const { return text_; }
  std::uint32_t size() const { return static_cast<std::uint32_t>(text_.size()); }
  bool aligned() const { return !origin_.empty(); }  // false: byte i is byte offset + i

  /// The caller's bytes that [first, last) stands for, whole characters of the original: a part of
  /// a character gives the whole one. Empty ranges give an empty span.
  TextSpan origin(std::uint32_t first, std::uint32_t last) const;

  /// Replaces the whole text. `origin` has one span, in the caller's bytes, for each byte of
  /// `text`.
  void assign(std::string text, std::vector<TextSpan> origin);

  /// Builds a changed text from left to right; see AlignedTextWriter.
  friend class AlignedTextWriter;

 private:
  /// Appends the spans of bytes [first, last) to `out`.
  void append_origin(std::uint32_t first, std::uint32_t last, std::vector<TextSpan>& out) const;

  std::string text_;
  std::vector<TextSpan> origin_;  // by byte of text_; empty: unchanged
  std::uint32_t offset_ = 0;
  std::size_t limit_ = 0;  // bytes that the text may grow to
};

/// Writes a new version of a text, from left to right, then puts it in place with finish(). What is
/// kept is copied with its spans; what is put in place of bytes takes their span. Costs little
/// while what is written lies, character by character, where the old text has it.
class AlignedTextWriter {
 public:
  explicit AlignedTextWriter(AlignedText& text);
  /// Copies bytes [first, last) of the old text as they are.
  void keep(std::uint32_t first, std::uint32_t last);
  /// Writes `with`, each byte of it standing for what old bytes [first, last) stand for.
  void replace(std::uint32_t first, std::uint32_t last, std::string_view with);
  /// Writes `with`, which has characters of the same sizes as bytes [first, last) of the old text:
  /// each stands for what the one at its place stands for.
  void overlay(std::uint32_t first, std::uint32_t last, std::string_view with);
  /// Writes `what`, standing for what the byte written before stands for (at the start: nothing).
  void insert(std::string_view what);
  /// The new text takes the old one's place. Where everything was kept, nothing happens. Throws
  /// Error(length) for a text far longer than the original (hostile rules multiply it), as every
  /// write does.
  void finish();

 private:
  std::uint32_t written() const;
  void change_in_place();
  void move();
  void write(std::string_view what, TextSpan span);

  AlignedText& target_;
  enum class State {
    same,      // the old text's first kept_ bytes
    in_place,  // other characters of the same sizes at the same places
    moved      // written out with their spans
  };
  State state_ = State::same;
  std::uint32_t kept_ = 0;
  std::string text_;
  std::vector<TextSpan> origin_;
};

}  // namespace perilune
