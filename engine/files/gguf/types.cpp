// The types that GGUF files name by number.
#include <algorithm>
#include <iterator>

#include "engine/files/gguf/head.h"

namespace perilune {
namespace {

// Numbers that are left out belonged to layouts that were withdrawn.
constexpr GgufTensorType kTensorTypes[] = {
    {0, "F32", 1, 4},         {1, "F16", 1, 2},         {2, "Q4_0", 32, 18},
    {3, "Q4_1", 32, 20},      {6, "Q5_0", 32, 22},      {7, "Q5_1", 32, 24},
    {8, "Q8_0", 32, 34},      {9, "Q8_1", 32, 36},      {10, "Q2_K", 256, 84},
    {11, "Q3_K", 256, 110},   {12, "Q4_K", 256, 144},   {13, "Q5_K", 256, 176},
    {14, "Q6_K", 256, 210},   {15, "Q8_K", 256, 292},   {16, "IQ2_XXS", 256, 66},
    {17, "IQ2_XS", 256, 74},  {18, "IQ3_XXS", 256, 98}, {19, "IQ1_S", 256, 50},
    {20, "IQ4_NL", 32, 18},   {21, "IQ3_S", 256, 110},  {22, "IQ2_S", 256, 82},
    {23, "IQ4_XS", 256, 136}, {24, "I8", 1, 1},         {25, "I16", 1, 2},
    {26, "I32", 1, 4},        {27, "I64", 1, 8},        {28, "F64", 1, 8},
    {29, "IQ1_M", 256, 56},   {30, "BF16", 1, 2},       {34, "TQ1_0", 256, 54},
    {35, "TQ2_0", 256, 66},   {39, "MXFP4", 32, 17},    {40, "NVFP4", 64, 36},
    {41, "Q1_0", 128, 18},
};

constexpr const char* kTypeNames[] = {"u8",      "i8",     "u16",   "i16", "u32", "i32", "f32",
                                      "boolean", "string", "array", "u64", "i64", "f64"};

}  // namespace

const GgufTensorType* gguf_tensor_type(std::uint32_t number) {
  const auto* found =
      std::find_if(std::begin(kTensorTypes), std::end(kTensorTypes),
                   [number](const GgufTensorType& type) { return type.number == number; });
  return found == std::end(kTensorTypes) ? nullptr : found;
}

const char* gguf_type_name(GgufType type) {
  const auto number = static_cast<std::size_t>(type);
  return number < std::size(kTypeNames) ? kTypeNames[number] : "unknown";
}

std::uint64_t gguf_type_bytes(GgufType type) {
  switch (type) {
    case GgufType::u8:
    case GgufType::i8:
    case GgufType::boolean: return 1;
    case GgufType::u16:
    case GgufType::i16: return 2;
    case GgufType::u32:
    case GgufType::i32:
    case GgufType::f32: return 4;
    case GgufType::u64:
    case GgufType::i64:
    case GgufType::f64: return 8;
    default: return 0;
  }
}

std::string describe(const GgufTensor& tensor) {
  std::string text = tensor.name + " ";
  text += tensor.type != nullptr ? tensor.type->name : "type " + std::to_string(tensor.type_number);
  text += "[";
  for (std::size_t i = 0; i < tensor.sizes.size(); ++i) {
    text += (i ? ", " : "") + std::to_string(tensor.sizes[i]);
  }
  return text + "]";
}

}  // namespace perilune
