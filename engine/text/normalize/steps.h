// What normalizers are made of: changes to a text that keep its alignment.
#pragma once

#include <memory>
#include <vector>

#include "engine/text/pattern/pattern.h"
#include "engine/text/unicode/aligned_text.h"
#include "engine/text/unicode/unicode.h"
#include "engine/text/unicode/unicode_form.h"

namespace perilune {

/// Writes a text as the published tokenizers do: character by character, each with how many of the
/// old text's it stands for. They count through the old text; what a count passes over decides the
/// spans. Call finish() at the end.
class ChangeWriter {
 public:
  explicit ChangeWriter(AlignedText& text) : old_(text.text()), writer_(text) {}
  /// Characters [first, last) of the old text as they are. `first` is where the old text has been
  /// read to.
  void keep(std::uint32_t first, std::uint32_t last);
  void put(const Change& change);
  /// Leaves out `count` characters. Before any other character the published count forgets them:
  /// everything after takes the span of a character that many earlier.
  void remove(int count);
  void finish();

 private:
  void write(const Change& change);
  void pass(int count);

  const std::string& old_;
  AlignedTextWriter writer_;
  std::uint32_t at_ = 0;  // bytes of the old text that are accounted for
  bool anything_ = false;
  bool held_ = false;  // an inserted character: a removal after it makes it take a place
  Change inserted_{};
};

/// Puts a text into a normal form; costs one look at each character where it is in it.
void apply_form(AlignedText& text, NormalForm form);

/// Lower-cases A to Z; whether there were any.
bool lower_ascii(std::string& text);
/// Every character in lower case.
void lower_case(AlignedText& text);

/// Leaves out the characters that `keep` does not hold of.
template <class Keep>
void keep_if(AlignedText& text, const Keep& keep) {
  const std::string& bytes = text.text();
  AlignedTextWriter writer(text);
  std::uint32_t from = 0, at = 0;
  while (at < bytes.size()) {
    const Character c = character_at(bytes, at);
    if (!keep(c.value)) {
      writer.keep(from, at);
      from = at + c.size;
    }
    at += c.size;
  }
  writer.keep(from, at);
  writer.finish();
}

/// Puts `map(c)` for every character that it changes.
template <class Map>
void map_characters(AlignedText& text, const Map& map) {
  const std::string& bytes = text.text();
  AlignedTextWriter writer(text);
  std::uint32_t from = 0, at = 0;
  std::string with;
  while (at < bytes.size()) {
    const Character c = character_at(bytes, at);
    const char32_t mapped = map(c.value);
    if (mapped != c.value) {
      writer.keep(from, at);
      with.clear();
      append_character(with, mapped);
      writer.replace(at, at + c.size, with);
      from = at + c.size;
    }
    at += c.size;
  }
  writer.keep(from, at);
  writer.finish();
}

}  // namespace perilune
