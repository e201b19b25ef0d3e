// Norms over x's last axes.
#pragma once

#include "engine/ops/op.h"

namespace perilune {

struct NormOptions {
  bool layer = false;  // layer_norm (Ba et al. 2016); else rms_norm (Zhang & Sennrich 2019)
  Tensor weight;       // f32 [width]; undefined only while names are collected
  Tensor bias;         // f32 [width] or undefined
  double epsilon = 1e-5;
  float offset = 0;               // added to rms_norm's weight
  std::vector<std::string> over;  // trailing axes; empty: the last one
  std::string path;
};

/// x f32 -> the same shape. With `residual`, inputs are x and residual, outputs the norm of their
/// sum and the sum.
class NormOp final : public Op {
 public:
  explicit NormOp(NormOptions options, bool residual = false)
      : options_(std::move(options)), residual_(residual) {}
  const NormOptions& options() const { return options_; }
  bool residual() const { return residual_; }
  std::string_view name() const override { return options_.layer ? "layer_norm" : "rms_norm"; }
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override;
  std::string lacks(const kernels::KernelTable& table,
                    std::span<const TensorSpec> /*inputs*/) const override {
    return options_.layer ? lacking(table.layer_norm, "layer_norm")
                          : lacking(table.rms_norm, "rms_norm");
  }
  void run(OpRun& run) const override;
  void bind_call(const OpRun& run, BoundCall& call) const override;
  std::size_t scratch_bytes(const OpRun& run) const override;
  std::vector<Tensor> constants() const override { return {options_.weight, options_.bias}; }
  std::string describe() const override;

 private:
  kernels::NormArguments arguments(const OpRun& run, ScratchCursor& scratch) const;
  int trailing() const {
    return options_.over.empty() ? 1 : static_cast<int>(options_.over.size());
  }
  NormOptions options_;
  bool residual_;
};

}  // namespace perilune
