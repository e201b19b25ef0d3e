#include "engine/text/unicode/aligned_text.h"

#include <algorithm>
#include <utility>

#include "engine/base/error.h"

namespace perilune {
namespace {

constexpr std::size_t kMaxBytes = std::size_t{1} << 31;
// Published normalizers multiply a text by 11 at most (U+FDFA in NFKC), byte-level ones by 2 more.
constexpr std::size_t kGrowth = 64;
constexpr std::size_t kAlwaysAllowed = std::size_t{1} << 20;

bool inside_character(char byte) {
  return (static_cast<unsigned char>(byte) & 0xC0) == 0x80;
}

std::size_t character_size(char first) {
  const auto byte = static_cast<unsigned char>(first);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

[[noreturn]] void too_long(std::size_t limit) {
  throw Error(ErrorCode::length, "tokenizer", "the normalized text is too long")
      .operand("limit", std::to_string(limit) + " bytes")
      .hint("the tokenizer's rules multiply the text; is its file damaged?");
}

}  // namespace

AlignedText::AlignedText(std::string_view original, std::uint32_t offset) : offset_(offset) {
  if (original.size() > kMaxBytes - 1 || offset > kMaxBytes - 1 - original.size()) {
    throw Error(ErrorCode::length, "tokenizer", "the text is too long")
        .operand("text", std::to_string(offset + original.size()) + " bytes")
        .operand("limit", std::to_string(kMaxBytes - 1) + " bytes")
        .hint("encode it in parts");
  }
  text_ = original;
  limit_ = std::min(kMaxBytes - 1, kAlwaysAllowed + kGrowth * original.size());
}

TextSpan AlignedText::origin(std::uint32_t first, std::uint32_t last) const {
  if (origin_.empty()) {
    if (first == last) return {offset_ + first, offset_ + first};
    while (first > 0 && inside_character(text_[first])) --first;
    while (last < text_.size() && inside_character(text_[last])) ++last;
    return {offset_ + first, offset_ + last};
  }
  if (first == last) {
    const std::uint32_t at =
        first < origin_.size() ? origin_[first].first : origin_[first - 1].last;
    return {at, at};
  }
  return {origin_[first].first, origin_[last - 1].last};
}

void AlignedText::assign(std::string text, std::vector<TextSpan> origin) {
  if (text.size() > limit_) too_long(limit_);
  text_ = std::move(text);
  origin_ = std::move(origin);
}

void AlignedText::append_origin(std::uint32_t first, std::uint32_t last,
                                std::vector<TextSpan>& out) const {
  if (!origin_.empty()) {
    out.insert(out.end(), origin_.begin() + first, origin_.begin() + last);
    return;
  }
  while (first < last) {
    std::uint32_t start = first, end = first + 1;
    if (static_cast<unsigned char>(text_[first]) >= 0x80) {
      while (start > 0 && inside_character(text_[start])) --start;
      while (end < text_.size() && inside_character(text_[end])) ++end;
    }
    const TextSpan span{offset_ + start, offset_ + end};
    for (; first < end && first < last; ++first) out.push_back(span);
  }
}

AlignedTextWriter::AlignedTextWriter(AlignedText& text) : target_(text) {}

std::uint32_t AlignedTextWriter::written() const {
  return state_ == State::same ? kept_ : static_cast<std::uint32_t>(text_.size());
}

void AlignedTextWriter::change_in_place() {
  state_ = State::in_place;
  text_.reserve(target_.text_.size() + target_.text_.size() / 4 + 16);
  text_.append(target_.text_, 0, kept_);
}

void AlignedTextWriter::move() {
  if (state_ == State::moved) return;
  if (state_ == State::same) change_in_place();
  state_ = State::moved;
  origin_.reserve(text_.capacity());
  target_.append_origin(0, static_cast<std::uint32_t>(text_.size()), origin_);
}

void AlignedTextWriter::write(std::string_view what, TextSpan span) {
  move();
  if (what.size() > target_.limit_ - text_.size()) too_long(target_.limit_);
  text_ += what;
  origin_.insert(origin_.end(), what.size(), span);
}

void AlignedTextWriter::keep(std::uint32_t first, std::uint32_t last) {
  if (first == last) return;
  if (state_ == State::same && first == kept_) {
    kept_ = last;
    return;
  }
  if (state_ != State::in_place || first != written()) move();
  if (last - first > target_.limit_ - text_.size()) too_long(target_.limit_);
  text_.append(target_.text_, first, last - first);
  if (state_ == State::moved) target_.append_origin(first, last, origin_);
}

void AlignedTextWriter::replace(std::uint32_t first, std::uint32_t last, std::string_view with) {
  const bool alike = with.size() == last - first && last > first &&
                     character_size(target_.text_[first]) == with.size() &&
                     character_size(with[0]) == with.size();
  if (alike) return overlay(first, last, with);
  write(with, target_.origin(first, last));
}

void AlignedTextWriter::overlay(std::uint32_t first, std::uint32_t last, std::string_view with) {
  if (first != written()) move();
  if (state_ == State::same) change_in_place();
  if (with.size() > target_.limit_ - text_.size()) too_long(target_.limit_);
  text_ += with;
  if (state_ == State::moved) target_.append_origin(first, last, origin_);
}

void AlignedTextWriter::insert(std::string_view what) {
  move();
  write(what, origin_.empty() ? TextSpan{target_.offset_, target_.offset_} : origin_.back());
}

void AlignedTextWriter::finish() {
  if (written() != target_.text_.size()) move();
  if (state_ == State::same) return;
  target_.text_ = std::move(text_);
  if (state_ == State::moved) target_.origin_ = std::move(origin_);
}

}  // namespace perilune
