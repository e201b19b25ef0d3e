// core: what quantizing costs, by tensors.
#include "bindings/lua/tensors/tensor_value.h"
#include "engine/quantize/divergence.h"

namespace perilune::lua {

namespace {

/// f32, contiguous, on the CPU: [row, vocab].
Tensor to_logits(lua_State* L, int index, const char* name) {
  const Tensor& given = to_tensor(L, index, "divergence", name);
  if (given.shape().rank() != 2) {
    throw Error(ErrorCode::shape, "divergence",
                std::string(name) + ": expected two axes, got " + given.describe());
  }
  return given.to(given.context()->device("cpu")).to(DType::f32).to_contiguous();
}

/// core.divergence(reference [row, vocab], logits [row, vocab], targets: an id or -1 for each row)
/// → list of { kl=, reference_logprob=, logprob= (of the target), largest=, same_top= }.
int divergence_of_rows(lua_State* L) {
  const Tensor reference = to_logits(L, 1, "reference"), logits = to_logits(L, 2, "logits");
  const std::int64_t rows = logits.shape().size(0), vocab = logits.shape().size(1);
  if (reference.shape().size(0) != rows || reference.shape().size(1) != vocab || vocab == 0) {
    throw Error(ErrorCode::shape, "divergence",
                "sizes differ: " + reference.describe() + ", " + logits.describe());
  }
  const auto targets = to_integers(L, 3, "divergence", "targets");
  if (static_cast<std::int64_t>(targets.size()) != rows) {
    throw Error(ErrorCode::argument, "divergence",
                std::to_string(targets.size()) + " targets for " + std::to_string(rows) + " rows");
  }
  const auto width = static_cast<std::size_t>(vocab);
  lua_createtable(L, static_cast<int>(rows), 0);
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::int64_t target = targets[static_cast<std::size_t>(row)];
    if (target >= vocab) {
      throw Error(ErrorCode::argument, "divergence",
                  "target " + std::to_string(target) + " is not below " + std::to_string(vocab));
    }
    const Divergence found =
        divergence({reference.as<float>() + row * vocab, width},
                   {logits.as<float>() + row * vocab, width}, static_cast<std::int32_t>(target));
    lua_createtable(L, 0, 5);
    set_field(L, "kl", found.kl);
    set_field(L, "reference_logprob", found.reference_log_probability);
    set_field(L, "logprob", found.log_probability);
    set_field(L, "largest", found.largest);
    set_field(L, "same_top", found.same_top);
    lua_rawseti(L, -2, static_cast<int>(row + 1));
  }
  return 1;
}

}  // namespace

void add_quantization_math(lua_State* L) {
  constexpr Member kFunctions[] = {{"divergence", guarded<divergence_of_rows>}};
  set_functions(L, kFunctions);
}

}  // namespace perilune::lua
