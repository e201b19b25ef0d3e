#include "engine/ops/attention.h"

#include <algorithm>
#include <cmath>

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

KvSlot find_slot(const OpRun& run, std::string_view op, const std::string& path, KvKind kind) {
  if (run.slot != nullptr) return *run.slot;
  const PassBinding& binding = run.bound(op);
  if (!binding.has_caches()) {
    throw Error(ErrorCode::state, std::string(op),
                "this pass keeps keys and values, and no cache was given")
        .operand("layer", path);
  }
  return binding.cache_layout()->slot(path, kind);
}

kernels::KvLayout layout_of(const OpRun& run, const KvSlot& slot) {
  return run.binding->cache_layout()->groups()[static_cast<std::size_t>(slot.group)].layout;
}

const std::vector<kernels::KvRow>& cached_rows(const OpRun& run, std::string_view op,
                                               const KvSlot& slot, KvKind kind, bool writing,
                                               const Axis& axis) {
  return run.tables->kv_rows(*run.binding, slot, kind, writing, run.rows(op, axis).identity);
}

/// Rows that no cache keeps, as the device's kernels take them.
std::size_t staged_scratch(const OpRun& run, const kernels::KvLayout& layout,
                           const std::vector<kernels::KvRow>& rows) {
  const auto bytes = run.kernels().kv_rows_bytes;
  if (bytes == nullptr) return 0;
  return ScratchCursor::align(bytes(layout, rows.data(), static_cast<std::int64_t>(rows.size())));
}

const void* stage_rows(const OpRun& run, const kernels::KvLayout& layout,
                       const std::vector<kernels::KvRow>& rows, ScratchCursor& scratch) {
  const kernels::KernelTable& kernels = run.kernels();
  if (kernels.kv_rows_bytes == nullptr) return nullptr;
  const auto count = static_cast<std::int64_t>(rows.size());
  std::vector<std::byte> host(kernels.kv_rows_bytes(layout, rows.data(), count));
  std::byte* device = scratch.take<std::byte>(static_cast<std::int64_t>(host.size()));
  kernels.kv_rows_stage(layout, rows.data(), count, host.data(), device);
  run.device.copy_in(device, host.data(), host.size());
  return device;
}

/// Whether kernels take the rows of a cache as the run's tables have them.
bool reads_rows(const OpRun& run) {
  return run.slot != nullptr && run.device.host_visible() && run.kernels().kv_rows_bytes == nullptr;
}

// ---------------------------------------------------------------- relative bias

struct BiasRange {
  std::int64_t first = 0, last = 0;
};

BiasRange bias_range(const AttentionSetting& setting, const std::vector<kernels::KvRow>& rows) {
  BiasRange range;
  for (const kernels::KvRow& row : rows) {
    range.first = std::min(range.first, -(row.first_position + row.tokens - 1));
    range.last = std::max(range.last, row.key_count - 1 - row.first_position);
  }
  if (setting.mask == kernels::Mask::causal) range.last = 0;
  return range;
}

// ---------------------------------------------------------------- one run

/// Everything a kernel needs, laid out in scratch; the same for asking sizes and for running.
struct Prepared {
  kernels::AttentionArguments arguments{};
  std::vector<kernels::KvRow> own_rows;    // uncached: as attention reads them
  std::vector<kernels::KvRow> write_rows;  // uncached: packing k and v
  const std::vector<kernels::KvRow>* rows = &own_rows;
  std::vector<void*> pages;
  std::byte* page_data = nullptr;

  Prepared() = default;
  Prepared(const Prepared&) = delete;  // `rows` may point into it
  Prepared& operator=(const Prepared&) = delete;
};

// Without a cache keys and values go into pages of one block each, rounded as a cache would.
void prepare_uncached(const OpRun& run, const AttentionSetting& setting, ScratchCursor& scratch,
                      Prepared& prepared) {
  const Axis& q_axis = run.inputs[0].shape().axis(0);
  const Axis& k_axis = run.inputs[1].shape().axis(0);
  const RaggedRows& q = run.rows("attention", q_axis);
  const RaggedRows& k = run.rows("attention", k_axis);
  if (q.rows() != k.rows()) {
    throw Error(ErrorCode::shape, "attention", "queries and keys are of different batches")
        .operand("q", std::to_string(q.rows()) + " rows")
        .operand("k", std::to_string(k.rows()) + " rows");
  }
  kernels::KvLayout& layout = prepared.arguments.layout;
  layout = {run.cache_dtype, setting.kv_heads, setting.head_dim, kernels::kKvBlock};
  const auto blocks = [](std::int64_t length) {
    return (length + kernels::kKvBlock - 1) / kernels::kKvBlock;
  };
  std::int64_t total = 0;
  for (std::int64_t r = 0; r < k.rows(); ++r) total += blocks(k.length(r));
  const std::int64_t page_bytes = kernels::kv_layer_bytes(layout);
  prepared.page_data = scratch.take<std::byte>(total * page_bytes);
  prepared.pages.resize(static_cast<std::size_t>(total));
  for (std::int64_t p = 0; p < total; ++p) {
    prepared.pages[static_cast<std::size_t>(p)] =
        reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(prepared.page_data) +
                                static_cast<std::uintptr_t>(p * page_bytes));
  }
  std::int64_t page = 0;
  const bool own = q.identity == k.identity;
  for (std::int64_t r = 0; r < k.rows(); ++r) {
    void* const* pages = prepared.pages.data() + page;
    const std::int64_t base =
        own ? 0 : run.binding->batch().facts()[static_cast<std::size_t>(r)].first_position;
    const auto row = static_cast<std::size_t>(r);
    prepared.write_rows.push_back({pages, k.starts[row], k.length(r), 0, k.length(r)});
    prepared.own_rows.push_back({pages, q.starts[row], q.length(r), base, k.length(r)});
    page += blocks(k.length(r));
  }
}

void prepare(const OpRun& run, const AttentionSetting& setting, ScratchCursor& scratch,
             Prepared& prepared) {
  const Shape& q = run.inputs[0].shape();
  kernels::AttentionArguments& arguments = prepared.arguments;
  if (setting.cached) {
    const KvSlot slot = find_slot(run, "attention", setting.path, setting.kind);
    arguments.layout = layout_of(run, slot);
    arguments.page_offset = slot.page_offset;
    const kernels::KvLayout& kept = arguments.layout;
    if (kept.head_dim != q.size(2) || q.size(1) % kept.kv_heads != 0) {
      throw Error(ErrorCode::shape, "attention", "q does not fit the keys that were kept")
          .operand("q", run.inputs[0].describe())
          .operand("k", "[kv_head=" + std::to_string(kept.kv_heads) +
                            ", head_dim=" + std::to_string(kept.head_dim) + "]");
    }
    prepared.rows = &cached_rows(run, "attention", slot, setting.kind, false, q.axis(0));
  } else {
    prepare_uncached(run, setting, scratch, prepared);
  }
  arguments.rows = prepared.rows->data();
  arguments.row_count = static_cast<std::int64_t>(prepared.rows->size());
  arguments.heads = q.size(1);
  arguments.mask = setting.mask;
  arguments.window = setting.window;
  arguments.scale = static_cast<float>(setting.scale);
  arguments.softcap = static_cast<float>(setting.softcap);
}

std::size_t attention_scratch(const OpRun& run, const AttentionSetting& setting) {
  ScratchCursor scratch(nullptr);
  for (std::size_t i = 0; i < (setting.cached ? 1u : 3u); ++i) {
    scratch.take<std::byte>(static_cast<std::int64_t>(contiguous_scratch(run.inputs[i])));
  }
  Prepared prepared;
  prepare(run, setting, scratch, prepared);
  std::size_t bytes = scratch.used();
  if (!setting.cached) {
    const kernels::KvLayout& layout = prepared.arguments.layout;
    bytes += staged_scratch(run, layout, prepared.own_rows) +
             staged_scratch(run, layout, prepared.write_rows);
  }
  return bytes + run.kernels().attention_scratch(prepared.arguments, run.launch.parallel.threads);
}

void write_uncached(const OpRun& run, const Prepared& prepared, const float* k, const float* v,
                    ScratchCursor& scratch) {
  kernels::KvWriteArguments write{};
  write.layout = prepared.arguments.layout;
  write.k = k;
  write.v = v;
  write.rows = prepared.write_rows.data();
  write.row_count = static_cast<std::int64_t>(prepared.write_rows.size());
  write.device_rows = stage_rows(run, write.layout, prepared.write_rows, scratch);
  run.kernels().kv_write(run.launch, write);
}

/// Packs k and v, fills the bias and makes arguments ready to run; `launch` gets the scratch left.
void make_ready(const OpRun& run, const AttentionSetting& setting, kernels::Launch& launch,
                Prepared& prepared) {
  ScratchCursor scratch(run.launch.scratch);
  const float* inputs[3] = {};
  for (std::size_t i = 0; i < (setting.cached ? 1u : 3u); ++i) {
    inputs[i] = static_cast<const float*>(contiguous_input(run, run.inputs[i], scratch));
  }
  prepare(run, setting, scratch, prepared);
  kernels::AttentionArguments& arguments = prepared.arguments;
  if (setting.cached) {
    arguments.device_rows = run.tables->device_rows(run, arguments.layout, *prepared.rows);
  } else {
    write_uncached(run, prepared, inputs[1], inputs[2], scratch);
    arguments.device_rows = stage_rows(run, arguments.layout, prepared.own_rows, scratch);
  }
  if (setting.bias != nullptr) {
    const BiasRange range = bias_range(setting, *prepared.rows);
    const RunTables::Bias bias =
        run.tables->bias(run, setting.bias, arguments.heads, range.first, range.last);
    arguments.relative_bias = bias.entries;
    arguments.relative_first = bias.first;
    arguments.relative_count = bias.count;
  }
  arguments.q = inputs[0];
  launch.scratch = scratch.rest();
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
  expect_inputs("cached", inputs, rope_ ? 4 : 2);
  expect_same_kv("cached", inputs[0], inputs[1]);
  TensorSpec order;
  order.without_storage = true;
  return {order};
}

std::size_t KvWriteOp::scratch_bytes(const OpRun& run) const {
  return contiguous_scratch(run.inputs[0]) + contiguous_scratch(run.inputs[1]);
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

std::string KvWriteOp::describe() const {
  return std::string("kv_write ") + path_ + (kind_ == KvKind::cross ? " cross" : "") +
         (rope_ ? " with rope" : "");
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
  Prepared prepared;
  make_ready(run, setting_, launch, prepared);
  prepared.arguments.out = run.outputs[0].as<float>();
  run.kernels().attention(launch, prepared.arguments);
}

void AttentionOp::bind_call(const OpRun& run, BoundCall& call) const {
  if (!setting_.cached || setting_.bias != nullptr || !reads_rows(run)) return;
  if (run.outputs[0].elements() == 0 || contiguous_scratch(run.inputs[0]) != 0) return;
  ScratchCursor none(nullptr);
  Prepared prepared;
  prepare(run, setting_, none, prepared);
  prepared.arguments.q = run.inputs[0].as<float>();
  prepared.arguments.out = run.outputs[0].as<float>();
  call.call = BoundCall::Attention{
      {{*run.slot, setting_.kind, false, run.inputs[0].shape().axis(0).identity}},
      prepared.arguments};
}

std::string AttentionOp::describe() const {
  std::string text = "attention";
  if (setting_.cached) text += " " + setting_.path;
  if (setting_.kind == KvKind::cross) text += " cross";
  if (setting_.mask == kernels::Mask::causal) text += " causal";
  if (setting_.window > 0) text += " window=" + std::to_string(setting_.window);
  return text;
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
  Prepared prepared;
  make_ready(run, setting_, launch, prepared);
  kernels::AttentionWeightsArguments arguments{prepared.arguments, run.outputs[0].as<float>(),
                                               run.outputs[0].shape().size(2)};
  run.kernels().attention_weights(launch, arguments);
}

}  // namespace perilune
