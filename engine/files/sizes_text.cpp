// Apart from tensor_file.cpp: whoever checks a header needs no tensors.
#include "engine/files/tensor_file.h"

namespace perilune {

std::string sizes_text(const std::vector<std::int64_t>& sizes) {
  std::string text = "[";
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    text += (i ? ", " : "") + std::to_string(sizes[i]);
  }
  return text + "]";
}

}  // namespace perilune
