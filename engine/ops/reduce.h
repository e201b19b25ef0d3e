// Reductions, softmax, order and general products of tensors.
#pragma once

#include "engine/ops/op.h"

namespace perilune {

/// Reduces named axes of x away, in ascending order.
class ReduceOp final : public Op {
 public:
  ReduceOp(kernels::Reduce op, std::vector<std::string> axes) : op_(op), axes_(std::move(axes)) {}
  std::string_view name() const override;
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override;
  std::string lacks(const kernels::KernelTable& table,
                    std::span<const TensorSpec> /*inputs*/) const override {
    return lacking(table.reduce, "reduce");
  }
  void run(OpRun& run) const override;

 private:
  bool drops(const Axis& axis) const;
  kernels::Reduce op_;
  std::vector<std::string> axes_;
};

enum class LastAxis { softmax, log_softmax, cumulative_sum };

/// Row by row over x's last axis, f32.
class LastAxisOp final : public Op {
 public:
  explicit LastAxisOp(LastAxis kind) : kind_(kind) {}
  std::string_view name() const override;
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override;
  std::string lacks(const kernels::KernelTable& table,
                    std::span<const TensorSpec> /*inputs*/) const override {
    return kind_ == LastAxis::cumulative_sum ? lacking(table.cumulative_sum, "cumulative_sum")
                                             : lacking(table.softmax, "softmax");
  }
  void run(OpRun& run) const override;
  std::size_t scratch_bytes(const OpRun& run) const override;

 private:
  LastAxis kind_;
};

/// The first `count` of x's last axis by value: values f32, offsets i64.
class TopOp final : public Op {
 public:
  TopOp(std::int64_t count, bool descending) : count_(count), descending_(descending) {}
  std::string_view name() const override { return "topk"; }
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override;
  std::string lacks(const kernels::KernelTable& table,
                    std::span<const TensorSpec> /*inputs*/) const override {
    return lacking(table.top, "top");
  }
  void run(OpRun& run) const override;
  std::size_t scratch_bytes(const OpRun& run) const override;

 private:
  std::int64_t count_;
  bool descending_;
};

/// a [batch axes..., a's own..., over], b [batch axes..., b's own..., over], both f32 ->
/// [batch axes..., a's own..., b's own...]. `batch_axes` counts the shared ones.
class MatmulOp final : public Op {
 public:
  explicit MatmulOp(int batch_axes) : batch_axes_(batch_axes) {}
  std::string_view name() const override { return "matmul"; }
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override;
  std::string lacks(const kernels::KernelTable& table,
                    std::span<const TensorSpec> /*inputs*/) const override {
    return lacking(table.matmul, "matmul");
  }
  void run(OpRun& run) const override;
  std::size_t scratch_bytes(const OpRun& run) const override;

 private:
  int batch_axes_;
};

}  // namespace perilune
