// copy and gather_rows: elements moved, and converted where the types differ.
//
// Between floats: rounded to nearest, ties to even; floats to integers truncate toward zero and
// stop at the ends; anything to bool is x != 0. Where the types agree only bytes move, in the
// widest unit (16 bytes at best) that the addresses, the strides and the innermost length allow.
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/rows.h"
#include "kernels/cuda/strided.h"

namespace perilune::kernels::cuda {
namespace {

template <class Unit>
struct Moved {
  Unit value;
  std::int64_t to;
};

template <class Unit>
__global__ void __launch_bounds__(kElementThreads) move_kernel(Walk<2> walk) {
  move_elements<Moved<Unit>>(
      walk.count,
      [&](std::int64_t index) {
        std::int64_t at[2];
        walk.offsets(index, at);
        return Moved<Unit>{static_cast<const Unit*>(walk.data[1])[at[1]], at[0]};
      },
      [&](std::int64_t, const Moved<Unit>& moved) {
        static_cast<Unit*>(walk.data[0])[moved.to] = moved.value;
      });
}

template <class Number>
__global__ void __launch_bounds__(kElementThreads) convert_kernel(Walk<2> walk) {
  each_element(walk.count, [&](std::int64_t index) {
    std::int64_t at[2];
    walk.offsets(index, at);
    store_as(walk.data[0], walk.dtypes[0], at[0],
             load_as<Number>(walk.data[1], walk.dtypes[1], at[1]));
  });
}

/// Whether both operands can be moved in units of `unit` bytes.
bool divides(const Walk<2>& walk, std::int64_t element, std::int64_t unit) {
  const int last = walk.rank - 1;
  const auto bytes = static_cast<std::uintptr_t>(unit);
  if (!are_aligned(bytes, walk.data[0], walk.data[1])) return false;
  if (unit == element) return true;
  if (walk.sizes[last] * element % unit != 0) return false;
  for (int i = 0; i < 2; ++i) {
    if (walk.strides[i][last] != 1) return false;
    for (int axis = 0; axis < last; ++axis)
      if (walk.strides[i][axis] * element % unit != 0) return false;
  }
  return true;
}

/// The same bytes as elements of `unit` bytes.
Walk<2> in_units(Walk<2> walk, std::int64_t element, std::int64_t unit) {
  if (unit == element) return walk;
  const std::int64_t each = unit / element;
  const int last = walk.rank - 1;
  walk.sizes[last] /= each;
  walk.count /= each;
  for (int i = 0; i < 2; ++i)
    for (int axis = 0; axis < last; ++axis) walk.strides[i][axis] /= each;
  return walk;
}

// Blocks as for all elementwise kernels: bound by memory, enough loads under way.
void move(const Launch& on, const Walk<2>& given, std::int64_t element) {
  std::int64_t unit = 16;
  while (unit > element && !divides(given, element, unit)) unit /= 2;
  const Walk<2> walk = in_units(given, element, unit);
  const LaunchConfig config = element_blocks(walk.count);
  switch (unit) {
    case 16: return launch(on, "copy_16", config, move_kernel<uint4>, walk);
    case 8: return launch(on, "copy_8", config, move_kernel<std::uint64_t>, walk);
    case 4: return launch(on, "copy_4", config, move_kernel<std::uint32_t>, walk);
    case 2: return launch(on, "copy_2", config, move_kernel<std::uint16_t>, walk);
    default: return launch(on, "copy_1", config, move_kernel<std::uint8_t>, walk);
  }
}

struct GatherJob {
  void* out;
  const void* x;
  const std::int64_t* indices;
  std::int64_t count, row_units, stride_units;  // count: of all rows
};

template <class Unit>
__global__ void __launch_bounds__(kElementThreads) gather_kernel(GatherJob job) {
  move_elements<Unit>(
      job.count,
      [&](std::int64_t index) {
        const std::int64_t row = index / job.row_units, offset = index - row * job.row_units;
        return static_cast<const Unit*>(job.x)[job.indices[row] * job.stride_units + offset];
      },
      [&](std::int64_t index, Unit value) { static_cast<Unit*>(job.out)[index] = value; });
}

template <class Unit>
void gather(const Launch& on, const GatherRowsArguments& a) {
  constexpr auto kUnit = static_cast<std::int64_t>(sizeof(Unit));
  const std::int64_t units = a.row_bytes / kUnit;
  const GatherJob job = {a.out, a.x, a.indices, a.rows * units, units, a.x_stride_bytes / kUnit};
  launch(on, "gather_rows", element_blocks(job.count), gather_kernel<Unit>, job);
}

}  // namespace

void copy(const Launch& on, const CopyArguments& a) {
  const Walk<2> walk = walk_of<2>(a.sizes, 0, a.rank, {&a.out, &a.x});
  if (walk.count == 0) return;
  if (a.out.dtype == a.x.dtype)
    return move(on, walk, static_cast<std::int64_t>(dtype_size(a.x.dtype)));
  const LaunchConfig config = element_blocks(walk.count);
  if (is_float(a.x.dtype)) return launch(on, "copy_float", config, convert_kernel<float>, walk);
  launch(on, "copy_integer", config, convert_kernel<std::int64_t>, walk);
}

void gather_rows(const Launch& on, const GatherRowsArguments& a) {
  const auto fits = [&](std::int64_t unit) {
    return a.row_bytes % unit == 0 && a.x_stride_bytes % unit == 0 &&
           are_aligned(static_cast<std::uintptr_t>(unit), a.out, a.x);
  };
  if (a.row_bytes == 0) return;
  if (fits(16)) return gather<uint4>(on, a);
  if (fits(4)) return gather<std::uint32_t>(on, a);
  gather<std::uint8_t>(on, a);
}

}  // namespace perilune::kernels::cuda
