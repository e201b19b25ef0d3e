#include "engine/tensor/copy_parts.h"

#include <algorithm>
#include <cstddef>

#include "engine/base/interrupt.h"
#include "kernels/dtype.h"

namespace perilune {

namespace {

constexpr std::int64_t kPart = std::int64_t{1} << 21;  // elements: some milliseconds

void advance(kernels::Strided& of, std::int64_t rows) {
  const auto size = static_cast<std::int64_t>(dtype_size(of.dtype));
  of.data = static_cast<std::byte*>(of.data) + rows * of.strides[0] * size;
}

}  // namespace

void copy_in_parts(const kernels::KernelTable& kernels, const kernels::Launch& launch,
                   kernels::CopyArguments arguments) {
  std::int64_t row = 1;  // elements of one entry of the first axis
  for (int i = 1; i < arguments.rank; ++i) row *= arguments.sizes[i];
  const std::int64_t rows = arguments.rank > 0 ? arguments.sizes[0] : 1;
  const std::int64_t step = std::max<std::int64_t>(1, kPart / std::max<std::int64_t>(1, row));
  for (std::int64_t first = 0; first < rows; first += step) {
    if (first > 0) throw_if_interrupted("copy");
    if (rows > step) arguments.sizes[0] = std::min(step, rows - first);
    kernels.copy(launch, arguments);
    advance(arguments.out, step);
    advance(arguments.x, step);
  }
}

}  // namespace perilune
