#include "engine/serving/inbox.h"

#include <unistd.h>

#include <chrono>

namespace perilune {

Inbox::Inbox() : arrived_(std::make_unique<std::condition_variable>()), process_(::getpid()) {}

Inbox::~Inbox() {
  if (::getpid() != process_) (void)arrived_.release();
}

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

/// With the lock held.
void Inbox::came() {
  waiting_ = true;
  if (::getpid() == process_) arrived_->notify_all();
}

bool Inbox::wait(double seconds) {
  std::unique_lock lock(mutex_);
  const auto ready = [&] { return waiting(); };
  if (seconds < 0) {
    arrived_->wait(lock, ready);
    return true;
  }
  return arrived_->wait_for(lock, std::chrono::duration<double>(seconds), ready);
}

void Inbox::wake() {
  const std::lock_guard lock(mutex_);
  came();
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
  came();
}

void Inbox::cancel(const RequestPointer& request) {
  const std::lock_guard lock(mutex_);
  if (request->cancel_asked.exchange(true)) return;
  contents_.cancelled.push_back(request);
  came();
}

void Inbox::cancel_all() {
  const std::lock_guard lock(mutex_);
  for (const auto& [id, request] : open_) {
    if (request->cancel_asked.exchange(true)) continue;
    contents_.cancelled.push_back(request);
    came();
  }
}

void Inbox::set_policy(std::shared_ptr<Policy> policy) {
  const std::lock_guard lock(mutex_);
  contents_.policy = std::move(policy);
  came();
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
