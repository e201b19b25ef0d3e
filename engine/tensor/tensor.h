// Tensors: dtype + shape + device + shared storage. A Tensor is a handle; views alias.
#pragma once

#include <array>
#include <cstring>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "engine/base/error.h"
#include "engine/base/shape.h"
#include "engine/device/context.h"

namespace perilune {

/// Bytes on one device, freed with the last handle. Keeps its context alive.
class Storage {
 public:
  /// Throws Error(memory).
  Storage(std::shared_ptr<Context> context, std::shared_ptr<Device> device, std::size_t bytes);
  /// Memory owned by `owner` (an arena, a mapped file); not accounted.
  Storage(std::shared_ptr<Context> context, std::shared_ptr<Device> device, void* data,
          std::size_t bytes, std::shared_ptr<void> owner);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  Context& context() const { return *context_; }
  const std::shared_ptr<Context>& context_pointer() const { return context_; }
  const std::shared_ptr<Device>& device() const { return device_; }
  /// Gives the bytes back now (Lua's t:free()); later use is Error(state).
  void free_now();
  /// The same bytes on another device, copied at the first call and kept as long as this storage:
  /// for values that seldom change (weights of norms, biases, constants).
  std::shared_ptr<Storage> mirror(const Device& device);
  /// After a write to this storage.
  void update_mirrors();
  bool freed() const { return data_ == nullptr && bytes_ != 0; }

 private:
  std::shared_ptr<Context> context_;
  std::shared_ptr<Device> device_;
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
  std::shared_ptr<void> owner_;
  bool borrowed_ = false;
  std::mutex mirrors_mutex_;
  std::vector<std::shared_ptr<Storage>> mirrors_;
};

class Tensor {
 public:
  using Strides = std::array<std::int64_t, kernels::kMaxAxes>;

  Tensor() = default;
  /// New contiguous storage, uninitialised.
  static Tensor make(const std::shared_ptr<Context>& context, DType dtype, Shape shape,
                     std::shared_ptr<Device> device = nullptr);
  static Tensor zeros(const std::shared_ptr<Context>& context, DType dtype, Shape shape);
  static Tensor from(const std::shared_ptr<Context>& context, std::span<const float> values,
                     Shape shape);
  static Tensor from(const std::shared_ptr<Context>& context, std::span<const std::int32_t> values,
                     Shape shape);
  static Tensor from(const std::shared_ptr<Context>& context, std::span<const std::int64_t> values,
                     Shape shape);
  /// A handle on existing storage.
  Tensor(std::shared_ptr<Storage> storage, DType dtype, Shape shape, Strides strides,
         std::int64_t offset);

  bool defined() const { return storage_ != nullptr; }
  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  TensorSpec spec() const { return {dtype_, shape_, false}; }
  const Strides& strides() const { return strides_; }
  std::int64_t offset() const { return offset_; }
  const std::shared_ptr<Storage>& storage() const { return storage_; }
  const std::shared_ptr<Context>& context() const { return storage_->context_pointer(); }
  Device& device() const { return *storage_->device(); }
  std::int64_t elements() const { return shape_.elements(); }
  std::size_t bytes() const { return static_cast<std::size_t>(elements()) * dtype_size(dtype_); }
  bool contiguous() const;
  bool read_only() const { return read_only_; }
  Tensor as_read_only() const;

  /// First element. Throws Error(state) when freed.
  void* data() const;
  template <typename T>
  T* as() const {
    return static_cast<T*>(data());
  }

  /// Same storage, other names, identities, or sizes with as many elements (axes split or merged).
  /// Throws Error(shape) where strides cannot express it and only a copy could.
  Tensor with_shape(Shape shape) const;
  /// One axis cut to [first, first + count).
  Tensor slice(int axis, std::int64_t first, std::int64_t count) const;
  /// One axis fixed at `position` and dropped.
  Tensor pick(int axis, std::int64_t position) const;
  /// Axes in another order (a view).
  Tensor permute(std::span<const int> order) const;
  /// This tensor, or a contiguous copy of it.
  Tensor to_contiguous() const;
  Tensor copy() const;
  /// Converted copy, or this tensor when nothing changes.
  Tensor to(DType dtype) const;
  Tensor to(const std::shared_ptr<Device>& device) const;
  /// Overwrites this contiguous tensor's elements with those of `source`, of the same type and
  /// sizes, on any device.
  void copy_from(const Tensor& source) const;
  /// This tensor, or its mirror on a device that cannot read it; for values that do not change.
  Tensor on(const Device& device) const;

  /// All elements in row-major order, on the CPU (converted where needed).
  std::vector<float> to_floats() const;
  std::vector<std::int64_t> to_integers() const;
  std::vector<double> to_doubles() const;
  /// The one element of a tensor with one element; throws otherwise.
  double item() const;

  /// "f32[token=7, hidden=768] cpu"
  std::string describe() const;

 private:
  DType dtype_ = DType::f32;
  Shape shape_;
  Strides strides_{};
  std::int64_t offset_ = 0;
  std::shared_ptr<Storage> storage_;
  bool read_only_ = false;
};

/// Row-major strides of a shape, in elements.
Tensor::Strides row_major(const Shape& shape);

/// As kernels want it.
kernels::Strided strided(const Tensor& tensor);

}  // namespace perilune
