#include "engine/text/vocabulary/bpe.h"

#include <algorithm>

#include "engine/base/error.h"
#include "engine/base/interrupt.h"
#include "engine/base/utf8.h"
#include "engine/text/unicode/byte_level.h"
#include "engine/text/unicode/unicode.h"

namespace perilune {
namespace {

// Marks of `whole_`; 0: not tried yet.
constexpr std::uint32_t kMerged = 1, kNotMerged = 2;

std::string_view character_of(std::string_view text, std::size_t at) {
  return text.substr(at, std::max<std::size_t>(utf8_character(text.substr(at)), 1));
}

}  // namespace

Bpe::Bpe(BpeTables tables, const BpeOptions& options)
    : tables_(std::move(tables)),
      options_(options),
      affixes_(!options.continuing_prefix.empty() || !options.end_of_word_suffix.empty()),
      whole_(static_cast<std::size_t>(tables_.vocabulary.size())) {
  const VocabularyIndex& vocabulary = tables_.vocabulary;
  if (options_.unknown) unknown_ = vocabulary.number(*options_.unknown);
  if (options_.byte_fallback) {
    byte_numbers_ = vocabulary.byte_numbers();
    if (std::count(byte_numbers_.begin(), byte_numbers_.end(), -1) == 0) {
      for (const std::int32_t number : byte_numbers_) {
        byte_ids_.push_back(vocabulary.id_of(number));
      }
    }
  }
  fill_whole();
  fill_direct();
}

void Bpe::fill_whole() {
  const std::string& suffix = options_.end_of_word_suffix;
  const bool strip = !suffix.empty() && !options_.ignore_merges;
  for (std::int32_t number = 0; number < tables_.vocabulary.size(); ++number) {
    std::string_view spelling = tables_.vocabulary.spelling(number);
    if (strip) {
      if (!spelling.ends_with(suffix)) continue;
      spelling.remove_suffix(suffix.size());
    }
    if (!options_.raw_bytes) {
      whole_.insert(spelling, number);
    } else if (const auto bytes = bytes_of_byte_level(spelling)) {
      whole_.insert(*bytes, number);
    }
  }
}

void Bpe::fill_direct() {
  for (std::size_t form = 0; form < direct_.size(); ++form) {
    for (int byte = 0; byte < 256; ++byte) {
      std::string character;
      if (options_.raw_bytes) {
        append_character(character, byte_level_character(static_cast<unsigned char>(byte)));
      } else {
        character.push_back(static_cast<char>(byte));
      }
      direct_[form][static_cast<std::size_t>(byte)] =
          tables_.vocabulary.number(spelling_of(character, (form & 1) == 0, (form & 2) != 0));
    }
  }
  const auto& plain = direct_[0];
  byte_symbols_ =
      options_.raw_bytes && !affixes_ && *std::min_element(plain.begin(), plain.end()) >= 0;
}

std::optional<std::int32_t> Bpe::unknown() const {
  if (unknown_ < 0) return std::nullopt;
  return tables_.vocabulary.id_of(unknown_);
}

std::string Bpe::spelling_of(std::string_view character, bool first, bool last) const {
  std::string spelling = first ? "" : options_.continuing_prefix;
  spelling += character;
  if (last) spelling += options_.end_of_word_suffix;
  return spelling;
}

std::int32_t Bpe::symbol_of(std::string_view character, bool first, bool last) const {
  if (character.size() == 1) {
    const std::size_t form = (first ? 0u : 1u) | (last ? 2u : 0u);
    return direct_[form][static_cast<unsigned char>(character[0])];
  }
  if (!affixes_) return tables_.vocabulary.number(character);
  return tables_.vocabulary.number(spelling_of(character, first, last));
}

// Collects the symbols of a piece up to where none can join across, then merges what it has.
class Bpe::Encoder {
 public:
  Encoder(const Bpe& model, PieceMemo& memo, std::string_view text, std::vector<ModelToken>& out)
      : model_(model), vocabulary_(model.tables_.vocabulary), memo_(memo), text_(text), out_(out) {}

  void encode(TextSpan piece, std::int32_t word) {
    word_ = word;
    piece_ = piece;
    const std::string_view bytes = text_.substr(piece.first, piece.last - piece.first);
    const PieceTable::Slot* whole = model_.whole_.find(bytes);
    if (whole != nullptr && (model_.options_.ignore_merges || whole->mark() == kMerged)) {
      emit(static_cast<std::uint32_t>(whole->number()), piece.first, piece.last);
      return;
    }
    if (memo_.recall(bytes, piece.first, word, out_)) return;
    const std::size_t before = out_.size();
    if (model_.byte_symbols_) {
      spell_bytes();
    } else {
      spell();
    }
    finish_run();
    memo_.remember(bytes, piece.first, std::span(out_).subspan(before));
  }

 private:
  void emit(std::uint32_t number, std::uint32_t first, std::uint32_t last) {
    out_.push_back({vocabulary_.id_of(static_cast<std::int32_t>(number)), first, last, word_});
  }

  void add(std::int32_t number, std::uint32_t size) {
    const auto symbol = static_cast<std::uint32_t>(number);
    if (!run_.empty() && !model_.may_join(run_.back().symbol, symbol)) finish_run();
    const std::uint32_t last = std::min(cursor_ + size, piece_.last);
    run_.push_back({symbol, cursor_, last});
    cursor_ = last;
  }

  void flush_unknown() {
    if (pending_ == 0) return;
    add(model_.unknown_, pending_);
    pending_ = 0;
  }

  // Unknown characters wait, since more of them may be fused. Without an unknown token they vanish.
  void add_unknown(std::string_view character, std::uint32_t size, bool first, bool last) {
    if (model_.options_.byte_fallback &&
        add_bytes(model_.spelling_of(character, first, last), size)) {
      return;
    }
    if (!model_.options_.unknown) {
      cursor_ += size;
      return;
    }
    if (model_.unknown_ < 0) {
      throw Error(ErrorCode::format, "encode",
                  "the vocabulary has no entry for a character, nor for the unknown token")
          .operand("unk_token", "\"" + *model_.options_.unknown + "\"");
    }
    if (!model_.options_.fuse_unknown) flush_unknown();
    pending_ += size;
  }

  // `size` is that of the character in the text; a prefix or suffix is bytes of its own.
  bool add_bytes(std::string_view spelling, std::uint32_t size) {
    const auto number = [this](char byte) {
      return model_.byte_numbers_[static_cast<unsigned char>(byte)];
    };
    if (std::any_of(spelling.begin(), spelling.end(), [&](char c) { return number(c) < 0; })) {
      return false;
    }
    const std::uint32_t end = cursor_ + size;
    for (const char byte : spelling) add(number(byte), cursor_ < end ? 1 : 0);
    return true;
  }

  void spell() {
    cursor_ = piece_.first;
    const bool raw = model_.options_.raw_bytes;
    for (std::size_t at = piece_.first; at < piece_.last;) {
      const std::string_view rest = text_.substr(0, piece_.last);
      const std::string_view character = raw ? rest.substr(at, 1) : character_of(rest, at);
      const bool first = at == piece_.first;
      at += character.size();
      const bool last = at == piece_.last;
      const std::int32_t number = model_.symbol_of(character, first, last);
      if (number < 0) {
        const std::string spelling = raw ? byte_level_of_bytes(character) : std::string(character);
        add_unknown(spelling, static_cast<std::uint32_t>(character.size()), first, last);
        continue;
      }
      flush_unknown();
      add(number, static_cast<std::uint32_t>(character.size()));
    }
    flush_unknown();
  }

  // The common case of spell(): every byte is a symbol.
  void spell_bytes() {
    cursor_ = piece_.first;
    for (std::uint32_t at = piece_.first; at < piece_.last; ++at) {
      add(model_.direct_[0][static_cast<unsigned char>(text_[at])], 1);
    }
  }

  void finish_run() {
    if (run_.empty()) return;
    const std::uint32_t first = run_.front().first, last = run_.back().last;
    if (run_.size() == 1) {
      emit(run_.front().symbol, first, last);
      run_.clear();
      return;
    }
    // What bytes become depends on their place in the piece where affixes are put in.
    const std::string_view bytes = text_.substr(first, last - first);
    const bool part = bytes.size() < piece_.last - piece_.first;
    const bool known = !part || !model_.affixes_;
    const PieceTable::Slot* whole = known ? model_.whole_.find(bytes) : nullptr;
    if (whole != nullptr && whole->mark() == kMerged) {
      emit(static_cast<std::uint32_t>(whole->number()), first, last);
    } else if (!known || !part) {
      merge_run(whole);
    } else if (!memo_.recall(bytes, first, word_, out_)) {
      const std::size_t before = out_.size();
      merge_run(whole);
      memo_.remember(bytes, first, std::span(out_).subspan(before));
    }
    run_.clear();
  }

  void merge_run(const PieceTable::Slot* whole) {
    merged_.clear();
    merge_symbols(model_.tables_.pairs, run_.data(), run_.size(), merged_);
    for (const BpeSymbol& symbol : merged_) emit(symbol.symbol, symbol.first, symbol.last);
    if (whole == nullptr || whole->mark() != 0) return;
    const bool same =
        merged_.size() == 1 && merged_[0].symbol == static_cast<std::uint32_t>(whole->number());
    whole->set_mark(same ? kMerged : kNotMerged);
  }

  const Bpe& model_;
  const VocabularyIndex& vocabulary_;
  PieceMemo& memo_;
  const std::string_view text_;
  std::vector<ModelToken>& out_;
  std::vector<BpeSymbol> run_, merged_;
  TextSpan piece_;
  std::int32_t word_ = 0;
  std::uint32_t cursor_ = 0, pending_ = 0;  // bytes of unknown characters not yet written
};

void Bpe::tokenize(std::string_view text, std::span<const TextSpan> pieces,
                   std::vector<ModelToken>& out) const {
  const MemoPool::Lease memo(memos_);
  Encoder encoder(*this, *memo, text, out);
  std::int32_t word = 0;
  for (const TextSpan piece : pieces) {
    stop_if_interrupted("encode");
    encoder.encode(piece, word++);
  }
}

}  // namespace perilune
