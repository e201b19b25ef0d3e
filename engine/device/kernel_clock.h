// How long kernels take: a kernel table that calls another one's entries and adds up their time.
#pragma once

#include <cstdint>

#include "kernels/kernel_table.h"

namespace perilune {

class KernelClock {
 public:
  /// Of the kernels in `timed`, which outlives the clock.
  explicit KernelClock(const kernels::KernelTable& timed);
  KernelClock(const KernelClock&) = delete;
  KernelClock& operator=(const KernelClock&) = delete;

  const kernels::KernelTable& timed() const { return timed_; }
  /// In its place, on a thread that has a Running of this clock.
  const kernels::KernelTable& table() const { return table_; }
  /// Until these kernels returned; what a device goes on with by itself is not in it. Since
  /// restart(), in ticks().
  std::uint64_t in_kernels() const { return in_kernels_; }
  std::int64_t calls() const { return calls_; }
  void restart() { in_kernels_ = 0, calls_ = 0; }
  /// A counter of even pace that costs less to read than clock_seconds(), which says how long a
  /// tick is.
  static std::uint64_t ticks();

  /// While it lives, calls on this thread through table() are counted here.
  class Running {
   public:
    explicit Running(KernelClock& clock);
    ~Running();
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;

   private:
    KernelClock* before_;
  };

 private:
  template <auto Entry>
  struct Timed;

  const kernels::KernelTable& timed_;
  kernels::KernelTable table_;
  std::uint64_t in_kernels_ = 0;
  std::int64_t calls_ = 0;
};

}  // namespace perilune
