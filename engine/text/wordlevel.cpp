#include "engine/text/wordlevel.h"

#include "engine/error.h"
#include "engine/text/token_model_vocabulary.h"

namespace perilune {
namespace {

class WordLevel final : public TokenModel {
 public:
  WordLevel(Vocabulary vocabulary, std::string unknown, std::string_view place)
      : vocabulary_(std::move(vocabulary), place),
        unknown_spelling_(std::move(unknown)),
        unknown_(vocabulary_.number(unknown_spelling_)) {}

  const char* kind() const override { return "wordlevel"; }

  void tokenize(std::string_view text, std::span<const TextSpan> pieces,
                std::vector<ModelToken>& out) const override {
    out.reserve(out.size() + pieces.size());
    std::int32_t word = 0;
    for (const TextSpan piece : pieces) {
      std::int32_t number = vocabulary_.number(text.substr(piece.first, piece.last - piece.first));
      if (number < 0) number = unknown_;
      if (number < 0) {
        throw Error(ErrorCode::format, "encode",
                    "the vocabulary does not have a word and has no unknown token")
            .operand("unk_token", "\"" + unknown_spelling_ + "\"");
      }
      out.push_back({vocabulary_.id_of(number), piece.first, piece.last, word++});
    }
  }

  std::int32_t size() const override { return vocabulary_.size(); }
  std::int32_t max_id() const override { return vocabulary_.max_id(); }
  std::optional<std::int32_t> id(std::string_view piece) const override {
    return vocabulary_.id(piece);
  }
  const std::string* piece(std::int32_t id) const override { return vocabulary_.piece(id); }
  std::optional<std::int32_t> unknown() const override {
    if (unknown_ < 0) return std::nullopt;
    return vocabulary_.id_of(unknown_);
  }

 private:
  VocabularyIndex vocabulary_;
  std::string unknown_spelling_;
  std::int32_t unknown_;
};

}  // namespace

std::unique_ptr<TokenModel> make_wordlevel(Vocabulary vocabulary, std::string unknown,
                                           std::string_view place) {
  return std::make_unique<WordLevel>(std::move(vocabulary), std::move(unknown), place);
}

}  // namespace perilune
