#include "engine/files/tensor_file.h"

#include <algorithm>

#include "engine/base/error.h"
#include "engine/files/axis_names.h"

namespace perilune {

void require_readable(const StoredTensor& tensor, std::string_view file) {
  if (tensor.readable) return;
  throw Error(ErrorCode::unsupported, "load",
              std::string(file) + ": tensor \"" + tensor.name + "\" is stored as " + tensor.type +
                  ", which is not supported")
      .hint("convert it to F32, F16 or BF16 (integers: I32, I64, I8, U8)");
}

void TensorFile::read_blocks(const StoredTensor& tensor, std::uint64_t, std::size_t, void*) const {
  throw Error(ErrorCode::internal, "load",
              path() + ": tensor \"" + tensor.name + "\" is not stored in blocks");
}

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
