// Ops whose rows have another length than those they come from: windows of a convolution, patches
// of pictures, entries put in front. Each makes a ragged axis of its own, and only moves elements:
// the products are LinearOp's, so that a batch changes no bit here either.
#pragma once

#include "engine/ops/op.h"

namespace perilune {

/// What a convolution over a ragged axis sees: x f32 [frame, in] -> f32 [frame, window], with
/// windows of `width` frames of each row, `stride` apart, zeros outside the row. A row of n frames
/// has (n + 2 padding - width) / stride + 1 of them. An entry is [in, width], as weights
/// [out, in, width] are stored. Throws Error(shape) for a row that no window fits into.
class WindowsOp final : public Op {
 public:
  WindowsOp(std::int64_t width, std::int64_t stride, std::int64_t padding, AxisIdentity axis)
      : width_(width), stride_(stride), padding_(padding), axis_(axis) {}
  std::string_view name() const override { return "windows"; }
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override;
  std::string lacks(const kernels::KernelTable& table,
                    std::span<const TensorSpec> /*inputs*/) const override {
    return lacking(table.copy, "copy");
  }
  void run(OpRun& run) const override;
  std::size_t scratch_bytes(const OpRun& run) const override;
  std::vector<AxisIdentity> made_axes() const override { return {axis_}; }
  std::vector<RaggedRows> bind_axes(std::span<const TensorSpec> inputs, const PassBinding& binding,
                                    const AxisRows& axes) const override;
  std::string describe() const override;

 private:
  std::int64_t width_, stride_, padding_;
  AxisIdentity axis_;
};

/// Pictures cut into squares (Dosovitskiy et al. 2020, arXiv:2010.11929): pixels f32 [batch,
/// channel, height, width] -> f32 [patch, window], rows of a picture's patches from its top left
/// corner, line by line; what is left at the right and the bottom is in none. An entry is [channel,
/// size, size], as weights [out, channel, size, size] are stored.
class PatchesOp final : public Op {
 public:
  PatchesOp(std::int64_t size, AxisIdentity axis) : size_(size), axis_(axis) {}
  std::string_view name() const override { return "patches"; }
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override;
  std::string lacks(const kernels::KernelTable& table,
                    std::span<const TensorSpec> /*inputs*/) const override {
    return lacking(table.copy, "copy");
  }
  void run(OpRun& run) const override;
  std::vector<AxisIdentity> made_axes() const override { return {axis_}; }
  std::vector<RaggedRows> bind_axes(std::span<const TensorSpec> inputs, const PassBinding& binding,
                                    const AxisRows& axes) const override;
  std::string describe() const override;

 private:
  std::int64_t size_;
  AxisIdentity axis_;
};

/// x f32 [token, hidden] -> f32 [token, hidden]: every row begins with `entries` f32 [entry,
/// hidden] (a class token), undefined while names are collected.
class PrependOp final : public Op {
 public:
  PrependOp(Tensor entries, std::string path, AxisIdentity axis)
      : entries_(std::move(entries)), path_(std::move(path)), axis_(axis) {}
  std::string_view name() const override { return "prepend"; }
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override;
  std::string lacks(const kernels::KernelTable& table,
                    std::span<const TensorSpec> /*inputs*/) const override {
    return lacking(table.copy, "copy");
  }
  void run(OpRun& run) const override;
  std::size_t scratch_bytes(const OpRun& run) const override {
    return contiguous_scratch(run.inputs[0]);
  }
  std::vector<Tensor> constants() const override { return {entries_}; }
  std::vector<AxisIdentity> made_axes() const override { return {axis_}; }
  std::vector<RaggedRows> bind_axes(std::span<const TensorSpec> inputs, const PassBinding& binding,
                                    const AxisRows& axes) const override;
  std::string describe() const override { return "prepend " + path_; }

 private:
  std::int64_t count() const { return entries_.defined() ? entries_.shape().size(0) : 1; }

  Tensor entries_;
  std::string path_;
  AxisIdentity axis_;
};

struct SinusoidOptions {
  Axis axis{"hidden", 0, 0};  // an even size
  double max_period = 10000;
  bool interleaved = false;  // sine and cosine beside each other, else the sines first
  bool endpoint = true;      // the last frequency is 1 / max_period, else one step before it
};

/// Sines and cosines of positions (Vaswani et al. 2017, arXiv:1706.03762): i32 [token] -> f32
/// [token, hidden], of position * max_period^(-j / (pairs - 1)), or ^(-j / pairs) without endpoint.
class SinusoidsOp final : public Op {
 public:
  explicit SinusoidsOp(SinusoidOptions options);
  std::string_view name() const override { return "sinusoids"; }
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override;
  std::string lacks(const kernels::KernelTable& table,
                    std::span<const TensorSpec> /*inputs*/) const override {
    return lacking(table.rope_table, "rope_table");
  }
  void run(OpRun& run) const override;
  std::size_t scratch_bytes(const OpRun& run) const override;

 private:
  std::int64_t pairs() const { return options_.axis.size / 2; }

  SinusoidOptions options_;
  std::vector<float> frequencies_;
};

}  // namespace perilune
