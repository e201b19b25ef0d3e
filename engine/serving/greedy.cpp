// Greedy requests: the argmax is taken where the logits are, in place; of a device with memory of
// its own only ids come back. A row that needs more than that (it holds NaN, an id that cannot be)
// is looked at by the same code as everywhere.
#include <algorithm>
#include <cmath>

#include "engine/device/context.h"
#include "engine/program/value_math.h"
#include "engine/sampling/logits.h"
#include "engine/serving/scheduler_state.h"

namespace perilune {

bool Scheduler::State::chooses_best(const Request& request) const {
  return !request.progress.beams && request.spec.hooks.processors.empty() &&
         !request.spec.hooks.guide && request.progress.sampler->only_best();
}

/// False: the rows of `logits` [row, vocab] are to be copied to the host at once, since they are
/// there already or most of them are needed.
bool Scheduler::State::choose_on_device(const ScheduledGroup& group, const Tensor& logits) {
  if (logits.device().host_visible()) return false;
  std::size_t plain = 0, needed = 0;
  for (const ScheduledRow& row : group.rows) {
    if (row.request->done()) continue;
    const bool best = row.wanted == 1 && chooses_best(*row.request);
    plain += best ? 1 : 0;
    needed += best ? 0 : row.wanted;
  }
  if (plain <= needed) return false;
  const Shape shape({{"row", logits.shape().axis(0).size}, {"vocab", logits.shape().axis(1).size}});
  const Value rows = Value::of(logits.with_shape(shape));
  const Tensor best = tensor_ops::reduce(kernels::Reduce::argmax, rows, {"vocab"}).tensor;
  // A NaN makes the sum one; so may infinities, which the host tells from it.
  const Tensor sums = tensor_ops::reduce(kernels::Reduce::sum, rows, {"vocab"}).tensor;
  const Tensor ids = best.to(context->cpu_device()), finite = sums.to(context->cpu_device());
  best_ids.assign(ids.as<std::int64_t>(), ids.as<std::int64_t>() + ids.elements());
  for (std::size_t row = 0; row < best_ids.size(); ++row) {
    if (!std::isfinite(finite.as<float>()[row])) best_ids[row] = -1;
  }
  return true;
}

namespace {

/// The best id of a row that the host can read, -1 where it takes a closer look.
std::int64_t best_on_host(const Tensor& logits, std::int64_t at, std::int64_t reachable) {
  const std::int64_t size = logits.shape().axis(1).size;
  const float* row = logits.as<float>() + at * size;
  const Best best = find_best({row, static_cast<std::size_t>(size)});
  if (best.nan || best.logit == kNever) return -1;
  const auto id = static_cast<std::int64_t>(best.index);
  return reachable > 0 && id >= reachable ? -1 : id;
}

}  // namespace

/// Whether sequence `index` got the token of row `at` of `logits` [row, vocab] without a copy of
/// them.
bool Scheduler::State::take_best(const RequestPointer& request, std::size_t index,
                                 const Tensor& logits, std::int64_t at) {
  if (!chooses_best(*request)) return false;
  const std::int64_t reachable = request->spec.reachable;
  std::int64_t id = -1;
  if (!best_ids.empty()) {
    id = best_ids[static_cast<std::size_t>(at)];
    if (reachable > 0 && id >= reachable) return false;
  } else if (logits.dtype() == DType::f32 && logits.shape().rank() == 2 && logits.contiguous() &&
             logits.device().host_visible()) {
    id = best_on_host(logits, at, reachable);
  }
  if (id < 0) return false;
  const auto chosen = static_cast<std::int32_t>(id);
  accept(request, index, {&chosen, 1});
  return true;
}

}  // namespace perilune
