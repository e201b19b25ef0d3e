// Several answers of one prompt, which is computed once.
#include "engine/serving/constraint.h"
#include "engine/serving/scheduler_state.h"

namespace perilune {

namespace {

/// One more of what the prompt gave, on the same pages until it writes.
Sequence another(const Sequence& first, std::size_t output_index) {
  Sequence copy;
  copy.role = first.role;
  copy.ids = first.ids;
  copy.held = first.held;
  copy.computed = first.computed;
  copy.output_index = output_index;
  copy.cache = first.cache->fork();
  return copy;
}

}  // namespace

/// The prompt is done: one sequence becomes options.n, and so does its companion.
void Scheduler::State::split_outputs(Request& request) {
  const auto count = static_cast<std::size_t>(request.spec.options.n);
  std::vector<Sequence> first = std::move(request.sequences);
  request.sequences.clear();
  request.sequences.reserve(count * first.size());
  request.sequences.push_back(std::move(first[0]));
  for (std::size_t k = 1; k < count; ++k) {
    Sequence copy = another(request.sequences[0], k);
    copy.text = request.spec.echo;
    if (request.spec.tokenizer) {
      copy.decoder = answer_decoder(request.spec);
      copy.stops = std::make_unique<StopMatcher>(request.spec.options.stop_strings);
    }
    copy.make_room();
    request.sequences.push_back(std::move(copy));
  }
  for (std::size_t k = 0; k < count && first.size() > 1; ++k) {
    request.sequences.push_back(another(first[1], k));
  }
}

}  // namespace perilune
