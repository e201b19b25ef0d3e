// Which devices can keep keys and values and attend to them, and what plans say of it.
#include "engine/ops/attention.h"

namespace perilune {

namespace {

/// Of q, k or v [_, _, head_dim].
std::string lacks_head_dim(const kernels::KernelTable& table, const TensorSpec& x) {
  const std::int64_t most = table.most_head_dim;
  if (most == 0 || x.shape.rank() == 0 || x.shape.back().size <= most) return "";
  return "head_dim is " + std::to_string(x.shape.back().size) + ", its kernels take at most " +
         std::to_string(most);
}

template <class Entry>
std::string lacks_attention(const kernels::KernelTable& table, Entry* entry, const char* kernel,
                            std::span<const TensorSpec> inputs, bool writes) {
  std::string problem = lacking(entry, kernel);
  if (problem.empty() && writes) problem = lacking(table.kv_write, "kv_write");
  return problem.empty() ? lacks_head_dim(table, inputs[0]) : problem;
}

}  // namespace

std::string KvWriteOp::lacks(const kernels::KernelTable& table,
                             std::span<const TensorSpec> inputs) const {
  return lacks_attention(table, table.kv_write, "kv_write", inputs, false);
}

std::string AttentionOp::lacks(const kernels::KernelTable& table,
                               std::span<const TensorSpec> inputs) const {
  return lacks_attention(table, table.attention, "attention", inputs, !setting_.cached);
}

std::string AttentionWeightsOp::lacks(const kernels::KernelTable& table,
                                      std::span<const TensorSpec> inputs) const {
  return lacks_attention(table, table.attention_weights, "attention_weights", inputs,
                         !setting_.cached);
}

std::string KvWriteOp::describe() const {
  return std::string("kv_write ") + path_ + (kind_ == KvKind::cross ? " cross" : "") +
         (rope_ ? " with rope" : "") + (queries_ ? " of queries too" : "");
}

std::string AttentionOp::describe() const {
  std::string text = "attention";
  if (setting_.cached) text += " " + setting_.path;
  if (setting_.kind == KvKind::cross) text += " cross";
  if (setting_.mask == kernels::Mask::causal) text += " causal";
  if (setting_.window > 0) text += " window=" + std::to_string(setting_.window);
  return text;
}

}  // namespace perilune
