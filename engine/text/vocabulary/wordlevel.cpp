#include "engine/text/vocabulary/wordlevel.h"

#include "engine/base/interrupt.h"
#include "engine/text/vocabulary/entries.h"

namespace perilune {
namespace {

class WordLevel final : public WordModel {
 public:
  using WordModel::WordModel;

  const char* kind() const override { return "wordlevel"; }

  void tokenize(std::string_view text, std::span<const TextSpan> pieces,
                std::vector<ModelToken>& out) const override {
    out.reserve(out.size() + pieces.size());
    std::int32_t word = 0;
    for (const TextSpan piece : pieces) {
      stop_if_interrupted("encode");
      const std::int32_t number =
          vocabulary_.number(text.substr(piece.first, piece.last - piece.first));
      const std::int32_t id = number < 0 ? unknown_id() : vocabulary_.id_of(number);
      out.push_back({id, piece.first, piece.last, word++});
    }
  }
};

}  // namespace

std::unique_ptr<TokenModel> make_wordlevel(Vocabulary vocabulary, std::string unknown,
                                           std::string_view place) {
  return std::make_unique<WordLevel>(std::move(vocabulary), std::move(unknown), place);
}

}  // namespace perilune
