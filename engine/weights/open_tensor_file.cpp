#include "engine/weights/open_tensor_file.h"

#include <string_view>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/files/foreign.h"
#include "engine/files/gguf/tensors.h"
#include "engine/files/own_blocks.h"
#include "engine/files/safetensors.h"
#include "engine/files/whisper/whisper_file.h"

namespace perilune {
namespace {

/// Names a file that is something else, before its bytes are taken for a length.
void refuse_foreign(const std::string& path) {
  if (!file_exists(path)) return;  // opening it says why
  const std::string head = head_of_file(path, kForeignBytes);
  if (looks_like_safetensors(head)) return;
  const auto foreign = foreign_file(head, base_name(path));
  if (!foreign) return;
  throw Error(ErrorCode::unsupported, "load", path + ": " + foreign->kind).hint(foreign->hint);
}

}  // namespace

std::shared_ptr<const TensorFile> open_tensor_file(const std::string& path, bool map) {
  if (is_gguf_file(path)) return open_gguf_tensors(path, map);
  if (is_ctranslate2_whisper(path)) return open_ctranslate2_whisper(path);
  if (is_ggml_whisper(path)) return open_ggml_whisper(path);
  refuse_foreign(path);
  return with_own_blocks(open_safetensors(path, map));
}

}  // namespace perilune
