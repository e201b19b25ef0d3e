// Numbers as text, the same whatever the host's locale is.
#pragma once

#include <charconv>
#include <string>

namespace perilune {

/// `value` with up to `digits` significant digits, as "%.{digits}g" writes it in the C locale.
inline std::string number_text(double value, int digits) {
  char text[64];
  const auto end =
      std::to_chars(text, text + sizeof text, value, std::chars_format::general, digits).ptr;
  return std::string(text, end);
}

/// `value` with `decimals` digits after the point; for values that are not huge.
inline std::string fixed_text(double value, int decimals) {
  char text[384];
  const auto end =
      std::to_chars(text, text + sizeof text, value, std::chars_format::fixed, decimals).ptr;
  return std::string(text, end);
}

}  // namespace perilune
