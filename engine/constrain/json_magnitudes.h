// Bounds of numbers by their sign.
#pragma once

#include <cstdint>
#include <utility>

#include "engine/constrain/json_text.h"

namespace perilune {

inline constexpr std::int64_t kGreatest = 999'999'999'999'999'999;  // 18 digits

/// Bounds of one sign: 0 <= least <= most.
struct Magnitudes {
  Decimal least, most{false, kGreatest, ""};
  bool above_least = false, below_most = false, none = false;
  bool limited = false;  // somebody said what is most
  bool empty() const {
    const int order = least.compare(most);
    return none || order > 0 || (order == 0 && (above_least || below_most));
  }
};

/// The bounds of what is 0 or more, and of what is below with its sign off.
std::pair<Magnitudes, Magnitudes> by_sign(const NumberBounds& bounds);

}  // namespace perilune
