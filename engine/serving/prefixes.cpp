#include "engine/serving/prefixes.h"

#include <algorithm>

#include "engine/base/error.h"

namespace perilune {

namespace {

/// Whether a sequence's keys depend on its ids alone: a decoder's after a source do not.
bool shares(const Request& request, const Sequence& sequence) {
  return request.spec.reuse && !request.spec.hooks.write_pass &&
         request.spec.kind == RequestKind::generate && !request.spec.source &&
         !request.spec.recompute && sequence.role != SequenceRole::candidate &&
         sequence.cache != nullptr;
}

PrefixKey key_of(const Request& request, std::int64_t text_tokens) {
  return {request.spec.plan, request.spec.plan->program().key_length(text_tokens),
          static_cast<std::uint64_t>(request.spec.adapter)};
}

/// Ids that need not run: the last one's logits are wanted, or those of all that were not scored,
/// or their hidden states.
std::span<const std::int32_t> optional_ids(const Request& request, const Sequence& sequence) {
  auto most = std::min(static_cast<std::int64_t>(sequence.context().size()), sequence.stop_at) - 1;
  const bool answer = sequence.role == SequenceRole::answer;
  if (answer && request.spec.options.prompt_logprobs &&
      sequence.output_index == request.spec.output_index) {
    most = std::min(most, static_cast<std::int64_t>(sequence.prompt_logprobs.size()));
  }
  if (answer && request.progress.contrastive) {
    most = std::min(most, request.progress.contrastive->seen());
  }
  return std::span(sequence.context())
      .first(static_cast<std::size_t>(std::max<std::int64_t>(0, most)));
}

bool fresh(const Request& request, const Sequence& sequence) {
  return shares(request, sequence) && !sequence.finished && sequence.waits_for < 0 &&
         sequence.computed == 0 && sequence.cache->length() == 0 && !sequence.cache->in_pass();
}

}  // namespace

std::int64_t shareable_tokens(const Request& request) {
  const Sequence& sequence = request.sequences[request.leader()];
  // Of two texts each shares its own: not counted before, found by attach_prefix().
  if (request.spec.guidance.on() || !fresh(request, sequence)) return 0;
  return sequence.cache->cache()->shareable(
      key_of(request, static_cast<std::int64_t>(sequence.context().size())),
      optional_ids(request, sequence));
}

bool attach_prefix(Request& request) {
  bool attached = false;
  for (Sequence& sequence : request.sequences) {
    if (!fresh(request, sequence)) continue;
    sequence.computed = sequence.cache->attach(
        key_of(request, static_cast<std::int64_t>(sequence.context().size())),
        optional_ids(request, sequence));
    attached = attached || sequence.computed > 0;
  }
  if (request.progress.times.first_run == 0) {
    request.progress.reused_tokens =
        std::min(request.sequences[0].computed, request.spec.prompt_tokens);
  }
  return attached;
}

void detach_prefix(Request& request) {
  for (Sequence& sequence : request.sequences) {
    if (!sequence.cache) continue;
    sequence.cache->clear();
    sequence.computed = 0;
  }
  if (request.progress.times.first_run == 0) request.progress.reused_tokens = 0;
}

void continue_cache(Request& request) {
  const RequestSpec& spec = request.spec;
  if (!spec.continued || spec.continued->length() == 0) return;
  if (spec.contrastive.on()) return;  // it needs the hidden states of all of its text
  Sequence& sequence = request.sequences[0];
  const auto length = static_cast<std::int64_t>(sequence.context().size());
  if (spec.continued->length() >= length || !sequence.cache ||
      spec.continued->cache() != sequence.cache->cache()) {
    throw Error(ErrorCode::argument, "generate", "the cache is not the beginning of the prompt");
  }
  if (!spec.plan->program().same_keys(spec.continued->made_for(), length)) return;
  sequence.cache = spec.continued->fork();
  sequence.computed = sequence.cache->length();
  request.progress.reused_tokens = sequence.computed;
}

void release_cache(Request& request, Sequence& sequence) {
  if (request.spec.continued && sequence.cache) {
    request.progress.returned = std::move(sequence.cache);
  } else {
    sequence.cache.reset();
  }
}

void publish_pages(const Request& request, Sequence& sequence, bool tail) {
  if (!shares(request, sequence) || sequence.cache->in_pass()) return;
  if (!tail && !sequence.cache->has_unpublished()) return;
  if (sequence.cache->length() == 0) return;
  try {
    sequence.cache->publish(key_of(request, sequence.cache->made_for()), sequence.context(), tail);
  } catch (const std::bad_alloc&) {
    // Others will compute theirs.
  }
}

}  // namespace perilune
