// Any bytes are a CTranslate2 or GGML file of Whisper whose tensors lie inside it, or one Error; so
// is the tokenizer in it.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/error.h"
#include "engine/files/whisper/whisper_file.h"
#include "engine/text/readers/open.h"

namespace {

void check(bool holds) {
  if (!holds) __builtin_trap();
}

template <typename Function>
void try_to(Function function) {
  try {
    function();
  } catch (const perilune::Error& error) {
    check(error.code() != perilune::ErrorCode::internal);
  }
}

// Every tensor, whole and from its middle, which must say the same.
void read_everything(const perilune::TensorFile& file) {
  for (const perilune::StoredTensor& tensor : file.tensors()) {
    check(file.find(tensor.name) == &tensor && tensor.begin <= tensor.end);
    const std::size_t size = tensor.end - tensor.begin;
    std::vector<char> whole(size), half(size - size / 2);
    file.read(tensor, 0, size, whole.data());
    file.read(tensor, size / 2, half.size(), half.data());
    check(std::equal(half.begin(), half.end(), whole.begin() + static_cast<long>(size / 2)));
    if (tensor.format == nullptr) continue;
    std::vector<char> block(tensor.format->bytes);
    file.read_blocks(tensor, 0, 1, block.data());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const int file = ::memfd_create("whisper", 0);
  static const std::string path = "/proc/self/fd/" + std::to_string(file);
  check(::ftruncate(file, 0) == 0 && ::pwrite(file, data, size, 0) == static_cast<ssize_t>(size));
  perilune::is_ctranslate2_whisper(path);
  perilune::is_ggml_whisper(path);
  try_to([] { read_everything(*perilune::open_ctranslate2_whisper(path)); });
  try_to([] { read_everything(*perilune::open_ggml_whisper(path)); });
  try_to([] { perilune::read_ggml_whisper_tokens(path); });
  try_to([] { perilune::load_ggml_whisper_tokenizer(path); });
  return 0;
}
