// What a layer multiplies by, apart from Tensor: a stored matrix, how it is viewed, and its packed
// form for a device. Read by gather, linear and to_tensor() only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/weights/stored_view.h"
#include "kernels/kernel_table.h"

namespace perilune {

/// The view's elements as stored, contiguous, on the CPU, with `axes` as names (one for each size).
/// Throws Error(unsupported) for an element type that tensors do not have, Error(file).
Tensor read_view(const std::shared_ptr<Context>& context, const StoredView& view,
                 const std::vector<std::string>& axes);

/// Shared and immutable but for its cache of packed forms. What adapters change of it lies beside
/// it (adapter_set.h).
class Weight {
 public:
  /// `path`: module path below the root ("layers.0.self_attn.q_proj"); matrix [outputs, inputs], or
  /// a convolution's [outputs, in, width...], whose inputs are then all axes but the first.
  Weight(std::shared_ptr<Context> context, std::string path, StoredView view);

  const std::string& path() const { return path_; }
  const StoredView& view() const { return view_; }
  /// What numbers are widened from, where they are not multiplied as codes.
  kernels::WeightFormat format() const { return format_; }
  /// The format of its rows' blocks; null where they are numbers, or where the view cuts through
  /// blocks or turns them.
  const kernels::BlockFormat* blocks() const { return blocks_; }
  std::int64_t outputs() const { return view_.sizes[0]; }
  std::int64_t inputs() const { return view_.sizes[1]; }
  /// "bf16[1024, 3072]", "Q4_K[1024, 3072]"
  std::string describe() const;

  /// Packed for the device's table, made once and kept. Reads the file. Thread-safe. Blocks stay
  /// blocks where the table multiplies codes, in any mode. Mode int8 is for these: numbers are then
  /// packed for bf16 where that is what they are and the table has it, else for f32.
  kernels::PackedMatrix packed(Device& device, kernels::MathMode math) const;
  /// Bytes that packed() takes on the device.
  std::size_t packed_bytes_on(const Device& device, kernels::MathMode math) const;
  /// Bytes of the packed forms made so far; `on`: of those on one device.
  std::size_t packed_bytes(const Device* on = nullptr) const;
  /// A copy, f32 [outputs, inputs], axes named "output" and "input" unless given.
  Tensor to_tensor(const std::string& output_axis = "output",
                   const std::string& input_axis = "input") const;

 private:
  struct Packed {
    kernels::PackedMatrix matrix;
    std::shared_ptr<Storage> storage;
  };
  bool packs_blocks(const Device& device) const;
  Packed pack(Device& device, kernels::MathMode math) const;
  Packed pack_blocks(Device& device) const;
  Packed pack_rows(Device& device, kernels::MathMode math) const;
  /// Reads the stored rows and packs each part while it is in a cache, on all threads, so that
  /// beside the packed form there is never more than a part for each thread.
  using PackPart =
      std::function<void(const std::uint8_t* rows, std::int64_t first, std::int64_t count)>;
  void each_part(std::int64_t row_bytes, const PackPart& pack) const;

  std::shared_ptr<Context> context_;
  std::string path_;
  StoredView view_;
  kernels::WeightFormat format_;
  const kernels::BlockFormat* blocks_ = nullptr;
  mutable std::mutex mutex_;
  mutable std::map<std::pair<const Device*, kernels::MathMode>, Packed> packed_;
};

}  // namespace perilune
