#include "kernels/cpu/coded_panels.h"

#include <algorithm>
#include <cstring>

#include "kernels/cpu/coded_layout.h"
#include "kernels/cpu/parallel.h"

namespace perilune::kernels::coded_panels {
namespace {

/// Writes one output's numbers into its panel.
class Writer {
 public:
  Writer(const Coding& coding, const CodedLayout& layout, std::uint8_t* panel, std::int64_t column)
      : coding_(coding), at_(layout), panel_(panel), column_(column) {}

  /// The block's first input is `first` of its row; `elements` of it belong to the row.
  void put(const CodedBlock& from, std::int64_t first, std::int64_t elements) const {
    if (coding_.scale == ScaleType::nested) put_outer(from, first / kCodedBlock);
    for (std::int64_t done = 0; done < elements; done += kCodedBlock) {
      const std::int64_t index = (first + done) / kCodedBlock;
      std::uint8_t* block = panel_ + coded_block_at(at_, index);
      put_codes(from.codes + done, block);
      std::uint8_t* numbers =
          at_.shared ? panel_ + coded_unit_at(at_, index) : block + at_.code_bytes;
      for (std::int64_t group = 0; group < at_.groups; ++group)
        put_scales(from, done / coding_.group + group, group, numbers);
      if (!coding_.zero_points) continue;
      numbers[at_.groups * at_.scale_bytes + column_] = static_cast<std::uint8_t>(from.zero_point);
    }
  }

 private:
  void put_outer(const CodedBlock& from, std::int64_t block) const {
    std::uint8_t* unit = panel_ + coded_unit_at(at_, block);
    put_f16(unit, from.scale);
    if (coding_.minimum) put_f16(unit + at_.width * 2, from.minimum);
  }

  /// Where byte i of a quad of this output lies.
  std::int64_t byte_at(std::int64_t quad, std::int64_t i) const {
    return (quad * at_.width + column_) * 4 + i % 4;
  }

  void put_codes(const std::uint8_t* codes, std::uint8_t* block) const {
    if (coding_.bits == 8) {
      for (std::int64_t i = 0; i < kCodedBlock; ++i) block[byte_at(i / 4, i)] = codes[i];
      return;
    }
    for (std::int64_t quad = 0; quad < coding_.bits; ++quad)
      for (std::int64_t i = 0; i < 4; ++i) block[byte_at(quad, i)] = 0;
    for (int p = 0; p < 2; ++p) {
      const CodePlane plane = code_plane(coding_.bits, p);
      if (plane.bits == 0) continue;
      for (std::int64_t i = 0; i < kCodedBlock; ++i) {
        const PlaneBits at = plane_bits(plane, i / 16, i % 16 / 4);
        const int part = codes[i] >> plane.above & ((1 << plane.bits) - 1);
        block[byte_at(at.quad, i)] |= static_cast<std::uint8_t>(part << at.shift);
      }
    }
  }

  /// `scales`: what follows the codes. `index`: the group in `from`; `group`: in its block.
  void put_scales(const CodedBlock& from, std::int64_t index, std::int64_t group,
                  std::uint8_t* scales) const {
    std::uint8_t* scale = scales + group * at_.scale_bytes;
    std::uint8_t* minimum = scale + at_.groups * at_.scale_bytes;
    switch (coding_.scale) {
      case ScaleType::f16:
        put_f16(scale, from.scale);
        if (coding_.minimum) put_f16(minimum, from.minimum);
        break;
      case ScaleType::f32:
        std::memcpy(scale + column_ * 4, &from.scale, 4);
        if (coding_.minimum) std::memcpy(minimum + column_ * 4, &from.minimum, 4);
        break;
      case ScaleType::nested:
        scale[column_] = static_cast<std::uint8_t>(from.scales[index]);
        if (coding_.minimum) minimum[column_] = static_cast<std::uint8_t>(from.minimums[index]);
        break;
    }
  }

  void put_f16(std::uint8_t* to, float value) const {
    const std::uint16_t bits = f32_to_f16(value);
    std::memcpy(to + column_ * 2, &bits, 2);
  }

  const Coding& coding_;
  const CodedLayout& at_;
  std::uint8_t* panel_;
  std::int64_t column_;
};

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
  const CodedLayout layout = coded_layout(a.format->coding, width);
  const std::int64_t panel_bytes = coded_panel_bytes(layout, a.inputs);
  const std::int64_t panels = (a.outputs + width - 1) / width;
  parallel_ranges(
      launch, panels, 1 + 65536 / (panel_bytes + 1), [&](std::int64_t begin, std::int64_t end) {
        CodedBlock block{};
        for (std::int64_t p = begin; p < end; ++p) {
          std::uint8_t* panel = static_cast<std::uint8_t*>(a.destination) + p * panel_bytes;
          if ((p + 1) * width > a.outputs)
            std::memset(panel, 0, static_cast<std::size_t>(panel_bytes));
          for (std::int64_t j = 0; j < width && p * width + j < a.outputs; ++j) {
            const Writer writer(a.format->coding, layout, panel, j);
            const std::uint8_t* from = a.source + (p * width + j) * a.row_bytes;
            for (std::int64_t k = 0; k < a.inputs; k += a.format->elements) {
              a.format->read(from, &block);
              writer.put(block, k, std::min(a.format->elements, a.inputs - k));
              from += a.format->bytes;
            }
          }
        }
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
