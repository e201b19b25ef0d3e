// Numbers as JSON writes them, digit by digit.
#pragma once

#include <cstdint>
#include <string>

namespace perilune {

struct Decimal {
  bool negative = false;
  std::int64_t whole = 0;  // of the magnitude
  std::string fraction;    // digits after the point, the last is not 0

  /// The shortest one that reads back as `value`, which is finite and below 9e15.
  static Decimal of(double value);
  /// Below 0, 0 or above 0 as *this is below, equal to or above `other`.
  int compare(const Decimal& other) const;
};

}  // namespace perilune
