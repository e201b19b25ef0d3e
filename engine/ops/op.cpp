#include "engine/ops/op.h"

#include <algorithm>

#include "engine/tensor/axis_sizes.h"

namespace perilune {

const AxisRows::Entry* AxisRows::find(AxisIdentity identity) const {
  for (const Entry& entry : table_) {
    if (entry.identity == identity && entry.set) return &entry;
  }
  return nullptr;
}

const RaggedRows& AxisRows::rows(AxisIdentity identity) const {
  if (const Entry* entry = find(identity)) return entry->rows;
  if (binding_ == nullptr || identity < kFirstIdentity) {
    throw Error(ErrorCode::state, "bind", "an axis of rows belongs to a pass that has ended")
        .hint("use tensors of this pass: what other passes made comes as an input of this one");
  }
  return binding_->rows(identity);
}

bool AxisRows::has(AxisIdentity identity) const {
  return find(identity) != nullptr;
}

RaggedRows& AxisRows::slot(AxisIdentity identity) {
  for (Entry& entry : table_) {
    if (entry.identity != identity) continue;
    entry.set = true;
    return entry.rows;
  }
  return table_.emplace_back(Entry{identity, true, {}}).rows;
}

void AxisRows::restart(const PassBinding* binding) {
  binding_ = binding;
  for (Entry& entry : table_) entry.set = false;
}

Shape AxisRows::resolve(const Shape& shape, bool keep_numbers) const {
  Shape resolved = shape;
  for (int i = 0; i < shape.rank(); ++i) {
    const Axis& axis = shape.axis(i);
    if (!axis.symbolic()) continue;
    const RaggedRows& found = rows(axis.identity);
    resolved.resize(i, found.total(), keep_numbers ? axis.identity : found.identity);
  }
  return resolved;
}

OpConstants resolve_constants(const Op& op, Device& device, kernels::MathMode math) {
  OpConstants resolved;
  for (const auto& weight : op.weights()) resolved.weights.push_back(weight->packed(device, math));
  for (const Tensor& tensor : op.constants()) resolved.tensors.push_back(tensor.on(device));
  return resolved;
}

void use_threads(kernels::Launch& launch, const Device& device,
                 const std::shared_ptr<ThreadPool>& threads) {
  if (threads && device.kind() == DeviceKind::cpu) launch.parallel = threads->parallel();
}

const PassBinding& OpRun::bound(std::string_view op) const {
  if (binding == nullptr) {
    throw Error(ErrorCode::state, std::string(op), "needs a batch")
        .hint("call it in a pass, through m:forward or m:eager()");
  }
  return *binding;
}

const RaggedRows& OpRun::rows(std::string_view op, const Axis& axis) const {
  bound(op);
  if (axis.identity == 0) {
    throw Error(ErrorCode::shape, std::string(op), "axis \"" + axis.name + "\" is no batch's")
        .hint("tensors made by hand have no rows; use those of a batch");
  }
  return axes != nullptr ? axes->rows(axis.identity) : binding->rows(axis.identity);
}

std::size_t contiguous_scratch(const Tensor& tensor) {
  return tensor.contiguous() ? 0 : ScratchCursor::align(tensor.bytes());
}

const void* contiguous_input(const OpRun& run, const Tensor& tensor, ScratchCursor& scratch) {
  if (tensor.contiguous()) return tensor.data();
  std::byte* copy = scratch.take<std::byte>(static_cast<std::int64_t>(tensor.bytes()));
  kernels::CopyArguments arguments{};
  arguments.rank = fill_sizes(tensor.shape(), arguments.sizes);
  const Tensor::Strides packed = row_major(tensor.shape());
  arguments.x = strided(tensor);
  arguments.out = {copy, tensor.dtype(), {}};
  for (int i = 0; i < arguments.rank; ++i) {
    arguments.out.strides[i] = packed[static_cast<std::size_t>(i)];
  }
  run.kernels().copy(run.launch, arguments);
  return copy;
}

std::size_t lend_scratch(const OpRun& run, std::size_t bytes) {
  return run.device.host_visible() ? 0 : ScratchCursor::align(bytes);
}

const void* lend_bytes(const OpRun& run, const void* host, std::size_t bytes,
                       ScratchCursor& scratch) {
  if (run.device.host_visible()) return host;
  std::byte* copy = scratch.take<std::byte>(static_cast<std::int64_t>(bytes));
  run.device.copy_in(copy, host, bytes);
  return copy;
}

std::optional<RowView> row_view(const Tensor& tensor, int trailing) {
  const Shape& shape = tensor.shape();
  const Tensor::Strides& strides = tensor.strides();
  const int leading = shape.rank() - trailing;
  RowView view{1, 1, 0};
  for (int i = shape.rank() - 1; i >= leading; --i) {
    if (shape.size(i) != 1 && strides[static_cast<std::size_t>(i)] != view.width) {
      return std::nullopt;
    }
    view.width *= shape.size(i);
  }
  view.stride = view.width;
  bool first = true;
  for (int i = leading - 1; i >= 0; --i) {
    if (shape.size(i) == 1) continue;
    const std::int64_t stride = strides[static_cast<std::size_t>(i)];
    if (first) view.stride = stride;
    if (!first && stride != view.stride * view.rows) return std::nullopt;
    first = false;
    view.rows *= shape.size(i);
  }
  return view;
}

void expect_device(const Op& op, std::span<const TensorSpec> inputs, const Device& device,
                   const std::string& where) {
  const std::string problem = op.lacks(device.kernels(), inputs);
  if (problem.empty()) return;
  Error error(ErrorCode::unsupported, std::string(op.name()),
              device.name() + " cannot run it: " + problem);
  if (!inputs.empty()) error.operand("x", inputs[0].text());
  throw error.where(where).hint(
      "load the model with device=\"cpu\", or place these layers there: "
      "device_map={ [\"layers.*\"]=\"cpu\" }");
}

void expect_inputs(std::string_view op, std::span<const TensorSpec> inputs, std::size_t count) {
  if (inputs.size() == count) return;
  throw Error(ErrorCode::internal, std::string(op),
              "takes " + std::to_string(count) + " inputs, got " + std::to_string(inputs.size()));
}

void expect_f32(std::string_view op, const char* operand, const TensorSpec& spec) {
  if (spec.dtype == DType::f32) return;
  throw Error(ErrorCode::dtype, std::string(op), std::string(operand) + " must be f32")
      .operand(operand, spec.text())
      .hint("convert it with :to(\"f32\")");
}

std::string versus(std::int64_t a, std::int64_t b) {
  const auto text = [](std::int64_t size) {
    return size == kSymbolicSize ? std::string("*") : std::to_string(size);
  };
  return "(" + text(a) + " vs " + text(b) + ")";
}

}  // namespace perilune
