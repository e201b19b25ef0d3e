// What ranks that share a model do together: sums whose inputs are spread over them, and tensors
// put together of everybody's part.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/ops/op.h"
#include "engine/ranks/rank_group.h"

namespace perilune {

/// x f32 [..., over...] times a matrix, cut into kRankSegments parts of the inputs: each is summed
/// by itself, ascending, and the sums are added in the order of the parts, then the bias. That is
/// the same to the bit for any number of ranks, and within rounding what LinearOp gives.
class RankLinearOp final : public Op {
 public:
  struct Options {
    /// Those that this rank computes, in their order: all of them, or its share.
    std::vector<std::shared_ptr<Weight>> segments;
    Tensor bias;             // f32 [outputs] or undefined
    std::vector<Axis> axes;  // of the outputs
    int over = 1;            // trailing axes of x that are summed over
    double scale = 1;
    std::string path;
    std::shared_ptr<RankGroup> ranks;
  };
  explicit RankLinearOp(Options options) : options_(std::move(options)) {}
  std::string_view name() const override { return "rank_linear"; }
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override;
  std::string lacks(const kernels::KernelTable& table,
                    std::span<const TensorSpec> /*inputs*/) const override {
    return table.linear == nullptr ? lacking(table.linear, "linear")
                                   : lacking(table.binary, "binary");
  }
  void run(OpRun& run) const override;
  std::size_t scratch_bytes(const OpRun& run) const override;
  /// All ranks must come by.
  bool has_effect() const override { return shared(); }
  std::vector<std::shared_ptr<Weight>> weights() const override { return options_.segments; }
  std::vector<Tensor> constants() const override { return {options_.bias}; }
  std::string describe() const override;

 private:
  bool shared() const { return options_.segments.size() < kRankSegments; }
  kernels::LinearArguments arguments(const OpRun& run, std::size_t segment, const float* x,
                                     kernels::LinearSegment& out) const;
  Options options_;
};

/// x [..., axis, ...], this rank's part of the axis -> all ranks' parts, in their order.
class RankGatherOp final : public Op {
 public:
  RankGatherOp(int axis, std::shared_ptr<RankGroup> ranks)
      : axis_(axis), ranks_(std::move(ranks)) {}
  std::string_view name() const override { return "rank_gather"; }
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override;
  std::string lacks(const kernels::KernelTable& table,
                    std::span<const TensorSpec> /*inputs*/) const override {
    return lacking(table.copy, "copy");
  }
  void run(OpRun& run) const override;
  std::size_t scratch_bytes(const OpRun& run) const override;
  bool has_effect() const override { return true; }

 private:
  int axis_;
  std::shared_ptr<RankGroup> ranks_;
};

}  // namespace perilune
