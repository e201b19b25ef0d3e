#include "engine/ops/reduce.h"

#include <algorithm>

#include "engine/base/long_work.h"

namespace perilune {

namespace {

const char* reduce_name(kernels::Reduce op) {
  using enum kernels::Reduce;
  switch (op) {
    case sum: return "sum";
    case mean: return "mean";
    case minimum: return "min";
    case maximum: return "max";
    case argmin: return "argmin";
    case argmax: return "argmax";
    case any: return "any";
    case all: return "all";
    case sum_squares: return "norm";
  }
  return "?";
}

DType reduce_dtype(kernels::Reduce op, DType x) {
  using enum kernels::Reduce;
  switch (op) {
    case argmin:
    case argmax: return DType::i64;
    case any:
    case all: return DType::boolean;
    case minimum:
    case maximum: return x;
    case sum: return is_float(x) ? DType::f32 : DType::i64;
    case mean:
    case sum_squares: return DType::f32;
  }
  return DType::f32;
}

// A traced pass must not sum over other rows of its batch.
void expect_static(std::string_view op, const TensorSpec& x, const Axis& axis) {
  if (!axis.symbolic()) return;
  throw Error(ErrorCode::shape, std::string(op),
              "axis \"" + axis.name + "\" holds the rows of a whole batch")
      .operand("x", x.text())
      .hint("net:mean(x) and net:select(x, ...) work row by row");
}

std::int64_t rows_of(const Tensor& x) {
  const std::int64_t width = x.shape().back().size;
  return width == 0 ? 0 : x.elements() / width;
}

}  // namespace

// ---------------------------------------------------------------- reduce

std::string_view ReduceOp::name() const {
  return reduce_name(op_);
}

bool ReduceOp::drops(const Axis& axis) const {
  return std::find(axes_.begin(), axes_.end(), axis.name) != axes_.end();
}

std::vector<TensorSpec> ReduceOp::infer(std::span<const TensorSpec> inputs) const {
  expect_inputs(name(), inputs, 1);
  const TensorSpec& x = inputs[0];
  for (const std::string& axis : axes_) {
    expect_static(name(), x, x.shape.axis(x.shape.index(name(), axis)));
  }
  const bool position = op_ == kernels::Reduce::argmin || op_ == kernels::Reduce::argmax;
  if (position && axes_.size() != 1) {
    throw Error(ErrorCode::argument, std::string(name()), "takes one axis")
        .operand("x", x.text())
        .hint("merge the axes first: x:merge({ ... }, \"name\")");
  }
  std::vector<Axis> kept;
  for (const Axis& axis : x.shape.axes()) {
    if (!drops(axis)) kept.push_back(axis);
    const bool needs_one = op_ != kernels::Reduce::sum && op_ != kernels::Reduce::any &&
                           op_ != kernels::Reduce::all && op_ != kernels::Reduce::sum_squares;
    if (drops(axis) && axis.size == 0 && needs_one) {
      throw Error(ErrorCode::shape, std::string(name()), "axis \"" + axis.name + "\" is empty")
          .operand("x", x.text());
    }
  }
  return {{reduce_dtype(op_, x.dtype), Shape(kept), false}};
}

void ReduceOp::run(OpRun& run) const {
  const Tensor& x = run.inputs[0];
  const Tensor& out = run.outputs[0];
  if (out.elements() == 0) return;
  kernels::ReduceArguments arguments{};
  arguments.op = op_;
  arguments.x = {x.data(), x.dtype(), {}};
  arguments.out = strided(out);
  int at = 0;
  for (const bool dropped : {false, true}) {
    for (int i = 0; i < x.shape().rank(); ++i) {
      if (drops(x.shape().axis(i)) != dropped) continue;
      arguments.sizes[at] = x.shape().size(i);
      arguments.x.strides[at++] = x.strides()[static_cast<std::size_t>(i)];
    }
  }
  arguments.rank = at;
  arguments.reduced = static_cast<int>(axes_.size());
  run.kernels().reduce(run.launch, arguments);
}

// ---------------------------------------------------------------- softmax, running sums

std::string_view LastAxisOp::name() const {
  switch (kind_) {
    case LastAxis::softmax: return "softmax";
    case LastAxis::log_softmax: return "log_softmax";
    case LastAxis::cumulative_sum: return "cumsum";
  }
  return "?";
}

std::vector<TensorSpec> LastAxisOp::infer(std::span<const TensorSpec> inputs) const {
  expect_inputs(name(), inputs, 1);
  expect_f32(name(), "x", inputs[0]);
  expect_static(name(), inputs[0], inputs[0].shape.back());
  return {inputs[0]};
}

std::size_t LastAxisOp::scratch_bytes(const OpRun& run) const {
  return row_view(run.inputs[0], 1) ? 0 : contiguous_scratch(run.inputs[0]);
}

void LastAxisOp::run(OpRun& run) const {
  const Tensor& x = run.inputs[0];
  if (x.elements() == 0) return;
  ScratchCursor scratch(run.launch.scratch);
  const std::int64_t width = x.shape().back().size;
  const std::optional<RowView> view = row_view(x, 1);
  const float* data =
      view ? x.as<float>() : static_cast<const float*>(contiguous_input(run, x, scratch));
  const std::int64_t stride = view ? view->stride : width;
  float* out = run.outputs[0].as<float>();
  if (kind_ == LastAxis::cumulative_sum) {
    run.kernels().cumulative_sum(run.launch, {out, data, width, stride, rows_of(x), width});
    return;
  }
  run.kernels().softmax(
      run.launch, {out, data, width, stride, rows_of(x), width, kind_ == LastAxis::log_softmax});
}

// ---------------------------------------------------------------- order

constexpr std::int64_t kPartOrdered = std::int64_t{1} << 19;  // elements between two looks

std::vector<TensorSpec> TopOp::infer(std::span<const TensorSpec> inputs) const {
  expect_inputs(name(), inputs, 1);
  expect_f32(name(), "x", inputs[0]);
  const Shape& shape = inputs[0].shape;
  expect_static(name(), inputs[0], shape.back());
  if (count_ < 0 || count_ > shape.back().size) {
    throw Error(ErrorCode::argument, "topk",
                std::to_string(count_) + " of " + shape.back().name + "=" +
                    std::to_string(shape.back().size) + " were asked for")
        .operand("x", inputs[0].text());
  }
  const Shape cut = shape.with_axis(shape.rank() - 1, {shape.back().name, count_, 0});
  return {{DType::f32, cut, false}, {DType::i64, cut, false}};
}

std::size_t TopOp::scratch_bytes(const OpRun& run) const {
  return row_view(run.inputs[0], 1) ? 0 : contiguous_scratch(run.inputs[0]);
}

void TopOp::run(OpRun& run) const {
  const Tensor& x = run.inputs[0];
  if (run.outputs[0].elements() == 0) return;
  ScratchCursor scratch(run.launch.scratch);
  const std::int64_t width = x.shape().back().size;
  const std::optional<RowView> view = row_view(x, 1);
  const float* data =
      view ? x.as<float>() : static_cast<const float*>(contiguous_input(run, x, scratch));
  const std::int64_t stride = view ? view->stride : width, rows = rows_of(x);
  // In parts, so that an interrupt of a long one is seen: rows do not know of each other.
  const std::int64_t part =
      std::max<std::int64_t>(kPartOrdered / std::max<std::int64_t>(width, 1), 1);
  for (std::int64_t first = 0; first < rows; first += part) {
    if (first > 0) tell_long_work("topk");
    if (first > 0 && run.context.interrupted()) {
      throw Error(ErrorCode::cancelled, "topk", "interrupted");
    }
    run.kernels().top(run.launch,
                      {run.outputs[0].as<float>() + first * count_,
                       run.outputs[1].as<std::int64_t>() + first * count_, data + first * stride,
                       stride, std::min(part, rows - first), width, count_, descending_});
  }
}

// ---------------------------------------------------------------- matmul

// One chain of f32 additions: from here on a sum of ones would stand still.
constexpr std::int64_t kMostProducts = std::int64_t{1} << 24;

std::vector<TensorSpec> MatmulOp::infer(std::span<const TensorSpec> inputs) const {
  expect_inputs(name(), inputs, 2);
  expect_f32(name(), "a", inputs[0]);
  expect_f32(name(), "b", inputs[1]);
  const Shape &a = inputs[0].shape, &b = inputs[1].shape;
  if (a.back().size > kMostProducts) {
    throw Error(ErrorCode::shape, "matmul",
                "axis \"" + a.back().name + "\" has more elements than an f32 sum keeps apart")
        .operand("a", inputs[0].text())
        .operand("most", std::to_string(kMostProducts))
        .hint("cut it with :split_axis, multiply the parts and add them up");
  }
  std::vector<Axis> axes;
  for (int i = 0; i + 1 < a.rank(); ++i) axes.push_back(a.axis(i));
  for (int i = batch_axes_; i + 1 < b.rank(); ++i) axes.push_back(b.axis(i));
  return {{DType::f32, Shape(axes), false}};
}

std::size_t MatmulOp::scratch_bytes(const OpRun& run) const {
  return contiguous_scratch(run.inputs[0]) + contiguous_scratch(run.inputs[1]);
}

namespace {

/// A few hundredths of a second on one thread: what an interrupt may have to wait for.
constexpr std::int64_t kPartProducts = std::int64_t{1} << 30;

/// Batch entries, then columns, then rows in parts, with a look for an interrupt before each. An
/// output is computed by itself, so that parts change no bit.
void run_in_parts(OpRun& run, const kernels::MatmulArguments& all) {
  const auto fit = [](std::int64_t products_each, std::int64_t least, std::int64_t count) {
    return std::clamp(kPartProducts / std::max<std::int64_t>(products_each, 1),
                      std::min(least, count), count);
  };
  const std::int64_t m_part = fit(all.k * std::min<std::int64_t>(all.n, 256), 64, all.m);
  const std::int64_t n_part = fit(all.k * m_part, 256, all.n);
  const std::int64_t batches = fit(all.k * m_part * n_part, 1, all.batches);
  for (std::int64_t b = 0; b < all.batches; b += batches)
    for (std::int64_t n = 0; n < all.n; n += n_part)
      for (std::int64_t m = 0; m < all.m; m += m_part) {
        tell_long_work("matmul");
        if (run.context.interrupted()) throw Error(ErrorCode::cancelled, "matmul", "interrupted");
        kernels::MatmulArguments part = all;
        part.a += b * all.a_batch + m * all.a_m;
        part.b += b * all.b_batch + n * all.b_n;
        part.out += b * all.out_batch + m * all.out_m + n;
        part.batches = std::min(batches, all.batches - b);
        part.m = std::min(m_part, all.m - m);
        part.n = std::min(n_part, all.n - n);
        run.kernels().matmul(run.launch, part);
      }
}

}  // namespace

void MatmulOp::run(OpRun& run) const {
  if (run.outputs[0].elements() == 0) return;
  const Tensor &a = run.inputs[0], &b = run.inputs[1];
  ScratchCursor scratch(run.launch.scratch);
  kernels::MatmulArguments arguments{};
  arguments.out = run.outputs[0].as<float>();
  arguments.a = static_cast<const float*>(contiguous_input(run, a, scratch));
  arguments.b = static_cast<const float*>(contiguous_input(run, b, scratch));
  arguments.k = a.shape().back().size;
  arguments.batches = arguments.m = arguments.n = 1;
  for (int i = 0; i + 1 < a.shape().rank(); ++i) {
    (i < batch_axes_ ? arguments.batches : arguments.m) *= a.shape().size(i);
  }
  for (int i = batch_axes_; i + 1 < b.shape().rank(); ++i) arguments.n *= b.shape().size(i);
  arguments.a_k = arguments.b_k = 1;
  arguments.a_m = arguments.b_n = arguments.k;
  arguments.a_batch = arguments.m * arguments.k;
  arguments.b_batch = arguments.n * arguments.k;
  arguments.out_m = arguments.n;
  arguments.out_batch = arguments.m * arguments.n;
  run_in_parts(run, arguments);
}

}  // namespace perilune
