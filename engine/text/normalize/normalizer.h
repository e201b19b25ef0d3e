// The first step of a tokenizer: text to the form its vocabulary was made from.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/json.h"
#include "engine/text/unicode/aligned_text.h"
#include "engine/text/unicode/unicode_form.h"

namespace perilune {

/// Immutable and thread-safe.
class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual void apply(AlignedText& text) const = 0;
};

/// `normalizer` of a tokenizer.json: NFC, NFD, NFKC, NFKD, Lowercase, Strip, StripAccents, Replace,
/// Prepend, Sequence, BertNormalizer, Precompiled, Nmt, ByteLevel. Null for JSON null. Throws
/// Error(unsupported) naming an unknown type and the known ones, Error(format) for bad fields.
std::unique_ptr<Normalizer> read_normalizer(const Json& json);

/// BERT's (Devlin et al. 2018): control characters out, spaces around Chinese characters, accents
/// and case. Without `strip_accents`, accents go where letters are lower-cased.
struct BertNormalizing {
  bool clean_text = true, handle_chinese_chars = true, lowercase = true, strip_accents = true;
};
std::unique_ptr<Normalizer> make_bert_normalizer(const BertNormalizing& options);

/// SentencePiece's precompiled map, base64 in the file.
std::unique_ptr<Normalizer> read_precompiled(const Json& json);

std::unique_ptr<Normalizer> make_unicode_normalizer(NormalForm form);
/// The same for a text alone (Unicode Annex 15).
std::string normalize(std::string_view text, NormalForm form);

}  // namespace perilune
