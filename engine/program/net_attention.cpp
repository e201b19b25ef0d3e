// The part of a scope that keeps keys and values and attends to them.
#include <cmath>

#include "engine/ops/weighted_values.h"
#include "engine/program/module_reader.h"
#include "engine/program/net.h"

namespace perilune {

KvHandle Net::cached(const Value& k, const Value& v, std::int64_t window, KvKind kind) const {
  KvHandle handle;
  handle.cached = true;
  handle.kind = kind;
  handle.path = canonical_;
  handle.window = window;
  // Checked before it is declared, so that a wrong shape is blamed first.
  const auto op = std::make_shared<KvWriteOp>(canonical_, kind);
  try {
    const TensorSpec specs[] = {k.spec, v.spec};
    op->infer(specs);
  } catch (Error& error) {
    error.where(where());
    throw;
  }
  handle.kv_heads = k.spec.shape.size(1);
  handle.head_dim = k.spec.shape.size(2);
  state_->pass->declare_kv({canonical_, kind, window, handle.kv_heads, handle.head_dim});
  const std::string name = kind == KvKind::cross ? "cross_attention" : "attention";
  handle.order = apply(op, {mark(name + ".key", k), mark(name + ".value", v)}).front();
  return handle;
}

KvHandle Net::uncached(const Value& k, const Value& v, std::int64_t window) const {
  KvHandle handle;
  handle.k = k;
  handle.v = v;
  handle.window = window;
  if (k.spec.shape.rank() == 3) {
    handle.kv_heads = k.spec.shape.size(1);
    handle.head_dim = k.spec.shape.size(2);
  }
  return handle;
}

KvHandle Net::cross() const {
  KvHandle handle;
  handle.cached = true;
  handle.kind = KvKind::cross;
  handle.path = canonical_;
  return handle;
}

Value Net::attention(const Value& q, const KvHandle& kv, const AttentionOptions& options) const {
  AttentionSetting setting;
  setting.cached = kv.cached;
  setting.kind = kv.kind;
  setting.path = kv.path;
  setting.kv_heads = kv.kv_heads;
  setting.head_dim = kv.head_dim;
  setting.window = kv.window;
  setting.mask = options.mask;
  const bool has_heads = q.spec.shape.rank() == 3 && q.spec.shape.back().size > 0;
  const double head_dim = has_heads ? static_cast<double>(q.spec.shape.back().size) : 1.0;
  setting.scale = options.scale.value_or(1.0 / std::sqrt(head_dim));
  setting.softcap = options.softcap;
  setting.bias = options.bias;
  std::vector<Value> inputs{mark(options.name + ".query", q)};
  if (!kv.cached) {
    inputs.push_back(mark(options.name + ".key", kv.k));
    inputs.push_back(mark(options.name + ".value", kv.v));
  } else if (kv.order.symbolic() || kv.order.pass != nullptr) {
    inputs.push_back(kv.order);
  }
  const std::string place = where(options.name);
  Value attended = apply(std::make_shared<AttentionOp>(setting), inputs, options.name).front();
  const AxisIdentity keys = state_->pass->new_axis("key");
  const Value changed =
      state_->pass->mark_lazily(join_scopes(canonical_, options.name + ".weights"),
                                std::make_shared<AttentionWeightsOp>(setting, keys), inputs, place);
  if (changed.tensor.defined()) {
    inputs.push_back(changed);
    attended = apply(std::make_shared<WeightedValuesOp>(std::move(setting)), std::move(inputs),
                     options.name)
                   .front();
  }
  return mark(options.name + ".heads", attended);
}

std::shared_ptr<const RelativeBias> Net::relative_bias(const std::string& path,
                                                       std::int64_t buckets,
                                                       std::int64_t max_distance,
                                                       bool bidirectional) const {
  const ModuleReader reader{*state_, where(path)};
  auto bias = std::make_shared<RelativeBias>();
  bias->weight = reader.tensor(full(path) + ".weight", {"bucket", "head"});
  bias->buckets = buckets;
  bias->max_distance = max_distance;
  bias->bidirectional = bidirectional;
  const std::int64_t exact = (bidirectional ? buckets / 2 : buckets) / 2;
  if (exact < 1 || max_distance <= exact) {
    throw Error(ErrorCode::argument, "relative_bias", "these buckets and distance do not fit")
        .operand("buckets", std::to_string(buckets))
        .operand("max_distance", std::to_string(max_distance))
        .where(where(path));
  }
  if (bias->weight.defined() && bias->weight.shape().size(0) != buckets) {
    throw Error(ErrorCode::shape, "relative_bias", "the weight has another number of buckets")
        .operand(full(path),
                 bias->weight.spec().text() + " " + versus(buckets, bias->weight.shape().size(0)))
        .where(where(path));
  }
  return bias;
}

}  // namespace perilune
