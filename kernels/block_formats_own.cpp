#include "kernels/block_formats_own.h"

#include "kernels/block_bytes.h"
#include "kernels/block_writers.h"
#include "kernels/own_block_writers.h"

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

/// Codes of 2 and 3 bits: a stream from the lowest bits on.
template <std::int64_t kElements, int kBits>
void read_stream(const std::uint8_t* packed, CodedBlock* to) {
  for (std::int64_t i = 0; i < kElements; ++i)
    to->codes[i] = static_cast<std::uint8_t>(streamed_code(packed, kBits, i));
}

/// Scale, zero point if there is one, codes.
template <std::int64_t kElements, ScaleType kScale, int kBits, bool kZeroPoint>
void read_block(const std::uint8_t* block, CodedBlock* to) {
  to->scale = kScale == ScaleType::f16 ? load_f16(block) : load_f32(block);
  block += kScale == ScaleType::f16 ? 2 : 4;
  if constexpr (kZeroPoint) to->zero_point = static_cast<std::int8_t>(*block++);
  if constexpr (kBits == 4)
    read_nibbles<kElements>(block, to);
  else if constexpr (kBits < 4)
    read_stream<kElements, kBits>(block, to);
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

/// f16 scale, eight magnitudes of 8 bits, codes of eight groups of 32.
void read_double(const std::uint8_t* block, CodedBlock* to) {
  to->scale = load_f16(block);
  for (int group = 0; group < 8; ++group) {
    to->scales[group] = static_cast<std::int8_t>(block[2 + group]);
    for (int i = 0; i < 16; ++i) {
      const std::uint8_t both = block[10 + 16 * group + i];
      to->codes[32 * group + i] = both & 15;
      to->codes[32 * group + 16 + i] = both >> 4;
    }
  }
}

constexpr BlockFormat doubly(const char* name, const float* levels) {
  BlockFormat format{};
  format.name = name;
  format.elements = kNestedBlock;
  format.bytes = 2 + 8 + kNestedBlock / 2;
  format.coding = {4, 32, ScaleType::nested, false, 0, nullptr};
  format.coding.levels = levels;
  format.read = read_double;
  format.weight_only = true;
  return format;
}

template <BlockWriter kWrite, std::int64_t kElements, std::int64_t kBytes>
constexpr BlockFormat written(BlockFormat format) {
  format.write = write_row<kWrite, kElements, kBytes>;
  return format;
}

constexpr BlockFormat with_rows(BlockFormat format,
                                void (*write)(const float*, std::int64_t, std::uint8_t*)) {
  format.write = write;
  return format;
}

constexpr BlockFormat divided(BlockFormat format, float divisor) {
  format.coding.divisor = divisor;
  return format;
}

constexpr ScaleType kF16 = ScaleType::f16, kF32 = ScaleType::f32;
constexpr bool kWeightOnly = true, kZeroPoints = true;

constexpr BlockFormat kFormats[] = {
    written<write_nf4, 64, 36>(with_levels<64>("NF4", kNf4Levels)),
    written<write_nf4_32, 32, 20>(with_levels<32>("NF4_32", kNf4Levels)),
    written<write_fp4, 64, 36>(with_levels<64>("FP4", kFp4Levels)),
    written<write_fp4_32, 32, 20>(with_levels<32>("FP4_32", kFp4Levels)),
    written<write_nf4_double, 256, 138>(doubly("NF4_DOUBLE", kNf4Levels)),
    written<write_fp4_double, 256, 138>(doubly("FP4_DOUBLE", kFp4Levels)),
    with_rows(own<64, kF32, 8>("INT8_ROW", !kWeightOnly, 0, 256), write_int8_row),
    divided(own<64, kF32, 8>("INT8_ABSMAX", !kWeightOnly, 0, 256), 127),
    written<write_int8, 32, 34>(own<32, kF16, 8>("INT8", kWeightOnly)),
    own<32, kF32, 8, kZeroPoints>("INT8Z_32", kWeightOnly),
    own<128, kF32, 8, kZeroPoints>("INT8Z_128", kWeightOnly),
    written<write_int4_32, 32, 18>(own<32, kF16, 4>("INT4_32", kWeightOnly, 8)),
    written<write_int4_64, 64, 34>(own<64, kF16, 4>("INT4_64", kWeightOnly, 8)),
    written<write_int4_128, 128, 66>(own<128, kF16, 4>("INT4_128", kWeightOnly, 8)),
    written<write_int4z_32, 32, 19>(own<32, kF16, 4, kZeroPoints>("INT4Z_32", kWeightOnly)),
    written<write_int4z_64, 64, 35>(own<64, kF16, 4, kZeroPoints>("INT4Z_64", kWeightOnly)),
    written<write_int4z_128, 128, 67>(own<128, kF16, 4, kZeroPoints>("INT4Z_128", kWeightOnly)),
    own<32, kF16, 2, kZeroPoints>("INT2Z_32", kWeightOnly),
    own<64, kF16, 2, kZeroPoints>("INT2Z_64", kWeightOnly),
    own<128, kF16, 2, kZeroPoints>("INT2Z_128", kWeightOnly),
    own<32, kF16, 3, kZeroPoints>("INT3Z_32", kWeightOnly),
    own<64, kF16, 3, kZeroPoints>("INT3Z_64", kWeightOnly),
    own<128, kF16, 3, kZeroPoints>("INT3Z_128", kWeightOnly),
    own<32, kF32, 4, kZeroPoints>("INT4Z_F32_32", kWeightOnly),
    own<128, kF32, 4, kZeroPoints>("INT4Z_F32_128", kWeightOnly),
};
constexpr int kFormatCount = sizeof(kFormats) / sizeof(kFormats[0]);

}  // namespace

const BlockFormat* own_block_format(int index) {
  return index >= 0 && index < kFormatCount ? &kFormats[index] : nullptr;
}

}  // namespace perilune::kernels
