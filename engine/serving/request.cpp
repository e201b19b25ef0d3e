#include "engine/serving/request.h"

#include <algorithm>

namespace perilune {

const char* finish_reason_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::none: return "none";
    case FinishReason::stop: return "stop";
    case FinishReason::length: return "length";
    case FinishReason::context: return "context";
    case FinishReason::cancelled: return "cancelled";
    case FinishReason::error: return "error";
  }
  return "?";
}

const char* request_state_name(RequestState state) {
  switch (state) {
    case RequestState::waiting: return "waiting";
    case RequestState::prefill: return "prefill";
    case RequestState::decode: return "decode";
    case RequestState::done: return "done";
  }
  return "?";
}

DecodeOptions answer_decoding(const RequestSpec& spec) {
  DecodeOptions options;
  options.continues = spec.source == nullptr || !spec.tokenizer->decode(spec.prompt).empty();
  return options;
}

std::span<const std::int32_t> new_ids_of(const RequestSpec& spec, const Sequence& sequence) {
  return std::span(sequence.ids).subspan(static_cast<std::size_t>(spec.prompt_tokens));
}

bool is_complete(const Request& request, std::span<const std::int32_t> new_ids) {
  const auto& processors = request.spec.hooks.processors;
  return std::any_of(processors.begin(), processors.end(),
                     [&](const auto& processor) { return processor->complete(request, new_ids); });
}

namespace {

template <class List>
void grow(List& list, std::size_t more) {
  if (list.capacity() - list.size() >= more) return;
  list.reserve(list.size() + std::max(more, list.size() / 2));
}

}  // namespace

void Sequence::make_room_for(std::int64_t tokens) {
  const CacheLayout& layout = cache->cache()->layout();
  if (layout.pages_for(computed + tokens) != layout.pages_for(computed)) make_room();
}

void Sequence::make_room() {
  constexpr std::size_t kTextBytes = 16;  // of a token; longer ones may make the text grow
  const CacheLayout& layout = cache->cache()->layout();
  const auto more = static_cast<std::size_t>(layout.page_tokens()) + 1;
  grow(ids, more);
  if (decoder) grow(text, more * kTextBytes);
  if (logprobs.empty()) return;
  grow(logprobs, more);
  grow(top_logprobs, more);
}

std::int64_t Request::pending_tokens() const {
  if (needs_encoding()) return source_tokens();
  std::int64_t most = 0;
  for (const Sequence& sequence : sequences) most = std::max(most, sequence.pending());
  return most;
}

namespace {

std::int64_t tokens_of(const std::shared_ptr<const Batch>& batch) {
  return batch ? batch->tokens() : 0;
}

}  // namespace

std::int64_t Request::source_tokens() const {
  return tokens_of(spec.source) + tokens_of(spec.guidance.source);
}

std::size_t Request::answers() const {
  if (!compares()) return sequences.size();
  const auto first = std::find_if(sequences.begin(), sequences.end(), [](const Sequence& sequence) {
    return sequence.role != SequenceRole::answer;
  });
  return static_cast<std::size_t>(first - sequences.begin());
}

std::array<std::size_t, 2> Request::leaders() const {
  std::array<std::size_t, 2> list{leader(), kNoSequence};
  for (std::size_t i = answers(); i < sequences.size() && list[1] == kNoSequence; ++i) {
    const Sequence& sequence = sequences[i];
    if (sequence.role == SequenceRole::without && !sequence.finished) list[1] = i;
  }
  return list;
}

bool Request::reads() const {
  if (computed() < spec.prompt_tokens) return true;
  const std::size_t without = leaders()[1];
  return without != kNoSequence &&
         sequences[without].computed < static_cast<std::int64_t>(spec.guidance.ids.size());
}

std::int64_t Request::computed() const {
  std::int64_t least = -1;
  for (const Sequence& sequence : sequences) {
    if (sequence.finished || sequence.waits_for >= 0) continue;
    if (sequence.role != SequenceRole::answer) continue;
    least = least < 0 ? sequence.computed : std::min(least, sequence.computed);
  }
  return least < 0 ? sequences[0].computed : least;
}

std::int64_t Request::rows() const {
  if (needs_encoding()) return 1;  // two sources are one, as long as both, to those who plan
  return std::count_if(sequences.begin(), sequences.end(),
                       [](const Sequence& sequence) { return sequence.pending() > 0; });
}

std::size_t Request::leader() const {
  const auto first = std::find_if(sequences.begin(), sequences.end(),
                                  [](const Sequence& sequence) { return !sequence.finished; });
  return first == sequences.end() ? 0 : static_cast<std::size_t>(first - sequences.begin());
}

std::int64_t Request::unfinished() const {
  return std::count_if(sequences.begin(), sequences.end(), [](const Sequence& sequence) {
    return !sequence.finished && sequence.role == SequenceRole::answer;
  });
}

}  // namespace perilune
