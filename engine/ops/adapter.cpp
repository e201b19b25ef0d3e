#include "engine/ops/adapter.h"

#include <algorithm>

namespace perilune {

namespace {

std::int64_t trailing_size(const Shape& shape, int trailing) {
  std::int64_t size = 1;
  for (int i = shape.rank() - trailing; i < shape.rank(); ++i) size *= shape.axis(i).size;
  return size;
}

kernels::Strided line(const float* data) {
  return {const_cast<float*>(data), DType::f32, {1}};
}

}  // namespace

/// Where a run's y, x and outputs lie, a line of each for every row of the product.
struct AdapterOp::Lines {
  const float *y = nullptr, *x = nullptr;
  const std::int32_t* ids = nullptr;  // of an embedding, in place of x
  float* out = nullptr;
  std::int64_t x_stride = 0, width = 0;
};

std::vector<TensorSpec> AdapterOp::infer(std::span<const TensorSpec> inputs) const {
  expect_inputs("adapter", inputs, 2);
  expect_f32("adapter", "y", inputs[0]);
  if (!gathers()) expect_f32("adapter", "x", inputs[1]);
  check_sizes(inputs);
  return {{DType::f32, inputs[0].shape, false}};
}

void AdapterOp::check_sizes(std::span<const TensorSpec> inputs) const {
  const std::int64_t outputs = trailing_size(inputs[0].shape, outputs_);
  for (const ModuleAdapter& change : *changes_) {
    const Weight* from = change.down ? change.down.get() : change.whole.get();
    const Weight* to = change.up ? change.up.get() : change.whole.get();
    if (from == nullptr) continue;
    const std::int64_t width = gathers() ? from->inputs() : trailing_size(inputs[1].shape, inputs_);
    const std::int64_t gives = gathers() && change.whole ? to->inputs() : to->outputs();
    if (from->inputs() == width && gives == outputs) continue;
    throw Error(ErrorCode::shape, "adapter", "an adapter of \"" + path_ + "\" has other sizes")
        .operand("x", inputs[1].text() + " " + versus(width, from->inputs()))
        .operand("y", inputs[0].text() + " " + versus(outputs, gives));
  }
}

std::string AdapterOp::lacks(const kernels::KernelTable& table,
                             std::span<const TensorSpec> /*inputs*/) const {
  for (const std::string& missing :
       {lacking(table.linear, "linear"), lacking(table.binary, "binary"),
        lacking(table.copy, "copy"),
        gathers() ? lacking(table.embedding, "embedding") : std::string()}) {
    if (!missing.empty()) return missing;
  }
  return "";
}

const ModuleAdapter* AdapterOp::change_of(std::int64_t adapter, std::size_t& number) const {
  for (number = 0; adapter != 0 && number < changes_->size(); ++number) {
    if ((*changes_)[number].adapter == adapter) return &(*changes_)[number];
  }
  return nullptr;
}

/// Rows of the batch in order; neighbours with one adapter are one part.
template <class Each>
void AdapterOp::each_part(const OpRun& run, const Each& each) const {
  const std::vector<SequenceFacts>& facts = run.bound("adapter").batch().facts();
  const Tensor& y = run.inputs[0];
  const RaggedRows& rows = run.rows("adapter", y.shape().axis(0));
  if (rows.rows() != static_cast<std::int64_t>(facts.size())) {
    throw Error(ErrorCode::shape, "adapter",
                "x has " + std::to_string(rows.rows()) + " rows, the pass has " +
                    std::to_string(facts.size()));
  }
  const std::int64_t width = trailing_size(y.shape(), outputs_);
  const std::int64_t tokens = rows.total();
  if (tokens == 0 || width == 0) return;
  const std::int64_t lines = y.elements() / width / tokens;  // of a token
  Part part;
  for (std::int64_t r = 0; r < rows.rows(); ++r) {
    std::size_t number = 0;
    const auto* change = change_of(facts[static_cast<std::size_t>(r)].adapter, number);
    if (part.count > 0 && change != part.change) {
      each(part);
      part = {change, number, part.first + part.count, 0};
    }
    part.change = change;
    part.number = number;
    part.count += rows.length(r) * lines;
  }
  if (part.count > 0) each(part);
}

std::size_t AdapterOp::first_weight(std::size_t number) const {
  std::size_t first = 0;
  for (std::size_t i = 0; i < number; ++i) {
    const ModuleAdapter& change = (*changes_)[i];
    first += change.whole ? 1 : change.down ? 2 : 0;
  }
  return first;
}

kernels::LinearArguments AdapterOp::product(const OpRun& run, std::size_t which, const float* x,
                                            std::int64_t stride, std::int64_t rows,
                                            kernels::LinearSegment& segment) const {
  segment = {};
  segment.weight = run.constants->weights[which];
  segment.activation = kernels::Activation::none;
  kernels::LinearArguments arguments{};
  arguments.x = x;
  arguments.x_stride = stride;
  arguments.rows = rows;
  arguments.math = segment.weight.math;
  arguments.input_order = segment.weight.input_order;
  arguments.scale = 1;
  arguments.segments = &segment;
  arguments.segment_count = 1;
  return arguments;
}

std::size_t AdapterOp::part_scratch(const OpRun& run, const Part& part) const {
  if (part.change == nullptr) return 0;
  const std::size_t first = first_weight(part.number);
  const int threads = run.launch.parallel.threads;
  kernels::LinearSegment segment;
  const auto needs = [&](std::size_t which, const Weight& weight) {
    kernels::LinearArguments arguments =
        product(run, which, nullptr, weight.inputs(), part.count, segment);
    arguments.inputs = weight.inputs();
    segment.out_stride = weight.outputs();
    return run.kernels().linear_scratch(arguments, threads);
  };
  if (part.change->whole) return gathers() ? 0 : needs(first, *part.change->whole);
  if (!part.change->down) return 0;
  const auto inner = static_cast<std::size_t>(part.count * part.change->up->inputs());
  const std::size_t down = gathers() ? 0 : needs(first, *part.change->down);
  return ScratchCursor::align(inner * sizeof(float)) +
         std::max(down, needs(first + 1, *part.change->up));
}

std::size_t AdapterOp::scratch_bytes(const OpRun& run) const {
  std::size_t most = 0;
  each_part(run, [&](const Part& part) { most = std::max(most, part_scratch(run, part)); });
  const Tensor& given = run.inputs[1];
  const std::size_t x = gathers() ? 2 * ScratchCursor::align(given.bytes())  // as they lie, as i32
                        : row_view(given, inputs_) ? 0
                                                   : ScratchCursor::align(given.bytes());
  return contiguous_scratch(run.inputs[0]) + x + most;
}

/// The ids of an embedding's tokens, end to end.
const std::int32_t* AdapterOp::narrow_ids(const OpRun& run, ScratchCursor& scratch) const {
  const Tensor& ids = run.inputs[1];
  const void* source = contiguous_input(run, ids, scratch);
  if (ids.dtype() == DType::i32) return static_cast<const std::int32_t*>(source);
  auto* narrow = scratch.take<std::int32_t>(ids.elements());
  kernels::CopyArguments narrowed{};
  narrowed.rank = 1;
  narrowed.sizes[0] = ids.elements();
  narrowed.out = {narrow, DType::i32, {1}};
  narrowed.x = {const_cast<void*>(source), ids.dtype(), {1}};
  run.kernels().copy(run.launch, narrowed);
  return narrow;
}

/// Rows of the weight `which` of the op's, one for each id of a part.
void AdapterOp::gather(const OpRun& run, std::size_t which, const Part& part, const Lines& lines,
                       float scale, float* to) const {
  run.kernels().embedding(run.launch, {to, lines.ids + part.first, part.count, *offset_,
                                       run.constants->weights[which], scale});
}

/// out = y + bias, line by line.
void AdapterOp::add_bias(const OpRun& run, const Part& part, const float* y, const float* bias,
                         float* out) const {
  const std::int64_t width = trailing_size(run.outputs[0].shape(), outputs_);
  kernels::BinaryArguments sum{};
  sum.op = kernels::Binary::add;
  sum.rank = 2;
  sum.sizes[0] = part.count;
  sum.sizes[1] = width;
  sum.out = line(out);
  sum.a = line(y);
  sum.b = line(bias);
  sum.out.strides[0] = sum.a.strides[0] = width;
  sum.out.strides[1] = sum.a.strides[1] = 1;
  sum.b.strides[0] = 0;
  sum.b.strides[1] = 1;
  run.kernels().binary(run.launch, sum);
}

void AdapterOp::run_part(const OpRun& run, const Part& part, const Lines& lines,
                         void* scratch) const {
  const std::int64_t first = part.first * lines.width, count = part.count * lines.width;
  float* out = lines.out + first;
  const kernels::KernelTable& kernels = run.kernels();
  kernels::Launch launch = run.launch;
  if (part.change == nullptr) {
    kernels::CopyArguments copy{};
    copy.rank = 1;
    copy.sizes[0] = count;
    copy.out = line(out);
    copy.x = line(lines.y + first);
    return kernels.copy(launch, copy);
  }
  const ModuleAdapter& change = *part.change;
  const Tensor& bias = run.constants->tensors[part.number];
  const float* added = bias.defined() ? bias.as<float>() : nullptr;
  const std::size_t weight = first_weight(part.number);
  kernels::LinearSegment segment;
  const float* x = lines.x + part.first * lines.x_stride;
  const auto multiply = [&](kernels::LinearArguments arguments, const Weight& matrix, float scale,
                            float* to, const float* with) {
    arguments.inputs = matrix.inputs();
    arguments.scale = scale;
    segment.bias = with;
    segment.out = to;
    segment.out_stride = matrix.outputs();
    kernels.linear(launch, arguments);
  };
  const auto scaling = static_cast<float>(scale_);
  if (change.whole && gathers()) return gather(run, weight, part, lines, scaling, out);
  if (change.whole) {
    launch.scratch = scratch;
    return multiply(product(run, weight, x, lines.x_stride, part.count, segment), *change.whole,
                    scaling, out, added);
  }
  if (!change.down) return add_bias(run, part, lines.y + first, added, out);
  kernels::BinaryArguments sum{};
  sum.op = kernels::Binary::add;
  sum.out = line(out);
  sum.a = line(lines.y + first);
  ScratchCursor cursor(scratch);
  const std::int64_t rank = change.up->inputs();
  float* inner = cursor.take<float>(part.count * rank);
  launch.scratch = cursor.rest();
  if (gathers()) {
    gather(run, weight, part, lines, 1, inner);
  } else {
    multiply(product(run, weight, x, lines.x_stride, part.count, segment), *change.down, 1, inner,
             nullptr);
  }
  multiply(product(run, weight + 1, inner, rank, part.count, segment), *change.up,
           change.scale * scaling, out, added);
  sum.rank = 1;
  sum.sizes[0] = count;
  sum.b = line(out);
  kernels.binary(launch, sum);
}

void AdapterOp::run(OpRun& run) const {
  if (run.outputs[0].elements() == 0) return;
  ScratchCursor scratch(run.launch.scratch);
  Lines lines;
  lines.width = trailing_size(run.outputs[0].shape(), outputs_);
  lines.out = run.outputs[0].as<float>();
  lines.y = static_cast<const float*>(contiguous_input(run, run.inputs[0], scratch));
  const Tensor& x = run.inputs[1];
  if (gathers()) {
    lines.ids = narrow_ids(run, scratch);
  } else {
    const std::optional<RowView> view = row_view(x, inputs_);
    lines.x = view ? x.as<float>() : static_cast<const float*>(contiguous_input(run, x, scratch));
    lines.x_stride = view ? view->stride : trailing_size(x.shape(), inputs_);
  }
  each_part(run, [&](const Part& part) { run_part(run, part, lines, scratch.rest()); });
}

std::vector<std::shared_ptr<Weight>> AdapterOp::weights() const {
  std::vector<std::shared_ptr<Weight>> weights;
  for (const ModuleAdapter& change : *changes_) {
    if (change.whole) {
      weights.push_back(change.whole);
    } else if (change.down) {
      weights.push_back(change.down);
      weights.push_back(change.up);
    }
  }
  return weights;
}

std::vector<Tensor> AdapterOp::constants() const {
  std::vector<Tensor> biases;
  for (const ModuleAdapter& change : *changes_) biases.push_back(change.bias);
  return biases;
}

std::string AdapterOp::describe() const {
  return "adapter " + path_ + " (" + std::to_string(changes_->size()) + ")";
}

}  // namespace perilune
