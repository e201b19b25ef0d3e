#include "kernels/block_formats_own.h"

#include "kernels/block_bytes.h"

namespace perilune::kernels {

constexpr float kNf4Levels[16] = {
    -1.0f,
    -0.6961928009986877f,
    -0.5250730514526367f,
    -0.39491748809814453f,
    -0.28444138169288635f,
    -0.18477343022823334f,
    -0.09105003625154495f,
    0.0f,
    0.07958029955625534f,
    0.16093020141124725f,
    0.24611230194568634f,
    0.33791524171829224f,
    0.44070982933044434f,
    0.5626170039176941f,
    0.7229568362236023f,
    1.0f,
};
constexpr float kFp4Levels[16] = {
    0.0f,
    0.0052083334885537624f,
    0.6666666865348816f,
    1.0f,
    0.3333333432674408f,
    0.5f,
    0.1666666716337204f,
    0.25f,
    0.0f,
    -0.0052083334885537624f,
    -0.6666666865348816f,
    -1.0f,
    -0.3333333432674408f,
    -0.5f,
    -0.1666666716337204f,
    -0.25f,
};

namespace {

/// `kElements` codes: the first half below, the other above.
template <std::int64_t kElements>
void read_nibbles(const std::uint8_t* packed, CodedBlock* to) {
  for (std::int64_t i = 0; i < kElements / 2; ++i) {
    to->codes[i] = packed[i] & 15;
    to->codes[i + kElements / 2] = packed[i] >> 4;
  }
}

template <std::int64_t kElements>
void read_bytes(const std::uint8_t* packed, CodedBlock* to) {
  for (std::int64_t i = 0; i < kElements; ++i) to->codes[i] = packed[i] ^ 0x80;
}

/// Scale, zero point if there is one, codes.
template <std::int64_t kElements, ScaleType kScale, int kBits, bool kZeroPoint>
void read_block(const std::uint8_t* block, CodedBlock* to) {
  to->scale = kScale == ScaleType::f16 ? load_f16(block) : load_f32(block);
  block += kScale == ScaleType::f16 ? 2 : 4;
  if constexpr (kZeroPoint) to->zero_point = static_cast<std::int8_t>(*block++);
  if constexpr (kBits == 4)
    read_nibbles<kElements>(block, to);
  else
    read_bytes<kElements>(block, to);
}

/// A format whose blocks read_block reads; `group` inputs share a scale.
template <std::int64_t kElements, ScaleType kScale, int kBits, bool kZeroPoint = false>
constexpr BlockFormat own(const char* name, bool weight_only, int zero = 0,
                          std::int64_t group = kElements) {
  BlockFormat format{};
  format.name = name;
  format.elements = kElements;
  format.bytes = kElements * kBits / 8 + (kScale == ScaleType::f16 ? 2 : 4) + (kZeroPoint ? 1 : 0);
  format.coding = {kBits,     static_cast<std::uint16_t>(group), kScale,
                   false,     static_cast<std::int8_t>(zero),    nullptr,
                   kZeroPoint};
  format.read = read_block<kElements, kScale, kBits, kZeroPoint>;
  format.weight_only = weight_only;
  return format;
}

template <std::int64_t kElements>
constexpr BlockFormat with_levels(const char* name, const float* levels) {
  BlockFormat format = own<kElements, ScaleType::f32, 4>(name, true);
  format.coding.levels = levels;
  return format;
}

constexpr BlockFormat divided(BlockFormat format, float divisor) {
  format.coding.divisor = divisor;
  return format;
}

constexpr ScaleType kF16 = ScaleType::f16, kF32 = ScaleType::f32;
constexpr bool kWeightOnly = true, kZeroPoints = true;

constexpr BlockFormat kFormats[] = {
    with_levels<64>("NF4", kNf4Levels),
    with_levels<32>("NF4_32", kNf4Levels),
    with_levels<64>("FP4", kFp4Levels),
    with_levels<32>("FP4_32", kFp4Levels),
    own<64, kF32, 8>("INT8_ROW", !kWeightOnly, 0, 256),
    divided(own<64, kF32, 8>("INT8_ABSMAX", !kWeightOnly, 0, 256), 127),
    own<32, kF16, 8>("INT8", kWeightOnly),
    own<32, kF32, 8, kZeroPoints>("INT8Z_32", kWeightOnly),
    own<128, kF32, 8, kZeroPoints>("INT8Z_128", kWeightOnly),
    own<32, kF16, 4>("INT4_32", kWeightOnly, 8),
    own<64, kF16, 4>("INT4_64", kWeightOnly, 8),
    own<128, kF16, 4>("INT4_128", kWeightOnly, 8),
    own<32, kF16, 4, kZeroPoints>("INT4Z_32", kWeightOnly),
    own<64, kF16, 4, kZeroPoints>("INT4Z_64", kWeightOnly),
    own<128, kF16, 4, kZeroPoints>("INT4Z_128", kWeightOnly),
    own<32, kF32, 4, kZeroPoints>("INT4Z_F32_32", kWeightOnly),
    own<128, kF32, 4, kZeroPoints>("INT4Z_F32_128", kWeightOnly),
};
constexpr int kFormatCount = sizeof(kFormats) / sizeof(kFormats[0]);

}  // namespace

const BlockFormat* own_block_format(int index) {
  return index >= 0 && index < kFormatCount ? &kFormats[index] : nullptr;
}

}  // namespace perilune::kernels
