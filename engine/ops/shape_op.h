// Ops whose result is a view: names, order and parts of axes change, no element moves.
#pragma once

#include <utility>

#include "engine/ops/op.h"

namespace perilune {

/// An op that is a view of its one input.
class ViewOp : public Op {
 public:
  bool is_view() const override { return true; }
  void run(OpRun& run) const override;
};

/// One axis cut to [first, first + count), or fixed and dropped.
struct AxisRange {
  std::string axis;
  std::int64_t first = 0, count = 1;
  bool drop = true;
};

class AtOp final : public ViewOp {
 public:
  explicit AtOp(std::vector<AxisRange> ranges) : ranges_(std::move(ranges)) {}
  std::string_view name() const override { return "at"; }
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override;
  std::optional<Tensor> view(std::span<const Tensor> inputs) const override;

 private:
  std::vector<AxisRange> ranges_;
};

/// `axis` becomes several; one part's size may be 0: worked out from the others.
class SplitAxisOp final : public ViewOp {
 public:
  SplitAxisOp(std::string axis, std::vector<Axis> parts)
      : axis_(std::move(axis)), parts_(std::move(parts)) {}
  std::string_view name() const override { return "split_axis"; }
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override;
  std::optional<Tensor> view(std::span<const Tensor> inputs) const override;

 private:
  std::string axis_;
  std::vector<Axis> parts_;
};

/// Neighbouring axes become one; x's memory must allow it (contiguous always does).
class MergeOp final : public ViewOp {
 public:
  MergeOp(std::vector<std::string> axes, std::string merged)
      : axes_(std::move(axes)), merged_(std::move(merged)) {}
  std::string_view name() const override { return "merge"; }
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override;
  std::optional<Tensor> view(std::span<const Tensor> inputs) const override;
  /// Whether this tensor's memory allows the view.
  bool possible(const Tensor& x) const;

 private:
  int first(const TensorSpec& x) const;
  std::vector<std::string> axes_;
  std::string merged_;
};

class RenameOp final : public ViewOp {
 public:
  explicit RenameOp(std::vector<std::pair<std::string, std::string>> names)
      : names_(std::move(names)) {}
  std::string_view name() const override { return "rename"; }
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override;
  std::optional<Tensor> view(std::span<const Tensor> inputs) const override;

 private:
  std::vector<std::pair<std::string, std::string>> names_;
};

class OrderOp final : public ViewOp {
 public:
  explicit OrderOp(std::vector<std::string> names) : names_(std::move(names)) {}
  std::string_view name() const override { return "order"; }
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override;
  std::optional<Tensor> view(std::span<const Tensor> inputs) const override;

 private:
  std::vector<std::string> names_;
};

/// An axis of size 1, or a new outermost one, `size` times.
class ExpandOp final : public ViewOp {
 public:
  ExpandOp(std::string axis, std::int64_t size) : axis_(std::move(axis)), size_(size) {}
  std::string_view name() const override { return "expand"; }
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override;
  std::optional<Tensor> view(std::span<const Tensor> inputs) const override;

 private:
  std::string axis_;
  std::int64_t size_;
};

/// Drops an axis of size 1; "" drops all of them.
class SqueezeOp final : public ViewOp {
 public:
  explicit SqueezeOp(std::string axis) : axis_(std::move(axis)) {}
  std::string_view name() const override { return "squeeze"; }
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override;
  std::optional<Tensor> view(std::span<const Tensor> inputs) const override;

 private:
  bool drops(const Axis& axis) const;
  std::string axis_;
};

}  // namespace perilune
