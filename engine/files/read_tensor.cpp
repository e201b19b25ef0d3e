#include <algorithm>

#include "engine/base/error.h"
#include "engine/files/axis_names.h"
#include "engine/files/tensor_file.h"

namespace perilune {

Tensor read_tensor(const std::shared_ptr<Context>& context, const TensorFile& file,
                   const StoredTensor& tensor, const std::vector<std::string>& axes) {
  require_readable(tensor, file.path());
  const std::size_t rank = tensor.sizes.size();
  if (rank > static_cast<std::size_t>(kernels::kMaxAxes)) {
    throw Error(ErrorCode::unsupported, "load",
                file.path() + ": tensor \"" + tensor.name + "\" has " + std::to_string(rank) +
                    " axes, at most " + std::to_string(kernels::kMaxAxes) + " are supported");
  }
  if (!axes.empty() && axes.size() != rank) {
    throw Error(ErrorCode::shape, "load",
                "tensor \"" + tensor.name + "\" has " + std::to_string(rank) + " axes, " +
                    std::to_string(axes.size()) + " names are given")
        .where(file.path());
  }
  const std::vector<std::string> names =
      axes.empty() ? noted_axis_names(file.metadata(), tensor.name, rank) : axes;
  std::vector<Axis> named;
  for (std::size_t i = 0; i < rank; ++i) {
    named.push_back(
        {names.empty() ? "axis" + std::to_string(i + 1) : names[i], tensor.sizes[i], 0});
  }
  Tensor out = Tensor::make(context, tensor.dtype, Shape(named));
  file.read(tensor, 0, out.bytes(), out.data());
  if (tensor.dtype == DType::boolean) {
    auto* bytes = out.as<std::uint8_t>();
    std::transform(bytes, bytes + out.bytes(), bytes,
                   [](std::uint8_t byte) { return static_cast<std::uint8_t>(byte != 0); });
  }
  return out;
}

}  // namespace perilune
