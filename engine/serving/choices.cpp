// Which tokens of a pass are chosen on the device of its logits: all whose options a kernel knows
// (kernels/choice.h). Scripts' processors, and options that Sampler::needs_host names, take their
// rows to the host; beams and scored prompts too.
#include "engine/serving/constraint.h"
#include "engine/serving/scheduler_state.h"

namespace perilune {

namespace {

/// Where most rows go to the host anyway, they go there together.
constexpr std::size_t kFewRows = 8;

/// What all of a request's processors allow; empty: everything.
std::span<const std::uint32_t> allowed_by_all(const Request& request, const Sequence& sequence,
                                              std::vector<std::uint32_t>& both) {
  std::span<const std::uint32_t> all;
  for (const std::shared_ptr<Processor>& processor : request.spec.hooks.processors) {
    const std::span<const std::uint32_t> allowed = processor->allowed(request, sequence);
    if (allowed.empty()) continue;
    if (all.empty()) {
      both.assign(allowed.begin(), allowed.end());
    } else {
      both.resize(std::min(both.size(), allowed.size()));
      for (std::size_t i = 0; i < both.size(); ++i) both[i] &= allowed[i];
    }
    all = both;
  }
  return all;
}

}  // namespace

bool Scheduler::State::chooses_on_device(const ScheduledRow& row) const {
  const Request& request = *row.request;
  if (!row.chooses || request.progress.beams || request.compares() || changes_rows(request)) {
    return false;
  }
  // A mask follows what was accepted, which guesses are not yet.
  const bool guesses = !row.of().ahead.empty();
  return (!guesses || request.spec.hooks.processors.empty()) &&
         request.progress.sampler->needs_host() == nullptr;
}

/// Asks for the tokens of a row whose last wanted logits are row `last`.
void Scheduler::State::ask_device(const ScheduledRow& row, std::int64_t last, std::size_t width) {
  Request& request = *row.request;
  Sampler& sampler = *request.progress.sampler;
  SamplingState state = sampling_state(request, row.sequence);
  const auto ask = [&](std::size_t sequence, std::int64_t at,
                       std::span<const std::uint32_t> allowed) {
    device_choice.add({&request, sequence, at}, sampler, state, sampler.rules(width, state),
                      allowed);
  };
  if (!row.of().ahead.empty()) {
    guessed_ids.assign(state.ids.begin(), state.ids.end());
    for (std::int64_t i = 0; i < row.choices; ++i) {
      if (i > 0) guessed_ids.push_back(row.of().ahead[static_cast<std::size_t>(i)]);
      state.ids = guessed_ids;
      state.position = static_cast<std::int64_t>(guessed_ids.size());
      if (!request.spec.source) {
        state.source = state.ids.first(static_cast<std::size_t>(state.prompt_tokens));
      }
      ask(row.sequence, last - row.choices + 1 + i, {});
    }
    return;
  }
  const bool splits = request.sequences.size() == 1 && request.spec.options.n > 1;
  const std::size_t outputs = splits ? static_cast<std::size_t>(request.spec.options.n) : 1;
  for (std::size_t k = 0; k < outputs; ++k) {
    if (splits) state.output_index = k;
    ask(splits ? k : row.sequence, last, allowed_by_all(request, row.of(), allowed_ids));
  }
}

/// False: the rows of `logits` [row, vocab] are to be copied to the host at once, since they are
/// there already or most of them are needed. Else rows that are not chosen for are copied one by
/// one.
bool Scheduler::State::choose_on_device(const ScheduledGroup& group, const Tensor& logits) {
  const bool fits = logits.shape().rank() == 2 && logits.dtype() == DType::f32 &&
                    logits.contiguous() && !logits.device().host_visible() &&
                    logits.device().kernels().choose != nullptr;
  if (!fits) return false;
  std::size_t needed = 0;
  std::int64_t next = 0;
  const auto width = static_cast<std::size_t>(logits.shape().axis(1).size);
  for (const ScheduledRow& row : group.rows) {
    next += static_cast<std::int64_t>(row.wanted);
    if (row.request->done()) continue;
    const bool chosen = chooses_on_device(row) && try_device(row, next - 1, width);
    needed += row.wanted - (chosen ? static_cast<std::size_t>(row.choices) : 0);
  }
  if (device_choice.empty() || (needed > kFewRows && needed > device_choice.size())) {
    device_choice.begin();
    return false;
  }
  device_choice.run(logits);
  stats.device_choices += static_cast<std::int64_t>(device_choice.size());
  return true;
}

/// False: a grammar's mask could not be made; the host meets that again and tells it.
bool Scheduler::State::try_device(const ScheduledRow& row, std::int64_t last, std::size_t width) {
  try {
    ask_device(row, last, width);
    return true;
  } catch (const Error&) {
    return false;
  }
}

/// The token of sequence `index` from row `at` of the pass' logits, where the device chose it.
bool Scheduler::State::take_chosen(const RequestPointer& request, std::size_t index,
                                   std::int64_t at) {
  Sampled sampled;
  bool from_model = false;
  if (!device_choice.take({request.get(), index, at}, sampled, from_model)) return false;
  take_sampled(request, index, sampled, from_model);
  return true;
}

}  // namespace perilune
