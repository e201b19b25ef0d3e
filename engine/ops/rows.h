// Ops over the rows of ragged axes: which tokens a head sees, one value a row, gathering.
#pragma once

#include "engine/ops/op.h"

namespace perilune {

/// x [token, ...] -> [token, ...] over the wanted tokens only (PassBinding::wanted).
class WantedRowsOp final : public Op {
 public:
  explicit WantedRowsOp(AxisIdentity axis) : axis_(axis) {}
  std::string_view name() const override { return "wanted_rows"; }
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override;
  std::string lacks(const kernels::KernelTable& table,
                    std::span<const TensorSpec> /*inputs*/) const override {
    return lacking(table.gather_rows, "gather_rows");
  }
  void run(OpRun& run) const override;
  std::size_t scratch_bytes(const OpRun& run) const override {
    const auto rows = static_cast<std::size_t>(run.outputs[0].shape().size(0));
    return contiguous_scratch(run.inputs[0]) + lend_scratch(run, rows * sizeof(std::int64_t));
  }

 private:
  AxisIdentity axis_;
};

enum class RowToken { first, last, eos };

/// x [token, ...] -> [batch, ...]: one token of each row. eos: the first token of the row whose id
/// is one of `eos`, else the last.
class SelectTokenOp final : public Op {
 public:
  SelectTokenOp(RowToken which, std::vector<std::int64_t> eos, AxisIdentity axis)
      : which_(which), eos_(std::move(eos)), axis_(axis) {}
  std::string_view name() const override { return "select"; }
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override;
  std::string lacks(const kernels::KernelTable& table,
                    std::span<const TensorSpec> /*inputs*/) const override {
    return lacking(table.gather_rows, "gather_rows");
  }
  void run(OpRun& run) const override;
  std::size_t scratch_bytes(const OpRun& run) const override;

 private:
  std::int64_t offset(const OpRun& run, const RaggedRows& rows, std::int64_t row) const;
  RowToken which_;
  std::vector<std::int64_t> eos_;
  AxisIdentity axis_;
};

/// x f32 [token, ...] -> [batch, ...]: the mean of each row, summed in ascending order.
class MeanTokensOp final : public Op {
 public:
  explicit MeanTokensOp(AxisIdentity axis) : axis_(axis) {}
  std::string_view name() const override { return "mean"; }
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override;
  std::string lacks(const kernels::KernelTable& table,
                    std::span<const TensorSpec> /*inputs*/) const override {
    return lacking(table.reduce, "reduce");
  }
  void run(OpRun& run) const override;
  std::size_t scratch_bytes(const OpRun& run) const override {
    return contiguous_scratch(run.inputs[0]);
  }

 private:
  AxisIdentity axis_;
};

/// x [token, ...] -> i32 [token]: 0, 1, ... in each row.
class RowPositionsOp final : public Op {
 public:
  std::string_view name() const override { return "positions"; }
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override;
  void run(OpRun& run) const override;
};

/// x [axis, ...], indices (integers) [...] -> [indices' axes..., x's others...]. `id_axis`: indices
/// are the model's own numbers, counted from 0 in messages.
class GatherOp final : public Op {
 public:
  explicit GatherOp(bool id_axis) : id_axis_(id_axis) {}
  std::string_view name() const override { return "gather"; }
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override;
  std::string lacks(const kernels::KernelTable& table,
                    std::span<const TensorSpec> /*inputs*/) const override {
    return lacking(table.gather_rows, "gather_rows");
  }
  void run(OpRun& run) const override;
  std::size_t scratch_bytes(const OpRun& run) const override;

 private:
  bool id_axis_;
};

}  // namespace perilune
