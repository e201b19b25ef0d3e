#include "engine/files/tensor_file.h"

#include "engine/base/error.h"

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

}  // namespace perilune
