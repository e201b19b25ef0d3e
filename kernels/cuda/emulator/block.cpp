#include "kernels/cuda/emulator/block.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <numeric>

#include "kernels/cuda/emulator/order.h"

namespace perilune::kernels::cuda::emulator {
namespace {

thread_local Block* running = nullptr;
// Kept from launch to launch: mapping a stack costs more than a small kernel.
thread_local std::vector<std::unique_ptr<Stack>> idle_stacks;

std::string place(const uint3& index) {
  return "(" + std::to_string(index.x) + ", " + std::to_string(index.y) + ", " +
         std::to_string(index.z) + ")";
}

}  // namespace

Block& Block::current() {
  return *running;
}

Block::Block(const char* kernel, dim3 grid, dim3 size, std::size_t shared_bytes)
    : kernel_(kernel), grid_(grid), size_(size), shared_(shared_bytes) {
  const std::size_t count = std::size_t{size.x} * size.y * size.z;
  threads_.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    const auto n = static_cast<unsigned>(i);
    threads_[i].number = static_cast<int>(i);
    threads_[i].index = {n % size.x, n / size.x % size.y, n / size.x / size.y};
  }
  warp_epochs_.resize((count + 31) / 32);
  order_.resize(count);
  std::iota(order_.begin(), order_.end(), 0);
}

// ---------------------------------------------------------------- running

bool Block::run(uint3 index, const std::function<void()>& kernel) {
  index_ = index;
  body_ = &kernel;
  shared_.begin_block();
  ++epoch_;
  arrange(order_);
  for (Thread& thread : threads_) {
    thread.state = ThreadState::fresh;
    thread.collective = Collective::none;
    thread.copies.clear();
    thread.groups = 0;
  }
  Block* outer = running;
  running = this;
  while (step() && !abandoned_) {
  }
  running = outer;
  return fault_.empty();
}

/// Every thread that can go on does, once; false when all have ended.
bool Block::step() {
  bool moved = false;
  for (const int number : order_) {
    Thread& thread = threads_[static_cast<std::size_t>(number)];
    if (thread.state != ThreadState::fresh && thread.state != ThreadState::ready) continue;
    moved = true;
    resume(thread);
    if (abandoned_) return false;
  }
  if (moved) return true;
  const auto count = [&](ThreadState state) {
    return std::count_if(threads_.begin(), threads_.end(),
                         [&](const Thread& thread) { return thread.state == state; });
  };
  const auto all = static_cast<std::ptrdiff_t>(threads_.size());
  if (count(ThreadState::ended) == all) return false;
  if (count(ThreadState::barrier) == all) {
    release_barrier();
    return true;
  }
  explain_deadlock();
  return false;
}

void Block::release_barrier() {
  ++epoch_;
  for (Thread& thread : threads_) thread.state = ThreadState::ready;
}

void Block::explain_deadlock() {
  const Thread* at_barrier = nullptr;
  const Thread* in_warp = nullptr;
  const Thread* ended = nullptr;
  for (const Thread& thread : threads_) {
    if (thread.state == ThreadState::barrier) at_barrier = &thread;
    if (thread.state == ThreadState::warp) in_warp = &thread;
    if (thread.state == ThreadState::ended) ended = &thread;
  }
  if (in_warp != nullptr) {
    char mask[16];
    std::snprintf(mask, sizeof mask, "0x%08x", in_warp->mask);
    set_fault(*in_warp, std::string("divergence: waits in ") +
                            collective_name(in_warp->collective) + " for the lanes of mask " +
                            mask + ", and not all of them come");
    return;
  }
  set_fault(*at_barrier, "divergent barrier: waits in __syncthreads, and thread " +
                             std::to_string(ended == nullptr ? -1 : ended->number) +
                             " has ended without it");
}

void Block::set_fault(const Thread& thread, const std::string& text) {
  if (!fault_.empty()) return;
  fault_ = std::string(kernel_) + ": block " + place(index_) + ", thread " + place(thread.index) +
           ": " + text;
  abandoned_ = true;
}

void Block::fail(const char* format, ...) {
  char text[400];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  set_fault(*current_, text);
  for (;;) switch_fiber(current_->fiber, scheduler_, true);
}

void Block::thread_main() {
  Block& block = current();
  begin_fiber(block.scheduler_);
  (*block.body_)();
  block.current_->state = ThreadState::ended;
  switch_fiber(block.current_->fiber, block.scheduler_, true);
  __builtin_unreachable();
}

void Block::resume(Thread& thread) {
  current_ = &thread;
  if (thread.state == ThreadState::fresh) {
    if (idle_stacks.empty()) {
      idle_stacks.push_back(std::make_unique<Stack>());
      if (!idle_stacks.back()->valid()) return set_fault(thread, "no memory for its stack");
    }
    thread.stack = std::move(idle_stacks.back());
    idle_stacks.pop_back();
    prepare(thread.fiber, *thread.stack, thread_main);
  }
  thread.state = ThreadState::ready;
  switch_fiber(scheduler_, thread.fiber, false);
  if (thread.state == ThreadState::ended) idle_stacks.push_back(std::move(thread.stack));
}

void Block::wait() {
  Thread& self = *current_;
  switch_fiber(self.fiber, scheduler_, false);
}

// ---------------------------------------------------------------- waiting for others

void Block::barrier() {
  current_->state = ThreadState::barrier;
  wait();
}

void Block::collective(Collective kind, unsigned mask) {
  Thread& self = *current_;
  if ((mask >> self.lane() & 1u) == 0) {
    fail("%s: its own lane %d is not in mask 0x%08x", collective_name(kind), self.lane(), mask);
  }
  self.collective = kind;
  self.mask = mask;
  self.state = ThreadState::warp;
  join(self);
  if (self.state == ThreadState::warp) wait();
}

/// When `thread` was the last lane of its mask: computes what all of them came for.
void Block::join(Thread& thread) {
  Thread* warp[32] = {};
  const int first = thread.warp() * 32;
  const int count = std::min(32, static_cast<int>(threads_.size()) - first);
  for (int lane = 0; lane < count; ++lane)
    warp[lane] = &threads_[static_cast<std::size_t>(first + lane)];
  for (int lane = 0; lane < 32; ++lane) {
    if ((thread.mask >> lane & 1u) == 0) continue;
    const Thread* other = warp[lane];
    if (other == nullptr || other->state == ThreadState::ended) {
      fail("%s: lane %d of mask 0x%08x %s", collective_name(thread.collective), lane, thread.mask,
           other == nullptr ? "does not exist" : "has ended");
    }
    if (other->state != ThreadState::warp) return;
    if (other->collective != thread.collective || other->mask != thread.mask) {
      fail("divergence: is in %s with mask 0x%08x while lane %d is in %s with mask 0x%08x",
           collective_name(thread.collective), thread.mask, lane,
           collective_name(other->collective), other->mask);
    }
  }
  problem_ = resolve(thread.collective, thread.mask, warp);
  if (!problem_.empty()) fail("%s: %s", collective_name(thread.collective), problem_.c_str());
  if (thread.collective == Collective::syncwarp && thread.mask == 0xffffffffu) {
    ++warp_epochs_[static_cast<std::size_t>(thread.warp())];
  }
  for (int lane = 0; lane < 32; ++lane) {
    if ((thread.mask >> lane & 1u) != 0) warp[lane]->state = ThreadState::ready;
  }
}

}  // namespace perilune::kernels::cuda::emulator
