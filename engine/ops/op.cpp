#include "engine/ops/op.h"

#include <algorithm>

namespace perilune {

const RaggedRows& AxisRows::rows(AxisIdentity identity) const {
  for (const auto& [number, rows] : table_) {
    if (number == identity) return rows;
  }
  if (binding_ == nullptr || identity < kFirstIdentity) {
    throw Error(ErrorCode::internal, "bind", "axis " + std::to_string(identity) + " has no rows");
  }
  return binding_->rows(identity);
}

bool AxisRows::has(AxisIdentity identity) const {
  for (const auto& [number, rows] : table_) {
    if (number == identity) return true;
  }
  return false;
}

void AxisRows::set(AxisIdentity identity, RaggedRows rows) {
  for (auto& [number, known] : table_) {
    if (number == identity) {
      known = std::move(rows);
      return;
    }
  }
  table_.emplace_back(identity, std::move(rows));
}

Shape AxisRows::resolve(const Shape& shape, bool keep_numbers) const {
  if (!shape.symbolic()) return shape;
  std::vector<Axis> axes(shape.axes().begin(), shape.axes().end());
  for (Axis& axis : axes) {
    if (!axis.symbolic()) continue;
    const RaggedRows& found = rows(axis.identity);
    axis.size = found.total();
    if (!keep_numbers) axis.identity = found.identity;
  }
  return Shape(std::move(axes));
}

const std::vector<kernels::KvRow>& KvRowCache::get(const PassBinding& binding, const KvSlot& slot,
                                                   KvKind kind, bool writing,
                                                   AxisIdentity identity) {
  for (const auto& entry : entries_) {
    if (entry->group == slot.group && entry->kind == kind && entry->writing == writing &&
        entry->identity == identity) {
      return entry->rows;
    }
  }
  entries_.push_back(
      std::make_unique<Entry>(Entry{slot.group, kind, writing, identity,
                                    binding.kv_rows(slot, kind, writing, identity), nullptr}));
  return entries_.back()->rows;
}

const void* KvRowCache::device_rows(const OpRun& run, const kernels::KvLayout& layout,
                                    const std::vector<kernels::KvRow>& rows) {
  const kernels::KernelTable& kernels = run.kernels();
  if (kernels.kv_rows_bytes == nullptr) return nullptr;
  const auto entry = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const auto& each) { return &each->rows == &rows; });
  if (entry == entries_.end()) throw Error(ErrorCode::internal, "attention", "rows of another run");
  std::unique_ptr<Storage>& staged = (*entry)->staged;
  if (staged == nullptr) {
    const auto count = static_cast<std::int64_t>(rows.size());
    std::vector<std::byte> host(kernels.kv_rows_bytes(layout, rows.data(), count));
    auto made = std::make_unique<Storage>(run.context.shared_from_this(),
                                          run.context.shared(run.device), host.size());
    kernels.kv_rows_stage(layout, rows.data(), count, host.data(), made->data());
    run.device.copy_in(made->data(), host.data(), host.size());
    staged = std::move(made);
  }
  return staged->data();
}

void use_threads(OpRun& run, const std::shared_ptr<ThreadPool>& threads) {
  if (threads && run.device.kind() == DeviceKind::cpu) run.launch.parallel = threads->parallel();
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
  arguments.rank = tensor.shape().rank();
  const Tensor::Strides packed = row_major(tensor.shape());
  arguments.x = strided(tensor);
  arguments.out = {copy, tensor.dtype(), {}};
  for (int i = 0; i < arguments.rank; ++i) {
    arguments.sizes[i] = tensor.shape().size(i);
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
