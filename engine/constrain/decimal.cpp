#include "engine/constrain/decimal.h"

#include <charconv>
#include <cmath>

namespace perilune {

Decimal Decimal::of(double value) {
  char text[384];
  const auto end =
      std::to_chars(text, text + sizeof text, std::abs(value), std::chars_format::fixed).ptr;
  const std::string digits(text, end);
  const std::size_t point = std::min(digits.find('.'), digits.size());
  Decimal made;
  made.negative = value < 0;
  made.whole = std::stoll(digits.substr(0, point));
  if (point < digits.size()) made.fraction = digits.substr(point + 1);
  while (!made.fraction.empty() && made.fraction.back() == '0') made.fraction.pop_back();
  return made;
}

int Decimal::compare(const Decimal& other) const {
  if (negative != other.negative) return negative ? -1 : 1;
  const int sign = negative ? -1 : 1;
  if (whole != other.whole) return whole < other.whole ? -sign : sign;
  return sign * fraction.compare(other.fraction);
}

}  // namespace perilune
