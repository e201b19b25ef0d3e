// core: what quantizing costs, by tensors.
#include "bindings/lua/tensors/tensor_value.h"
#include "engine/quantize/divergence.h"
#include "engine/quantize/gptq.h"

namespace perilune::lua {

namespace {

/// f32, contiguous, on the CPU, with two axes.
Tensor to_matrix(lua_State* L, int index, const char* op, const char* name) {
  const Tensor& given = to_tensor(L, index, op, name);
  if (given.shape().rank() != 2) {
    throw Error(ErrorCode::shape, op,
                std::string(name) + ": expected two axes, got " + given.describe());
  }
  return given.to(given.context()->device("cpu")).to(DType::f32).to_contiguous();
}

/// core.divergence(reference [row, vocab], logits [row, vocab], targets: an id or -1 for each row)
/// → list of { kl=, reference_logprob=, logprob= (of the target), largest=, same_top= }.
int divergence_of_rows(lua_State* L) {
  const Tensor reference = to_matrix(L, 1, "divergence", "reference"),
               logits = to_matrix(L, 2, "divergence", "logits");
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

/// core.write_blocks(storage, weights [output, input]) → u8 [output, byte]
int blocks_of_matrix(lua_State* L) {
  const std::string storage = to_text(L, 1, "write_blocks", "storage");
  push_value(L, Value::of(write_blocks(storage, to_matrix(L, 2, "write_blocks", "weights"))));
  return 1;
}

/// core.read_blocks(storage, blocks u8 [output, byte], inputs) → f32 [output, input]
int matrix_of_blocks(lua_State* L) {
  const std::string storage = to_text(L, 1, "read_blocks", "storage");
  const Tensor& given = to_tensor(L, 2, "read_blocks", "blocks");
  if (given.dtype() != DType::u8 || given.shape().rank() != 2) {
    throw Error(ErrorCode::dtype, "read_blocks",
                "blocks are u8 [output, byte], not " + given.describe());
  }
  const Tensor blocks = given.to(given.context()->device("cpu")).to_contiguous();
  const std::int64_t inputs = to_integer(L, 3, "read_blocks", "inputs");
  push_value(L, Value::of(read_blocks(storage, blocks, inputs)));
  return 1;
}

/// core.gptq(storage, weights [output, input], moments [input, input], { damping=0.01,
/// activation_order=true }) → u8 [output, byte]
int gptq_blocks(lua_State* L) {
  const std::string storage = to_text(L, 1, "gptq", "storage");
  const Tensor weights = to_matrix(L, 2, "gptq", "weights");
  const Tensor moments = to_matrix(L, 3, "gptq", "moments");
  Options options(L, 4, "gptq");
  GptqOptions settings;
  settings.damping = options.number("damping").value_or(settings.damping);
  settings.activation_order =
      options.boolean("activation_order").value_or(settings.activation_order);
  options.done();
  push_value(L, Value::of(gptq(storage, weights, moments, settings)));
  return 1;
}

}  // namespace

void add_quantization_math(lua_State* L) {
  constexpr Member kFunctions[] = {{"divergence", guarded<divergence_of_rows>},
                                   {"write_blocks", guarded<blocks_of_matrix>},
                                   {"read_blocks", guarded<matrix_of_blocks>},
                                   {"gptq", guarded<gptq_blocks>}};
  set_functions(L, kFunctions);
}

}  // namespace perilune::lua
