#include "engine/ops/run_tables.h"

#include <algorithm>

#include "engine/ops/relative_bias.h"

namespace perilune {

namespace {

constexpr std::int64_t kBiasStep = 256;  // positions that a bias table grows by

/// `staged` with at least so many bytes on the run's device; what it held may be gone.
void* grown(const OpRun& run, std::size_t bytes, std::unique_ptr<Storage>& staged) {
  if (staged == nullptr || staged->bytes() < bytes) {
    staged.reset();
    staged = std::make_unique<Storage>(run.context.shared_from_this(),
                                       run.context.shared(run.device), bytes + bytes / 4);
  }
  return staged->data();
}

void fill_bias(const RelativeBias& bias, std::int64_t heads, std::int64_t first, std::int64_t count,
               std::vector<float>& table) {
  const float* weight = bias.weight.as<float>();
  table.resize(static_cast<std::size_t>(heads * count));
  for (std::int64_t j = 0; j < count; ++j) {
    const std::int64_t bucket = relative_bucket(bias, first + j);
    for (std::int64_t h = 0; h < heads; ++h) {
      table[static_cast<std::size_t>(h * count + j)] = weight[bucket * heads + h];
    }
  }
}

std::int64_t rounded(std::int64_t positions) {
  return (positions + kBiasStep - 1) / kBiasStep * kBiasStep;
}

}  // namespace

void RunTables::begin() {
  for (const auto& rows : rows_) rows->current = rows->staged_now = false;
}

void RunTables::forget_biases() {
  for (const auto& table : biases_) table->count = 0;
}

const std::vector<kernels::KvRow>& RunTables::kv_rows(const PassBinding& binding,
                                                      const KvSlot& slot, KvKind kind, bool writing,
                                                      AxisIdentity identity) {
  Rows* found = nullptr;
  for (const auto& rows : rows_) {
    const bool same = rows->group == slot.group && rows->kind == kind && rows->writing == writing;
    if (same && rows->current && rows->identity == identity) return rows->rows;
    if (same && !rows->current) found = rows.get();  // left by an earlier run
  }
  if (found == nullptr) {
    rows_.push_back(std::make_unique<Rows>());
    found = rows_.back().get();
  }
  found->group = slot.group;
  found->kind = kind;
  found->writing = writing;
  found->identity = identity;
  binding.kv_rows(slot, kind, writing, identity, found->rows);
  found->current = true;
  return found->rows;
}

const void* RunTables::device_rows(const OpRun& run, const kernels::KvLayout& layout,
                                   const std::vector<kernels::KvRow>& rows) {
  const kernels::KernelTable& kernels = run.kernels();
  if (kernels.kv_rows_bytes == nullptr) return nullptr;
  const auto entry = std::find_if(rows_.begin(), rows_.end(),
                                  [&](const auto& each) { return &each->rows == &rows; });
  if (entry == rows_.end()) throw Error(ErrorCode::internal, "attention", "rows of another run");
  Rows& of = **entry;
  if (of.staged_now) return of.staged->data();
  const auto count = static_cast<std::int64_t>(rows.size());
  of.host.resize(kernels.kv_rows_bytes(layout, rows.data(), count));
  void* staged = grown(run, of.host.size(), of.staged);
  kernels.kv_rows_stage(layout, rows.data(), count, of.host.data(), staged);
  run.device.copy_in(staged, of.host.data(), of.host.size());
  of.staged_now = true;
  return staged;
}

RunTables::Bias RunTables::bias(const OpRun& run, const std::shared_ptr<const RelativeBias>& bias,
                                std::int64_t heads, std::int64_t first, std::int64_t last) {
  BiasTable* table = nullptr;
  for (const auto& each : biases_) {
    if (each->of == bias && each->device == &run.device && each->heads == heads) {
      table = each.get();
    }
  }
  if (table == nullptr) {
    biases_.push_back(std::make_unique<BiasTable>());
    table = biases_.back().get();
    table->of = bias;
    table->device = &run.device;
    table->heads = heads;
  }
  const bool holds =
      table->count > 0 && first >= table->first && last < table->first + table->count;
  if (!holds) {
    first = -rounded(std::max(-first, -table->first));
    last = last <= 0 ? last : rounded(last);
    last = std::max(last, table->first + table->count - 1);
    table->count = 0;  // until it is complete
    fill_bias(*bias, heads, first, last - first + 1, table->host);
    if (!run.device.host_visible()) {
      const std::size_t bytes = table->host.size() * sizeof(float);
      run.device.copy_in(grown(run, bytes, table->staged), table->host.data(), bytes);
    }
    table->first = first;
    table->count = last - first + 1;
  }
  const void* entries = run.device.host_visible() ? static_cast<const void*>(table->host.data())
                                                  : table->staged->data();
  return {static_cast<const float*>(entries), table->first, table->count};
}

}  // namespace perilune
