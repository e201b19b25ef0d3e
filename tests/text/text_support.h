// What tests of tokenizers share.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/json.h"
#include "engine/text/readers/open.h"
#include "engine/text/tokenizer/tokenizer.h"
#include "engine/text/vocabulary/token_model.h"
#include "tests/catch.h"
#include "tests/support.h"

namespace perilune_test {

using Ids = std::vector<std::int32_t>;

inline Ids ids_of(const perilune::Json& list) {
  Ids ids;
  for (const perilune::Json& id : list.items()) {
    ids.push_back(static_cast<std::int32_t>(id.as_integer()));
  }
  return ids;
}

/// The tokenizer of a folder or a file, which must load.
inline std::shared_ptr<perilune::Tokenizer> load(const std::string& path) {
  std::string why_not;
  std::shared_ptr<perilune::Tokenizer> tokenizer = perilune::load_tokenizer(path, &why_not);
  INFO(why_not);
  REQUIRE(tokenizer != nullptr);
  return tokenizer;
}

/// Pushes one by one; each part must be whole characters.
inline std::string stream(const perilune::Tokenizer& tokenizer, const Ids& ids,
                          const perilune::DecodeOptions& options = {}) {
  const auto decoder = tokenizer.decoder(options);
  std::string text;
  for (const std::int32_t id : ids) {
    const std::string part = decoder->push(id);
    REQUIRE(perilune::is_utf8(part));
    text += part;
  }
  return text + decoder->flush();
}

/// What a model makes of a whole text as one piece.
inline std::vector<perilune::ModelToken> tokenize(const perilune::TokenModel& model,
                                                  std::string_view text) {
  std::vector<perilune::ModelToken> tokens;
  const perilune::TextSpan all{0, static_cast<std::uint32_t>(text.size())};
  model.tokenize(text, std::span(&all, text.empty() ? 0 : 1), tokens);
  return tokens;
}

}  // namespace perilune_test
