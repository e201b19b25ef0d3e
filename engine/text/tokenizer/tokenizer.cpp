#include "engine/text/tokenizer/tokenizer.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "engine/base/error.h"

namespace perilune {

void Tokenizer::choose_pad(std::int32_t id) {
  if (id < 0 || id > max_id()) {
    throw Error(ErrorCode::argument, "specials",
                "pad: there is no id " + std::to_string(id) + ", ids go from 0 to " +
                    std::to_string(max_id()));
  }
  chosen_pad_ = id;
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids,
                              const DecodeOptions& options) const {
  const std::unique_ptr<StreamDecoder> stream = decoder(options);
  std::string text;
  for (const std::int32_t id : ids) text += stream->push(id);
  return text += stream->flush();
}

namespace {

// 64-bit FNV-1a.
class Digest {
 public:
  void add(std::string_view bytes) {
    for (const char c : bytes) add(static_cast<std::uint8_t>(c));
    add(std::uint8_t{0});
  }
  void add(std::uint8_t byte) { sum_ = (sum_ ^ byte) * 0x100000001b3U; }
  std::uint64_t sum() const { return sum_; }

 private:
  std::uint64_t sum_ = 0xcbf29ce484222325U;
};

}  // namespace

std::uint64_t Tokenizer::vocabulary_digest() const {
  if (const std::uint64_t known = digest_.load(); known != 0) return known;
  Digest digest;
  for (std::int32_t i = 0; i <= max_id(); ++i) {
    try {
      digest.add(piece(i));
    } catch (const Error&) {
      digest.add(std::uint8_t{1});  // an id without a piece
    }
  }
  const std::uint64_t sum = std::max<std::uint64_t>(digest.sum(), 1);
  digest_.store(sum);
  return sum;
}

namespace {

bool is_added(const Tokenizer& tokenizer, std::int32_t id) {
  const auto& added = tokenizer.added_tokens();
  return std::any_of(added.begin(), added.end(), [&](const AddedToken& t) { return t.id == id; });
}

std::optional<std::string> piece_of(const Tokenizer& tokenizer, std::int32_t id) {
  if (id > tokenizer.max_id()) return std::nullopt;
  try {
    return tokenizer.piece(id);
  } catch (const Error&) {
    return std::nullopt;
  }
}

// Converted files write spaces where a vocabulary has spaces that do not break.
std::string with_plain_spaces(std::string text) {
  constexpr std::string_view kNoBreak = "\xC2\xA0";
  for (auto at = text.find(kNoBreak); at != std::string::npos; at = text.find(kNoBreak, at)) {
    text.replace(at, kNoBreak.size(), " ");
  }
  return text;
}

// Every id has one piece in both; a token that was added may be missing in one.
bool same_pieces(const Tokenizer& a, const Tokenizer& b) {
  const std::int32_t last = std::max(a.max_id(), b.max_id());
  for (std::int32_t id = 0; id <= last; ++id) {
    const auto mine = piece_of(a, id);
    const auto other = piece_of(b, id);
    if (mine == other) continue;
    const bool both = mine.has_value() && other.has_value();
    if (both ? with_plain_spaces(*mine) != with_plain_spaces(*other)
             : !is_added(mine.has_value() ? a : b, id)) {
      return false;
    }
  }
  return true;
}

// What same_pieces said of two vocabularies, by their digests.
class Comparisons {
 public:
  bool same(const Tokenizer& a, const Tokenizer& b) {
    const std::pair key = std::minmax({a.vocabulary_digest(), b.vocabulary_digest()});
    const std::lock_guard lock(mutex_);
    if (const auto found = known_.find(key); found != known_.end()) return found->second;
    if (known_.size() >= kMost) known_.clear();
    return known_[key] = same_pieces(a, b);
  }

 private:
  static constexpr std::size_t kMost = 256;
  std::mutex mutex_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, bool> known_;
};

}  // namespace

bool same_vocabulary(const Tokenizer& a, const Tokenizer& b) {
  if (&a == &b) return true;
  static Comparisons comparisons;
  if (a.vocabulary_digest() != b.vocabulary_digest() && !comparisons.same(a, b)) return false;
  auto other = b.added_tokens().begin();
  for (const AddedToken& mine : a.added_tokens()) {  // both by id
    while (other != b.added_tokens().end() && other->id < mine.id) ++other;
    if (other == b.added_tokens().end()) break;
    if (other->id == mine.id && other->content != mine.content) return false;
  }
  return true;
}

}  // namespace perilune
