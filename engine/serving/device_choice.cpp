#include "engine/serving/device_choice.h"

#include <algorithm>
#include <cstring>

#include "engine/device/context.h"

namespace perilune {

namespace {

std::size_t aligned(std::size_t bytes) {
  return (bytes + 15) / 16 * 16;
}

}  // namespace

void DeviceChoice::add(const Asked& asked, const Sampler& sampler, const SamplingState& state,
                       const LogitEdits& rules, std::span<const std::uint32_t> allowed) {
  if (asked_.empty()) {
    rows_.clear();
    edits_.clear();
    masks_.clear();
  }
  const SamplingOptions& options = sampler.options();
  kernels::ChoiceRow row = {};
  row.row = asked.at;
  row.seed = options.seed;
  row.output_index = state.output_index;
  row.position = static_cast<std::uint64_t>(state.position);
  row.top_p = options.top_p;
  row.min_p = options.min_p;
  row.top_k = options.top_k;
  row.reachable = state.reachable;
  row.temperature = static_cast<float>(options.temperature);
  row.samples = options.do_sample;
  row.forced = rules.forced();
  row.weighs = options.logprobs >= 0;
  row.best = std::max<std::int64_t>(options.logprobs, 0);
  row.first_edit = static_cast<std::int64_t>(edits_.size());
  row.edits = static_cast<std::int64_t>(rules.all().size());
  order_.clear();  // those of one id together, in their order
  for (const kernels::LogitEdit& edit : rules.all()) {
    order_.push_back(static_cast<std::uint64_t>(edit.id) << 32 | order_.size());
  }
  std::sort(order_.begin(), order_.end());
  for (const std::uint64_t key : order_) edits_.push_back(rules.all()[key & 0xffffffffu]);
  row.first_word = static_cast<std::int64_t>(masks_.size());
  row.mask_words = static_cast<std::int64_t>(allowed.size());
  masks_.insert(masks_.end(), allowed.begin(), allowed.end());
  rows_.push_back(row);
  asked_.push_back(asked);
}

DeviceChoice::Piece DeviceChoice::lay_out() {
  Piece piece = {};
  piece.edits = aligned(rows_.size() * sizeof(kernels::ChoiceRow));
  piece.masks = piece.edits + aligned(edits_.size() * sizeof(kernels::LogitEdit));
  piece.total = piece.masks + aligned(masks_.size() * sizeof(std::uint32_t));
  sent_.resize(piece.total);
  const auto put = [&](std::size_t at, const auto& list) {
    if (!list.empty()) std::memcpy(sent_.data() + at, list.data(), list.size() * sizeof list[0]);
  };
  put(piece.rows, rows_);
  put(piece.edits, edits_);
  put(piece.masks, masks_);
  return piece;
}

/// At least so many bytes on the device of `like`; what they held may be gone.
void* DeviceChoice::grown(std::unique_ptr<Storage>& storage, const Tensor& like,
                          std::size_t bytes) {
  const std::shared_ptr<Device>& device = like.storage()->device();
  if (storage == nullptr || storage->bytes() < bytes || storage->device() != device) {
    storage.reset();
    storage = std::make_unique<Storage>(like.storage()->context_pointer(), device,
                                        aligned(bytes + bytes / 4));
  }
  return storage->data();
}

std::size_t DeviceChoice::best_at() const {
  return rows_.size() * sizeof(kernels::ChoiceResult);
}

void DeviceChoice::run(const Tensor& logits) {
  Device& device = *logits.storage()->device();
  width_ = logits.shape().axis(1).size;
  most_best_ = 0;
  bool changes = false;
  for (const kernels::ChoiceRow& row : rows_) {
    most_best_ = std::max(most_best_, row.best);
    changes = changes || kernels::changes_row(row);
  }
  const Piece piece = lay_out();
  auto* input = static_cast<std::byte*>(grown(input_, logits, piece.total));
  const std::size_t count = rows_.size();
  received_.resize(best_at() +
                   count * static_cast<std::size_t>(most_best_) * sizeof(kernels::BestLogit));
  auto* output = static_cast<std::byte*>(grown(output_, logits, received_.size()));
  kernels::ChoiceArguments a = {};
  a.logits = logits.as<float>();
  a.stride = a.width = width_;
  a.rows = reinterpret_cast<const kernels::ChoiceRow*>(input + piece.rows);
  a.row_count = static_cast<std::int64_t>(count);
  a.edits = reinterpret_cast<const kernels::LogitEdit*>(input + piece.edits);
  a.masks = reinterpret_cast<const std::uint32_t*>(input + piece.masks);
  if (changes) {
    const std::size_t bytes = count * static_cast<std::size_t>(width_) * sizeof(float);
    a.scratch = static_cast<float*>(grown(scratch_, logits, bytes));
  }
  a.results = reinterpret_cast<kernels::ChoiceResult*>(output);
  a.best = reinterpret_cast<kernels::BestLogit*>(output + best_at());
  a.most_best = most_best_;
  device.copy_in(input, sent_.data(), piece.total);
  device.kernels().choose(device.launch(), a);
  device.copy_out(received_.data(), output, received_.size());
  next_ = 0;
}

bool DeviceChoice::take(const Asked& asked, Sampled& result, bool& from_model) {
  const auto same = [&](const Asked& one) {
    return one.request == asked.request && one.sequence == asked.sequence && one.at == asked.at;
  };
  auto found =
      std::find_if(asked_.begin() + static_cast<std::ptrdiff_t>(next_), asked_.end(), same);
  if (found == asked_.end()) return false;  // nothing is passed over for it
  const auto at = static_cast<std::size_t>(found - asked_.begin());
  next_ = at + 1;
  kernels::ChoiceResult of;
  std::memcpy(&of, received_.data() + at * sizeof of, sizeof of);
  result = Sampled{};
  result.id = of.id;
  result.not_finite = of.flags != 0;
  from_model = of.flags == kernels::kRowHoldsNan;
  if (!rows_[at].weighs || result.id < 0) return true;
  const double log_sum = log_sum_of(of.best, of.weights, width_);
  result.logprob = static_cast<float>(static_cast<double>(of.logit) - log_sum);
  const std::size_t first =
      best_at() + at * static_cast<std::size_t>(most_best_) * sizeof(kernels::BestLogit);
  for (std::size_t i = 0; i < static_cast<std::size_t>(rows_[at].best); ++i) {
    kernels::BestLogit best;
    std::memcpy(&best, received_.data() + first + i * sizeof best, sizeof best);
    if (best.id < 0) break;  // there are fewer ids
    const double logprob = static_cast<double>(best.logit) - log_sum;
    result.top.push_back({best.id, static_cast<float>(logprob)});
  }
  return true;
}

}  // namespace perilune
