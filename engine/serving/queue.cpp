#include "engine/serving/queue.h"

#include <algorithm>

#include "engine/device/context.h"
#include "engine/serving/memory.h"

namespace perilune {

namespace {

std::uint64_t id_of(const QueueEntry* entry) {
  return entry->id;
}
std::uint64_t id_of(const Request* request) {
  return request->id;
}

/// Puts `item` into a list that is in order of ids, or takes it out.
template <class Item>
void keep(std::vector<Item>& list, Item item, bool here) {
  const auto at = std::lower_bound(list.begin(), list.end(), item,
                                   [](Item a, Item b) { return id_of(a) < id_of(b); });
  const bool there = at != list.end() && id_of(*at) == id_of(item);
  if (here && !there) list.insert(at, item);
  if (!here && there) list.erase(at);
}

/// Room for one more than those of all().
template <class Item>
void make_room(std::vector<Item>& list, std::size_t most) {
  if (list.capacity() <= most) list.reserve(2 * most + 8);
}

/// The most tokens that a pass of the request must take whole.
std::int64_t whole_tokens(const Request& request) {
  const bool forward = request.spec.kind == RequestKind::forward;
  const auto own = forward ? static_cast<std::int64_t>(request.sequences[0].ids.size()) : 0;
  return std::max(own, request.source_tokens());
}

std::int64_t rows_of(const Request& request) {
  const std::int64_t answers = std::max(request.spec.options.n, request.spec.options.beams.beams);
  const std::int64_t both = request.spec.guidance.on() ? 2 * answers : answers;
  return std::max(both, request.spec.contrastive.top_k);
}

}  // namespace

std::size_t Queue::pool_number(const std::shared_ptr<Cache>& pool) {
  auto found = std::find(pools_.begin(), pools_.end(), pool);
  if (found == pools_.end()) found = pools_.insert(found, pool);
  return static_cast<std::size_t>(found - pools_.begin()) + 1;
}

void Queue::add(const RequestPointer& request, std::int64_t step) {
  try {
    enter(request, step);
  } catch (...) {
    remove(*request);
    throw;
  }
}

void Queue::enter(const RequestPointer& request, std::int64_t step) {
  // What changes later needs no memory.
  make_room(all_, all_.size());
  make_room(decoding_, all_.size());
  make_room(running_, all_.size());
  Record& record = records_[request->id];
  record.request = request;
  QueueEntry& entry = record.entry;
  entry.id = request->id;
  entry.max_new_tokens = request->spec.options.max_new_tokens;
  entry.priority = request->spec.priority;
  entry.client = request->spec.client;
  entry.tag = request->spec.tag;
  entry.since_step = step;
  entry.since_ms = milliseconds(request->progress.times.submitted);
  if (request->spec.deadline_ms > 0) entry.deadline_ms = entry.since_ms + request->spec.deadline_ms;
  if (const auto& cache = request->sequences[0].cache) entry.pool = pool_number(cache->cache());
  record.waits = by_wait_.insert(by_wait_.end(), &record);
  record.watched = true;
  whole_.add(whole_tokens(*request));
  record.whole = whole_tokens(*request);
  rows_.add(rows_of(*request));
  record.rows = rows_of(*request);
  keep<const QueueEntry*>(all_, &entry, true);
  changed(*request);
}

void Queue::remove(const Request& request) {
  const auto found = records_.find(request.id);
  if (found == records_.end()) return;
  Record& record = found->second;
  if (record.whole) whole_.remove(*record.whole);
  if (record.rows) rows_.remove(*record.rows);
  if (record.watched) by_wait_.erase(record.waits);
  keep<const QueueEntry*>(all_, &record.entry, false);
  keep<const QueueEntry*>(decoding_, &record.entry, false);
  keep(running_, record.request.get(), false);
  records_.erase(found);
}

RequestPointer Queue::find(std::uint64_t id) const {
  const auto found = records_.find(id);
  if (found == records_.end() || found->second.request->done()) return nullptr;
  return found->second.request;
}

const QueueEntry& Queue::changed(const Request& request) {
  Record& record = records_.at(request.id);
  QueueEntry& entry = record.entry;
  ++entry.version;
  entry.kind = request.whole() ? RequestKind::forward : RequestKind::generate;  // a source, too
  entry.state = request.progress.state;
  entry.prompt_tokens = request.spec.prompt_tokens + request.source_tokens();
  entry.cached_tokens =
      request.computed() + (request.progress.encoded ? request.source_tokens() : 0);
  entry.pending_tokens = request.pending_tokens();
  entry.new_tokens = request.new_tokens();
  entry.rows = request.rows();
  if (entry.pool > 0) {
    const std::int64_t unit = pools_[entry.pool - 1]->layout().page_unit();
    entry.pages_needed = (bytes_needed(request, entry.pending_tokens) + unit - 1) / unit;
  }
  place(record);
  return entry;
}

/// Into the lists that go with its state.
void Queue::place(Record& record) {
  const RequestState state = record.entry.state;
  const bool running = state == RequestState::prefill || state == RequestState::decode;
  const bool decoding = state == RequestState::decode;
  if (running != record.running) keep(running_, record.request.get(), running);
  if (decoding != record.decoding) keep<const QueueEntry*>(decoding_, &record.entry, decoding);
  record.running = running;
  record.decoding = decoding;
}

void Queue::ran(const Request& request, std::int64_t step) {
  Record& record = records_.at(request.id);
  record.entry.since_step = step;
  record.entry.since_ms = milliseconds(request.progress.times.last_run);
  if (record.watched) by_wait_.splice(by_wait_.end(), by_wait_, record.waits);
}

RequestPointer Queue::starving(std::int64_t step, std::int64_t steps) {
  if (by_wait_.empty()) return nullptr;
  Record& record = *by_wait_.front();
  if (record.request->done() || step - record.entry.since_step < steps) return nullptr;
  record.watched = false;
  by_wait_.pop_front();
  return record.request;
}

}  // namespace perilune
