#include "engine/base/thread_pool.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "engine/base/floating_point.h"
#include "engine/base/thread_count.h"

namespace perilune {
namespace {

using TaskFunction = void (*)(void*, std::int64_t);

constexpr std::int64_t kRound = std::int64_t{1} << 30;  // tasks of one ticket epoch
constexpr std::uint64_t kIndexMask = 0xffffffffu;
constexpr std::uint64_t kClosed = kIndexMask;  // an index no round reaches
constexpr auto kSpin = std::chrono::microseconds(100);

void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

/// Spins until `done()` or about kSpin has passed; the clock is read rarely.
template <typename Done>
bool spin_until(Done done) {
  const auto deadline = std::chrono::steady_clock::now() + kSpin;
  for (;;) {
    for (int i = 0; i < 64; ++i) {
      if (done()) return true;
      relax();
    }
    if (std::chrono::steady_clock::now() >= deadline) return done();
  }
}

}  // namespace

/// Workers claim tasks from one atomic ticket, (epoch << 32 | next index). A claim succeeds only
/// while the ticket is unchanged, so a worker that wakes late can never run a finished job's task;
/// nobody waits for workers that had nothing to do.
struct ThreadPool::Shared {
  kernels::Parallel host;
  int thread_count = 1;
  std::vector<std::thread> workers;
  pid_t process = ::getpid();

  /// In a child that fork() made: the workers are not there.
  bool orphaned() const { return !workers.empty() && ::getpid() != process; }

  std::atomic<bool> busy{false};
  std::atomic<std::uint64_t> ticket{kClosed};
  std::atomic<std::int64_t> tasks{0};
  std::atomic<std::int64_t> base{0};
  std::atomic<TaskFunction> task{nullptr};
  std::atomic<void*> state{nullptr};
  std::atomic<std::int64_t> finished{0};

  std::mutex mutex;
  std::condition_variable wake, done;
  std::atomic<int> sleeping{0};
  std::atomic<bool> caller_waits{false};
  std::atomic<bool> stopping{false};

  ~Shared() { stop(); }
  void start(int threads);
  void stop();
  void work();
  void claim_tasks();
  void round(std::int64_t first, std::int64_t count, TaskFunction function, void* task_state);
  void run(std::int64_t count, TaskFunction function, void* task_state);
  void run_on_host(std::int64_t count, TaskFunction function, void* task_state) const;
};

void ThreadPool::Shared::start(int threads) {
  // Signals belong to the host's threads.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    for (int i = 1; i < threads; ++i) {
      workers.emplace_back([this] {
        const DefaultFloatingPoint arithmetic;  // a thread begins with its maker's modes
        work();
      });
    }
  } catch (const std::system_error&) {
    // The process may have no more threads: those that were made do.
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  thread_count = static_cast<int>(workers.size()) + 1;
}

void ThreadPool::Shared::stop() {
  {
    const std::lock_guard lock(mutex);
    stopping.store(true);
  }
  wake.notify_all();
  for (std::thread& worker : workers) worker.join();
  workers.clear();
}

void ThreadPool::Shared::claim_tasks() {
  for (;;) {
    std::uint64_t seen = ticket.load(std::memory_order_acquire);
    const std::uint64_t index = seen & kIndexMask;
    if (index == kClosed) return;
    // Of an older or newer job when the ticket moves on meanwhile: then the claim below fails.
    const std::int64_t count = tasks.load(std::memory_order_acquire);
    const std::int64_t first = base.load(std::memory_order_acquire);
    const TaskFunction function = task.load(std::memory_order_acquire);
    void* const task_state = state.load(std::memory_order_acquire);
    if (static_cast<std::int64_t>(index) >= count) return;
    if (!ticket.compare_exchange_weak(seen, seen + 1, std::memory_order_acq_rel,
                                      std::memory_order_relaxed)) {
      continue;
    }
    function(task_state, first + static_cast<std::int64_t>(index));
    if (finished.fetch_add(1, std::memory_order_seq_cst) + 1 == count &&
        caller_waits.load(std::memory_order_seq_cst)) {
      const std::lock_guard lock(mutex);
      done.notify_one();
    }
  }
}

void ThreadPool::Shared::work() {
  std::uint64_t epoch = 0;
  const auto fresh = [&] {
    const std::uint64_t seen = ticket.load(std::memory_order_seq_cst);
    return stopping.load(std::memory_order_relaxed) ||
           ((seen >> 32) != epoch && (seen & kIndexMask) != kClosed);
  };
  for (;;) {
    if (!spin_until(fresh)) {
      std::unique_lock lock(mutex);
      sleeping.fetch_add(1, std::memory_order_seq_cst);
      wake.wait(lock, fresh);
      sleeping.fetch_sub(1, std::memory_order_relaxed);
    }
    if (stopping.load(std::memory_order_relaxed)) return;
    epoch = ticket.load(std::memory_order_acquire) >> 32;
    claim_tasks();
  }
}

void ThreadPool::Shared::round(std::int64_t first, std::int64_t count, TaskFunction function,
                               void* task_state) {
  const std::uint64_t epoch = (ticket.load(std::memory_order_relaxed) >> 32) + 1;
  ticket.store(epoch << 32 | kClosed, std::memory_order_seq_cst);  // no claim while fields change
  tasks.store(count, std::memory_order_release);
  base.store(first, std::memory_order_release);
  task.store(function, std::memory_order_release);
  state.store(task_state, std::memory_order_release);
  finished.store(0, std::memory_order_release);
  ticket.store((epoch + 1) << 32, std::memory_order_seq_cst);
  if (sleeping.load(std::memory_order_seq_cst) > 0) {
    const std::lock_guard lock(mutex);
    const auto helpers = std::min<std::int64_t>(count - 1, thread_count - 1);
    if (helpers == thread_count - 1) {
      wake.notify_all();
    } else {
      for (std::int64_t i = 0; i < helpers; ++i) wake.notify_one();
    }
  }
  claim_tasks();
  const auto all_finished = [&] { return finished.load(std::memory_order_seq_cst) == count; };
  if (all_finished() || spin_until(all_finished)) return;
  std::unique_lock lock(mutex);
  caller_waits.store(true, std::memory_order_seq_cst);
  done.wait(lock, all_finished);
  caller_waits.store(false, std::memory_order_relaxed);
}

void ThreadPool::Shared::run(std::int64_t count, TaskFunction function, void* task_state) {
  // Nested runs, and runs of a second host thread, find the pool busy and do their tasks alone.
  if (count <= 1 || workers.empty() || orphaned() ||
      busy.exchange(true, std::memory_order_acquire)) {
    for (std::int64_t i = 0; i < count; ++i) function(task_state, i);
    return;
  }
  for (std::int64_t first = 0; first < count; first += kRound) {
    round(first, std::min(kRound, count - first), function, task_state);
  }
  busy.store(false, std::memory_order_release);
}

void ThreadPool::Shared::run_on_host(std::int64_t count, TaskFunction function,
                                     void* task_state) const {
  struct Task {
    TaskFunction function;
    void* state;
  } task{function, task_state};
  const auto run_one = [](void* state, std::int64_t index) {
    const DefaultFloatingPoint arithmetic;  // the host's threads have modes of their own
    const auto* one = static_cast<const Task*>(state);
    one->function(one->state, index);
  };
  host.run(host.host, count, run_one, &task);
}

ThreadPool::ThreadPool(int threads) : shared_(std::make_unique<Shared>()) {
  shared_->start(std::max(1, threads));
}

ThreadPool::ThreadPool(kernels::Parallel host) : shared_(std::make_unique<Shared>()) {
  shared_->host = host;
  shared_->thread_count = std::max(1, host.threads);
}

ThreadPool::~ThreadPool() {
  // Nobody is there to join, and what the workers waited on never comes free.
  if (shared_->orphaned()) (void)shared_.release();
}

int ThreadPool::threads() const {
  return shared_->thread_count;
}

bool ThreadPool::host_owned() const {
  return shared_->host.run != nullptr;
}

kernels::Parallel ThreadPool::parallel() {
  if (shared_->host.run != nullptr) {
    const auto run = [](void* host, std::int64_t tasks, TaskFunction task, void* state) {
      static_cast<const Shared*>(host)->run_on_host(tasks, task, state);
    };
    return {shared_.get(), run, shared_->thread_count};
  }
  const auto run = [](void* host, std::int64_t tasks, TaskFunction task, void* state) {
    static_cast<Shared*>(host)->run(tasks, task, state);
  };
  return {shared_.get(), run, shared_->thread_count};
}

int ThreadPool::available() {
  return available_threads();
}

}  // namespace perilune
