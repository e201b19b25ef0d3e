#include "engine/sound/compressed_size.h"

#include <vector>

#include "engine/base/error.h"
#ifdef PERILUNE_SOUND
#include <zlib.h>
#endif

namespace perilune {

std::size_t compressed_size([[maybe_unused]] std::string_view text) {
#ifdef PERILUNE_SOUND
  uLongf size = compressBound(text.size());
  std::vector<Bytef> out(size);
  if (compress(out.data(), &size, reinterpret_cast<const Bytef*>(text.data()), text.size()) ==
      Z_OK) {
    return size;
  }
  throw Error(ErrorCode::memory, "compressed_size", "no memory to compress a text");
#else
  throw Error(ErrorCode::unsupported, "compressed_size", "this build has no zlib")
      .hint("install zlib1g-dev and build again");
#endif
}

}  // namespace perilune
