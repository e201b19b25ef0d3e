#include "engine/tensor/tensor.h"

#include <algorithm>
#include <limits>

#include "engine/base/interrupt.h"
#include "engine/tensor/axis_sizes.h"
#include "engine/tensor/copy_parts.h"

namespace perilune {
namespace {

/// What one element of a freed or missing tensor means to whoever asks.
[[noreturn]] void throw_unusable(bool freed) {
  if (freed) {
    throw Error(ErrorCode::state, "tensor", "used after free()")
        .hint("views share their tensor's bytes: free it when the last of them is done");
  }
  throw Error(ErrorCode::internal, "tensor", "used before it was made");
}

std::size_t bytes_of(const Shape& shape, DType dtype) {
  const auto bytes =
      checked_multiply(shape.elements(), static_cast<std::int64_t>(dtype_size(dtype)));
  if (!bytes) {
    throw Error(ErrorCode::shape, "tensor", "more bytes than can be counted")
        .operand("tensor", dtype_name(dtype) + shape.text());
  }
  return static_cast<std::size_t>(*bytes);
}

template <typename T>
Tensor from_values(const std::shared_ptr<Context>& context, std::span<const T> values, DType dtype,
                   Shape shape) {
  if (static_cast<std::size_t>(shape.elements()) != values.size()) {
    throw Error(ErrorCode::shape, "tensor",
                std::to_string(values.size()) + " values do not fill " + shape.text())
        .hint("it holds " + std::to_string(shape.elements()));
  }
  Tensor tensor = Tensor::make(context, dtype, std::move(shape));
  tensor.device().copy_in(tensor.data(), values.data(), values.size_bytes());
  return tensor;
}

/// out = x, converted; same sizes, same device.
void copy_elements(const Tensor& out, const Tensor& x) {
  if (x.elements() == 0) return;
  kernels::CopyArguments arguments{};
  arguments.rank = fill_sizes(x.shape(), arguments.sizes);
  arguments.out = strided(out);
  arguments.x = strided(x);
  Device& device = x.device();
  copy_in_parts(device.kernels(), device.launch(), arguments);
}

Tensor converted(const Tensor& x, DType dtype) {
  Tensor out = Tensor::make(x.context(), dtype, x.shape(), x.storage()->device());
  copy_elements(out, x);
  return out;
}

/// Inside one device, or between two: by way of the host where neither reads the other's memory.
void copy_bytes(const Storage& target, void* to, const Storage& source, const void* from,
                std::size_t bytes) {
  Device& there = *target.device();
  Device& here = *source.device();
  if (&here == &there) {
    here.copy_inside(to, from, bytes);
  } else if (here.host_visible()) {
    there.copy_in(to, from, bytes);
  } else if (there.host_visible()) {
    here.copy_out(to, from, bytes);
  } else {
    const Storage bounce(source.context_pointer(), source.context().cpu_device(), bytes);
    here.copy_out(bounce.data(), from, bytes);
    there.copy_in(to, bounce.data(), bytes);
  }
}

template <typename T>
std::vector<T> host_values(const Tensor& tensor, DType dtype) {
  const Tensor plain = tensor.to(dtype).to_contiguous();
  std::vector<T> values(static_cast<std::size_t>(plain.elements()));
  const void* data = plain.data();
  if (!values.empty()) plain.device().copy_out(values.data(), data, values.size() * sizeof(T));
  return values;
}

}  // namespace

Storage::Storage(std::shared_ptr<Context> context, std::shared_ptr<Device> device,
                 std::size_t bytes)
    : context_(std::move(context)), device_(std::move(device)), bytes_(bytes) {
  data_ = device_->allocate(bytes_);
}

Storage::Storage(std::shared_ptr<Context> context, std::shared_ptr<Device> device, void* data,
                 std::size_t bytes, std::shared_ptr<void> owner)
    : context_(std::move(context)),
      device_(std::move(device)),
      data_(data),
      bytes_(bytes),
      owner_(std::move(owner)) {
  borrowed_ = true;
}

Storage::~Storage() {
  free_now();
}

std::shared_ptr<Storage> Storage::mirror(const Device& device) {
  if (freed()) throw_unusable(true);
  const std::lock_guard lock(mirrors_mutex_);
  for (const auto& mirror : mirrors_) {
    if (mirror->device().get() == &device) return mirror;
  }
  auto mirror = std::make_shared<Storage>(context_, context_->shared(device), bytes_);
  copy_bytes(*mirror, mirror->data_, *this, data_, bytes_);
  mirrors_.push_back(mirror);
  return mirror;
}

void Storage::update_mirrors() {
  const std::lock_guard lock(mirrors_mutex_);
  for (const auto& mirror : mirrors_) copy_bytes(*mirror, mirror->data_, *this, data_, bytes_);
}

void Storage::free_now() {
  mirrors_.clear();
  if (!borrowed_ && data_ != nullptr) device_->release(data_, bytes_);
  data_ = nullptr;
  owner_.reset();
}

Tensor::Strides row_major(const Shape& shape) {
  Tensor::Strides strides{};
  std::int64_t next = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    strides[static_cast<std::size_t>(i)] = next;
    next *= std::max<std::int64_t>(shape.size(i), 1);
  }
  return strides;
}

kernels::Strided strided(const Tensor& tensor) {
  kernels::Strided argument{};
  argument.data = tensor.data();
  argument.dtype = tensor.dtype();
  std::copy(tensor.strides().begin(), tensor.strides().end(), argument.strides);
  return argument;
}

Tensor::Tensor(std::shared_ptr<Storage> storage, DType dtype, Shape shape, Strides strides,
               std::int64_t offset)
    : dtype_(dtype),
      shape_(std::move(shape)),
      strides_(strides),
      offset_(offset),
      storage_(std::move(storage)) {}

Tensor Tensor::make(const std::shared_ptr<Context>& context, DType dtype, Shape shape,
                    std::shared_ptr<Device> device) {
  const std::size_t bytes = bytes_of(shape, dtype);
  if (device == nullptr) device = context->cpu_device();
  auto storage = std::make_shared<Storage>(context, std::move(device), bytes);
  const Strides strides = row_major(shape);
  return Tensor(std::move(storage), dtype, std::move(shape), strides, 0);
}

Tensor Tensor::zeros(const std::shared_ptr<Context>& context, DType dtype, Shape shape) {
  Tensor tensor = make(context, dtype, std::move(shape));
  constexpr std::size_t kPart = std::size_t{32} << 20;  // bytes between two looks
  auto* data = static_cast<std::byte*>(tensor.data());
  for (std::size_t at = 0; at < tensor.bytes(); at += kPart) {
    if (at > 0) throw_if_interrupted("zeros");
    tensor.device().fill(data + at, 0, std::min(kPart, tensor.bytes() - at));
  }
  return tensor;
}

Tensor Tensor::from(const std::shared_ptr<Context>& context, std::span<const float> values,
                    Shape shape) {
  return from_values(context, values, DType::f32, std::move(shape));
}

Tensor Tensor::from(const std::shared_ptr<Context>& context, std::span<const std::int32_t> values,
                    Shape shape) {
  return from_values(context, values, DType::i32, std::move(shape));
}

Tensor Tensor::from(const std::shared_ptr<Context>& context, std::span<const std::int64_t> values,
                    Shape shape) {
  return from_values(context, values, DType::i64, std::move(shape));
}

bool Tensor::contiguous() const {
  std::int64_t expected = 1;
  for (int i = shape_.rank() - 1; i >= 0; --i) {
    const std::int64_t size = shape_.size(i);
    if (size == 0) return true;
    if (size != 1 && strides_[static_cast<std::size_t>(i)] != expected) return false;
    expected *= size;
  }
  return true;
}

Tensor Tensor::as_read_only() const {
  Tensor tensor = *this;
  tensor.read_only_ = true;
  return tensor;
}

void* Tensor::data() const {
  if (storage_ == nullptr || storage_->freed()) throw_unusable(storage_ != nullptr);
  if (storage_->data() == nullptr) return nullptr;  // no elements
  return static_cast<std::byte*>(storage_->data()) +
         offset_ * static_cast<std::int64_t>(dtype_size(dtype_));
}

Tensor Tensor::slice(int axis, std::int64_t first, std::int64_t count) const {
  const Axis& old = shape_.axis(axis);
  if (first < 0 || count < 0 || first > old.size || count > old.size - first) {
    throw Error(ErrorCode::argument, "slice",
                std::to_string(count) + " elements from " + std::to_string(first) +
                    " on do not lie in axis \"" + old.name + "\"")
        .operand("tensor", describe());
  }
  Tensor view = *this;
  // Some of a batch's rows are no longer the axis of that batch.
  const AxisIdentity identity = count == old.size ? old.identity : 0;
  view.shape_ = shape_.with_axis(axis, {old.name, count, identity});
  view.offset_ += first * strides_[static_cast<std::size_t>(axis)];
  return view;
}

Tensor Tensor::pick(int axis, std::int64_t position) const {
  const Axis& old = shape_.axis(axis);
  if (position < 0 || position >= old.size) {
    throw Error(
        ErrorCode::argument, "pick",
        "element " + std::to_string(position) + " of axis \"" + old.name + "\" does not exist")
        .operand("tensor", describe());
  }
  Tensor view = *this;
  view.offset_ += position * strides_[static_cast<std::size_t>(axis)];
  view.shape_ = shape_.without_axis(axis);
  std::copy(strides_.begin() + axis + 1, strides_.end(), view.strides_.begin() + axis);
  view.strides_.back() = 0;
  return view;
}

Tensor Tensor::permute(std::span<const int> order) const {
  std::array<bool, kernels::kMaxAxes> used{};
  std::vector<Axis> axes;
  Tensor view = *this;
  view.strides_ = {};
  for (std::size_t i = 0; i < order.size(); ++i) {
    const int from = order[i];
    if (order.size() != static_cast<std::size_t>(shape_.rank()) || from < 0 ||
        from >= shape_.rank() || used[static_cast<std::size_t>(from)]) {
      throw Error(ErrorCode::argument, "permute", "the order must name every axis once")
          .operand("tensor", describe());
    }
    used[static_cast<std::size_t>(from)] = true;
    axes.push_back(shape_.axis(from));
    view.strides_[i] = strides_[static_cast<std::size_t>(from)];
  }
  view.shape_ = Shape(axes);
  return view;
}

Tensor Tensor::to_contiguous() const {
  return contiguous() ? *this : copy();
}

Tensor Tensor::copy() const {
  return converted(*this, dtype_);
}

Tensor Tensor::to(DType dtype) const {
  return dtype == dtype_ ? *this : converted(*this, dtype);
}

Tensor Tensor::to(const std::shared_ptr<Device>& target) const {
  if (target == storage_->device()) return *this;
  Tensor out = make(context(), dtype_, shape_, target);
  out.copy_from(*this);
  return out;
}

void Tensor::copy_from(const Tensor& other) const {
  const Tensor source = other.to_contiguous();
  copy_bytes(*storage_, data(), *source.storage(), source.data(), source.bytes());
}

Tensor Tensor::on(const Device& target) const {
  if (!defined() || &target == &device() || (target.host_visible() && device().host_visible())) {
    return *this;
  }
  Tensor tensor = *this;
  tensor.storage_ = storage_->mirror(target);
  return tensor;
}

std::vector<float> Tensor::to_floats() const {
  return host_values<float>(*this, DType::f32);
}

std::vector<std::int64_t> Tensor::to_integers() const {
  return host_values<std::int64_t>(*this, DType::i64);
}

std::vector<double> Tensor::to_doubles() const {
  if (is_float(dtype_)) {
    const std::vector<float> values = to_floats();
    return {values.begin(), values.end()};
  }
  const std::vector<std::int64_t> values = to_integers();
  std::vector<double> doubles(values.size());
  std::transform(values.begin(), values.end(), doubles.begin(),
                 [](std::int64_t value) { return static_cast<double>(value); });
  return doubles;
}

double Tensor::item() const {
  if (elements() != 1) {
    throw Error(ErrorCode::shape, "item",
                "one element is needed, there are " + std::to_string(elements()))
        .operand("tensor", describe())
        .hint("pick one with at, or take them all with tolist");
  }
  return to_doubles().front();
}

std::string Tensor::describe() const {
  if (!defined()) return "nothing";
  return spec().text() + " " + device().name();
}

}  // namespace perilune
