#include "engine/serving/worker.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "engine/base/error.h"
#include "engine/base/floating_point.h"

namespace perilune {

namespace {

constexpr double kInterruptedSeconds = 0.01;  // before another try

std::chrono::duration<double> seconds_of(double seconds) {
  return std::chrono::duration<double>(seconds);
}

}  // namespace

Worker::Worker(Scheduler& scheduler)
    : scheduler_(scheduler), meeting_(std::make_unique<Meeting>()), process_(::getpid()) {
  meeting_->thread = std::thread([this] {
    const DefaultFloatingPoint arithmetic;  // a thread begins with its maker's modes
    run();
  });
}

bool Worker::orphaned() const {
  return ::getpid() != process_;
}

Worker::~Worker() {
  if (orphaned()) {
    (void)meeting_.release();
    return;
  }
  scheduler_.cancel_all();
  {
    const std::lock_guard lock(meeting_->mutex);
    stop_ = true;
  }
  scheduler_.wake();
  meeting_->thread.join();
}

bool Worker::wait(double seconds, bool any_step) {
  if (orphaned()) {
    throw Error(ErrorCode::state, "engine",
                "this process is a copy, which the engine's thread is not in")
        .hint("make the engine after fork()");
  }
  std::unique_lock lock(meeting_->mutex);
  const std::int64_t before = steps_;
  meeting_->for_others.wait_for(lock, seconds_of(seconds), [&] {
    return failure_ || scheduler_.idle() || (any_step && steps_ != before);
  });
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  return scheduler_.idle();
}

std::int64_t Worker::steps() const {
  const std::lock_guard lock(meeting_->mutex);
  return steps_;
}

/// One step; sets how long to pause after it. False where it failed.
bool Worker::step() {
  pause_ = 0;
  try {
    const StepResult result = scheduler_.step();
    if (result.idle) pause_ = scheduler_.idle() ? -1 : std::max(0.001, result.wait_ms / 1e3);
    return true;
  } catch (const Error& error) {
    pause_ = kInterruptedSeconds;
    if (error.code() == ErrorCode::cancelled) return true;  // the host interrupts another's work
    note_failure();
  } catch (...) {
    pause_ = kInterruptedSeconds;
    note_failure();
  }
  return false;
}

/// What is left is given up, and whoever waits is told why.
void Worker::note_failure() {
  const std::lock_guard lock(meeting_->mutex);
  failure_ = std::current_exception();
  scheduler_.cancel_all();
}

void Worker::run() {
  for (;;) {
    {
      const std::lock_guard lock(meeting_->mutex);
      if (stop_ && scheduler_.idle()) return;
    }
    if (pause_ != 0) (void)scheduler_.wait(pause_);
    const bool fine = step();
    {
      const std::lock_guard lock(meeting_->mutex);
      ++steps_;
      if (stop_ && !fine) return;  // it cannot even end its requests
    }
    meeting_->for_others.notify_all();
  }
}

}  // namespace perilune
