#include "engine/text/vocabulary/entries.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "engine/base/error.h"

namespace perilune {
namespace {

constexpr std::int32_t kIdLimit = 1 << 24;
constexpr std::size_t kMaxEntries = std::size_t{1} << 20;

std::uint64_t load64(const char* at) {
  std::uint64_t value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

std::uint64_t load32(const char* at) {
  std::uint32_t value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  a = (a ^ (a >> 32)) * 0x9E3779B97F4A7C15ull;
  b = (b ^ (b >> 29)) * 0xD6E8FEB86659FD93ull;
  const std::uint64_t both = a ^ std::rotl(b, 31);
  return both ^ (both >> 32);
}

std::uint64_t hash_of(std::string_view text) {
  std::uint64_t hash = text.size();
  std::size_t at = 0;
  for (; at + 16 <= text.size(); at += 16) {
    hash = mix(hash ^ load64(text.data() + at), load64(text.data() + at + 8) + hash);
  }
  const char* const end = text.data() + text.size();
  return mix(hash ^ load64(end - 16), load64(end - 8) + hash);
}

}  // namespace

PieceKey::PieceKey(std::string_view text) {
  const std::size_t size = text.size();
  const char* const at = text.data();
  if (size > kInline) {
    hash = hash_of(text);
    low = hash;
    return;
  }
  if (size >= 8) {
    low = load64(at);
    high = load64(at + size - 8);
  } else if (size >= 4) {
    low = load32(at) | load32(at + size - 4) << 32;
  } else {
    const auto byte = [&](std::size_t i) {
      return static_cast<std::uint64_t>(static_cast<unsigned char>(at[i]));
    };
    low = byte(0) | byte(size / 2) << 8 | byte(size - 1) << 16;
  }
  hash = mix(low, high + size);
}

bool PieceTable::matches(const Slot& slot, const PieceKey& key, std::string_view text) const {
  if (slot.length != text.size() || slot.low != key.low) return false;
  if (text.size() <= PieceKey::kInline) return slot.high == key.high;
  return std::memcmp(long_keys_.data() + slot.high, text.data(), text.size()) == 0;
}

PieceTable::PieceTable(std::size_t keys) {
  const std::size_t size = std::bit_ceil(std::max<std::size_t>(keys + keys / 2, 8) + 1);
  slots_ = std::make_unique<Slot[]>(size);
  mask_ = size - 1;
}

bool PieceTable::insert(std::string_view text, std::int32_t number) {
  if (text.empty()) return true;
  const PieceKey key(text);
  std::size_t at = key.hash & mask_;
  for (; slots_[at].length != 0; at = (at + 1) & mask_) {
    if (matches(slots_[at], key, text)) return false;
  }
  Slot& slot = slots_[at];
  slot.low = key.low;
  slot.high = text.size() > PieceKey::kInline ? long_keys_.size() : key.high;
  slot.length = static_cast<std::uint32_t>(text.size());
  slot.value = static_cast<std::uint32_t>(number);
  if (text.size() > PieceKey::kInline) long_keys_ += text;
  longest_ = std::max(longest_, text.size());
  return true;
}

const PieceTable::Slot* PieceTable::find(std::string_view text) const {
  if (text.empty() || text.size() > longest_) return nullptr;
  const PieceKey key(text);
  for (std::size_t at = key.hash & mask_; slots_[at].length != 0; at = (at + 1) & mask_) {
    if (matches(slots_[at], key, text)) return &slots_[at];
  }
  return nullptr;
}

VocabularyIndex::VocabularyIndex(Vocabulary vocabulary, std::string_view place)
    : entries_(std::move(vocabulary)), table_(entries_.size()) {
  const auto fail = [&](const std::string& problem) {
    throw Error(ErrorCode::format, "load", std::string(place) + ": " + problem);
  };
  const auto quoted = [](const std::string& spelling) {
    return "\"" + spelling.substr(0, 100) + "\"";
  };
  if (entries_.size() > kMaxEntries) {
    fail(std::to_string(entries_.size()) + " entries; at most 1048576 are allowed");
  }
  const auto by_id = [](const auto& a, const auto& b) { return a.second < b.second; };
  if (!std::is_sorted(entries_.begin(), entries_.end(), by_id)) {
    std::sort(entries_.begin(), entries_.end(), by_id);
  }
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const auto& [spelling, id] = entries_[i];
    if (id < 0 || id >= kIdLimit) {
      fail(quoted(spelling) + " has id " + std::to_string(id) + "; ids are from 0 to 16777215");
    }
    if (i > 0 && entries_[i - 1].second == id) {
      fail(quoted(entries_[i - 1].first) + " and " + quoted(spelling) + " have the same id " +
           std::to_string(id));
    }
    dense_ = dense_ && id == static_cast<std::int32_t>(i);
    const bool again =
        spelling.empty() ? empty_ >= 0 : !table_.insert(spelling, static_cast<std::int32_t>(i));
    if (again) fail(quoted(spelling) + " is there twice");
    if (spelling.empty()) empty_ = static_cast<std::int32_t>(i);
  }
}

std::int32_t VocabularyIndex::number(std::string_view piece) const {
  if (piece.empty()) return empty_;
  const PieceTable::Slot* slot = table_.find(piece);
  return slot == nullptr ? -1 : slot->number();
}

std::optional<std::int32_t> VocabularyIndex::id(std::string_view piece) const {
  const std::int32_t found = number(piece);
  if (found < 0) return std::nullopt;
  return id_of(found);
}

const std::string* VocabularyIndex::piece(std::int32_t id) const {
  if (id < 0 || id > max_id()) return nullptr;
  if (dense_) return &entries_[static_cast<std::size_t>(id)].first;
  const auto found = std::lower_bound(
      entries_.begin(), entries_.end(), id,
      [](const auto& entry, std::int32_t wanted) { return entry.second < wanted; });
  return found->second == id ? &found->first : nullptr;
}

std::vector<std::int32_t> VocabularyIndex::byte_numbers() const {
  std::vector<std::int32_t> numbers(256);
  for (int byte = 0; byte < 256; ++byte) {
    numbers[static_cast<std::size_t>(byte)] =
        number(byte_fallback_spelling(static_cast<unsigned char>(byte)));
  }
  return numbers;
}

WordModel::WordModel(Vocabulary vocabulary, std::string unknown, std::string_view place)
    : vocabulary_(std::move(vocabulary), place),
      unknown_spelling_(std::move(unknown)),
      unknown_(vocabulary_.number(unknown_spelling_)) {}

std::optional<std::int32_t> WordModel::unknown() const {
  if (unknown_ < 0) return std::nullopt;
  return vocabulary_.id_of(unknown_);
}

std::int32_t WordModel::unknown_id() const {
  if (unknown_ >= 0) return vocabulary_.id_of(unknown_);
  throw Error(ErrorCode::format, "encode",
              "the vocabulary does not cover a word and has no unknown token")
      .operand("unk_token", "\"" + unknown_spelling_ + "\"");
}

std::string byte_fallback_spelling(unsigned char byte) {
  static const char* const kDigits = "0123456789ABCDEF";
  return {'<', '0', 'x', kDigits[byte >> 4], kDigits[byte & 15], '>'};
}

}  // namespace perilune
