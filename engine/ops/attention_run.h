// What attention, its weights and what is made of changed weights share when they run.
#pragma once

#include "engine/ops/attention_setting.h"

namespace perilune {

/// Everything a kernel needs, laid out in scratch; the same for asking sizes and for running.
struct PreparedAttention {
  kernels::AttentionArguments arguments{};
  std::vector<kernels::KvRow> own_rows;    // uncached: as attention reads them
  std::vector<kernels::KvRow> write_rows;  // uncached: packing k and v
  const std::vector<kernels::KvRow>* rows = &own_rows;
  std::vector<void*> pages;
  std::byte* page_data = nullptr;

  PreparedAttention() = default;
  PreparedAttention(const PreparedAttention&) = delete;  // `rows` may point into it
  PreparedAttention& operator=(const PreparedAttention&) = delete;
};

/// The slot of a pass' cache; throws Error(state) naming the layer where there is no cache.
KvSlot find_slot(const OpRun& run, std::string_view op, const std::string& path, KvKind kind);
kernels::KvLayout layout_of(const OpRun& run, const KvSlot& slot);
const std::vector<kernels::KvRow>& cached_rows(const OpRun& run, std::string_view op,
                                               const KvSlot& slot, KvKind kind, bool writing,
                                               const Axis& axis);
/// Whether kernels take the rows of a cache as the run's tables have them.
bool reads_rows(const OpRun& run);

/// Bytes of rows that no cache keeps, as the device's kernels take them, and such rows in scratch.
std::size_t staged_scratch(const OpRun& run, const kernels::KvLayout& layout,
                           const std::vector<kernels::KvRow>& rows);
const void* stage_rows(const OpRun& run, const kernels::KvLayout& layout,
                       const std::vector<kernels::KvRow>& rows, ScratchCursor& scratch);

/// Sizes, pages and rows for the run's inputs (q, then k and v where there is no cache): all but q,
/// out and the device's rows. Throws Error(shape) for q that does not fit the keys.
void prepare_attention(const OpRun& run, const AttentionSetting& setting, ScratchCursor& scratch,
                       PreparedAttention& prepared);
/// Scratch of ready_attention and of the kernel.
std::size_t attention_scratch(const OpRun& run, const AttentionSetting& setting);
/// Packs k and v, fills the bias and makes arguments ready to run; `launch` gets the scratch left.
void ready_attention(const OpRun& run, const AttentionSetting& setting, kernels::Launch& launch,
                     PreparedAttention& prepared);

}  // namespace perilune
