#include "engine/serving/inbox.h"

namespace perilune {

void Inbox::take(Contents& into) {
  into.requests.clear();
  into.cancelled.clear();
  into.policy = nullptr;
  if (!waiting()) return;
  const std::lock_guard lock(mutex_);
  into.cancelled.reserve(open_.size());  // cancelling needs no memory
  std::swap(into, contents_);
  waiting_ = false;
}

void Inbox::submit(const RequestPointer& request) {
  const std::lock_guard lock(mutex_);
  contents_.cancelled.reserve(open_.size() + 1);
  contents_.requests.push_back(request);
  try {
    open_.emplace(next_id_, request);
  } catch (...) {
    contents_.requests.pop_back();
    throw;
  }
  request->id = next_id_++;
  waiting_ = true;
}

void Inbox::cancel(const RequestPointer& request) {
  const std::lock_guard lock(mutex_);
  if (request->cancel_asked.exchange(true)) return;
  contents_.cancelled.push_back(request);
  waiting_ = true;
}

void Inbox::cancel_all() {
  const std::lock_guard lock(mutex_);
  for (const auto& [id, request] : open_) {
    if (request->cancel_asked.exchange(true)) continue;
    contents_.cancelled.push_back(request);
    waiting_ = true;
  }
}

void Inbox::set_policy(std::shared_ptr<Policy> policy) {
  const std::lock_guard lock(mutex_);
  contents_.policy = std::move(policy);
  waiting_ = true;
}

void Inbox::close(const Request& request) {
  const std::lock_guard lock(mutex_);
  open_.erase(request.id);
}

std::size_t Inbox::open() const {
  const std::lock_guard lock(mutex_);
  return open_.size();
}

}  // namespace perilune
