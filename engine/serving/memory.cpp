#include "engine/serving/memory.h"

#include <algorithm>
#include <array>
#include <memory_resource>

#include "engine/serving/prefixes.h"

namespace perilune {

Cache* pool_of(const Request& request) {
  for (const Sequence& sequence : request.sequences) {
    if (sequence.cache) return sequence.cache->cache().get();
  }
  return nullptr;
}

bool holds_pages(const Request& request) {
  return std::any_of(request.sequences.begin(), request.sequences.end(),
                     [](const Sequence& s) { return s.cache && s.cache->bytes() > 0; });
}

std::int64_t bytes_needed(const Request& request, std::int64_t tokens) {
  if (tokens <= 0) return 0;
  if (request.needs_encoding()) {
    std::int64_t bytes = 0;
    for (const std::size_t index : request.leaders()) {
      if (index == Request::kNoSequence) continue;
      const Sequence& leader = request.sequences[index];
      if (leader.cache) bytes += leader.cache->bytes_needed(0, request.encoded_tokens_of(leader));
    }
    return bytes;
  }
  if (request.sequences.size() == 1) {
    const Sequence& only = request.sequences[0];
    return only.cache ? only.cache->bytes_needed(std::min(tokens, only.pending())) : 0;
  }
  // On the stack, as far as it goes: this is asked for in every step.
  std::array<std::byte, 2048> memory;
  std::pmr::monotonic_buffer_resource stack(memory.data(), memory.size());
  std::pmr::vector<CacheGrowth> growths(&stack);
  growths.reserve(request.sequences.size());
  for (const Sequence& sequence : request.sequences) {
    const std::int64_t own = std::min(tokens, sequence.pending());
    if (sequence.cache && own > 0) growths.push_back({sequence.cache.get(), own, 0});
  }
  return SequenceCache::bytes_needed(growths);
}

std::int64_t bytes_needed_after(const Request& request, std::int64_t shared, std::int64_t tokens) {
  if (shared == 0) return bytes_needed(request, tokens);
  const CacheLayout& layout = pool_of(request)->layout();
  std::int64_t bytes = layout.bytes_for(shared + tokens);
  if (shared % layout.page_tokens() == 0) return bytes;
  for (const KvGroup& group : layout.groups()) bytes += group.page_bytes;  // a copy is written to
  return bytes;
}

std::int64_t bytes_alone(const RequestSpec& spec, std::int64_t tokens, const CacheLayout& layout) {
  if (spec.kind == RequestKind::generate) {
    const GuidanceOptions& guidance = spec.guidance;
    const auto without = static_cast<std::int64_t>(guidance.ids.size());
    const std::int64_t own = layout.bytes_for(tokens, spec.encoded_tokens);
    return guidance.on() ? own + layout.bytes_for(without, guidance.encoded_tokens) : own;
  }
  std::int64_t bytes = 0;
  for (const KvGroup& group : layout.groups()) {
    const bool cross = group.kind == KvKind::cross;
    bytes += layout.pages_for(cross ? spec.encoded_tokens : tokens) * group.page_bytes;
  }
  return bytes;
}

std::int64_t bytes_to_start(const Request& request) {
  const Sequence& leader = request.sequences[request.leader()];
  if (!leader.cache) return 0;
  const CacheLayout& layout = leader.cache->cache()->layout();
  if (request.spec.kind == RequestKind::forward) {
    return bytes_alone(request.spec, static_cast<std::int64_t>(leader.context().size()), layout);
  }
  std::int64_t bytes = 0;
  for (const std::size_t index : request.leaders()) {
    if (index == Request::kNoSequence) continue;
    const Sequence& sequence = request.sequences[index];
    bytes += layout.bytes_for(static_cast<std::int64_t>(sequence.context().size()),
                              request.encoded_tokens_of(sequence));
  }
  return bytes;
}

std::int64_t bytes_released(const Request& request) {
  std::vector<const SequenceCache*> held;
  for (const Sequence& sequence : request.sequences) {
    if (sequence.cache) held.push_back(sequence.cache.get());
  }
  return SequenceCache::bytes_released(held);
}

namespace {

/// Ids at the front that both have, less one of the shorter: each computes its own last.
std::int64_t ids_in_common(const Sequence& a, const Sequence& b) {
  const std::vector<std::int32_t>& first = a.context();
  const std::vector<std::int32_t>& second = b.context();
  const std::size_t most = std::min(first.size(), second.size()) - 1;
  const auto differs = std::mismatch(
      first.begin(), first.begin() + static_cast<std::ptrdiff_t>(most), second.begin());
  return differs.first - first.begin();
}

/// Where each sequence has to stop for those that go on from it.
void set_stops(Request& request) {
  for (Sequence& sequence : request.sequences) sequence.stop_at = Sequence::kNowhere;
  for (const Sequence& sequence : request.sequences) {
    if (sequence.finished || sequence.waits_for < 0) continue;
    Sequence& other = request.sequences[static_cast<std::size_t>(sequence.waits_for)];
    other.stop_at = std::min(other.stop_at, sequence.shared);
  }
}

}  // namespace

void preempt(Request& request) {
  const Program& program = request.spec.plan->program();
  // Candidates are made again of their answer.
  std::erase_if(request.sequences,
                [](const Sequence& s) { return s.role == SequenceRole::candidate; });
  for (Sequence& sequence : request.sequences) {
    publish_pages(request, sequence, true);
    if (sequence.cache) sequence.cache->clear();
    sequence.computed = 0;
    sequence.ahead.clear();
    sequence.waits_for = -1;
  }
  request.progress.encoded = false;
  request.progress.state = RequestState::waiting;
  for (std::size_t i = request.leader() + 1; i < request.sequences.size(); ++i) {
    Sequence& sequence = request.sequences[i];
    if (sequence.finished) continue;
    sequence.shared = 0;
    for (std::size_t j = 0; j < i; ++j) {
      const Sequence& other = request.sequences[j];
      if (other.finished || other.role != sequence.role) continue;
      if (!program.same_keys(static_cast<std::int64_t>(other.context().size()),
                             static_cast<std::int64_t>(sequence.context().size()))) {
        continue;
      }
      const std::int64_t common = ids_in_common(sequence, other);
      if (common <= sequence.shared) continue;
      sequence.shared = common;
      sequence.waits_for = static_cast<std::ptrdiff_t>(j);
    }
  }
  set_stops(request);
}

void drop_outgrown_keys(Request& request) {
  const Program& program = request.spec.plan->program();
  if (program.length_tables.empty()) return;
  for (Sequence& sequence : request.sequences) {
    if (sequence.finished || !sequence.cache || sequence.cache->length() == 0) continue;
    const auto tokens = static_cast<std::int64_t>(sequence.context().size());
    if (program.same_keys(sequence.cache->made_for(), tokens)) continue;
    sequence.cache->crop(0);
    sequence.computed = 0;
    request.progress.state = RequestState::prefill;
  }
}

void start_over(Request& request) {
  for (Sequence& sequence : request.sequences) {
    if (sequence.finished || !sequence.cache || sequence.pending() != 1) continue;
    sequence.cache->crop(0);
    sequence.computed = 0;
    request.progress.state = RequestState::prefill;
  }
}

void share_again(Request& request) {
  bool shared = false;
  for (Sequence& sequence : request.sequences) {
    if (sequence.finished || sequence.waits_for < 0) continue;
    const Sequence& other = request.sequences[static_cast<std::size_t>(sequence.waits_for)];
    if (other.waits_for >= 0 || other.computed != sequence.shared) continue;
    sequence.cache = other.cache->fork();
    sequence.computed = sequence.shared;
    sequence.waits_for = -1;
    shared = true;
  }
  if (shared) set_stops(request);
}

}  // namespace perilune
