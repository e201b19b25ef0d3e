#include "engine/ops/row_lengths.h"

#include <algorithm>
#include <cmath>

#include "engine/device/context.h"

namespace perilune {

namespace {

/// x as such ops take it: f32, the first axis a batch's, the others of known size.
const Shape& ragged_input(std::string_view op, std::span<const TensorSpec> inputs, int rank,
                          const char* form) {
  expect_inputs(op, inputs, 1);
  expect_f32(op, "x", inputs[0]);
  const Shape& shape = inputs[0].shape;
  bool fits = shape.rank() == rank && shape.axis(0).identity != 0;
  for (int i = 1; fits && i < rank; ++i) fits = !shape.axis(i).symbolic();
  if (fits) return shape;
  throw Error(ErrorCode::shape, std::string(op),
              "x must be " + std::string(form) + ", its first axis a batch's")
      .operand("x", inputs[0].text());
}

/// Rows of these lengths on the axis that an op made. An eager pass knows it by its own identity
/// already; a program's number becomes a new one.
RaggedRows made_rows(const std::string& name, AxisIdentity made,
                     const std::vector<std::int64_t>& lengths, const PassBinding& binding) {
  const bool eager = made >= AxisRows::kFirstIdentity;
  return RaggedRows::from_lengths(name, eager ? made : binding.context()->new_identity(), lengths);
}

/// Rows that follow each other and have one length: what one call of a kernel moves.
struct EvenRows {
  std::int64_t first = 0, count = 0, length = 0;  // `first`: of all rows
};

std::vector<EvenRows> even_rows(const RaggedRows& rows) {
  std::vector<EvenRows> groups;
  for (std::int64_t r = 0; r < rows.rows(); ++r) {
    if (groups.empty() || groups.back().length != rows.length(r)) {
      groups.push_back({r, 0, rows.length(r)});
    }
    ++groups.back().count;
  }
  return groups;
}

/// A kernel's copy between f32 tensors of up to three axes.
struct Block {
  float* data;
  std::int64_t strides[3];
};

void copy_block(const OpRun& run, const Block& out, const Block& x, std::int64_t rows,
                std::int64_t count, std::int64_t width) {
  if (rows <= 0 || count <= 0 || width <= 0) return;
  kernels::CopyArguments arguments{};
  arguments.rank = 3;
  const std::int64_t sizes[] = {rows, count, width};
  std::copy_n(sizes, 3, arguments.sizes);
  arguments.out = {out.data, DType::f32, {}};
  arguments.x = {x.data, DType::f32, {}};
  std::copy_n(out.strides, 3, arguments.out.strides);
  std::copy_n(x.strides, 3, arguments.x.strides);
  run.kernels().copy(run.launch, arguments);
}

const std::vector<float> kZero{0.0f};

}  // namespace

// ---------------------------------------------------------------- windows

std::vector<TensorSpec> WindowsOp::infer(std::span<const TensorSpec> inputs) const {
  const Shape& x = ragged_input(name(), inputs, 2, "[frame, in]");
  const Axis frames{x.axis(0).name, kSymbolicSize, axis_};
  const auto window = checked_multiply(x.size(1), width_);
  if (!window) throw Error(ErrorCode::shape, "windows", "too large").operand("x", inputs[0].text());
  return {{DType::f32, Shape({frames, Axis{"window", *window, 0}}), false}};
}

std::vector<RaggedRows> WindowsOp::bind_axes(std::span<const TensorSpec> inputs,
                                             const PassBinding& binding,
                                             const AxisRows& axes) const {
  const Axis& frames = inputs[0].shape.axis(0);
  const RaggedRows& rows = axes.rows(frames.identity);
  std::vector<std::int64_t> lengths;
  for (std::int64_t r = 0; r < rows.rows(); ++r) {
    const std::int64_t room = rows.length(r) + 2 * padding_ - width_;
    if (room < 0) {
      throw Error(ErrorCode::shape, "conv1d",
                  "row " + std::to_string(r + 1) + " has " + std::to_string(rows.length(r)) + " " +
                      frames.name + "s, too few for a window of " + std::to_string(width_) +
                      " with padding " + std::to_string(padding_))
          .operand("x", inputs[0].text());
    }
    lengths.push_back(room / stride_ + 1);
  }
  return {made_rows(frames.name, axis_, lengths, binding)};
}

std::size_t WindowsOp::scratch_bytes(const OpRun& run) const {
  return contiguous_scratch(run.inputs[0]) + lend_scratch(run, sizeof(float));
}

void WindowsOp::run(OpRun& run) const {
  if (run.outputs[0].elements() == 0) return;
  const Tensor& x = run.inputs[0];
  const RaggedRows& from = run.rows(name(), x.shape().axis(0));
  ScratchCursor scratch(run.launch.scratch);
  auto* data = static_cast<float*>(const_cast<void*>(contiguous_input(run, x, scratch)));
  auto* zero = const_cast<float*>(lend(run, kZero, scratch));
  const std::int64_t in = x.shape().size(1), entry = in * width_;
  std::int64_t done = 0;  // entries of rows before
  for (const EvenRows& group : even_rows(from)) {
    const std::int64_t length = group.length;
    const std::int64_t made = (length + 2 * padding_ - width_) / stride_ + 1;
    float* out = run.outputs[0].as<float>() + done * entry;
    const float* x_rows = data + from.starts[static_cast<std::size_t>(group.first)] * in;
    for (std::int64_t tap = 0; tap < width_; ++tap) {
      // The windows [first, last) that have frames of the row under this tap.
      const std::int64_t shift = padding_ - tap;
      const std::int64_t first = std::clamp<std::int64_t>(
          (std::max<std::int64_t>(shift, 0) + stride_ - 1) / stride_, 0, made);
      const std::int64_t reach = length - 1 + shift;
      const std::int64_t last =
          reach < 0 ? first : std::clamp<std::int64_t>(reach / stride_ + 1, first, made);
      const auto to = [&](std::int64_t window) {
        return Block{out + window * entry + tap, {made * entry, entry, width_}};
      };
      const Block none{zero, {0, 0, 0}};
      copy_block(run, to(0), none, group.count, first, in);
      const std::int64_t frame = first * stride_ - shift;
      if (first < last) {
        const Block seen{const_cast<float*>(x_rows) + frame * in, {length * in, stride_ * in, 1}};
        copy_block(run, to(first), seen, group.count, last - first, in);
      }
      copy_block(run, to(last), none, group.count, made - last, in);
    }
    done += group.count * made;
  }
}

std::string WindowsOp::describe() const {
  return "windows of " + std::to_string(width_) + ", stride " + std::to_string(stride_) +
         ", padding " + std::to_string(padding_);
}

// ---------------------------------------------------------------- patches

std::vector<TensorSpec> PatchesOp::infer(std::span<const TensorSpec> inputs) const {
  const Shape& pixels = ragged_input(name(), inputs, 4, "[batch, channel, height, width]");
  for (int i = 2; i < 4; ++i) {
    const Axis& axis = pixels.axis(i);
    if (axis.size >= size_) continue;
    throw Error(
        ErrorCode::shape, "patches",
        axis.name + "=" + std::to_string(axis.size) + " is less than size=" + std::to_string(size_))
        .operand("pixels", inputs[0].text())
        .hint("resize the picture first");
  }
  const auto square = checked_multiply(size_, size_);
  const auto window = square ? checked_multiply(pixels.size(1), *square) : std::nullopt;
  if (!window) {
    throw Error(ErrorCode::shape, "patches", "too large").operand("pixels", inputs[0].text());
  }
  return {{DType::f32, Shape({Axis{"patch", kSymbolicSize, axis_}, Axis{"window", *window, 0}}),
           false}};
}

std::vector<RaggedRows> PatchesOp::bind_axes(std::span<const TensorSpec> inputs,
                                             const PassBinding& binding,
                                             const AxisRows& axes) const {
  const Shape& pixels = inputs[0].shape;
  const RaggedRows& pictures = axes.rows(pixels.axis(0).identity);
  const std::int64_t patches = (pixels.size(2) / size_) * (pixels.size(3) / size_);
  std::vector<std::int64_t> lengths;
  for (std::int64_t r = 0; r < pictures.rows(); ++r) {
    lengths.push_back(pictures.length(r) * patches);
  }
  return {made_rows("patch", axis_, lengths, binding)};
}

void PatchesOp::run(OpRun& run) const {
  if (run.outputs[0].elements() == 0) return;
  const Tensor& x = run.inputs[0];
  const std::int64_t channels = x.shape().size(1);
  const std::int64_t down = x.shape().size(2) / size_, across = x.shape().size(3) / size_;
  const std::int64_t entry = channels * size_ * size_;
  const auto& strides = x.strides();
  for (std::int64_t picture = 0; picture < x.shape().size(0); ++picture) {
    kernels::CopyArguments arguments{};
    arguments.rank = 5;
    const std::int64_t sizes[] = {down, across, channels, size_, size_};
    const std::int64_t out[] = {across * entry, entry, size_ * size_, size_, 1};
    const std::int64_t in[] = {size_ * strides[2], size_ * strides[3], strides[1], strides[2],
                               strides[3]};
    arguments.out = {run.outputs[0].as<float>() + picture * down * across * entry, DType::f32, {}};
    arguments.x = {x.as<float>() + picture * strides[0], DType::f32, {}};
    std::copy_n(sizes, 5, arguments.sizes);
    std::copy_n(out, 5, arguments.out.strides);
    std::copy_n(in, 5, arguments.x.strides);
    run.kernels().copy(run.launch, arguments);
  }
}

std::string PatchesOp::describe() const {
  return "patches of " + std::to_string(size_) + " by " + std::to_string(size_);
}

// ---------------------------------------------------------------- prepend

std::vector<TensorSpec> PrependOp::infer(std::span<const TensorSpec> inputs) const {
  const Shape& x = ragged_input(name(), inputs, 2, "[token, hidden]");
  if (entries_.defined() && entries_.shape().size(1) != x.size(1)) {
    throw Error(ErrorCode::shape, "prepend", "x has another size than what goes before it")
        .operand("x", inputs[0].text())
        .operand(path_, entries_.spec().text() + " " + versus(x.size(1), entries_.shape().size(1)));
  }
  return {{DType::f32, x.with_axis(0, {x.axis(0).name, kSymbolicSize, axis_}), false}};
}

std::vector<RaggedRows> PrependOp::bind_axes(std::span<const TensorSpec> inputs,
                                             const PassBinding& binding,
                                             const AxisRows& axes) const {
  const Axis& axis = inputs[0].shape.axis(0);
  const RaggedRows& rows = axes.rows(axis.identity);
  std::vector<std::int64_t> lengths;
  for (std::int64_t r = 0; r < rows.rows(); ++r) lengths.push_back(rows.length(r) + count());
  return {made_rows(axis.name, axis_, lengths, binding)};
}

void PrependOp::run(OpRun& run) const {
  if (run.outputs[0].elements() == 0) return;
  const Tensor& x = run.inputs[0];
  const RaggedRows& from = run.rows(name(), x.shape().axis(0));
  ScratchCursor scratch(run.launch.scratch);
  auto* data = static_cast<float*>(const_cast<void*>(contiguous_input(run, x, scratch)));
  float* entries = run.constants->tensors[0].as<float>();
  const std::int64_t width = x.shape().size(1);
  for (const EvenRows& group : even_rows(from)) {
    const std::int64_t start = from.starts[static_cast<std::size_t>(group.first)];
    const std::int64_t made = (group.length + count()) * width;
    float* out = run.outputs[0].as<float>() + (start + group.first * count()) * width;
    copy_block(run, {out, {made, width, 1}}, {entries, {0, width, 1}}, group.count, count(), width);
    copy_block(run, {out + count() * width, {made, width, 1}},
               {data + start * width, {group.length * width, width, 1}}, group.count, group.length,
               width);
  }
}

// ---------------------------------------------------------------- sinusoids

SinusoidsOp::SinusoidsOp(SinusoidOptions options) : options_(std::move(options)) {
  const std::int64_t size = options_.axis.size;
  if (size < 2 || size % 2 != 0 || !(options_.max_period > 0)) {
    throw Error(ErrorCode::argument, "sinusoids",
                size % 2 == 0 && size >= 2 ? "max_period must be above 0"
                                           : "the axis must have an even size")
        .operand("axis", options_.axis.name + "=" + std::to_string(size));
  }
  const std::int64_t steps = options_.endpoint ? std::max<std::int64_t>(1, pairs() - 1) : pairs();
  const double step = std::log(options_.max_period) / static_cast<double>(steps);
  for (std::int64_t j = 0; j < pairs(); ++j) {
    frequencies_.push_back(static_cast<float>(std::exp(-step * static_cast<double>(j))));
  }
}

std::vector<TensorSpec> SinusoidsOp::infer(std::span<const TensorSpec> inputs) const {
  expect_inputs("sinusoids", inputs, 1);
  if (inputs[0].dtype != DType::i32 || inputs[0].shape.rank() != 1) {
    throw Error(ErrorCode::dtype, "sinusoids", "positions must be i32 over one axis")
        .operand("positions", inputs[0].text())
        .hint("batch.positions and net:positions(x) are");
  }
  return {{DType::f32, inputs[0].shape.append(options_.axis), false}};
}

std::size_t SinusoidsOp::scratch_bytes(const OpRun& run) const {
  const auto table = static_cast<std::size_t>(run.inputs[0].elements() * pairs()) * sizeof(float);
  return contiguous_scratch(run.inputs[0]) + lend_scratch(run, frequencies_.size() * 4) +
         2 * ScratchCursor::align(table);
}

void SinusoidsOp::run(OpRun& run) const {
  const Tensor& positions = run.inputs[0];
  kernels::RopeTableArguments table{};
  table.rows = positions.elements();
  if (table.rows == 0) return;
  ScratchCursor scratch(run.launch.scratch);
  table.positions = static_cast<const std::int32_t*>(contiguous_input(run, positions, scratch));
  table.pairs = pairs();
  table.inverse_frequencies = lend(run, frequencies_, scratch);
  table.cosine = scratch.take<float>(table.rows * table.pairs);
  table.sine = scratch.take<float>(table.rows * table.pairs);
  table.attention_scale = 1.0f;
  run.kernels().rope_table(run.launch, table);
  const std::int64_t step = options_.interleaved ? 2 : 1;
  const std::int64_t apart = options_.interleaved ? 1 : pairs();
  float* out = run.outputs[0].as<float>();
  copy_block(run, {out, {0, 2 * pairs(), step}}, {table.sine, {0, pairs(), 1}}, 1, table.rows,
             pairs());
  copy_block(run, {out + apart, {0, 2 * pairs(), step}}, {table.cosine, {0, pairs(), 1}}, 1,
             table.rows, pairs());
}

}  // namespace perilune
