// A product whose inputs of large magnitude are multiplied apart.
#pragma once

#include <string>
#include <vector>

#include "engine/ops/linear.h"

namespace perilune {

/// LinearOp of one part by the decomposition of LLM.int8 (Dettmers et al. 2022, arXiv:2208.07339,
/// section 3.2): columns of x in which any row of the run reaches `from` are multiplied in f32 with
/// what the codes mean, the others rounded as MathMode::int8 rounds them, with 0 in the place of
/// those columns. In other modes, and where no column reaches it, LinearOp's bits.
///
/// Which columns are apart depends on all rows of a run: this op is not batch-invariant.
class OutlierLinearOp final : public Op {
 public:
  OutlierLinearOp(LinearPart part, const std::vector<std::string>& over, double scale, float from)
      : linear_({std::move(part)}, over, scale), from_(from) {}
  std::string_view name() const override { return "outlier_linear"; }
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override {
    return linear_.infer(inputs);
  }
  std::string lacks(const kernels::KernelTable& table,
                    std::span<const TensorSpec> inputs) const override {
    return linear_.lacks(table, inputs);
  }
  void run(OpRun& run) const override;
  std::size_t scratch_bytes(const OpRun& run) const override;
  std::vector<std::shared_ptr<Weight>> weights() const override { return linear_.weights(); }
  std::vector<Tensor> constants() const override { return linear_.constants(); }
  std::string describe() const override;

 private:
  struct Sides;
  Sides sides(const OpRun& run, void* scratch) const;
  kernels::LinearArguments product(const OpRun& run, kernels::MathMode math, const float* x,
                                   std::int64_t rows, kernels::LinearSegment& segment) const;
  bool split(const float* x, const Sides& to) const;
  void join(const OpRun& run, const Sides& from) const;

  LinearOp linear_;
  float from_;
};

}  // namespace perilune
