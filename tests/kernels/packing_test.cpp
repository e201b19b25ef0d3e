// Packed weights, byte for byte, beside a packer that puts one number after the other.
#include "kernels/cpu/coded_layout.h"
#include "tests/kernels/kernel_test.h"

using namespace kernel_test;

namespace {

/// The tables of a CPU, with the outputs of their panels and whether bf16 lies in pairs.
struct Panels {
  const KernelTable* table;
  std::int64_t width;
  bool pairs;
};
std::vector<Panels> panels_under_test() {
  std::vector<Panels> all;
  for (const KernelTable* table : tables_under_test()) {
    const std::string tier = table->tier;
    if (table->pack_coded == nullptr) continue;
    all.push_back(
        {table, tier == "avx512" || tier == "wide" ? 32 : 16, tier == "avx512" || tier == "wide"});
  }
  if (all.empty()) perilune_test::note_skip("these kernels pack as they like");
  return all;
}

using Bytes = std::vector<std::uint8_t>;

Bytes random_bytes(std::int64_t count, std::uint64_t seed) {
  Random random(seed);
  Bytes bytes(static_cast<std::size_t>(count));
  for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random.next() >> 33);
  return bytes;
}

// ---------------------------------------------------------------- codes

void put(std::uint8_t* to, float value, ScaleType type) {
  if (type == ScaleType::f32) {
    std::memcpy(to, &value, 4);
  } else {
    const std::uint16_t half = f32_to_f16(value);
    std::memcpy(to, &half, 2);
  }
}

/// The numbers of one group of an output, as kernels/cpu/coded_layout.h says.
void put_numbers(const Coding& coding, const CodedLayout& at, const CodedBlock& from,
                 std::int64_t group_of_block, std::int64_t group, std::int64_t column,
                 std::uint8_t* numbers) {
  std::uint8_t* scale = numbers + group * at.scale_bytes;
  std::uint8_t* minimum = scale + at.groups * at.scale_bytes;
  if (coding.scale == ScaleType::nested) {
    scale[column] = static_cast<std::uint8_t>(from.scales[group_of_block]);
    if (coding.minimum) minimum[column] = static_cast<std::uint8_t>(from.minimums[group_of_block]);
    return;
  }
  const std::int64_t bytes = coding.scale == ScaleType::f16 ? 2 : 4;
  put(scale + column * bytes, from.scale, coding.scale);
  if (coding.minimum) put(minimum + column * bytes, from.minimum, coding.scale);
}

void put_code(const Coding& coding, const CodedLayout& at, std::uint8_t* block, std::int64_t i,
              std::int64_t column, int code) {
  const auto byte = [&](std::int64_t quad) -> std::uint8_t& {
    return block[(quad * at.width + column) * 4 + i % 4];
  };
  if (coding.bits == 8) {
    byte(i / 4) = static_cast<std::uint8_t>(code);
    return;
  }
  for (int p = 0; p < 2; ++p) {
    const CodePlane plane = code_plane(coding.bits, p);
    if (plane.bits == 0) continue;
    const PlaneBits bits = plane_bits(plane, i / 16, i % 16 / 4);
    const int part = code >> plane.above & ((1 << plane.bits) - 1);
    byte(bits.quad) = static_cast<std::uint8_t>(byte(bits.quad) | part << bits.shift);
  }
}

Bytes packed_plainly(std::int64_t width, const PackCodedArguments& a) {
  const Coding& coding = a.format->coding;
  const CodedLayout at = coded_layout(coding, width);
  const std::int64_t panel_bytes = coded_panel_bytes(at, a.inputs);
  Bytes to(static_cast<std::size_t>((a.outputs + width - 1) / width * panel_bytes));
  for (std::int64_t output = 0; output < a.outputs; ++output)
    for (std::int64_t k = 0; k < a.inputs; ++k) {
      const std::int64_t in_block = k % a.format->elements, column = output % width;
      CodedBlock from{};
      a.format->read(a.source + output * a.row_bytes + k / a.format->elements * a.format->bytes,
                     &from);
      std::uint8_t* panel = to.data() + output / width * panel_bytes;
      std::uint8_t* unit = panel + coded_unit_at(at, k / kCodedBlock);
      std::uint8_t* block = panel + coded_block_at(at, k / kCodedBlock);
      put_code(coding, at, block, k % kCodedBlock, column, from.codes[in_block]);
      std::uint8_t* numbers = at.shared ? unit : block + at.code_bytes;
      for (std::int64_t group = 0; group < at.groups; ++group)
        put_numbers(coding, at, from, in_block / kCodedBlock * kCodedBlock / coding.group + group,
                    group, column, numbers);
      if (coding.scale == ScaleType::nested) put(unit + column * 2, from.scale, ScaleType::f16);
      if (coding.scale == ScaleType::nested && coding.minimum)
        put(unit + (width + column) * 2, from.minimum, ScaleType::f16);
      if (coding.zero_points)
        numbers[at.groups * at.scale_bytes + column] = static_cast<std::uint8_t>(from.zero_point);
    }
  // The rest of a row's last block is packed as it lies there.
  for (std::int64_t output = 0; output < a.outputs; ++output)
    for (std::int64_t k = a.inputs; k % kCodedBlock != 0; ++k) {
      CodedBlock from{};
      a.format->read(a.source + output * a.row_bytes + k / a.format->elements * a.format->bytes,
                     &from);
      put_code(coding, at,
               to.data() + output / width * panel_bytes + coded_block_at(at, k / kCodedBlock),
               k % kCodedBlock, output % width, from.codes[k % a.format->elements]);
    }
  return to;
}

// ---------------------------------------------------------------- numbers

std::uint16_t to_half(float value, WeightFormat, WeightFormat) {
  return f32_to_bf16(value);
}
std::uint16_t to_half(std::uint16_t value, WeightFormat from, WeightFormat to) {
  if (from == to) return value;
  return f32_to_bf16(f16_to_f32(value));
}

template <class From, class To>
Bytes packed_plainly(const Panels& panels, const PackArguments& a, WeightFormat target) {
  const bool paired = panels.pairs && a.math == MathMode::bf16;
  const std::int64_t group = paired ? 2 : 1, width = panels.width;
  const std::int64_t padded = (a.inputs + group - 1) / group * group;
  std::vector<To> to(static_cast<std::size_t>((a.outputs + width - 1) / width * width * padded));
  for (std::int64_t o = 0; o < a.outputs; ++o)
    for (std::int64_t k = 0; k < a.inputs; ++k) {
      const From value =
          static_cast<const From*>(a.source)[o * a.output_stride + k * a.input_stride];
      const std::int64_t at = (k / group * width + o % width) * group + k % group;
      To& place = to[static_cast<std::size_t>(o / width * width * padded + at)];
      if constexpr (sizeof(To) == 4)
        place = value;
      else
        place = to_half(value, a.source_format, target);
    }
  Bytes bytes(to.size() * sizeof(To));
  std::memcpy(bytes.data(), to.data(), bytes.size());
  return bytes;
}

Bytes packed_plainly(const Panels& panels, const PackArguments& a) {
  const WeightFormat target = panels.table->packed_format(a.source_format, a.math);
  if (a.source_format != WeightFormat::f32)
    return packed_plainly<std::uint16_t, std::uint16_t>(panels, a, target);
  if (target == WeightFormat::f32) return packed_plainly<float, float>(panels, a, target);
  return packed_plainly<float, std::uint16_t>(panels, a, target);
}

struct Shape {
  std::int64_t outputs, inputs;
};
constexpr Shape kShapes[] = {{1, 1},   {16, 8},   {33, 31},  {31, 64},  {64, 65},
                             {70, 72}, {32, 256}, {97, 130}, {100, 513}};

bool same(const Bytes& expected, const Buffer& found) {
  return std::memcmp(expected.data(), found.data(), expected.size()) == 0;
}

}  // namespace

TEST_CASE("codes are packed to the bytes of a plain packer, whole and in parts") {
  for (const Panels& panels : panels_under_test())
    for (int i = 0; block_format(i) != nullptr; ++i)
      for (Shape shape : kShapes) {
        const BlockFormat& format = *block_format(i);
        if (format.coding.scale == ScaleType::nested)
          shape.inputs = (shape.inputs + kNestedBlock - 1) / kNestedBlock * kNestedBlock;
        CAPTURE(panels.table->tier, format.name, shape.outputs, shape.inputs);
        const std::int64_t row_bytes = format.row_blocks(shape.inputs) * format.bytes;
        const Bytes source = random_bytes(shape.outputs * row_bytes, 7);
        const auto bytes = [&](std::int64_t outputs) {
          return panels.table->coded_bytes(format.coding, outputs, shape.inputs);
        };
        Buffer whole(bytes(shape.outputs)), parts(bytes(shape.outputs));
        const Bytes expected = packed_plainly(panels.width, {source.data(), &format, row_bytes,
                                                             shape.outputs, shape.inputs, nullptr});
        REQUIRE(expected.size() == bytes(shape.outputs));
        panels.table->pack_coded(launch_of(3), {source.data(), &format, row_bytes, shape.outputs,
                                                shape.inputs, whole.data()});
        CHECK(same(expected, whole));
        for (std::int64_t first = 0; first < shape.outputs; first += 32)
          panels.table->pack_coded(launch_of(1),
                                   {source.data() + first * row_bytes, &format, row_bytes,
                                    std::min<std::int64_t>(32, shape.outputs - first), shape.inputs,
                                    static_cast<std::uint8_t*>(parts.data()) + bytes(first)});
        CHECK(same(expected, parts));
      }
}

TEST_CASE("numbers are packed to the bytes of a plain packer, whole, turned and in parts") {
  for (const Panels& panels : panels_under_test())
    for (const WeightFormat format : {WeightFormat::f32, WeightFormat::f16, WeightFormat::bf16})
      for (const MathMode math : {MathMode::f32, MathMode::bf16})
        for (const Shape shape : kShapes) {
          CAPTURE(panels.table->tier, static_cast<int>(format), math_name(math), shape.outputs,
                  shape.inputs);
          const std::int64_t element = format == WeightFormat::f32 ? 4 : 2;
          const Bytes source = random_bytes(shape.outputs * shape.inputs * element, 9);
          const auto bytes = [&](std::int64_t outputs) {
            return panels.table->packed_bytes(format, outputs, shape.inputs, math);
          };
          const auto arguments = [&](bool turned, std::int64_t first, std::int64_t count,
                                     Buffer& to) {
            return PackArguments{source.data() + first * shape.inputs * element,
                                 format,
                                 turned ? 1 : shape.inputs,
                                 turned ? shape.outputs : 1,
                                 count,
                                 shape.inputs,
                                 math,
                                 static_cast<std::uint8_t*>(to.data()) + bytes(first)};
          };
          for (const bool turned : {false, true}) {
            Buffer whole(bytes(shape.outputs)), parts(bytes(shape.outputs));
            const PackArguments all = arguments(turned, 0, shape.outputs, whole);
            const Bytes expected = packed_plainly(panels, all);
            REQUIRE(expected.size() == bytes(shape.outputs));
            panels.table->pack(launch_of(3), all);
            CHECK(same(expected, whole));
            for (std::int64_t first = 0; first < shape.outputs && !turned; first += 32)
              panels.table->pack(
                  launch_of(1),
                  arguments(false, first, std::min<std::int64_t>(32, shape.outputs - first),
                            parts));
            if (!turned) CHECK(same(expected, parts));
          }
        }
}
