// Which values the options of generation that are numbers may have. The one place that says so:
// requests are checked by it, and scripts hold what callers and a model's files give against it
// (core.generation_fault).
#pragma once

#include <span>
#include <string_view>

namespace perilune {

/// The numbers that one option takes; no infinity and no NaN lies in a range.
struct OptionRange {
  const char* name;  // as published
  double low, high;
  bool low_open, high_open;  // whether the end itself is left out
  const char* expected;      // for people
  const char* hint = "";

  bool fits(double value) const;
};

std::span<const OptionRange> option_ranges();
/// Null for an option that takes any number, or none.
const OptionRange* find_range(std::string_view name);
/// Throws Error(option) for a value outside the option's range; `name` has one.
void check_range(std::string_view name, double value);

}  // namespace perilune
