// Where the time of a step goes, for those who ask: the parts of the last one, and its kernels.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "engine/device/kernel_clock.h"

namespace perilune {

/// rest: looking for what is new, counts. decide: the policy, its answer made a plan, pages
/// reserved. batch: ids, positions, wanted rows. bind: the pass made ready for them. run: its ops,
/// kernels included. read: results brought to the host. choose: logits to ids. events: the commit,
/// text, events, queue entries.
enum class StepPart { rest, decide, batch, bind, run, read, choose, events };
inline constexpr std::array<const char*, 8> kStepPartNames{"rest", "decide", "batch",  "bind",
                                                           "run",  "read",   "choose", "events"};

/// Owned by the thread that steps.
class StepTimes {
 public:
  explicit StepTimes(const kernels::KernelTable& kernels);
  void begin();
  /// What was under way ends here.
  void enter(StepPart part);
  void end();

  double seconds(StepPart part) const { return tick_ * ticks_of(part); }
  double kernel_seconds() const { return tick_ * static_cast<double>(kernels_.in_kernels()); }
  double total() const;
  KernelClock& kernels() { return kernels_; }
  /// How often ticks were read for all this.
  std::int64_t readings() const { return readings_ + 2 * kernels_.calls(); }
  /// What those took that are not in kernel_seconds(): of the two around a kernel, one is.
  double reading_seconds() const {
    return tick_ * ticks_a_reading_ * static_cast<double>(readings() - kernels_.calls());
  }

 private:
  double ticks_of(StepPart part) const {
    return static_cast<double>(spent_[static_cast<std::size_t>(part)]);
  }

  KernelClock kernels_;
  std::array<std::uint64_t, kStepPartNames.size()> spent_{};  // ticks
  StepPart part_ = StepPart::rest;
  std::uint64_t since_ = 0, began_ = 0;
  double began_seconds_ = 0, tick_ = 0;  // seconds; of the step's own ticks
  std::int64_t readings_ = 0;
  double ticks_a_reading_ = 0;  // measured once, one after the other
};

}  // namespace perilune
