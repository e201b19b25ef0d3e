#include "engine/quantize/gptq.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <vector>

namespace perilune {
namespace {

using kernels::BlockFormat;
using kernels::CodedBlock;

constexpr std::size_t kLanes = 8;  // sums that run beside each other become vector instructions

/// A square matrix, row by row.
struct Square {
  std::size_t size;
  std::vector<double> values;
  explicit Square(std::size_t n) : size(n), values(n * n) {}
  double* row(std::size_t i) { return values.data() + i * size; }
  const double* row(std::size_t i) const { return values.data() + i * size; }
};

double dot(const double* a, const double* b, std::size_t count) {
  std::array<double, kLanes> sums{};
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (std::size_t lane = 0; lane < kLanes; ++lane) sums[lane] += a[i + lane] * b[i + lane];
  double sum = std::accumulate(sums.begin(), sums.end(), 0.0);
  for (; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

template <typename T>
void subtract(T* from, const T* what, T times, std::size_t count) {
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (std::size_t lane = 0; lane < kLanes; ++lane) from[i + lane] -= times * what[i + lane];
  for (; i < count; ++i) from[i] -= times * what[i];
}

/// R, upper triangular, with R R^T = H, in place of H's upper triangle.
void factor(Square& h) {
  const std::size_t n = h.size;
  for (std::size_t j = n; j-- > 0;) {
    const std::size_t rest = n - j - 1;
    double* last = h.row(j) + j;
    // Damping keeps it above 0; what rounding takes from it anyway is put back.
    const double square = last[0] - dot(last + 1, last + 1, rest);
    last[0] = std::sqrt(std::max(square, 1e-12));
    for (std::size_t i = 0; i < j; ++i) {
      double* at = h.row(i) + j;
      at[0] = (at[0] - dot(at + 1, last + 1, rest)) / last[0];
    }
  }
}

/// The inverse of an upper triangular matrix, f32: U with U^T U = (R R^T)^-1.
std::vector<float> inverse_of(const Square& r, const Context& context) {
  const std::size_t n = r.size;
  Square u(n);
  constexpr std::size_t kColumns = 128;  // of a task
  for_rows(context, static_cast<std::int64_t>((n + kColumns - 1) / kColumns),
           [&](std::int64_t task) {
             const std::size_t begin = static_cast<std::size_t>(task) * kColumns;
             const std::size_t end = std::min(n, begin + kColumns);
             for (std::size_t i = end; i-- > 0;) {
               double* row = u.row(i);
               if (i >= begin) row[i] = 1;
               for (std::size_t k = i + 1; k < end; ++k) {
                 const std::size_t from = std::max(begin, k);
                 subtract(row + from, u.row(k) + from, r.row(i)[k], end - from);
               }
               for (std::size_t c = std::max(i, begin); c < end; ++c) row[c] /= r.row(i)[i];
             }
           });
  return {u.values.begin(), u.values.end()};
}

/// The sixteen values that a code of a block can have.
struct Grid {
  std::array<float, 16> values{};
  Grid(const BlockFormat& format, const CodedBlock& block) {
    for (int code = 0; code < 16; ++code) {
      const float value =
          format.coding.levels != nullptr
              ? format.coding.levels[code]
              : static_cast<float>(code_value(format.coding, code) -
                                   (format.coding.zero_points ? block.zero_point : 0));
      values[static_cast<std::size_t>(code)] =
          coded_weight(format.coding, value, block.scale, block.minimum);
    }
  }
  std::size_t nearest(float value) const {
    std::size_t best = 0;
    float least = std::fabs(value - values[0]);
    for (std::size_t code = 1; code < 16; ++code) {
      const float away = std::fabs(value - values[code]);
      if (away < least) {
        least = away;
        best = code;
      }
    }
    return best;
  }
};

/// Where the code of an element is: the first half of a block's in low bits, the other in high.
void put_code(const BlockFormat& format, std::uint8_t* block, std::int64_t element,
              std::size_t code) {
  const std::int64_t half = format.elements / 2, header = format.bytes - half;
  std::uint8_t& byte = block[header + element % half];
  byte = static_cast<std::uint8_t>(element < half ? (byte & 0xf0U) | code
                                                  : (byte & 0x0fU) | code << 4U);
}

void expect_nibbles(const BlockFormat& format) {
  bool fits = format.coding.bits == 4 && format.coding.scale != kernels::ScaleType::nested &&
              format.elements % 2 == 0 && format.elements <= kernels::kNestedBlock &&
              format.bytes > format.elements / 2;
  if (fits) {
    std::vector<float> values(static_cast<std::size_t>(format.elements));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<float>(i));
    std::vector<std::uint8_t> block(static_cast<std::size_t>(format.bytes));
    format.write(values.data(), format.elements, block.data());
    CodedBlock coded{};
    format.read(block.data(), &coded);
    std::vector<std::uint8_t> again = block;
    for (std::int64_t i = 0; i < format.elements; ++i)
      put_code(format, again.data(), i, coded.codes[i]);
    fits = again == block;
  }
  if (!fits) {
    throw Error(ErrorCode::unsupported, "gptq",
                std::string("blocks of ") + format.name + " are not chosen code by code here")
        .hint("take int4, nf4, q4_0 or q4_1");
  }
}

struct Problem {
  const BlockFormat& format;
  std::int64_t outputs, inputs;
  std::vector<std::int64_t> order;  // of the inputs
  std::vector<float> compensation;  // U, in that order
  bool own_order;
};

/// One row of weights, rounded.
void round_row(const Problem& p, const float* row, std::uint8_t* blocks) {
  const BlockFormat& format = p.format;
  const auto n = static_cast<std::size_t>(p.inputs);
  std::vector<float> left(n);  // what is still to be rounded, in order
  for (std::size_t j = 0; j < n; ++j) left[j] = row[p.order[j]];
  format.write(row, p.inputs, blocks);
  std::vector<Grid> grids;
  CodedBlock coded{};
  const auto grid_of = [&](std::int64_t block) {
    format.read(blocks + block * format.bytes, &coded);
    return Grid(format, coded);
  };
  for (std::int64_t block = 0; block < format.row_blocks(p.inputs); ++block)
    grids.push_back(grid_of(block));
  for (std::size_t j = 0; j < n; ++j) {
    const std::int64_t input = p.order[j], block = input / format.elements;
    if (p.own_order && input % format.elements == 0) {
      const std::int64_t count = std::min(format.elements, p.inputs - input);
      format.write(left.data() + j, count, blocks + block * format.bytes);
      grids[static_cast<std::size_t>(block)] = grid_of(block);
    }
    const Grid& grid = grids[static_cast<std::size_t>(block)];
    const std::size_t code = grid.nearest(left[j]);
    put_code(format, blocks + block * format.bytes, input % format.elements, code);
    const float* u = p.compensation.data() + j * n;
    const float error = (left[j] - grid.values[code]) / u[j];
    subtract(left.data() + j + 1, u + j + 1, error, n - j - 1);
  }
}

std::vector<std::int64_t> order_of(const Tensor& moments, bool by_activation) {
  const std::int64_t n = moments.shape().size(0);
  const auto* values = moments.as<float>();
  std::vector<std::int64_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  if (by_activation) {
    std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
      return values[a * n + a] > values[b * n + b];
    });
  }
  return order;
}

/// The moments in order, damped. Inputs that are always 0 count as if they never met another.
Square damped(const Tensor& moments, const std::vector<std::int64_t>& order, double damping) {
  const std::size_t n = order.size();
  const auto* values = moments.as<float>();
  Square h(n);
  double mean = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const float* row = values + order[i] * static_cast<std::int64_t>(n);
    for (std::size_t j = 0; j < n; ++j) h.row(i)[j] = row[order[j]];
    mean += h.row(i)[i] / static_cast<double>(n);
  }
  if (!std::isfinite(mean)) {
    throw Error(ErrorCode::argument, "gptq", "the inputs' second moments are not finite");
  }
  if (mean <= 0) mean = 1;
  for (std::size_t i = 0; i < n; ++i) {
    if (h.row(i)[i] == 0) h.row(i)[i] = mean;
    h.row(i)[i] += damping * mean;
  }
  return h;
}

}  // namespace

Tensor gptq(const std::string& name, const Tensor& weights, const Tensor& moments,
            const GptqOptions& options) {
  const BlockFormat& format = writable_format(name, "gptq");
  expect_nibbles(format);
  const std::int64_t outputs = weights.shape().size(0), inputs = weights.shape().size(1);
  if (moments.shape().size(0) != inputs || moments.shape().size(1) != inputs) {
    throw Error(
        ErrorCode::shape, "gptq",
        "moments " + moments.describe() + " are not those of the inputs of " + weights.describe());
  }
  const Context& context = *weights.context();
  Problem p{format, outputs,
            inputs, order_of(moments, options.activation_order),
            {},     !options.activation_order};
  Square h = damped(moments, p.order, options.damping);
  factor(h);
  p.compensation = inverse_of(h, context);
  const std::int64_t bytes = format.row_blocks(inputs) * format.bytes;
  Tensor blocks =
      Tensor::make(weights.context(), DType::u8, Shape{{"output", outputs}, {"byte", bytes}});
  const auto* from = weights.as<float>();
  auto* to = blocks.as<std::uint8_t>();
  for_rows(context, outputs,
           [&](std::int64_t row) { round_row(p, from + row * inputs, to + row * bytes); });
  return blocks;
}

}  // namespace perilune
