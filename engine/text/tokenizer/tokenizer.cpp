#include "engine/text/tokenizer/tokenizer.h"

#include <algorithm>

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

bool same_vocabulary(const Tokenizer& a, const Tokenizer& b) {
  if (&a == &b) return true;
  if (a.vocabulary_digest() != b.vocabulary_digest()) return false;
  for (const AddedToken& mine : a.added_tokens()) {
    for (const AddedToken& other : b.added_tokens()) {
      if (mine.id == other.id && mine.content != other.content) return false;
    }
  }
  return true;
}

}  // namespace perilune
