// The scale of a few values that are to be whole numbers times it: a search for the least squared
// error over scales near the largest value's, each followed by the fit of least squares.
#pragma once

namespace perilune::kernels {

/// value = scale * code, `lowest` <= code <= `highest`, lowest < 0 < highest. The scale may be
/// negative. 0 where all values are 0. `count` is a multiple of 4 up to kSearchedValues.
float fit_scale(const float* values, int count, int lowest, int highest);

/// value = scale * code + minimum, 0 <= code <= levels, scale >= 0, minimum <= 0.
struct ScaleAndMinimum {
  float scale = 0, minimum = 0;
};
ScaleAndMinimum fit_scale_and_minimum(const float* values, int count, int levels);

/// The code, lowest <= code <= highest, whose product with 1 / `factor` is nearest to value.
float nearest_code(float value, float factor, int lowest, int highest);
/// What is lost with that scale and minimum: the sum of squared differences.
float squared_error(const float* values, int count, float scale, float minimum, int lowest,
                    int highest);

/// value = scale * levels[code], for 16 `levels` that rise.
float fit_table_scale(const float* values, int count, const signed char* levels);
/// The code of the level nearest to `value`; of two equally near ones the lower.
int nearest_level(float value, const signed char* levels);

inline constexpr int kSearchedValues = 128;

}  // namespace perilune::kernels
