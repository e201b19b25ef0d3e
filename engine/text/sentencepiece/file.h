// A SentencePiece model file, read and validated.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace perilune {

/// What a `.model` file says, as far as encoding and decoding need it.
struct SentencePieceModel {
  enum class Type { normal = 1, unknown, control, user_defined, unused, byte };
  enum class Algorithm { unigram = 1, bpe, word, character };
  struct Piece {
    std::string text;
    float score = 0;
    Type type = Type::normal;
  };

  std::vector<Piece> pieces;  // by id
  std::int32_t unknown_id = -1;

  Algorithm algorithm = Algorithm::unigram;
  bool byte_fallback = false;
  bool whitespace_as_suffix = false;
  bool allow_whitespace_only_pieces = false;
  std::string unk_piece = "<unk>", bos_piece = "<s>", eos_piece = "</s>", pad_piece = "<pad>";
  std::string unk_surface = " \xE2\x81\x87 ";  // what decoding shows for an unknown piece

  std::string charsmap;  // normalization rules: size, double-array trie, replacements
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;

  /// A fresh protocol buffer with these fields only.
  std::string serialize() const;
};

/// Reads and checks a whole file: wire format, types, ranges, unique pieces, exactly one unknown
/// piece, all or none of the byte pieces, the normalization trie. Throws Error(format) naming
/// `file` and what is wrong, Error(unsupported) for a denormalizer.
SentencePieceModel parse_sentencepiece(std::string_view bytes, std::string_view file);

/// Checks a precompiled normalization map: every transition of the double-array trie (Aoe,
/// Morimoto, Sato 1992, as darts-clone lays it out) stays inside it, it has no cycles, at most 32
/// keys are prefixes of one another, every replacement is NUL-terminated UTF-8 inside the blob.
/// Returns "" or what is wrong.
std::string check_charsmap(std::string_view charsmap);

}  // namespace perilune
