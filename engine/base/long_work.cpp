#include "engine/base/long_work.h"

#include <chrono>
#include <utility>

namespace perilune {

namespace {

constexpr double kBetween = 0.1;  // seconds from one word to the next

thread_local LongWorkScope* t_innermost = nullptr;

double now() {
  using Seconds = std::chrono::duration<double>;
  return Seconds(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

void LongWork::begin() {
  began = now();
}

void LongWork::end() {
  began = 0;
  quiet();
}

void LongWork::quiet() {
  if (std::exchange(told_by, nullptr) != nullptr && tell != nullptr) tell(of, nullptr, 0, 0, 0);
}

LongWorkScope::LongWorkScope(LongWork* work)
    : outer_(t_innermost), work_(work != nullptr && work->tell != nullptr ? work : nullptr) {
  if (work_ != nullptr) started_ = work_->began > 0 ? work_->began : now();
  t_innermost = this;
}

LongWorkScope::~LongWorkScope() {
  if (work_ != nullptr && work_->told_by == this && work_->began == 0) work_->quiet();
  t_innermost = outer_;
}

void tell_long_work(const char* op, std::size_t done, std::size_t total) {
  LongWork* work = t_innermost == nullptr ? nullptr : t_innermost->work_;
  if (work == nullptr || work->tell == nullptr) return;
  const double time = now(), seconds = time - t_innermost->started_;
  if (seconds < work->after || (work->told_by != nullptr && time - work->told_at < kBetween))
    return;
  work->told_by = t_innermost;
  work->told_at = time;
  work->tell(work->of, op, done, total, seconds);
}

void quiet_long_work() {
  if (t_innermost != nullptr && t_innermost->work_ != nullptr) t_innermost->work_->quiet();
}

}  // namespace perilune
