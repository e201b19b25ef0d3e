#include "engine/constrain/token_bytes.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <optional>

#include "engine/base/error.h"
#include "engine/base/utf8.h"
#include "engine/text/unicode/byte_level.h"

namespace perilune {

namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

/// The byte that <0xNN> names.
std::optional<char> named_byte(std::string_view piece) {
  if (piece.size() != 6 || piece.substr(0, 3) != "<0x" || piece[5] != '>') return std::nullopt;
  int value = 0;
  for (const char c : piece.substr(3, 2)) {
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
    if (digit < 0) return std::nullopt;
    value = value * 16 + digit;
  }
  return static_cast<char>(value);
}

/// What decode makes of one id behind others, or at the beginning. A text of bytes that are no
/// characters by themselves comes from the spelling.
std::string text_of(const Tokenizer& tokenizer, StreamDecoder& decoder, std::int32_t id) {
  if (tokenizer.is_special(id)) return "";
  std::string piece;
  try {
    piece = tokenizer.piece(id);
  } catch (const Error&) {
    return "";  // an id between others that nobody uses
  }
  if (tokenizer.is_byte(id)) {
    if (const auto byte = named_byte(piece)) return std::string(1, *byte);
  }
  std::string text = decoder.push(id);
  text += decoder.flush();
  if (text.find(kReplacement) == std::string::npos) return text;
  return bytes_of_byte_level(piece).value_or(text);
}

std::vector<std::uint32_t> read_all(const Tokenizer& tokenizer, bool continues, std::string& text) {
  DecodeOptions options;
  options.continues = continues;
  const auto decoder = tokenizer.decoder(options);
  std::vector<std::uint32_t> places{0};
  const auto unknown = tokenizer.specials().unk;
  for (std::int32_t id = 0; id <= tokenizer.max_id(); ++id) {
    if (id != unknown) text += text_of(tokenizer, *decoder, id);
    places.push_back(static_cast<std::uint32_t>(text.size()));
  }
  return places;
}

std::string_view bytes_at(const std::string& text, const std::vector<std::uint32_t>& places,
                          std::int32_t id) {
  if (id < 0 || static_cast<std::size_t>(id) + 1 >= places.size()) return {};
  const auto at = static_cast<std::size_t>(id);
  return std::string_view(text).substr(places[at], places[at + 1] - places[at]);
}

TokenTree tree_of(const std::string& text, const std::vector<std::uint32_t>& places) {
  std::vector<std::string_view> all;
  for (std::size_t id = 0; id + 1 < places.size(); ++id) {
    all.push_back(bytes_at(text, places, static_cast<std::int32_t>(id)));
  }
  return TokenTree(all);
}

/// Bytes by token, characters to text.
class BytesDecoder final : public StreamDecoder {
 public:
  explicit BytesDecoder(std::shared_ptr<const TokenBytes> bytes) : bytes_(std::move(bytes)) {}

  std::string push(std::int32_t id) override {
    std::string out;
    const std::string_view bytes = bytes_->bytes(id, first_);
    open_.push(bytes, out);
    if (!bytes.empty()) first_ = false;
    return out;
  }
  std::string flush() override {
    open_ = Utf8Buffer(Utf8Replacement::subpart);
    first_ = true;
    return {};
  }

 private:
  std::shared_ptr<const TokenBytes> bytes_;
  Utf8Buffer open_{Utf8Replacement::subpart};
  bool first_ = true;
};

}  // namespace

TokenTree::TokenTree(const std::vector<std::string_view>& bytes) {
  constexpr std::size_t kLongest = std::numeric_limits<std::uint16_t>::max();
  std::vector<std::int32_t> order;
  for (std::size_t id = 0; id < bytes.size(); ++id) {
    if (!bytes[id].empty() && bytes[id].size() <= kLongest) {
      order.push_back(static_cast<std::int32_t>(id));
    }
  }
  const auto text = [&](std::int32_t id) { return bytes[static_cast<std::size_t>(id)]; };
  std::sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    const int less = text(a).compare(text(b));
    return less != 0 ? less < 0 : a < b;
  });
  nodes_.emplace_back();
  std::vector<std::size_t> path{0};  // open nodes, by depth
  std::string_view before;
  for (const std::int32_t id : order) {
    const std::string_view now = text(id);
    const auto common = static_cast<std::size_t>(
        std::mismatch(before.begin(), before.end(), now.begin(), now.end()).first - before.begin());
    while (path.size() > common + 1) {
      nodes_[path.back()].end = static_cast<std::uint32_t>(nodes_.size());
      path.pop_back();
    }
    for (std::size_t depth = common; depth < now.size(); ++depth) {
      Node node;
      node.byte = static_cast<std::uint8_t>(now[depth]);
      node.depth = static_cast<std::uint16_t>(depth + 1);
      node.first_token = static_cast<std::uint32_t>(tokens_.size());
      path.push_back(nodes_.size());
      nodes_.push_back(node);
    }
    tokens_.push_back(id);
    deepest_ = std::max(deepest_, now.size());
    before = now;
  }
  for (const std::size_t open : path) nodes_[open].end = static_cast<std::uint32_t>(nodes_.size());
  nodes_.emplace_back();
  nodes_.back().first_token = static_cast<std::uint32_t>(tokens_.size());
}

TokenBytes::TokenBytes(const Tokenizer& tokenizer, bool continues) {
  places_ = read_all(tokenizer, true, text_);
  tree_ = std::make_unique<TokenTree>(tree_of(text_, places_));
  if (continues) return;
  std::string text;
  std::vector<std::uint32_t> places = read_all(tokenizer, false, text);
  if (text == text_ && places == places_) return;
  TokenTree tree = tree_of(text, places);
  first_ = std::make_unique<First>(First{std::move(text), std::move(places), std::move(tree)});
}

std::string_view TokenBytes::bytes(std::int32_t id, bool first) const {
  return first && first_ ? bytes_at(first_->text, first_->places, id)
                         : bytes_at(text_, places_, id);
}

std::unique_ptr<StreamDecoder> make_bytes_decoder(std::shared_ptr<const TokenBytes> bytes) {
  return std::make_unique<BytesDecoder>(std::move(bytes));
}

}  // namespace perilune
