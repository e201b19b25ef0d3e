#include "engine/serving/worker.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "engine/base/error.h"

namespace perilune {

namespace {

constexpr double kInterruptedSeconds = 0.01;  // before another try

std::chrono::duration<double> seconds_of(double seconds) {
  return std::chrono::duration<double>(seconds);
}

}  // namespace

Worker::Worker(Scheduler& scheduler) : scheduler_(scheduler), thread_([this] { run(); }) {}

Worker::~Worker() {
  scheduler_.cancel_all();
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  for_worker_.notify_all();
  thread_.join();
}

void Worker::wake() {
  {
    const std::lock_guard lock(mutex_);
    woken_ = true;
  }
  for_worker_.notify_all();
}

bool Worker::wait(double seconds, bool any_step) {
  std::unique_lock lock(mutex_);
  const std::int64_t before = steps_;
  for_others_.wait_for(lock, seconds_of(seconds), [&] {
    return failure_ || scheduler_.idle() || (any_step && steps_ != before);
  });
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  return scheduler_.idle();
}

std::int64_t Worker::steps() const {
  const std::lock_guard lock(mutex_);
  return steps_;
}

/// One step; sets how long to pause after it.
void Worker::step() {
  pause_ = 0;
  try {
    const StepResult result = scheduler_.step();
    if (result.idle) pause_ = scheduler_.idle() ? -1 : std::max(0.001, result.wait_ms / 1e3);
  } catch (const Error& error) {
    pause_ = kInterruptedSeconds;
    if (error.code() == ErrorCode::cancelled) return;  // the host interrupts another thread's work
    const std::lock_guard lock(mutex_);
    failure_ = std::current_exception();
    scheduler_.cancel_all();
  } catch (...) {
    const std::lock_guard lock(mutex_);
    failure_ = std::current_exception();
    scheduler_.cancel_all();
  }
}

void Worker::run() {
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      const auto ready = [&] { return stop_ || woken_; };
      if (pause_ < 0 || (steps_ == 0 && scheduler_.idle())) {
        for_worker_.wait(lock, ready);
      } else if (pause_ > 0) {
        for_worker_.wait_for(lock, seconds_of(pause_), ready);
      }
      woken_ = false;
      if (stop_ && scheduler_.idle()) return;
    }
    step();
    {
      const std::lock_guard lock(mutex_);
      ++steps_;
    }
    for_others_.notify_all();
  }
}

}  // namespace perilune
