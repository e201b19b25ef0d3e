// Keys and values kept in pages, and attention over them.
#pragma once

#include "engine/ops/attention_setting.h"

namespace perilune {

/// Stores k and v [token, kv_head, head_dim] of a layer in the cache's pages, rounded to its type.
/// With `rope`, inputs also hold cosine and sine, and k is turned on the way; with `queries` also q
/// [token, head, head_dim], which becomes a second output, turned.
class KvWriteOp final : public Op {
 public:
  KvWriteOp(std::string path, KvKind kind, bool rope = false, bool interleaved = false,
            bool queries = false)
      : path_(std::move(path)),
        kind_(kind),
        rope_(rope),
        interleaved_(interleaved),
        queries_(queries) {}
  const std::string& path() const { return path_; }
  KvKind kind() const { return kind_; }
  bool has_rope() const { return rope_; }
  bool interleaved() const { return interleaved_; }
  bool turns_queries() const { return queries_; }
  std::string_view name() const override { return "kv_write"; }
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override;
  std::string lacks(const kernels::KernelTable& table,
                    std::span<const TensorSpec> inputs) const override;
  void run(OpRun& run) const override;
  void bind_call(const OpRun& run, BoundCall& call) const override;
  std::size_t scratch_bytes(const OpRun& run) const override;
  bool has_effect() const override { return true; }
  std::optional<KvUse> kv_use() const override { return KvUse{path_, kind_}; }
  std::string describe() const override;

 private:
  kernels::KvWriteArguments arguments(const OpRun& run, const KvSlot& slot,
                                      ScratchCursor& scratch) const;
  std::string path_;
  KvKind kind_;
  bool rope_, interleaved_, queries_;
};

/// Inputs: q [token, head, head_dim], then k, v of the same form (uncached), or the write that must
/// come before (cached; absent where another pass wrote). Output as q.
class AttentionOp final : public Op {
 public:
  explicit AttentionOp(AttentionSetting setting) : setting_(std::move(setting)) {}
  const AttentionSetting& setting() const { return setting_; }
  std::string_view name() const override { return "attention"; }
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override;
  std::string lacks(const kernels::KernelTable& table,
                    std::span<const TensorSpec> inputs) const override;
  void run(OpRun& run) const override;
  void bind_call(const OpRun& run, BoundCall& call) const override;
  std::size_t scratch_bytes(const OpRun& run) const override;
  bool scratch_follows_binding() const override { return true; }
  std::optional<KvUse> kv_use() const override { return setting_.kv_use(); }
  std::string describe() const override;

 private:
  AttentionSetting setting_;
};

/// The softmax of the same attention, f32 [token, head, key]: keys up to the longest row, zero
/// beyond a row's own. `key_axis` is the axis it makes.
class AttentionWeightsOp final : public Op {
 public:
  AttentionWeightsOp(AttentionSetting setting, AxisIdentity key_axis)
      : setting_(std::move(setting)), key_axis_(key_axis) {}
  const AttentionSetting& setting() const { return setting_; }
  std::string_view name() const override { return "attention_weights"; }
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override;
  std::string lacks(const kernels::KernelTable& table,
                    std::span<const TensorSpec> inputs) const override;
  void run(OpRun& run) const override;
  std::size_t scratch_bytes(const OpRun& run) const override;
  bool scratch_follows_binding() const override { return true; }
  std::optional<KvUse> kv_use() const override { return setting_.kv_use(); }
  std::vector<AxisIdentity> made_axes() const override { return {key_axis_}; }
  std::vector<RaggedRows> bind_axes(std::span<const TensorSpec> inputs, const PassBinding& binding,
                                    const AxisRows& axes) const override;

 private:
  AttentionSetting setting_;
  AxisIdentity key_axis_;
};

}  // namespace perilune
