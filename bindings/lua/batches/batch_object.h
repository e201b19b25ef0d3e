// Batches as scripts hold them.
#pragma once

#include <memory>
#include <vector>

#include "bindings/lua/edge/user_type.h"
#include "bindings/lua/text/encoded_text.h"
#include "engine/batch/batch.h"

namespace perilune::lua {

struct BatchObject {
  std::shared_ptr<const Batch> batch;
  std::shared_ptr<const Tokenizer> tokenizer;           // prints pieces where there is one
  std::shared_ptr<const std::vector<RowPlace>> places;  // a row's text; null where rows were ids
};
template <>
struct TypeName<BatchObject> {
  static constexpr const char* value = "Batch";
};

}  // namespace perilune::lua
