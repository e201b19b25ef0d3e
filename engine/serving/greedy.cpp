// Greedy requests on a device with memory of its own: the argmax is taken there, and only ids come
// back. A row that needs more than that (its sum is not finite, an id that cannot be) is looked at
// on the host, by the same code as everywhere.
#include <algorithm>
#include <cmath>

#include "engine/device/context.h"
#include "engine/program/value_math.h"
#include "engine/serving/scheduler_state.h"

namespace perilune {

bool Scheduler::State::chooses_best(const Request& request) const {
  return !request.progress.beams && request.spec.hooks.processors.empty() &&
         request.progress.sampler->only_best();
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

/// Whether sequence `index` got the token of row `at` without its logits.
bool Scheduler::State::take_best(const RequestPointer& request, std::size_t index,
                                 std::int64_t at) {
  if (best_ids.empty() || !chooses_best(*request)) return false;
  const std::int64_t id = best_ids[static_cast<std::size_t>(at)];
  if (id < 0 || (request->spec.reachable > 0 && id >= request->spec.reachable)) return false;
  const auto chosen = static_cast<std::int32_t>(id);
  accept(request, index, {&chosen, 1});
  return true;
}

}  // namespace perilune
