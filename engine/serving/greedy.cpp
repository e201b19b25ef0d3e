// Greedy requests whose logits the host can read: the argmax is taken in place. A row that needs
// more than that (it holds NaN, an id that cannot be) is looked at by the same code as everywhere.
#include "engine/sampling/logits.h"
#include "engine/serving/scheduler_state.h"

namespace perilune {

bool Scheduler::State::chooses_best(const Request& request) const {
  return !request.progress.beams && request.spec.hooks.processors.empty() &&
         request.progress.sampler->only_best();
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
  const bool plain = logits.dtype() == DType::f32 && logits.shape().rank() == 2 &&
                     logits.contiguous() && logits.device().host_visible();
  const std::int64_t id = plain ? best_on_host(logits, at, reachable) : -1;
  if (id < 0) return false;
  const auto chosen = static_cast<std::int32_t>(id);
  accept(request, index, {&chosen, 1});
  return true;
}

}  // namespace perilune
