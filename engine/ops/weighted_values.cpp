#include "engine/ops/weighted_values.h"

#include <algorithm>
#include <cmath>

#include "engine/ops/attention_run.h"

namespace perilune {

namespace {

/// The keys that the token at `position` sees: [begin, end).
struct Seen {
  std::int64_t begin, end;
};
Seen seen_from(const AttentionSetting& setting, const kernels::KvRow& row, std::int64_t position) {
  Seen seen{0, row.key_count};
  if (setting.mask == kernels::Mask::causal) seen.end = std::min(seen.end, position + 1);
  if (setting.window > 0) {
    seen.begin = std::max<std::int64_t>(0, position - setting.window + 1);
    seen.end = std::min(seen.end, position + setting.window);
  }
  return seen;
}

/// Reads the values of all rows out of their pages, whatever their type and device: attention of
/// queries that see one key each. Row r of the attention has the values of its keys from first[r],
/// at values.rows[r].first_token.
struct Values {
  kernels::AttentionArguments arguments{};
  std::vector<kernels::KvRow> rows;
  std::int64_t keys = 0;

  Values(const AttentionSetting& setting, const PreparedAttention& of) {
    for (const kernels::KvRow& row : *of.rows) {
      const std::int64_t first =
          std::min(seen_from(setting, row, row.first_position).begin, row.key_count);
      const std::int64_t count = row.tokens > 0 ? row.key_count - first : 0;
      rows.push_back({row.pages, keys, count, first, row.key_count});
      keys += count;
    }
    arguments.layout = of.arguments.layout;
    arguments.page_offset = of.arguments.page_offset;
    arguments.rows = rows.data();
    arguments.row_count = static_cast<std::int64_t>(rows.size());
    arguments.heads = arguments.layout.kv_heads;
    arguments.mask = kernels::Mask::causal;
    arguments.window = 1;
    arguments.scale = 1;
  }
  Values(const Values&) = delete;  // the arguments point into it
  Values& operator=(const Values&) = delete;

  std::int64_t elements() const {
    return keys * arguments.layout.kv_heads * arguments.layout.head_dim;
  }
  std::size_t scratch_bytes(const OpRun& run) const {
    const std::size_t bytes = static_cast<std::size_t>(elements()) * sizeof(float);
    return 2 * ScratchCursor::align(bytes) + staged_scratch(run, arguments.layout, rows) +
           run.kernels().attention_scratch(arguments, run.launch.parallel.threads);
  }
  /// [key, kv_head, head_dim] on the host.
  std::vector<float> read(const OpRun& run, kernels::Launch launch) {
    ScratchCursor scratch(launch.scratch);
    std::vector<float> nothing(static_cast<std::size_t>(elements()));
    float* queries = scratch.take<float>(elements());
    float* out = scratch.take<float>(elements());
    run.device.copy_in(queries, nothing.data(), nothing.size() * sizeof(float));
    arguments.q = queries;
    arguments.out = out;
    arguments.device_rows = stage_rows(run, arguments.layout, rows, scratch);
    launch.scratch = scratch.rest();
    run.kernels().attention(launch, arguments);
    return host_copy<float>(run, out, elements());
  }
};

/// One row's tokens: `weights` [token, head, key] and `out` [token, head, head_dim] of the pass,
/// `values` [key, kv_head, head_dim] of the row from its key `first`.
struct RowSums {
  const AttentionSetting& setting;
  const kernels::KvLayout& layout;
  std::int64_t heads, keys, first;
  const float* weights;
  const float* values;
  float* out;

  void sum(const kernels::KvRow& row) const {
    const std::int64_t width = layout.head_dim;
    for (std::int64_t i = 0; i < row.tokens * heads; ++i) {
      const std::int64_t head = i % heads;
      const std::int64_t place = row.first_token * heads + i;
      const Seen seen = seen_from(setting, row, row.first_position + i / heads);
      for (std::int64_t j = seen.begin; j < std::min(seen.end, keys); ++j) {
        const float* value =
            values + ((j - first) * layout.kv_heads + head / (heads / layout.kv_heads)) * width;
        const float weight = weights[place * keys + j];
        for (std::int64_t d = 0; d < width; ++d)
          out[place * width + d] = std::fma(weight, value[d], out[place * width + d]);
      }
    }
  }
};

}  // namespace

std::vector<TensorSpec> WeightedValuesOp::infer(std::span<const TensorSpec> inputs) const {
  const auto own = inputs.first(inputs.size() - 1);
  expect_f32("weighted_values", "weights", inputs.back());
  return AttentionOp(setting_).infer(own);
}

std::size_t WeightedValuesOp::scratch_bytes(const OpRun& run) const {
  ScratchCursor none(nullptr);
  PreparedAttention prepared;
  prepare_attention(run, setting_, none, prepared);
  return attention_scratch(run, setting_) + contiguous_scratch(run.inputs.back()) +
         Values(setting_, prepared).scratch_bytes(run);
}

void WeightedValuesOp::run(OpRun& run) const {
  Tensor& out = run.outputs[0];
  if (out.elements() == 0) return;
  kernels::Launch launch = run.launch;
  PreparedAttention prepared;
  ready_attention(run, setting_, launch, prepared);
  ScratchCursor scratch(launch.scratch);
  const Tensor& weights = run.inputs.back();
  const void* weight_data = contiguous_input(run, weights, scratch);
  launch.scratch = scratch.rest();
  Values reader(setting_, prepared);
  const std::vector<float> values = reader.read(run, launch);
  const std::vector<float> host = host_copy<float>(run, weight_data, weights.elements());
  std::vector<float> sums(static_cast<std::size_t>(out.elements()));
  const kernels::KvLayout& layout = prepared.arguments.layout;
  const std::int64_t row_values = layout.kv_heads * layout.head_dim;
  for (std::size_t r = 0; r < reader.rows.size(); ++r) {
    const kernels::KvRow& kept = reader.rows[r];
    RowSums{setting_,
            layout,
            prepared.arguments.heads,
            weights.shape().size(2),
            kept.first_position,
            host.data(),
            values.data() + kept.first_token * row_values,
            sums.data()}
        .sum((*prepared.rows)[r]);
  }
  run.device.copy_in(out.data(), sums.data(), sums.size() * sizeof(float));
}

}  // namespace perilune
