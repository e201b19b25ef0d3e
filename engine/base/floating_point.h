// What a host's thread may have changed: rounding, flushed denormals, traps.
#pragma once

#include <cfenv>

namespace perilune {

/// While it lives, this thread computes as C begins: to nearest, denormals kept, no traps. The
/// caller's modes and flags come back then. Games set others, for audio and physics or to debug.
class DefaultFloatingPoint {
 public:
  DefaultFloatingPoint() {
    std::fegetenv(&before_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~DefaultFloatingPoint() { std::fesetenv(&before_); }
  DefaultFloatingPoint(const DefaultFloatingPoint&) = delete;
  DefaultFloatingPoint& operator=(const DefaultFloatingPoint&) = delete;

 private:
  std::fenv_t before_;
};

}  // namespace perilune
