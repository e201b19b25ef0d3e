// reduce: the last axes of a tensor into one value each, in f32 or (of integers) i64.
//
// An output's threads take every threads-th element in the logical order, combine them ascending,
// and then by RowGroup's tree; how many threads follows from the number of elements reduced, so the
// bits depend on neither the strides nor the other outputs. Of equal ones argmin and argmax take
// the lowest offset; a NaN is taken only by sum, mean, sum_squares, minimum and maximum, which stay
// NaN. Nothing to reduce: 0, true for `all`, NaN for the mean.
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/row_group.h"
#include "kernels/cuda/rows.h"
#include "kernels/cuda/strided.h"

namespace perilune::kernels::cuda {
namespace {

constexpr int kEach = 8;  // elements a thread, up to the largest block

struct ReduceJob {
  Reduce op;
  Walk<2> kept;      // out, x
  Walk<1> reduced;   // x
  bool dense_float;  // f32 along one axis
};

__device__ __forceinline__ float sum_of(float a, float b) {
  return a + b;
}
__device__ __forceinline__ std::int64_t sum_of(std::int64_t a, std::int64_t b) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
}
__device__ __forceinline__ float product_of(float a, float b) {
  return a * b;
}
__device__ __forceinline__ std::int64_t product_of(std::int64_t a, std::int64_t b) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) * static_cast<std::uint64_t>(b));
}

/// What one element brings, before anything is combined.
template <class Number>
__device__ __forceinline__ Number element_value(Reduce op, Number x) {
  switch (op) {
    case Reduce::sum_squares: return product_of(x, x);
    case Reduce::any:
    case Reduce::all: return x != 0 ? Number{1} : Number{0};
    default: return x;
  }
}

/// One of the commutative operations on two partial results; minimum and maximum keep a NaN.
template <class Number>
struct Combine {
  Reduce op;
  __device__ __forceinline__ Number operator()(Number a, Number b) const {
    switch (op) {
      case Reduce::minimum: return a != a || a < b ? a : b;
      case Reduce::maximum: return a != a || a > b ? a : b;
      case Reduce::any: return a != 0 || b != 0 ? Number{1} : Number{0};
      case Reduce::all: return a != 0 && b != 0 ? Number{1} : Number{0};
      default: return sum_of(a, b);
    }
  }
};

template <class Number>
__device__ __forceinline__ Number lowest_number();
template <>
__device__ __forceinline__ float lowest_number<float>() {
  return __uint_as_float(0xff800000u);
}
template <>
__device__ __forceinline__ std::int64_t lowest_number<std::int64_t>() {
  return kLowestOf<std::int64_t>;
}

/// The start of a thread that may get no element.
template <class Number>
__device__ __forceinline__ Number identity_of(Reduce op) {
  switch (op) {
    case Reduce::minimum: return static_cast<Number>(-(lowest_number<Number>() + 1));  // inf
    case Reduce::maximum: return lowest_number<Number>();
    case Reduce::all: return Number{1};
    default: return Number{0};
  }
}

template <class Number>
__device__ __forceinline__ Number element(const ReduceJob& job, std::int64_t start,
                                          std::int64_t index) {
  if constexpr (sizeof(Number) == 4) {
    if (job.dense_float)
      return static_cast<const float*>(
          job.reduced.data[0])[start + index * job.reduced.strides[0][0]];
  }
  std::int64_t at[1];
  job.reduced.offsets(index, at);
  return load_as<Number>(job.reduced.data[0], job.reduced.dtypes[0], start + at[0]);
}

template <class Number>
__global__ void __launch_bounds__(kRowThreads) reduce_kernel(ReduceJob job) {
  SharedArena arena;
  auto slots = arena.take<Number>(kWarp);
  const std::int64_t output = this_row(), count = job.reduced.count;
  if (output >= job.kept.count) return;
  const RowGroup group;
  std::int64_t at[2];
  job.kept.offsets(output, at);
  const Combine<Number> combine = {job.op};
  const auto identity = identity_of<Number>(job.op);
  Number value = identity;
  for (std::int64_t i = group.place; i < count; i += group.threads)
    value = combine(value, element_value(job.op, element<Number>(job, at[1], i)));
  value = group.combine(value, identity, slots, combine);
  if (group.place != 0) return;
  if (job.op == Reduce::mean) {
    const float mean = static_cast<float>(value) / static_cast<float>(count);
    store_as(job.kept.data[0], job.kept.dtypes[0], at[0], mean);
  } else {
    if (count == 0 && job.op != Reduce::all) value = Number{0};
    store_as(job.kept.data[0], job.kept.dtypes[0], at[0], value);
  }
}

/// argmin and argmax: the better of two places. No place yet is kNowhere.
constexpr std::int64_t kNowhere = kHighestOf<std::int64_t>;

template <class Number>
struct Place {
  Number value;
  std::int64_t offset;
};

template <class Number>
__device__ __forceinline__ Place<Number> better(bool largest, const Place<Number>& a,
                                                const Place<Number>& b) {
  if (a.offset == kNowhere || b.offset == kNowhere) return b.offset == kNowhere ? a : b;
  if (a.value != b.value) return (largest ? a.value > b.value : a.value < b.value) ? a : b;
  return a.offset < b.offset ? a : b;
}

template <class Number>
__device__ __forceinline__ Place<Number> warp_best(bool largest, Place<Number> place) {
#pragma unroll
  for (int apart = kWarp / 2; apart > 0; apart /= 2) {
    Place<Number> other;
    other.value = __shfl_xor_sync(kFullMask, place.value, apart);
    other.offset = __shfl_xor_sync(kFullMask, place.offset, apart);
    place = better(largest, place, other);
  }
  return place;
}

template <class Number>
__global__ void __launch_bounds__(kRowThreads) argument_kernel(ReduceJob job) {
  SharedArena arena;
  auto values = arena.take<Number>(kWarp);
  auto offsets = arena.take<std::int64_t>(kWarp);
  const std::int64_t output = this_row();
  if (output >= job.kept.count) return;
  const RowGroup group;
  const bool largest = job.op == Reduce::argmax;
  std::int64_t at[2];
  job.kept.offsets(output, at);
  Place<Number> best = {Number{0}, kNowhere};
  for (std::int64_t i = group.place; i < job.reduced.count; i += group.threads) {
    const Number x = element<Number>(job, at[1], i);
    if (x == x) best = better(largest, best, {x, i});  // NaN only when there is nothing else
  }
  best = warp_best(largest, best);
  if (group.threads > kWarp) {
    const int lane = group.place % kWarp, warp = group.place / kWarp;
    if (lane == 0) {
      values[warp] = best.value;
      offsets[warp] = best.offset;
    }
    __syncthreads();
    best = {Number{0}, kNowhere};
    if (lane < group.threads / kWarp) {
      best.value = values[lane];
      best.offset = offsets[lane];
    }
    best = warp_best(largest, best);
  }
  if (group.place == 0)
    store_as(job.kept.data[0], job.kept.dtypes[0], at[0],
             best.offset == kNowhere ? std::int64_t{0} : best.offset);
}

// Threads by the number of elements reduced: a warp, or a block, for each output.
template <class Number>
void reduce_as(const Launch& on, const ReduceJob& job) {
  LaunchConfig config = row_blocks(job.kept.count, job.reduced.count, kEach);
  config.shared_bytes = shared_bytes<Number>(kWarp);
  if (job.op != Reduce::argmin && job.op != Reduce::argmax)
    return launch(on, "reduce", config, reduce_kernel<Number>, job);
  config.shared_bytes += shared_bytes<std::int64_t>(kWarp);
  launch(on, "reduce_argument", config, argument_kernel<Number>, job);
}

}  // namespace

void reduce(const Launch& on, const ReduceArguments& a) {
  const int kept = a.rank - a.reduced;
  ReduceJob job = {a.op, walk_of<2>(a.sizes, 0, kept, {&a.out, &a.x}),
                   walk_of<1>(a.sizes, kept, a.rank, {&a.x}), false};
  job.dense_float = job.reduced.rank == 1 && a.x.dtype == DType::f32;
  if (is_float(a.x.dtype))
    reduce_as<float>(on, job);
  else
    reduce_as<std::int64_t>(on, job);
}

}  // namespace perilune::kernels::cuda
