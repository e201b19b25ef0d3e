// Reductions, order statistics, gathers and the general product. Every sum runs ascending; those of
// reductions in f64, since f32 counts no further than 2^24.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "kernels/cpu/scalar.h"
#include "kernels/cpu/strided.h"

namespace perilune::kernels::scalar {
namespace {

/// A running reduction of one output of f32 or i64.
template <class Number>
struct Reduction {
  using Value = std::conditional_t<std::is_same_v<Number, float>, double, Number>;
  Reduce op;
  Value value{};
  std::int64_t best = 0;  // argmin, argmax
  std::int64_t seen = 0;
  bool found = false;  // argmin, argmax: something that is not NaN

  void add(Number given) {
    const Value x = given;
    const std::int64_t index = seen++;
    switch (op) {
      case Reduce::sum:
      case Reduce::mean: value += x; break;
      case Reduce::sum_squares: value += x * x; break;
      case Reduce::minimum:
        if (index == 0 || x < value || x != x) value = x;
        break;
      case Reduce::maximum:
        if (index == 0 || x > value || x != x) value = x;
        break;
      case Reduce::argmin:
      case Reduce::argmax:
        if (x != x) break;  // NaN is never the answer unless there is nothing else
        if (!found || (op == Reduce::argmin ? x < value : x > value)) {
          value = x;
          best = index;
          found = true;
        }
        break;
      case Reduce::any: value = value != 0 || x != 0 ? Value{1} : Value{0}; break;
      case Reduce::all: value = (index == 0 || value != 0) && x != 0 ? Value{1} : Value{0}; break;
    }
  }
  void add_run(const Number* x, std::int64_t count) {
    if (op == Reduce::sum || op == Reduce::mean) {  // the common ones, without the switch
      for (std::int64_t i = 0; i < count; ++i) value += x[i];
      seen += count;
      return;
    }
    for (std::int64_t i = 0; i < count; ++i) add(x[i]);
  }
  void finish(const Run& out) const {
    if (op == Reduce::argmin || op == Reduce::argmax) return store_run(out, 1, &best);
    if (op == Reduce::mean) {
      const auto mean = static_cast<float>(static_cast<double>(value) / static_cast<double>(seen));
      return store_run(out, 1, &mean);
    }
    const auto result = static_cast<Number>(op == Reduce::all && seen == 0 ? Value{1} : value);
    store_run(out, 1, &result);
  }
};

/// A tensor's axes [first, rank) as a walk of their own.
struct Axes {
  int rank;
  std::int64_t sizes[kMaxAxes];
  Strided part;
};
Axes axes_of(const Strided& tensor, const std::int64_t* sizes, int first, int last) {
  Axes axes = {last - first, {}, tensor};
  for (int i = first; i < last; ++i) {
    axes.sizes[i - first] = sizes[i];
    axes.part.strides[i - first] = tensor.strides[i];
  }
  return axes;
}

template <class Number>
void reduce_as(const Launch& launch, const ReduceArguments& a) {
  const int kept = a.rank - a.reduced;
  std::int64_t outputs = 1, each = 1;
  for (int i = 0; i < kept; ++i) outputs *= a.sizes[i];
  for (int i = kept; i < a.rank; ++i) each *= a.sizes[i];
  parallel_ranges(
      launch, outputs, 1 + 16384 / (each + 1), [&](std::int64_t begin, std::int64_t end) {
        Number values[kPiece];
        for (std::int64_t index = begin; index < end; ++index) {
          std::int64_t rest = index, out_at = 0, x_at = 0;
          for (int axis = kept - 1; axis >= 0; --axis) {
            out_at += rest % a.sizes[axis] * a.out.strides[axis];
            x_at += rest % a.sizes[axis] * a.x.strides[axis];
            rest /= a.sizes[axis];
          }
          Axes inner = axes_of(a.x, a.sizes, kept, a.rank);
          inner.part.data = static_cast<char*>(a.x.data) +
                            x_at * static_cast<std::int64_t>(dtype_size(a.x.dtype));
          const Walk<1> walk(inner.rank, inner.sizes, {&inner.part});
          Reduction<Number> reduction = {a.op};
          walk.pieces({}, [&](std::int64_t outer, std::int64_t offset, std::int64_t count) {
            const Run run = walk.run(0, outer, offset);
            if constexpr (std::is_same_v<Number, float>) {
              if (is_dense_float(run))
                return reduction.add_run(reinterpret_cast<const float*>(run.data), count);
            }
            load_run(run, count, values);
            reduction.add_run(values, count);
          });
          reduction.finish({static_cast<char*>(a.out.data) +
                                out_at * static_cast<std::int64_t>(dtype_size(a.out.dtype)),
                            a.out.dtype, 1});
        }
      });
}

void top_row(const TopArguments& a, std::int64_t row) {
  const float* x = a.x + row * a.x_stride;
  std::int64_t* heap = a.indices + row * a.count;
  // True when p comes before q. NaN goes last; equal values by lowest index.
  const auto before = [&](std::int64_t p, std::int64_t q) {
    const float u = x[p], v = x[q];
    const bool u_nan = u != u, v_nan = v != v;
    if (u_nan != v_nan) return v_nan;
    if (!u_nan && u != v) return a.descending ? u > v : u < v;
    return p < q;
  };
  // The heap's root is the last of the best `count` so far.
  for (std::int64_t i = 0; i < a.count; ++i) heap[i] = i;
  std::make_heap(heap, heap + a.count, before);
  for (std::int64_t i = a.count; a.count > 0 && i < a.width; ++i) {
    if (!before(i, heap[0])) continue;
    std::pop_heap(heap, heap + a.count, before);
    heap[a.count - 1] = i;
    std::push_heap(heap, heap + a.count, before);
  }
  std::sort_heap(heap, heap + a.count, before);
  for (std::int64_t i = 0; i < a.count; ++i) a.values[row * a.count + i] = x[heap[i]];
}

constexpr std::int64_t kColumns = 16, kDepth = 256;

/// out[m, 0..columns) of one batch entry, 16 columns at a time so that sums stay in registers.
void matmul_columns(const MatmulArguments& a, const float* left, const float* right, float* out,
                    std::int64_t columns) {
  float block[kDepth][kColumns] = {};
  for (std::int64_t k0 = 0; k0 < a.k || k0 == 0; k0 += kDepth) {
    const std::int64_t depth = std::min(kDepth, a.k - k0);
    for (std::int64_t k = 0; k < depth; ++k)
      for (std::int64_t n = 0; n < columns; ++n) block[k][n] = right[n * a.b_n + (k0 + k) * a.b_k];
    for (std::int64_t m = 0; m < a.m; ++m) {
      float sums[kColumns] = {};
      for (std::int64_t n = 0; k0 > 0 && n < columns; ++n) sums[n] = out[m * a.out_m + n];
      const float* row = left + m * a.a_m + k0 * a.a_k;
      for (std::int64_t k = 0; k < depth; ++k) {
        const float value = row[k * a.a_k];
        for (std::int64_t n = 0; n < kColumns; ++n) sums[n] = std::fma(value, block[k][n], sums[n]);
      }
      for (std::int64_t n = 0; n < columns; ++n) out[m * a.out_m + n] = sums[n];
    }
  }
}

}  // namespace

void reduce(const Launch& launch, const ReduceArguments& a) {
  if (is_float(a.x.dtype))
    reduce_as<float>(launch, a);
  else
    reduce_as<std::int64_t>(launch, a);
}

void top(const Launch& launch, const TopArguments& a) {
  parallel_ranges(launch, a.rows, 1 + 4096 / (a.width + 1),
                  [&](std::int64_t begin, std::int64_t end) {
                    for (std::int64_t row = begin; row < end; ++row) top_row(a, row);
                  });
}

void gather_rows(const Launch& launch, const GatherRowsArguments& a) {
  parallel_ranges(launch, a.rows, 1 + 65536 / (a.row_bytes + 1),
                  [&](std::int64_t begin, std::int64_t end) {
                    for (std::int64_t row = begin; row < end; ++row)
                      std::memcpy(static_cast<char*>(a.out) + row * a.row_bytes,
                                  static_cast<const char*>(a.x) + a.indices[row] * a.x_stride_bytes,
                                  static_cast<std::size_t>(a.row_bytes));
                  });
}

void matmul(const Launch& launch, const MatmulArguments& a) {
  const std::int64_t panels = (a.n + kColumns - 1) / kColumns;
  parallel_ranges(launch, a.batches * panels, 1 + 16384 / (a.m * a.k * kColumns + 1),
                  [&](std::int64_t begin, std::int64_t end) {
                    for (std::int64_t i = begin; i < end; ++i) {
                      const std::int64_t batch = i / panels, n = i % panels * kColumns;
                      matmul_columns(a, a.a + batch * a.a_batch,
                                     a.b + batch * a.b_batch + n * a.b_n,
                                     a.out + batch * a.out_batch + n, std::min(kColumns, a.n - n));
                    }
                  });
}

}  // namespace perilune::kernels::scalar
