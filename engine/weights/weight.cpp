#include "engine/weights/weight.h"

#include <algorithm>
#include <utility>

#include "engine/base/error.h"
#include "engine/weights/read_in_parallel.h"
#include "engine/weights/view_rows.h"

namespace perilune {
namespace {

kernels::WeightFormat weight_format(DType dtype, const StoredView& view) {
  switch (dtype) {
    case DType::f32: return kernels::WeightFormat::f32;
    case DType::f16: return kernels::WeightFormat::f16;
    case DType::bf16: return kernels::WeightFormat::bf16;
    default: break;
  }
  throw Error(ErrorCode::unsupported, "load",
              "tensor \"" + view.stored_name + "\" is stored as " + dtype_name(dtype) +
                  ", a weight is f32, f16 or bf16")
      .where(view.file->path());
}

const StoredTensor& stored_tensor(const StoredView& view) {
  const StoredTensor* stored = view.file->find(view.stored_name);
  if (stored == nullptr) {
    throw Error(ErrorCode::internal, "load", "tensor \"" + view.stored_name + "\" has gone")
        .where(view.file->path());
  }
  require_readable(*stored, view.file->path());
  return *stored;
}

/// Elements from the view's first to its last, both included; 0 without elements.
std::int64_t span_elements(const StoredView& view) {
  std::int64_t last = 0;
  for (std::size_t i = 0; i < view.sizes.size(); ++i) {
    if (view.sizes[i] == 0) return 0;
    if (i == 0 && view.group_rows != 0) {
      last += (view.sizes[0] / view.group_rows - 1) * view.group_stride;
      last += (view.group_rows - 1) * view.strides[0];
    } else {
      last += (view.sizes[i] - 1) * view.strides[i];
    }
  }
  return last + 1;
}

bool has_ordered_rows(const StoredView& view) {
  return view.group_rows == 0 && view.head_rows == 0;
}

constexpr std::size_t kReadPart = std::size_t{1} << 20;    // bytes read at a time
constexpr std::int64_t kPackPart = std::int64_t{1} << 17;  // and packed, while a cache holds them
constexpr std::int64_t kPackRows = 32;                     // whole panels of every table of the CPU

/// The bytes of the view, from its first element on, in memory of the CPU.
struct Staged {
  std::shared_ptr<Storage> storage;  // null where the file is mapped and aligned
  const void* data = nullptr;
  std::size_t bytes = 0;
};

Staged stage(const std::shared_ptr<Context>& context, const StoredView& view) {
  const StoredTensor& stored = stored_tensor(view);
  const std::size_t element = dtype_size(view.dtype);
  Staged staged;
  staged.bytes = static_cast<std::size_t>(span_elements(view)) * element;
  const std::uint64_t begin = static_cast<std::uint64_t>(view.offset) * element;
  if (const void* mapped = view.file->mapped(stored)) {
    const char* first = static_cast<const char*>(mapped) + begin;
    if (reinterpret_cast<std::uintptr_t>(first) % element == 0) {
      staged.data = first;
      return staged;
    }
  }
  staged.storage = std::make_shared<Storage>(context, context->cpu_device(), staged.bytes);
  auto* to = static_cast<char*>(staged.storage->data());
  read_in_parallel(*context, staged.bytes, kReadPart, [&](std::size_t first, std::size_t count) {
    view.file->read(stored, begin + first, count, to + first);
  });
  staged.data = staged.storage->data();
  return staged;
}

/// A handle on staged bytes with the view's strides; grouped rows are two axes, heads' rows three.
Tensor staged_tensor(const std::shared_ptr<Context>& context, const StoredView& view,
                     const Staged& staged) {
  std::vector<Axis> axes;
  Tensor::Strides strides{};
  std::size_t next = 0;
  for (std::size_t i = 0; i < view.sizes.size(); ++i) {
    std::int64_t size = view.sizes[i];
    if (i == 0 && view.group_rows != 0) {
      axes.push_back({"group", size / view.group_rows, 0});
      strides[next++] = view.group_stride;
      size = view.group_rows;
    } else if (i == 0 && view.head_rows != 0) {
      axes.push_back({"head", size / view.head_rows, 0});
      strides[next++] = view.head_rows * view.strides[0];
      axes.push_back({"half", 2, 0});
      strides[next++] = view.strides[0];
      axes.push_back({"axis1", view.head_rows / 2, 0});
      strides[next++] = 2 * view.strides[0];
      continue;
    }
    axes.push_back({"axis" + std::to_string(i + 1), size, 0});
    strides[next++] = view.strides[i];
  }
  auto storage = staged.storage;
  if (storage == nullptr) {
    storage = std::make_shared<Storage>(context, context->cpu_device(),
                                        const_cast<void*>(staged.data), staged.bytes, nullptr);
  }
  return Tensor(std::move(storage), view.dtype, Shape(axes), strides, 0);
}

}  // namespace

Tensor read_view(const std::shared_ptr<Context>& context, const StoredView& view,
                 const std::vector<std::string>& axes) {
  const std::size_t stored_axes =
      view.sizes.size() + (view.group_rows != 0 ? 1 : 0) + (view.head_rows != 0 ? 2 : 0);
  if (stored_axes > static_cast<std::size_t>(kernels::kMaxAxes)) {
    throw Error(ErrorCode::unsupported, "load",
                "tensor \"" + view.stored_name + "\" has too many axes")
        .where(view.file->path());
  }
  std::vector<Axis> named;
  for (std::size_t i = 0; i < view.sizes.size(); ++i) {
    named.push_back({axes.at(i), view.sizes[i], 0});
  }
  const Staged staged = stage(context, view);
  const Tensor strided_view = staged_tensor(context, view, staged);
  // Mapped bytes must not outlive the file: always a copy then.
  const Tensor plain =
      staged.storage != nullptr ? strided_view.to_contiguous() : strided_view.copy();
  return plain.with_shape(Shape(named));
}

namespace {

/// A convolution's weight [out, in, width] as the matrix [out, in * width], where the elements of
/// an output follow each other; any other view as it is.
StoredView as_matrix(StoredView view) {
  if (view.sizes.size() < 3) return view;
  std::int64_t inputs = 1;
  for (std::size_t i = view.sizes.size(); i-- > 1;) {
    const auto more = checked_multiply(inputs, view.sizes[i]);
    if (!more || (view.sizes[i] != 1 && view.strides[i] != inputs)) return view;
    inputs = *more;
  }
  view.sizes = {view.sizes[0], inputs};
  view.strides = {view.strides[0], 1};
  return view;
}

}  // namespace

Weight::Weight(std::shared_ptr<Context> context, std::string path, StoredView view)
    : context_(std::move(context)),
      path_(std::move(path)),
      view_(as_matrix(std::move(view))),
      format_(weight_format(stored_tensor(view_).dtype, view_)) {
  if (view_.sizes.size() != 2) {
    throw Error(ErrorCode::shape, "load",
                "weight \"" + path_ + "\" should have 2 axes, [outputs, inputs], and has " +
                    std::to_string(view_.sizes.size()))
        .where(view_.file->path());
  }
  if (view_.offset_value != 0) {
    throw Error(
        ErrorCode::unsupported, "load",
        "weight \"" + path_ + "\" is stored with something added, which only vectors may be");
  }
  const kernels::BlockFormat* format = stored_tensor(view_).format;
  blocks_ = storage_of(view_).blocks;
  if (format != nullptr && blocks_ == nullptr) {
    context_->warn("\"" + path_ + "\" is turned on the way in, which blocks of " + format->name +
                       " cannot be: its values become float32",
                   view_.file->path());
  }
}

std::string Weight::describe() const {
  return std::string(blocks_ != nullptr ? blocks_->name : dtype_name(view_.dtype)) + "[" +
         std::to_string(outputs()) + ", " + std::to_string(inputs()) + "]";
}

bool Weight::packs_blocks(const Device& device) const {
  return blocks_ != nullptr && device.kernels().pack_coded != nullptr && device.host_visible();
}

void Weight::each_part(std::int64_t row_bytes, const PackPart& pack) const {
  const std::int64_t panels = kPackPart / std::max<std::int64_t>(1, row_bytes * kPackRows);
  const std::int64_t rows = std::max<std::int64_t>(1, panels) * kPackRows;
  const std::int64_t parts = (outputs() + rows - 1) / rows;
  read_in_parallel(*context_, static_cast<std::size_t>(parts), 1,
                   [&](std::size_t begin, std::size_t count) {
                     const std::unique_ptr<std::uint8_t[]> read(
                         new std::uint8_t[static_cast<std::size_t>(rows * row_bytes)]);
                     for (std::size_t i = begin; i < begin + count; ++i) {
                       const std::int64_t first = static_cast<std::int64_t>(i) * rows;
                       const std::int64_t now = std::min(rows, outputs() - first);
                       read_stored_rows(view_, first, now, read.get());
                       pack(read.get(), first, now);
                     }
                   });
}

Weight::Packed Weight::pack_blocks(Device& device) const {
  const StoredTensor& stored = stored_tensor(view_);
  const kernels::KernelTable& table = device.kernels();
  const kernels::Coding& coding = blocks_->coding;
  Packed packed;
  packed.storage = std::make_shared<Storage>(context_, context_->shared(device),
                                             table.coded_bytes(coding, outputs(), inputs()));
  auto* to = static_cast<std::uint8_t*>(packed.storage->data());
  const std::int64_t row_bytes = RowStorage{DType::f32, blocks_}.row_bytes(inputs());
  each_part(row_bytes, [&](const std::uint8_t* rows, std::int64_t first, std::int64_t count) {
    table.pack_coded(kernels::Launch{}, {rows, blocks_, row_bytes, count, inputs(),
                                         to + table.coded_bytes(coding, first, inputs())});
  });
  packed.matrix.data = to;
  packed.matrix.coding = &coding;
  packed.matrix.input_order = stored.input_order != nullptr ? stored.input_order->data() : nullptr;
  packed.matrix.outputs = outputs();
  packed.matrix.inputs = inputs();
  packed.matrix.format = kernels::WeightFormat::coded;
  return packed;
}

/// Numbers of rows that are read in one go each, as pack() has them.
Weight::Packed Weight::pack_rows(Device& device, kernels::MathMode math) const {
  const kernels::KernelTable& table = device.kernels();
  Packed packed;
  packed.storage = std::make_shared<Storage>(
      context_, context_->shared(device), table.packed_bytes(format_, outputs(), inputs(), math));
  auto* to = static_cast<std::uint8_t*>(packed.storage->data());
  const std::int64_t row_bytes = RowStorage{view_.dtype, nullptr}.row_bytes(inputs());
  each_part(row_bytes, [&](const std::uint8_t* rows, std::int64_t first, std::int64_t count) {
    table.pack(kernels::Launch{}, {rows, format_, inputs(), 1, count, inputs(), math,
                                   to + table.packed_bytes(format_, first, inputs(), math)});
  });
  packed.matrix.data = to;
  packed.matrix.outputs = outputs();
  packed.matrix.inputs = inputs();
  packed.matrix.format = table.packed_format(format_, math);
  packed.matrix.math = math;
  return packed;
}

Weight::Packed Weight::pack(Device& device, kernels::MathMode math) const {
  const bool mapped = view_.file->mapped(stored_tensor(view_)) != nullptr;
  if (device.kind() == DeviceKind::cpu && view_.strides[1] == 1 && !mapped) {
    return pack_rows(device, math);
  }
  const kernels::KernelTable& table = device.kernels();
  const std::shared_ptr<Device> target = context_->shared(device);
  const Staged staged = stage(context_, view_);
  Tensor rows = staged_tensor(context_, view_, staged);
  // Kernels know one stride between outputs: rows in another order are laid end to end first.
  if (!has_ordered_rows(view_)) {
    rows = rows.copy().with_shape(Shape{{"output", outputs(), 0}, {"input", inputs(), 0}});
  }
  std::shared_ptr<Storage> lent;  // the source in the memory of a device that cannot read ours
  kernels::PackArguments arguments{};
  arguments.source = rows.data();
  if (!device.host_visible()) {
    const std::size_t bytes = has_ordered_rows(view_) ? staged.bytes : rows.bytes();
    lent = std::make_shared<Storage>(context_, target, bytes);
    device.copy_in(lent->data(), rows.data(), bytes);
    arguments.source = lent->data();
  }
  arguments.source_format = format_;
  arguments.output_stride = rows.strides()[0];
  arguments.input_stride = rows.strides()[1];
  arguments.outputs = outputs();
  arguments.inputs = inputs();
  arguments.math = math;
  Packed packed;
  packed.storage = std::make_shared<Storage>(
      context_, target, table.packed_bytes(format_, outputs(), inputs(), math));
  arguments.destination = packed.storage->data();
  table.pack(device.launch(), arguments);
  packed.matrix.data = packed.storage->data();
  packed.matrix.outputs = outputs();
  packed.matrix.inputs = inputs();
  packed.matrix.format = table.packed_format(format_, math);
  packed.matrix.math = math;
  return packed;
}

namespace {

/// How numbers are multiplied in a plan's mode.
kernels::MathMode number_math(const kernels::KernelTable& table, kernels::WeightFormat format,
                              kernels::MathMode math) {
  using kernels::MathMode;
  if (math != MathMode::int8) return math;
  return format == kernels::WeightFormat::bf16 && table.fast_bf16 ? MathMode::bf16 : MathMode::f32;
}

}  // namespace

kernels::PackedMatrix Weight::packed(Device& device, kernels::MathMode math) const {
  const std::lock_guard lock(mutex_);
  const bool coded = packs_blocks(device);
  // Packed codes serve every mode.
  const kernels::MathMode form =
      coded ? kernels::MathMode::int8 : number_math(device.kernels(), format_, math);
  const auto key = std::make_pair(static_cast<const Device*>(&device), form);
  auto found = packed_.find(key);
  if (found == packed_.end()) {
    found = packed_.emplace(key, coded ? pack_blocks(device) : pack(device, form)).first;
  }
  kernels::PackedMatrix matrix = found->second.matrix;
  if (coded) {
    const bool rounds = math == kernels::MathMode::int8;
    matrix.math = rounds && blocks_->coding.levels != nullptr ? kernels::MathMode::f32 : math;
  }
  return matrix;
}

std::size_t Weight::packed_bytes_on(const Device& device, kernels::MathMode math) const {
  const kernels::KernelTable& table = device.kernels();
  if (packs_blocks(device)) return table.coded_bytes(blocks_->coding, outputs(), inputs());
  return table.packed_bytes(format_, outputs(), inputs(), number_math(table, format_, math));
}

std::size_t Weight::packed_bytes(const Device* on) const {
  const std::lock_guard lock(mutex_);
  std::size_t total = 0;
  for (const auto& [key, packed] : packed_) {
    if (on == nullptr || key.first == on) total += packed.storage->bytes();
  }
  return total;
}

Tensor Weight::to_tensor(const std::string& output_axis, const std::string& input_axis) const {
  return read_view(context_, view_, {output_axis, input_axis}).to(DType::f32);
}

}  // namespace perilune
