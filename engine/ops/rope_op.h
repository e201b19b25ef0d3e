// Rotary position embeddings (Su et al. 2021, arXiv:2104.09864).
#pragma once

#include "engine/ops/op.h"
#include "engine/ops/rope_frequencies.h"

namespace perilune {

/// positions i32 [token] -> cosine, sine f32 [token, pair]. Frequencies of types that depend on
/// length are chosen per token (PassBinding::rope_lengths).
class RopeTableOp final : public Op {
 public:
  explicit RopeTableOp(std::shared_ptr<const RopeOptions> options);
  std::string_view name() const override { return "rope_table"; }
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override;
  std::string lacks(const kernels::KernelTable& table,
                    std::span<const TensorSpec> /*inputs*/) const override {
    return lacking(table.rope_table, "rope_table");
  }
  void run(OpRun& run) const override;
  std::size_t scratch_bytes(const OpRun& run) const override;
  bool depends_on_length() const { return options_->depends_on_length(); }
  /// Whether texts of `a` and of `b` tokens have one table of frequencies.
  bool same_table(std::int64_t a, std::int64_t b) const {
    return !depends_on_length() || canonical_length(a) == canonical_length(b);
  }

 private:
  std::int64_t canonical_length(std::int64_t length) const;
  std::shared_ptr<const RopeOptions> options_;
  std::vector<float> frequencies_;  // of types that do not depend on length
  float scale_;
};

/// x f32 [token, (head,) head_dim], cosine, sine -> x turned.
class RopeOp final : public Op {
 public:
  explicit RopeOp(bool interleaved) : interleaved_(interleaved) {}
  bool interleaved() const { return interleaved_; }
  std::string_view name() const override { return "rope"; }
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override;
  std::string lacks(const kernels::KernelTable& table,
                    std::span<const TensorSpec> /*inputs*/) const override {
    return lacking(table.rope, "rope");
  }
  void run(OpRun& run) const override;
  void bind_call(const OpRun& run, BoundCall& call) const override;
  std::size_t scratch_bytes(const OpRun& run) const override {
    return contiguous_scratch(run.inputs[0]);
  }

 private:
  kernels::RopeArguments arguments(const OpRun& run, ScratchCursor& scratch) const;
  bool interleaved_;
};

}  // namespace perilune
