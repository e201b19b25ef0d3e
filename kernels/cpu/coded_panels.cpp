#include "kernels/cpu/coded_panels.h"

#include <algorithm>
#include <cstring>

#include "kernels/cpu/coded_layout.h"
#include "kernels/cpu/parallel.h"

namespace perilune::kernels::coded_panels {
namespace {

/// What a plane has of the codes of a block, `from` four in a word, as the words of its quads.
template <int kBits, int kPlane>
void put_plane(const std::uint32_t* from, std::uint32_t* words) {
  constexpr CodePlane kAt = code_plane(kBits, kPlane);
  constexpr std::uint32_t kMask = 0x01010101u * ((1u << kAt.bits) - 1);
  for (std::int64_t i = 0; i < kCodedBlock / 4; ++i) {
    const PlaneBits at = plane_bits(kAt, i / 4, i % 4);
    words[at.quad] |= (from[i] >> kAt.above & kMask) << at.shift;
  }
}

/// The codes of a block to the quads of one output, which begin `width` words apart.
template <int kBits>
void put_codes(const std::uint8_t* codes, std::int64_t width, std::uint8_t* to) {
  std::uint32_t from[kCodedBlock / 4], words[kCodedBlock / 4] = {};
  std::memcpy(from, codes, sizeof from);
  if constexpr (kBits == 8) {
    std::memcpy(words, from, sizeof words);
  } else {
    put_plane<kBits, 0>(from, words);
    if constexpr (code_plane(kBits, 1).bits != 0) put_plane<kBits, 1>(from, words);
  }
  for (std::int64_t q = 0; q < kBits; ++q) std::memcpy(to + q * width * 4, &words[q], 4);
}

using PutCodes = void (*)(const std::uint8_t* codes, std::int64_t width, std::uint8_t* to);

PutCodes put_codes_of(int bits) {
  switch (bits) {
    case 2: return put_codes<2>;
    case 3: return put_codes<3>;
    case 4: return put_codes<4>;
    case 5: return put_codes<5>;
    case 6: return put_codes<6>;
    default: return put_codes<8>;
  }
}

/// Writes blocks of outputs into their panel.
class Writer {
 public:
  Writer(const Coding& coding, std::int64_t width)
      : coding_(coding), at_(coded_layout(coding, width)), put_codes_(put_codes_of(coding.bits)) {}

  const CodedLayout& layout() const { return at_; }

  /// Blocks from now on begin at input `first` of their rows, and `elements` belong to these.
  void place(std::uint8_t* panel, std::int64_t first, std::int64_t elements) {
    const std::int64_t begin = first / kCodedBlock;
    count_ = coded_blocks(elements);
    outer_ = panel + coded_unit_at(at_, begin);
    for (std::int64_t i = 0; i < count_; ++i) {
      blocks_[i] = panel + coded_block_at(at_, begin + i);
      numbers_[i] =
          at_.shared ? panel + coded_unit_at(at_, begin + i) : blocks_[i] + at_.code_bytes;
    }
  }

  /// The block of output `column`.
  void put(const CodedBlock& from, std::int64_t column) const {
    if (coding_.scale == ScaleType::nested) {
      put_f16(outer_, column, from.scale);
      if (coding_.minimum) put_f16(outer_ + at_.width * 2, column, from.minimum);
    }
    for (std::int64_t i = 0; i < count_; ++i) {
      put_codes_(from.codes + i * kCodedBlock, at_.width, blocks_[i] + column * 4);
      for (std::int64_t group = 0; group < at_.groups; ++group)
        put_scales(from, i * at_.groups + group, column, numbers_[i] + group * at_.scale_bytes);
      if (coding_.zero_points)
        numbers_[i][at_.groups * at_.scale_bytes + column] =
            static_cast<std::uint8_t>(from.zero_point);
    }
  }

 private:
  /// Those of one group, which is the `index`th of `from`; minimums follow all groups' scales.
  void put_scales(const CodedBlock& from, std::int64_t index, std::int64_t column,
                  std::uint8_t* scale) const {
    std::uint8_t* minimum = scale + at_.groups * at_.scale_bytes;
    switch (coding_.scale) {
      case ScaleType::f16:
        put_f16(scale, column, from.scale);
        if (coding_.minimum) put_f16(minimum, column, from.minimum);
        break;
      case ScaleType::f32:
        std::memcpy(scale + column * 4, &from.scale, 4);
        if (coding_.minimum) std::memcpy(minimum + column * 4, &from.minimum, 4);
        break;
      case ScaleType::nested:
        scale[column] = static_cast<std::uint8_t>(from.scales[index]);
        if (coding_.minimum) minimum[column] = static_cast<std::uint8_t>(from.minimums[index]);
        break;
    }
  }

  static void put_f16(std::uint8_t* to, std::int64_t column, float value) {
    const std::uint16_t bits = f32_to_f16(value);
    std::memcpy(to + column * 2, &bits, 2);
  }

  const Coding& coding_;
  CodedLayout at_;
  PutCodes put_codes_;
  std::int64_t count_ = 0;  // of kCodedBlock inputs
  std::uint8_t* outer_ = nullptr;
  std::uint8_t* blocks_[kNestedBlock / kCodedBlock] = {};
  std::uint8_t* numbers_[kNestedBlock / kCodedBlock] = {};
};

/// One panel: a block of each output after the other, so that what is written lies together.
void pack_panel(const PackCodedArguments& a, Writer& writer, std::int64_t first,
                std::uint8_t* panel) {
  const std::int64_t columns = std::min(writer.layout().width, a.outputs - first);
  if (columns < writer.layout().width)
    std::memset(panel, 0, static_cast<std::size_t>(coded_panel_bytes(writer.layout(), a.inputs)));
  CodedBlock block{};
  const std::uint8_t* from = a.source + first * a.row_bytes;
  for (std::int64_t k = 0; k < a.inputs; k += a.format->elements, from += a.format->bytes) {
    writer.place(panel, k, std::min(a.format->elements, a.inputs - k));
    for (std::int64_t column = 0; column < columns; ++column) {
      a.format->read(from + column * a.row_bytes, &block);
      writer.put(block, column);
    }
  }
}

float get_f16(const std::uint8_t* from, std::int64_t column) {
  std::uint16_t bits = 0;
  std::memcpy(&bits, from + column * 2, 2);
  return f16_to_f32(bits);
}

/// Code `i` of a block.
int code_at(const Coding& coding, const CodedLayout& at, const std::uint8_t* block,
            std::int64_t column, std::int64_t i) {
  const auto byte = [&](std::int64_t quad) {
    return block[(quad * at.width + column) * 4 + i % 4];
  };
  if (coding.bits == 8) return byte(i / 4);
  int code = 0;
  for (int p = 0; p < 2; ++p) {
    const CodePlane plane = code_plane(coding.bits, p);
    if (plane.bits == 0) continue;
    const PlaneBits bits = plane_bits(plane, i / 16, i % 16 / 4);
    code |= (byte(bits.quad) >> bits.shift & ((1 << plane.bits) - 1)) << plane.above;
  }
  return code;
}

/// One number of a group: `outer` is that of the unit, where numbers are nested.
float get_scale(ScaleType type, const std::uint8_t* from, const std::uint8_t* outer,
                std::int64_t column) {
  if (type == ScaleType::f16) return get_f16(from, column);
  if (type == ScaleType::nested)
    return get_f16(outer, column) * static_cast<float>(static_cast<std::int8_t>(from[column]));
  float value = 0;
  std::memcpy(&value, from + column * 4, 4);
  return value;
}

}  // namespace

std::size_t packed_bytes(std::int64_t width, const Coding& coding, std::int64_t outputs,
                         std::int64_t inputs) {
  const std::int64_t panels = (outputs + width - 1) / width;
  return static_cast<std::size_t>(panels * coded_panel_bytes(coded_layout(coding, width), inputs));
}

void pack(const Launch& launch, std::int64_t width, const PackCodedArguments& a) {
  const std::int64_t panel_bytes =
      coded_panel_bytes(coded_layout(a.format->coding, width), a.inputs);
  const std::int64_t panels = (a.outputs + width - 1) / width;
  parallel_ranges(launch, panels, 1 + 65536 / (panel_bytes + 1),
                  [&](std::int64_t begin, std::int64_t end) {
                    Writer writer(a.format->coding, width);
                    for (std::int64_t p = begin; p < end; ++p)
                      pack_panel(a, writer, p * width,
                                 static_cast<std::uint8_t*>(a.destination) + p * panel_bytes);
                  });
}

Element element(std::int64_t width, const PackedMatrix& matrix, std::int64_t output,
                std::int64_t input) {
  const Coding& coding = *matrix.coding;
  const CodedLayout at = coded_layout(coding, width);
  const std::uint8_t* panel = static_cast<const std::uint8_t*>(matrix.data) +
                              output / width * coded_panel_bytes(at, matrix.inputs);
  const std::int64_t column = output % width, index = input / kCodedBlock,
                     in_block = input % kCodedBlock;
  const std::uint8_t* block = panel + coded_block_at(at, index);
  const std::uint8_t* unit = panel + coded_unit_at(at, index);
  const int code = code_at(coding, at, block, column, in_block);

  Element found{};
  const std::uint8_t* numbers = at.shared ? unit : block + at.code_bytes;
  const std::uint8_t* scale = numbers + (at.shared ? 0 : in_block / coding.group * at.scale_bytes);
  if (coding.levels == nullptr) found.value = code_value(coding, code);
  if (coding.zero_points)
    found.value -= static_cast<std::int8_t>(numbers[at.groups * at.scale_bytes + column]);
  found.scale = get_scale(coding.scale, scale, unit, column);
  if (coding.minimum) {
    const float minimum =
        get_scale(coding.scale, scale + at.groups * at.scale_bytes, unit + width * 2, column);
    found.minimum = coding.scale == ScaleType::nested ? -minimum : minimum;
  }
  const float value =
      coding.levels != nullptr ? coding.levels[code] : static_cast<float>(found.value);
  found.weight = coded_weight(coding, value, found.scale, found.minimum);
  return found;
}

void read_row(std::int64_t width, const PackedMatrix& matrix, std::int64_t row, float factor,
              float* out) {
  for (std::int64_t k = 0; k < matrix.inputs; ++k) {
    const float value = element(width, matrix, row, k).weight;
    const std::int64_t to = matrix.input_order != nullptr ? matrix.input_order[k] : k;
    out[to] = factor == 1.0f ? value : value * factor;
  }
}

}  // namespace perilune::kernels::coded_panels
