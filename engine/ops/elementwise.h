// Ops that work element by element: axes align by name, sizes 1 broadcast.
#pragma once

#include <optional>

#include "engine/ops/op.h"

namespace perilune {

/// out = a op b. Shapes as align(); dtypes as binary_dtype().
class BinaryOp final : public Op {
 public:
  explicit BinaryOp(kernels::Binary op) : op_(op) {}
  kernels::Binary kind() const { return op_; }
  std::string_view name() const override;
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override;
  std::string lacks(const kernels::KernelTable& table,
                    std::span<const TensorSpec> /*inputs*/) const override {
    return lacking(table.binary, "binary");
  }
  void run(OpRun& run) const override;

 private:
  kernels::Binary op_;
};

/// out = x op number, or number op x when `reversed`.
class ScalarOp final : public Op {
 public:
  ScalarOp(kernels::Binary op, double number, bool reversed)
      : op_(op), number_(number), reversed_(reversed) {}
  std::string_view name() const override;
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override;
  std::string lacks(const kernels::KernelTable& table,
                    std::span<const TensorSpec> /*inputs*/) const override {
    return lacking(table.binary, "binary");
  }
  void run(OpRun& run) const override;
  std::string describe() const override;

 private:
  bool whole() const;
  kernels::Binary op_;
  double number_;
  bool reversed_;
};

class UnaryOp final : public Op {
 public:
  explicit UnaryOp(kernels::Unary op) : op_(op) {}
  std::string_view name() const override;
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override;
  std::string lacks(const kernels::KernelTable& table,
                    std::span<const TensorSpec> /*inputs*/) const override {
    return lacking(table.unary, "unary");
  }
  void run(OpRun& run) const override;

 private:
  kernels::Unary op_;
};

/// out = activation(x), f32, with the bits that a linear's own activation has.
class ActivationOp final : public Op {
 public:
  explicit ActivationOp(kernels::Activation activation) : activation_(activation) {}
  kernels::Activation activation() const { return activation_; }
  std::string_view name() const override { return "activation"; }
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override;
  std::string lacks(const kernels::KernelTable& table,
                    std::span<const TensorSpec> /*inputs*/) const override {
    return lacking(table.gated, "gated");
  }
  void run(OpRun& run) const override;
  void bind_call(const OpRun& run, BoundCall& call) const override;
  std::size_t scratch_bytes(const OpRun& run) const override;
  std::string describe() const override;

 private:
  kernels::Activation activation_;
};

/// out = activation(a) * b, f32, one shape.
class GatedOp final : public Op {
 public:
  explicit GatedOp(kernels::Activation activation) : activation_(activation) {}
  kernels::Activation activation() const { return activation_; }
  std::string_view name() const override { return "gated"; }
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override;
  std::string lacks(const kernels::KernelTable& table,
                    std::span<const TensorSpec> /*inputs*/) const override {
    return lacking(table.gated, "gated");
  }
  void run(OpRun& run) const override;
  void bind_call(const OpRun& run, BoundCall& call) const override;
  std::size_t scratch_bytes(const OpRun& run) const override;
  std::string describe() const override;

 private:
  kernels::Activation activation_;
};

/// out = condition ? a : b.
class WhereOp final : public Op {
 public:
  std::string_view name() const override { return "where"; }
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override;
  std::string lacks(const kernels::KernelTable& table,
                    std::span<const TensorSpec> /*inputs*/) const override {
    return lacking(table.where, "where");
  }
  void run(OpRun& run) const override;
};

/// A contiguous copy, converted where `dtype` says so.
class CopyOp final : public Op {
 public:
  explicit CopyOp(std::optional<DType> dtype = std::nullopt) : dtype_(dtype) {}
  std::string_view name() const override { return dtype_ ? "convert" : "contiguous"; }
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override;
  std::string lacks(const kernels::KernelTable& table,
                    std::span<const TensorSpec> /*inputs*/) const override {
    return lacking(table.copy, "copy");
  }
  void run(OpRun& run) const override;

 private:
  std::optional<DType> dtype_;
};

const char* activation_name(kernels::Activation activation);
/// The dtype of a op b: comparisons bool; both integers: their common type (divide and power: f32);
/// both the same float: that; else f32.
DType binary_dtype(kernels::Binary op, DType a, DType b);
/// A tensor's memory seen through a shape that it broadcasts to (0 strides).
kernels::Strided broadcast_strides(const Tensor& tensor, const Shape& to);
/// Copies x into out (converting), both seen through out's shape.
void copy_into(const kernels::KernelTable& kernels, const kernels::Launch& launch,
               const Tensor& out, const Tensor& x);

}  // namespace perilune
