#include "engine/text/normalize/steps.h"

namespace perilune {
namespace {

bool same_characters(std::string_view bytes, const std::vector<Change>& changes) {
  std::size_t at = 0;
  for (const Change& change : changes) {
    if (at == bytes.size()) return false;
    const Character c = character_at(bytes, at);
    if (c.value != change.value || change.change != 0) return false;
    at += c.size;
  }
  return at == bytes.size();
}

}  // namespace

bool lower_ascii(std::string& text) {
  unsigned char changed = 0;
  for (char& c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const auto shift = static_cast<unsigned char>(byte >= 'A' && byte <= 'Z' ? 0x20 : 0);
    changed |= shift;
    c = static_cast<char>(byte + shift);
  }
  return changed != 0;
}

void ChangeWriter::pass(int count) {
  for (; count > 0 && at_ < old_.size(); --count) at_ += character_at(old_, at_).size;
}

void ChangeWriter::write(const Change& change) {
  std::string made;
  append_character(made, change.value);
  const std::uint32_t before = at_;
  if (change.change > 0) {
    if (before == 0) {
      writer_.insert(made);
    } else {
      writer_.replace(before - 1, before, made);
    }
    return;
  }
  pass(1);
  if (change.change < 0 && change.of.first < change.of.last) {
    writer_.replace(change.of.first, change.of.last, made);
  } else {
    writer_.replace(before, at_, made);
  }
  pass(-change.change);
}

void ChangeWriter::put(const Change& change) {
  anything_ = true;
  if (held_) write(inserted_);
  held_ = change.change > 0;
  if (held_) {
    inserted_ = change;
  } else {
    write(change);
  }
}

void ChangeWriter::remove(int count) {
  if (!anything_) return;
  if (!held_) return pass(count);
  inserted_.change -= count;
  held_ = false;
  write(inserted_);
}

void ChangeWriter::keep(std::uint32_t first, std::uint32_t last) {
  if (first == last) return;
  if (held_) write(inserted_);
  held_ = false;
  if (at_ == first) {
    anything_ = true;
    writer_.keep(first, last);
    at_ = last;
    return;
  }
  while (first < last) {  // the count lags behind
    const Character c = character_at(old_, first);
    put({c.value, 0});
    first += c.size;
  }
}

void ChangeWriter::finish() {
  if (held_) write(inserted_);
  writer_.finish();
}

void apply_form(AlignedText& text, NormalForm form) {
  const std::string& old = text.text();
  std::size_t done = 0;
  TextSpan part = next_part(old, 0, form);
  if (part.first == part.last) return;
  ChangeWriter writer(text);
  std::vector<Change> changes;
  while (part.first < part.last) {
    const std::string_view bytes = std::string_view(old).substr(part.first, part.last - part.first);
    changes.clear();
    to_form(bytes, form, changes);
    if (!same_characters(bytes, changes)) {
      writer.keep(static_cast<std::uint32_t>(done), part.first);
      for (Change change : changes) {
        change.of = {change.of.first + part.first, change.of.last + part.first};
        writer.put(change);
      }
      done = part.last;
    }
    part = next_part(old, part.last, form);
  }
  writer.keep(static_cast<std::uint32_t>(done), static_cast<std::uint32_t>(old.size()));
  writer.finish();
}

void lower_case(AlignedText& text) {
  const std::string& bytes = text.text();
  AlignedTextWriter writer(text);
  std::uint32_t from = 0, at = 0;
  std::string lower;
  while (at < bytes.size()) {
    const auto byte = static_cast<unsigned char>(bytes[at]);
    if (byte < 0x80) {
      const auto end = static_cast<std::uint32_t>(ascii_end(bytes, at));
      lower.assign(bytes, at, end - at);
      if (lower_ascii(lower)) {
        writer.keep(from, at);
        writer.overlay(at, end, lower);
        from = end;
      }
      at = end;
      continue;
    }
    const Character c = character_at(bytes, at);
    if (has_lower_case(c.value)) {
      lower.clear();
      append_lower_case(lower, c.value);
      writer.keep(from, at);
      writer.replace(at, at + c.size, lower);
      from = at + c.size;
    }
    at += c.size;
  }
  writer.keep(from, at);
  writer.finish();
}

}  // namespace perilune
