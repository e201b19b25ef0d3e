#include "engine/ops/attention.h"

#include <algorithm>

#include "engine/ops/attention_run.h"
#include "engine/ops/bound_call.h"

namespace perilune {

namespace {

void expect_heads(std::string_view op, const char* operand, const TensorSpec& spec) {
  expect_f32(op, operand, spec);
  if (spec.shape.rank() == 3 && !spec.shape.axis(1).symbolic() && !spec.shape.back().symbolic()) {
    return;
  }
  throw Error(ErrorCode::shape, std::string(op),
              std::string(operand) + " must be [token, head, head_dim]")
      .operand(operand, spec.text())
      .hint("name the axes in net:linear: { \"head\", \"head_dim\" }");
}

void expect_same_kv(std::string_view op, const TensorSpec& k, const TensorSpec& v) {
  expect_heads(op, "k", k);
  expect_heads(op, "v", v);
  const bool same = axes_agree(k.shape.axis(0), v.shape.axis(0)) &&
                    k.shape.size(1) == v.shape.size(1) && k.shape.size(2) == v.shape.size(2);
  if (same) return;
  throw Error(ErrorCode::shape, std::string(op), "k and v differ")
      .operand("k", k.text())
      .operand("v", v.text());
}

void check_attention(const AttentionSetting& setting, std::span<const TensorSpec> inputs) {
  const TensorSpec& q = inputs[0];
  expect_heads("attention", "q", q);
  std::string k = "[kv_head=" + std::to_string(setting.kv_heads) +
                  ", head_dim=" + std::to_string(setting.head_dim) + "]";
  if (!setting.cached) {
    expect_inputs("attention", inputs, 3);
    expect_same_kv("attention", inputs[1], inputs[2]);
    k = inputs[1].text();
  }
  if (setting.kv_heads == 0) return;  // kept by another pass: compared with the cache when run
  if (q.shape.size(2) != setting.head_dim) {
    throw Error(ErrorCode::shape, "attention", "head_dim differs")
        .operand("q", q.text())
        .operand("k", k + " " + versus(q.shape.size(2), setting.head_dim))
        .hint("queries and keys are compared element by element: both need one head_dim");
  }
  if (setting.kv_heads <= 0 || q.shape.size(1) % setting.kv_heads != 0) {
    throw Error(ErrorCode::shape, "attention", "q's heads are not a multiple of k's")
        .operand("q", q.text())
        .operand("k", k + " " + versus(q.shape.size(1), setting.kv_heads));
  }
  if (setting.bias != nullptr && setting.bias->weight.defined() &&
      setting.bias->weight.shape().size(1) != q.shape.size(1)) {
    throw Error(ErrorCode::shape, "attention", "the relative bias is for other heads")
        .operand("q", q.text())
        .operand("bias", setting.bias->weight.spec().text() + " " +
                             versus(q.shape.size(1), setting.bias->weight.shape().size(1)));
  }
}

}  // namespace

std::vector<TensorSpec> KvWriteOp::infer(std::span<const TensorSpec> inputs) const {
  expect_inputs("cached", inputs, queries_ ? 5 : rope_ ? 4 : 2);
  expect_same_kv("cached", inputs[0], inputs[1]);
  TensorSpec order;
  order.without_storage = true;
  if (!queries_) return {order};
  return {order, inputs[4]};
}

std::size_t KvWriteOp::scratch_bytes(const OpRun& run) const {
  return contiguous_scratch(run.inputs[0]) + contiguous_scratch(run.inputs[1]) +
         (queries_ ? contiguous_scratch(run.inputs[4]) : 0);
}

/// All but the rows.
kernels::KvWriteArguments KvWriteOp::arguments(const OpRun& run, const KvSlot& slot,
                                               ScratchCursor& scratch) const {
  kernels::KvWriteArguments arguments{};
  arguments.layout = layout_of(run, slot);
  arguments.k = static_cast<const float*>(contiguous_input(run, run.inputs[0], scratch));
  arguments.v = static_cast<const float*>(contiguous_input(run, run.inputs[1], scratch));
  arguments.page_offset = slot.page_offset;
  if (rope_) {
    arguments.cosine = run.inputs[2].as<float>();
    arguments.sine = run.inputs[3].as<float>();
    arguments.pairs = run.inputs[2].shape().size(1);
    arguments.interleaved = interleaved_;
  }
  if (queries_) {
    arguments.q = static_cast<const float*>(contiguous_input(run, run.inputs[4], scratch));
    arguments.q_out = run.outputs[1].as<float>();
    arguments.heads = run.inputs[4].shape().size(1);
  }
  return arguments;
}

void KvWriteOp::run(OpRun& run) const {
  const KvSlot slot = find_slot(run, "cached", path_, kind_);
  const auto& rows = cached_rows(run, "cached", slot, kind_, true, run.inputs[0].shape().axis(0));
  if (run.inputs[0].elements() == 0) return;
  ScratchCursor scratch(run.launch.scratch);
  kernels::KvWriteArguments arguments = this->arguments(run, slot, scratch);
  arguments.rows = rows.data();
  arguments.row_count = static_cast<std::int64_t>(rows.size());
  arguments.device_rows = run.tables->device_rows(run, arguments.layout, rows);
  run.kernels().kv_write(run.launch, arguments);
}

void KvWriteOp::bind_call(const OpRun& run, BoundCall& call) const {
  if (!reads_rows(run) || run.inputs[0].elements() == 0 || scratch_bytes(run) != 0) return;
  ScratchCursor none(nullptr);
  call.call = BoundCall::KvWrite{{{*run.slot, kind_, true, run.inputs[0].shape().axis(0).identity}},
                                 arguments(run, *run.slot, none)};
}

std::vector<TensorSpec> AttentionOp::infer(std::span<const TensorSpec> inputs) const {
  check_attention(setting_, inputs);
  return {inputs[0]};
}

std::size_t AttentionOp::scratch_bytes(const OpRun& run) const {
  return attention_scratch(run, setting_);
}

void AttentionOp::run(OpRun& run) const {
  if (run.outputs[0].elements() == 0) return;
  kernels::Launch launch = run.launch;
  PreparedAttention prepared;
  ready_attention(run, setting_, launch, prepared);
  prepared.arguments.out = run.outputs[0].as<float>();
  run.kernels().attention(launch, prepared.arguments);
}

void AttentionOp::bind_call(const OpRun& run, BoundCall& call) const {
  if (!setting_.cached || setting_.bias != nullptr || !reads_rows(run)) return;
  if (run.outputs[0].elements() == 0 || contiguous_scratch(run.inputs[0]) != 0) return;
  ScratchCursor none(nullptr);
  PreparedAttention prepared;
  prepare_attention(run, setting_, none, prepared);
  prepared.arguments.q = run.inputs[0].as<float>();
  prepared.arguments.out = run.outputs[0].as<float>();
  call.call = BoundCall::Attention{
      {{*run.slot, setting_.kind, false, run.inputs[0].shape().axis(0).identity}},
      prepared.arguments};
}

std::vector<TensorSpec> AttentionWeightsOp::infer(std::span<const TensorSpec> inputs) const {
  check_attention(setting_, inputs);
  const Shape& q = inputs[0].shape;
  return {{DType::f32, Shape({q.axis(0), q.axis(1), {"key", kSymbolicSize, key_axis_}}), false}};
}

std::vector<RaggedRows> AttentionWeightsOp::bind_axes(std::span<const TensorSpec> inputs,
                                                      const PassBinding& binding,
                                                      const AxisRows& axes) const {
  std::int64_t keys = 0;
  const Axis& q = inputs[0].shape.axis(0);
  if (setting_.cached && binding.has_caches()) {
    const KvSlot slot = binding.cache_layout()->slot(setting_.path, setting_.kind);
    const AxisIdentity identity = axes.rows(q.identity).identity;
    std::vector<kernels::KvRow> rows;
    binding.kv_rows(slot, setting_.kind, false, identity, rows);
    for (const kernels::KvRow& row : rows) keys = std::max(keys, row.key_count);
  } else if (!setting_.cached) {
    keys = axes.rows(inputs[1].shape.axis(0).identity).longest();
  }
  return {RaggedRows{"key", 0, {0, keys}}};
}

std::size_t AttentionWeightsOp::scratch_bytes(const OpRun& run) const {
  return attention_scratch(run, setting_);
}

void AttentionWeightsOp::run(OpRun& run) const {
  if (run.outputs[0].elements() == 0) return;
  kernels::Launch launch = run.launch;
  PreparedAttention prepared;
  ready_attention(run, setting_, launch, prepared);
  kernels::AttentionWeightsArguments arguments{prepared.arguments, run.outputs[0].as<float>(),
                                               run.outputs[0].shape().size(2)};
  run.kernels().attention_weights(launch, arguments);
}

}  // namespace perilune
