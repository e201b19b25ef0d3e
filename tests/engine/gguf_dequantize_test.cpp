// Quantized GGUF blocks as float32, against published values.
#include "engine/files/gguf/dequantize.h"

#include <bit>
#include <cmath>
#include <map>

#include "engine/base/file.h"
#include "engine/device/context.h"
#include "engine/weights/open_tensor_file.h"
#include "tests/catch.h"
#include "tests/engine/store_support.h"

using namespace perilune;
using namespace perilune_test;

namespace {

/// Equal bits, but for the sign of a zero and which NaN it is.
bool same(float a, float b) {
  return a == b || (std::isnan(a) && std::isnan(b));
}

std::map<std::string, const GgufTensorType*> types_by_name() {
  std::map<std::string, const GgufTensorType*> types;
  for (std::uint32_t i = 0; i < 100; ++i) {
    if (const GgufTensorType* type = gguf_tensor_type(i)) types[type->name] = type;
  }
  return types;
}

std::vector<float> decode(const char* name, const std::vector<std::uint8_t>& bytes) {
  const GgufTensorType& type = *types_by_name().at(name);
  REQUIRE(bytes.size() == type.bytes);
  std::vector<float> out(type.block);
  dequantize(type, bytes.data(), 1, out.data());
  return out;
}

}  // namespace

TEST_CASE("every published block has its published values") {
  const std::string path = golden_folder() + "/quant/gguf-blocks.safetensors";
  if (!file_exists(path)) PERILUNE_SKIP("no reference values: " + path);
  const auto context = Context::make();
  const auto file = open_tensor_file(path);
  const auto types = types_by_name();
  int compared = 0;
  for (const StoredTensor& stored : file->tensors()) {
    const std::size_t dot = stored.name.find(".bytes");
    if (dot == std::string::npos) continue;
    const std::string name = stored.name.substr(0, dot);
    INFO(name);
    const GgufTensorType& type = *types.at(name);
    REQUIRE(is_quantized(type));
    const Tensor bytes = read_tensor(context, *file, stored);
    const auto expected = read_tensor(context, *file, *file->find(name + ".values")).to_floats();
    std::vector<float> values(expected.size());
    dequantize(type, bytes.data(), static_cast<std::size_t>(stored.sizes[0]), values.data());
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < values.size(); ++i) wrong += same(values[i], expected[i]) ? 0 : 1;
    CHECK(wrong == 0);
    ++compared;
  }
  CHECK(compared == 21);
}

TEST_CASE("blocks written by hand") {
  // 0x3c00 is 1, 0x4000 is 2, 0xb800 is -0.5 as half floats.
  std::vector<std::uint8_t> block(20, 0x5a);
  block[0] = 0x00, block[1] = 0x40, block[2] = 0x00, block[3] = 0xb8;
  std::vector<float> values = decode("Q4_1", block);
  CHECK(values[0] == 2 * 10 - 0.5f);
  CHECK(values[16] == 2 * 5 - 0.5f);

  block.assign(34, 0xff);
  block[0] = 0x00, block[1] = 0x3c;
  CHECK(decode("Q8_0", block) == std::vector<float>(32, -1.0f));

  block.assign(17, 0x2f);  // low halves -6, high halves 1
  block[0] = 128;          // 2^1
  values = decode("MXFP4", block);
  CHECK(values[0] == -12.0f);
  CHECK(values[16] == 2.0f);

  block.assign(36, 0x21);                                           // low halves 0.5, high halves 1
  block[0] = 0x38, block[1] = 0x40, block[2] = 0x7f, block[3] = 1;  // 1, 2, nothing, 2^-9
  values = decode("NVFP4", block);
  CHECK(values[0] == 0.5f);
  CHECK(values[8] == 1.0f);
  CHECK(values[16] == 1.0f);
  CHECK(values[32] == 0.0f);
  CHECK(values[56] == std::ldexp(1.0f, -9));

  block.assign(18, 0x00);
  block[1] = 0x3c, block[2] = 0x05;
  values = decode("Q1_0", block);
  CHECK(std::vector<float>(values.begin(), values.begin() + 4) == std::vector<float>{1, -1, 1, -1});

  block.assign(292, 3);
  block[0] = 0, block[1] = 0, block[2] = 0x80, block[3] = 0x3f;  // 1 as f32
  CHECK(decode("Q8_K", block) == std::vector<float>(256, 3.0f));
}

TEST_CASE("plain types are not quantized") {
  for (const char* name : {"F32", "F16", "BF16", "F64", "I8", "I16", "I32", "I64"}) {
    CHECK_FALSE(is_quantized(*types_by_name().at(name)));
  }
  int quantized = 0;
  for (const auto& [name, type] : types_by_name()) quantized += is_quantized(*type) ? 1 : 0;
  CHECK(quantized == 26);
}
