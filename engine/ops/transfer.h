// A value goes from one device to another; planned where ops of two devices meet.
#pragma once

#include "engine/ops/op.h"

namespace perilune {

/// x -> the same elements on the output's device. Runs on x's device.
class TransferOp final : public Op {
 public:
  std::string_view name() const override { return "transfer"; }
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override {
    expect_inputs(name(), inputs, 1);
    return {inputs[0]};
  }
  void run(OpRun& run) const override { run.outputs[0].copy_from(run.inputs[0]); }
};

}  // namespace perilune
