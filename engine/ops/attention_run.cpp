#include "engine/ops/attention_run.h"

#include <algorithm>

namespace perilune {

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

bool reads_rows(const OpRun& run) {
  return run.slot != nullptr && run.device.host_visible() && run.kernels().kv_rows_bytes == nullptr;
}

namespace {

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

// Without a cache keys and values go into pages of one block each, rounded as a cache would.
void prepare_uncached(const OpRun& run, const AttentionSetting& setting, ScratchCursor& scratch,
                      PreparedAttention& prepared) {
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

}  // namespace

void prepare_attention(const OpRun& run, const AttentionSetting& setting, ScratchCursor& scratch,
                       PreparedAttention& prepared) {
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
  PreparedAttention prepared;
  prepare_attention(run, setting, scratch, prepared);
  std::size_t bytes = scratch.used();
  if (!setting.cached) {
    const kernels::KvLayout& layout = prepared.arguments.layout;
    bytes += staged_scratch(run, layout, prepared.own_rows) +
             staged_scratch(run, layout, prepared.write_rows);
  }
  return bytes + run.kernels().attention_scratch(prepared.arguments, run.launch.parallel.threads);
}

namespace {

void write_uncached(const OpRun& run, const PreparedAttention& prepared, const float* k,
                    const float* v, ScratchCursor& scratch) {
  kernels::KvWriteArguments write{};
  write.layout = prepared.arguments.layout;
  write.k = k;
  write.v = v;
  write.rows = prepared.write_rows.data();
  write.row_count = static_cast<std::int64_t>(prepared.write_rows.size());
  write.device_rows = stage_rows(run, write.layout, prepared.write_rows, scratch);
  run.kernels().kv_write(run.launch, write);
}

}  // namespace

void ready_attention(const OpRun& run, const AttentionSetting& setting, kernels::Launch& launch,
                     PreparedAttention& prepared) {
  ScratchCursor scratch(run.launch.scratch);
  const float* inputs[3] = {};
  for (std::size_t i = 0; i < (setting.cached ? 1u : 3u); ++i) {
    inputs[i] = static_cast<const float*>(contiguous_input(run, run.inputs[i], scratch));
  }
  prepare_attention(run, setting, scratch, prepared);
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

}  // namespace perilune
