// A thread that runs a scheduler's steps. The scheduler's inbox and outbox are how others reach it.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "engine/serving/scheduler.h"

namespace perilune {

class Worker {
 public:
  /// `scheduler` must outlive it, its policy and all that requests bring must not belong to another
  /// thread.
  explicit Worker(Scheduler& scheduler);
  /// Ends what is left, then the thread.
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  /// Waits until the scheduler is idle (true), or `seconds` have passed, or a step has ended and
  /// `any_step` is set. Throws what stopped a step, once, and Error(state) in a child of fork().
  bool wait(double seconds, bool any_step = false);
  /// How many steps have ended.
  std::int64_t steps() const;

 private:
  void run();
  bool step();
  void note_failure();

  Scheduler& scheduler_;
  /// What threads wait on, and the thread. Of its own, since a child that fork() made, where the
  /// thread is not, can only let go of it.
  struct Meeting {
    std::mutex mutex;
    std::condition_variable for_others;
    std::thread thread;
  };
  bool orphaned() const;

  std::unique_ptr<Meeting> meeting_;
  int process_;
  bool stop_ = false;
  std::int64_t steps_ = 0;
  std::exception_ptr failure_;
  double pause_ = -1;  // seconds until the next step where nothing comes; below 0: no limit
};

}  // namespace perilune
