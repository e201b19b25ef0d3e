// What a file of tensors is, whatever its format.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tensor/tensor.h"
#include "kernels/coding.h"

namespace perilune {

/// One stored tensor of a file.
struct StoredTensor {
  std::string name;
  DType dtype = DType::f32;
  std::vector<std::int64_t> sizes;
  std::uint64_t begin = 0,
                end = 0;  // bytes from the start of the file (engine/files/gguf/tensors.h: or
                          // of what the type is decoded into)
  std::string type;       // as the file says: "BF16", "Q4_K"
  bool readable = true;   // false: `type` has no dtype here (F64, F8_E4M3, ...)
  const kernels::BlockFormat* format = nullptr;  // of quantized rows, else null
  /// Of blocks: their input k is input (*input_order)[k] of the tensor. Null: in order.
  std::shared_ptr<const std::vector<std::int32_t>> input_order;
  bool outputs_first = false;  // a matrix [outputs, inputs], whatever a family's views say
};

/// "[2, 3]"
std::string sizes_text(const std::vector<std::int64_t>& sizes);

/// Throws Error(unsupported) naming file, tensor and type where it is not readable.
void require_readable(const StoredTensor& tensor, std::string_view file);

/// A validated file of tensors. safetensors: header size, JSON, dtypes, checked sizes, offsets that
/// cover the file exactly. GGUF: engine/files/gguf/head.h; quantized tensors read as float32. Reads
/// with pread; mapping is opt-in (a mapped file that shrinks kills the process).
class TensorFile {
 public:
  virtual ~TensorFile() = default;
  virtual const std::string& path() const = 0;
  virtual const std::vector<StoredTensor>& tensors() const = 0;
  virtual const StoredTensor* find(std::string_view name) const = 0;
  /// Reads bytes [begin, begin + size) of the tensor's data into `to`.
  virtual void read(const StoredTensor& tensor, std::uint64_t begin, std::size_t size,
                    void* to) const = 0;
  /// Stored blocks [first, first + count) as they are; for tensors that have a `format`.
  virtual void read_blocks(const StoredTensor& tensor, std::uint64_t first, std::size_t count,
                           void* to) const;
  virtual const std::map<std::string, std::string>& metadata() const = 0;
  /// The tensor's bytes where the file is mapped, else null. Any alignment.
  virtual const void* mapped(const StoredTensor& tensor) const = 0;
};

/// A stored tensor with its file.
struct CheckpointEntry {
  std::shared_ptr<const TensorFile> file;
  const StoredTensor* tensor = nullptr;
};

/// Why a pickle is refused, and the way out.
inline constexpr const char* kPickleHint =
    "pickled files are never read, since opening one can run code: convert it where it came from, "
    "with save_pretrained(folder, safe_serialization=True)";

/// A tensor of a file, in its own dtype, with axes "axis1", ... unless named. Throws
/// Error(unsupported) for element types and ranks that tensors do not have.
Tensor read_tensor(const std::shared_ptr<Context>& context, const TensorFile& file,
                   const StoredTensor& tensor, const std::vector<std::string>& axes = {});

}  // namespace perilune
