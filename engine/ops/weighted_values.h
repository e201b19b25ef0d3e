// Attention whose weights somebody has changed: the values under other weights.
#pragma once

#include "engine/ops/attention.h"

namespace perilune {

/// What attention gives for weights that are not its own. Inputs: those of AttentionOp, then
/// weights f32 [token, head, key] as AttentionWeightsOp makes them; output as q. Each head's values
/// are summed in f32 over the keys that its token sees, ascending; other cells are not looked at.
/// For passes that run op by op: on the host, one token after another.
class WeightedValuesOp final : public Op {
 public:
  explicit WeightedValuesOp(AttentionSetting setting) : setting_(std::move(setting)) {}
  std::string_view name() const override { return "weighted_values"; }
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override;
  void run(OpRun& run) const override;
  std::size_t scratch_bytes(const OpRun& run) const override;
  bool scratch_follows_binding() const override { return true; }
  std::optional<KvUse> kv_use() const override { return setting_.kv_use(); }

 private:
  AttentionSetting setting_;
};

}  // namespace perilune
