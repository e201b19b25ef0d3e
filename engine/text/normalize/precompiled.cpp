// SentencePiece's precompiled map as tokenizer.json files carry it. As published it is asked for a
// whole grapheme cluster first, then for each of its characters; of several rules that a text
// begins with the shortest counts, and all of the text is replaced.
#include <array>

#include "engine/base/error.h"
#include "engine/text/normalize/normalizer.h"
#include "engine/text/normalize/steps.h"
#include "engine/text/sentencepiece/charsmap.h"
#include "engine/text/sentencepiece/file.h"
#include "engine/text/unicode/base64.h"

namespace perilune {
namespace {

constexpr std::size_t kShortCluster = 6;  // bytes; longer ones are looked at by character only

int count_characters(std::string_view text) {
  int count = 0;
  for (const char byte : text) count += (static_cast<unsigned char>(byte) & 0xC0) != 0x80 ? 1 : 0;
  return count;
}

class Precompiled final : public Normalizer {
 public:
  explicit Precompiled(std::string_view blob) : map_(blob) {
    for (std::size_t i = 0; i < plain_.size(); ++i) {
      const char byte = static_cast<char>(i);
      plain_[i] = byte != '\r' && map_.shortest({&byte, 1}).length == 0;
    }
  }

  void apply(AlignedText& text) const override {
    const std::string& old = text.text();
    ChangeWriter writer(text);
    std::size_t kept = 0;  // up to here the old text is written
    for (std::size_t at = next_cluster(old, 0); at < old.size();) {
      const std::size_t end = grapheme_end(old, at);
      const std::string_view cluster(old.data() + at, end - at);
      if (cluster.size() >= kShortCluster || !replace(cluster, old, kept, writer)) {
        for (std::size_t i = 0; i < cluster.size();) {
          const std::uint32_t size = character_at(cluster, i).size;
          replace(cluster.substr(i, size), old, kept, writer);
          i += size;
        }
      }
      at = next_cluster(old, end);
    }
    writer.keep(static_cast<std::uint32_t>(kept), static_cast<std::uint32_t>(old.size()));
    writer.finish();
  }

 private:
  // Past ASCII characters that have no rule and are clusters of their own.
  std::size_t next_cluster(const std::string& text, std::size_t at) const {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    while (at < text.size() && byte(at) < 0x80 && plain_[byte(at)] &&
           (at + 1 == text.size() || byte(at + 1) < 0x80)) {
      ++at;
    }
    return at;
  }

  // Writes what a rule has for `part` of the old text, after what lies before it.
  bool replace(std::string_view part, const std::string& old, std::size_t& kept,
               ChangeWriter& writer) const {
    const Charsmap::Rule rule = map_.shortest(part);
    if (rule.length == 0) return false;
    const auto first = static_cast<std::size_t>(part.data() - old.data());
    writer.keep(static_cast<std::uint32_t>(kept), static_cast<std::uint32_t>(first));
    kept = first + part.size();
    const int before = count_characters(part);
    const int after = count_characters(rule.replacement);
    int made = 0;
    std::size_t from = 0;  // where the character begins whose place is taken
    for (std::size_t at = 0; at < rule.replacement.size(); ++made) {
      const Character c = character_at(rule.replacement, at);
      at += c.size;
      const bool last = made + 1 == after && after < before;  // it stands for all that are left
      const TextSpan of{static_cast<std::uint32_t>(first + from), static_cast<std::uint32_t>(kept)};
      writer.put({c.value, made >= before ? 1 : last ? after - before : 0, of});
      if (from < part.size()) from += character_at(part, from).size;
    }
    if (after == 0) writer.remove(before);
    return true;
  }

  Charsmap map_;
  std::array<bool, 128> plain_{};
};

}  // namespace

std::unique_ptr<Normalizer> read_precompiled(const Json& json) {
  const std::optional<std::string> blob = bytes_of_base64(json.string("precompiled_charsmap"));
  std::string problem = blob ? "" : "it is no base64";
  if (blob && !blob->empty()) problem = check_charsmap(*blob);
  if (!problem.empty()) {
    throw Error(ErrorCode::format, "tokenizer",
                json.place_of("precompiled_charsmap") + ": " + problem);
  }
  return std::make_unique<Precompiled>(*blob);
}

}  // namespace perilune
