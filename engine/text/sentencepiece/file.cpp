#include "engine/text/sentencepiece/file.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <unordered_set>

#include "engine/base/error.h"
#include "engine/base/utf8.h"
#include "engine/text/sentencepiece/wire.h"

namespace perilune {
namespace {

using Type = SentencePieceModel::Type;
using Piece = SentencePieceModel::Piece;

constexpr std::size_t kMaxPieces = std::size_t{1} << 21;
constexpr std::size_t kMaxPieceBytes = 1024;
constexpr int kMaxNestedSymbols = 64;  // what the published library has room for

class Reader {
 public:
  explicit Reader(std::string_view file) : file_(file) {}

  SentencePieceModel read(std::string_view bytes) {
    if (bytes.empty()) fail("the file is empty");
    ProtoReader fields(bytes, "SentencePiece model");
    guard([&] {
      while (fields.next()) read_field(fields);
    });
    check_pieces();
    check_symbols();
    check_settings();
    return std::move(model_);
  }

 private:
  [[noreturn]] void fail(const std::string& problem) const {
    throw Error(ErrorCode::format, "load", file_ + ": " + problem)
        .hint("the file is damaged, or is not a SentencePiece model");
  }

  template <typename Function>
  void guard(Function function) const {
    try {
      function();
    } catch (const ProtoError& error) {
      fail(error.what());
    }
  }

  void read_field(ProtoReader& fields) {
    switch (fields.number()) {
      case 1: read_piece(fields.bytes()); break;
      case 2: read_trainer(fields.bytes()); break;
      case 3: read_normalizer(fields.bytes()); break;
      case 5: read_denormalizer(fields.bytes()); break;
      default: fields.skip();  // self-tests and what later versions add
    }
  }

  void read_piece(std::string_view bytes) {
    if (model_.pieces.size() == kMaxPieces) {
      fail("more than " + std::to_string(kMaxPieces) + " pieces");
    }
    Piece piece;
    ProtoReader fields(bytes, "piece " + std::to_string(model_.pieces.size()));
    while (fields.next()) {
      switch (fields.number()) {
        case 1: piece.text = fields.bytes(); break;
        case 2: piece.score = fields.float32(); break;
        case 3: piece.type = static_cast<Type>(fields.integer(1, 6)); break;
        default: fields.skip();
      }
    }
    model_.pieces.push_back(std::move(piece));
  }

  void read_trainer(std::string_view bytes) {
    ProtoReader fields(bytes, "trainer_spec");
    const auto limit = static_cast<std::int64_t>(kMaxPieces);
    while (fields.next()) {
      switch (fields.number()) {
        case 3:
          model_.algorithm = static_cast<SentencePieceModel::Algorithm>(fields.integer(1, 4));
          break;
        case 24: model_.whitespace_as_suffix = fields.boolean(); break;
        case 26: model_.allow_whitespace_only_pieces = fields.boolean(); break;
        case 35: model_.byte_fallback = fields.boolean(); break;
        case 40:
        case 41:
        case 42:
        case 43: ids_[fields.number() - 40] = fields.integer(-1, limit); break;
        case 44: model_.unk_surface = text(fields, "unk_surface"); break;
        case 45: model_.unk_piece = text(fields, "unk_piece"); break;
        case 46: model_.bos_piece = text(fields, "bos_piece"); break;
        case 47: model_.eos_piece = text(fields, "eos_piece"); break;
        case 48: model_.pad_piece = text(fields, "pad_piece"); break;
        default: fields.skip();
      }
    }
  }

  void read_normalizer(std::string_view bytes) {
    ProtoReader fields(bytes, "normalizer_spec");
    while (fields.next()) {
      switch (fields.number()) {
        case 2: model_.charsmap = fields.bytes(); break;
        case 3: model_.add_dummy_prefix = fields.boolean(); break;
        case 4: model_.remove_extra_whitespaces = fields.boolean(); break;
        case 5: model_.escape_whitespaces = fields.boolean(); break;
        default: fields.skip();
      }
    }
  }

  void read_denormalizer(std::string_view bytes) {
    ProtoReader fields(bytes, "denormalizer_spec");
    while (fields.next()) {
      if (fields.number() == 2 && !fields.bytes().empty()) {
        throw Error(ErrorCode::unsupported, "load",
                    file_ + ": it has denormalization rules, which are not supported");
      }
      if (fields.number() != 2) fields.skip();
    }
  }

  std::string text(ProtoReader& fields, const char* name) const {
    const std::string_view value = fields.bytes();
    if (value.size() > kMaxPieceBytes || value.find('\0') != std::string_view::npos ||
        !is_utf8(value)) {
      fail(std::string("trainer_spec: ") + name + " is not a short UTF-8 text");
    }
    return std::string(value);
  }

  void check_pieces() {
    if (model_.pieces.empty()) fail("it has no pieces");
    std::unordered_set<std::string_view> seen;
    seen.reserve(model_.pieces.size());
    for (std::size_t i = 0; i < model_.pieces.size(); ++i) {
      const std::string problem = piece_problem(i);
      if (!problem.empty()) fail("piece " + std::to_string(i) + " " + problem);
      if (!seen.insert(model_.pieces[i].text).second) {
        fail("piece " + std::to_string(i) + " is there twice");
      }
    }
    if (model_.unknown_id < 0) fail("no piece is of type unknown");
    const auto missing = std::find(byte_seen_.begin(), byte_seen_.end(), false);
    if (model_.byte_fallback && missing != byte_seen_.end()) {
      fail("byte_fallback is set, and the piece of byte " +
           std::to_string(missing - byte_seen_.begin()) + " is missing");
    }
  }

  std::string piece_problem(std::size_t index) {
    const Piece& piece = model_.pieces[index];
    if (piece.text.empty()) return "is empty";
    if (piece.text.size() > kMaxPieceBytes) {
      return "has " + std::to_string(piece.text.size()) + " bytes";
    }
    if (piece.text.find('\0') != std::string::npos) return "holds a NUL";
    if (!is_utf8(piece.text)) return "is not UTF-8";
    if (!std::isfinite(piece.score)) return "has no finite score";
    if (piece.type == Type::unknown) {
      if (model_.unknown_id >= 0) {
        return "is unknown, as is piece " + std::to_string(model_.unknown_id);
      }
      model_.unknown_id = static_cast<std::int32_t>(index);
    }
    if (piece.type == Type::byte) {
      if (!model_.byte_fallback) return "is a byte although byte_fallback is not set";
      const int byte = byte_of(piece.text);
      if (byte < 0) return "is of type byte and not written <0xNN>";
      byte_seen_[static_cast<std::size_t>(byte)] = true;
    }
    return "";
  }

  static int byte_of(std::string_view text) {
    constexpr std::string_view kHex = "0123456789ABCDEF";
    if (text.size() != 6 || text.substr(0, 3) != "<0x" || text[5] != '>') return -1;
    const std::size_t high = kHex.find(text[3]), low = kHex.find(text[4]);
    if (high == std::string_view::npos || low == std::string_view::npos) return -1;
    return static_cast<int>(high * 16 + low);
  }

  // The library collects the user-defined symbols that begin at one place in an array.
  void check_symbols() const {
    std::vector<std::string_view> symbols;
    for (const Piece& piece : model_.pieces) {
      if (piece.type == Type::user_defined) symbols.push_back(piece.text);
    }
    std::sort(symbols.begin(), symbols.end());
    std::vector<std::string_view> chain;
    for (const std::string_view symbol : symbols) {
      while (!chain.empty() && symbol.substr(0, chain.back().size()) != chain.back()) {
        chain.pop_back();
      }
      chain.push_back(symbol);
      if (chain.size() > kMaxNestedSymbols) fail("too many user-defined symbols begin one another");
    }
  }

  void check_settings() const {
    const bool usable =
        std::any_of(model_.pieces.begin(), model_.pieces.end(), [](const Piece& piece) {
          return piece.type == Type::normal || piece.type == Type::user_defined ||
                 piece.type == Type::unused;
        });
    if (!usable) fail("it has no piece that text could become");
    constexpr std::array<const char*, 4> kNames = {"unk_id", "bos_id", "eos_id", "pad_id"};
    for (std::size_t i = 0; i < ids_.size(); ++i) {
      if (ids_[i] >= static_cast<std::int64_t>(model_.pieces.size())) {
        fail(std::string("trainer_spec: ") + kNames[i] + " is " + std::to_string(ids_[i]) +
             ", and there are " + std::to_string(model_.pieces.size()) + " pieces");
      }
    }
    if (model_.charsmap.empty()) return;
    const std::string problem = check_charsmap(model_.charsmap);
    if (!problem.empty()) fail("precompiled_charsmap: " + problem);
  }

  std::string file_;
  SentencePieceModel model_;
  std::array<std::int64_t, 4> ids_ = {-1, -1, -1, -1};
  std::array<bool, 256> byte_seen_ = {};
};

}  // namespace

std::string SentencePieceModel::serialize() const {
  ProtoWriter out;
  for (const Piece& piece : pieces) {
    ProtoWriter inner;
    inner.bytes(1, piece.text);
    inner.float32(2, piece.score);
    if (piece.type != Type::normal) inner.integer(3, static_cast<std::uint64_t>(piece.type));
    out.bytes(1, inner.text());
  }
  ProtoWriter trainer;
  trainer.integer(3, static_cast<std::uint64_t>(algorithm));
  trainer.integer(24, whitespace_as_suffix);
  trainer.integer(26, allow_whitespace_only_pieces);
  trainer.integer(35, byte_fallback);
  trainer.bytes(44, unk_surface);
  trainer.bytes(45, unk_piece);
  trainer.bytes(46, bos_piece);
  trainer.bytes(47, eos_piece);
  trainer.bytes(48, pad_piece);
  out.bytes(2, trainer.text());
  ProtoWriter normalizer;
  normalizer.bytes(2, charsmap);
  normalizer.integer(3, add_dummy_prefix);
  normalizer.integer(4, remove_extra_whitespaces);
  normalizer.integer(5, escape_whitespaces);
  out.bytes(3, normalizer.text());
  return out.take();
}

SentencePieceModel parse_sentencepiece(std::string_view bytes, std::string_view file) {
  return Reader(file).read(bytes);
}

}  // namespace perilune
