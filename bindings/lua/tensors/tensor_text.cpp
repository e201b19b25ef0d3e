// How a tensor prints: what it is, the statistics of all its values, and the edges of its values.
#include <algorithm>
#include <cmath>

#include "bindings/lua/tensors/tensor_value.h"
#include "engine/base/number_text.h"

namespace perilune::lua {

namespace {

constexpr std::int64_t kEdge = 3;   // shown at each end of an elided axis
constexpr std::int64_t kWhole = 8;  // axes up to this size are shown whole
constexpr int kMaxLines = 12;

std::string value_text(double value) {
  if (std::isnan(value)) return "nan";  // whatever its sign
  const bool whole = value == std::floor(value) && std::abs(value) < 1e7;
  return whole ? fixed_text(value, 0) : number_text(value, 4);
}

bool shown(std::int64_t position, std::int64_t size) {
  return size <= kWhole || position < kEdge || position >= size - kEdge;
}

/// The last axis as one line: "[0.1, 0.2, ..., 0.9]".
std::string line_text(const Tensor& line) {
  const std::int64_t size = line.shape().size(0);
  std::string text = "[";
  for (std::int64_t i = 0; i < size; ++i) {
    if (!shown(i, size)) {
      text += ", ...";
      i = size - kEdge - 1;
      continue;
    }
    if (i > 0) text += ", ";
    const double value = line.pick(0, i).item();
    text += line.dtype() == DType::boolean ? (value != 0 ? "true" : "false") : value_text(value);
  }
  return text + "]";
}

struct Printer {
  std::string text;
  int lines = 0;

  /// False when there was no room for the line.
  bool add(const std::string& line) {
    if (lines == kMaxLines) return false;
    text += "\n  " + (++lines == kMaxLines ? "..." : line);
    return lines < kMaxLines;
  }

  bool print(const Tensor& tensor, const std::string& place) {
    if (tensor.shape().rank() == 1) {
      return add((place.empty() ? "" : place + "  ") + line_text(tensor));
    }
    const Axis& axis = tensor.shape().axis(0);
    const bool ids = is_id_axis(axis.name);
    for (std::int64_t i = 0; i < axis.size; ++i) {
      if (!shown(i, axis.size)) {
        if (!add("...")) return false;
        i = axis.size - kEdge - 1;
        continue;
      }
      std::string position = place.empty() ? "" : place + " ";
      position.append(axis.name).append("=").append(std::to_string(ids ? i : i + 1));
      if (!print(tensor.pick(0, i), position)) return false;
    }
    return true;
  }
};

std::string statistics_text(const Tensor& tensor) {
  if (tensor.dtype() == DType::boolean || tensor.elements() < 2) return "";
  const auto statistics = tensor_ops::statistics(tensor);
  std::string text = "  min " + value_text(statistics.minimum) + "  max " +
                     value_text(statistics.maximum) + "  mean " + value_text(statistics.mean);
  if (is_float(tensor.dtype())) text += "  nan " + std::to_string(statistics.nan);
  if (statistics.infinite > 0) text += "  inf " + std::to_string(statistics.infinite);
  return text;
}

}  // namespace

std::string byte_text(std::size_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  int unit = 0;
  for (; value >= 1024 && unit < 4; ++unit) value /= 1024;
  return fixed_text(value, unit == 0 ? 0 : 1) + " " + kUnits[unit];
}

std::string tensor_text(const Value& value) {
  if (value.symbolic()) return "Tensor " + value.spec.text() + " (traced)";
  if (!value.tensor.defined()) return "Tensor " + value.spec.text() + " (no values)";
  const Tensor& tensor = value.tensor;
  if (tensor.storage()->freed()) return "Tensor " + value.spec.text() + " (freed)";
  std::string text = "Tensor " + tensor.describe() + " " + byte_text(tensor.bytes());
  if (tensor.elements() == 0) return text;
  if (tensor.shape().rank() == 0) {
    return text + "  " +
           (tensor.dtype() == DType::boolean ? (tensor.item() != 0 ? "true" : "false")
                                             : value_text(tensor.item()));
  }
  Printer printer;
  (void)printer.print(tensor, "");
  return text + statistics_text(tensor) + printer.text;
}

}  // namespace perilune::lua
