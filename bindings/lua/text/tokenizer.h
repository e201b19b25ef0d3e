// Tokenizers and their decoders as scripts hold them.
#pragma once

#include <memory>

#include "bindings/lua/edge/user_type.h"
#include "engine/text/tokenizer/tokenizer.h"

namespace perilune::lua {

using TokenizerPointer = std::shared_ptr<Tokenizer>;
template <>
struct TypeName<TokenizerPointer> {
  static constexpr const char* value = "Tokenizer";
};

using DecoderPointer = std::shared_ptr<StreamDecoder>;
template <>
struct TypeName<DecoderPointer> {
  static constexpr const char* value = "Decoder";
};

void add_tokenizer(lua_State* L);

}  // namespace perilune::lua
