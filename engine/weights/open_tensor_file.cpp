#include "engine/weights/open_tensor_file.h"

#include <fstream>
#include <string_view>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/files/gguf/tensors.h"
#include "engine/files/safetensors.h"

namespace perilune {
namespace {

/// PyTorch's: a zip archive, or a stream whose first object is its long magic number.
bool is_pickle(const std::string& path) {
  if (!file_exists(path)) return false;
  char head[4] = {};
  std::ifstream(path, std::ios::binary).read(head, sizeof head);
  const std::string_view first(head, sizeof head);
  return first == "PK\x03\x04" || (first.starts_with('\x80') && first.substr(2) == "\x8a\x0a");
}

}  // namespace

std::shared_ptr<const TensorFile> open_tensor_file(const std::string& path, bool map) {
  if (is_gguf_file(path)) return open_gguf_tensors(path, map);
  if (is_pickle(path)) {
    throw Error(ErrorCode::unsupported, "load", path + ": a pickled file, which is never read")
        .hint(kPickleHint);
  }
  return open_safetensors(path, map);
}

}  // namespace perilune
