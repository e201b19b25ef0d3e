// A checkpoint's weights as files: as they are stored now, whatever file they came from.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/files/gguf/writer.h"
#include "engine/weights/checkpoint.h"

namespace perilune {

/// Bytes that are written, and all of them.
using SaveProgress = std::function<void(std::size_t done, std::size_t total)>;

/// Writes every weight that a pass may ask for under the name that it asks by, blocks as blocks
/// (engine/files/own_blocks.h), a part of a weight in memory at a time. Opened again it is the same
/// weights to the bit. Throws Error(file).
void save_weights(const std::shared_ptr<Context>& context, const Checkpoint& checkpoint,
                  const std::string& path, std::map<std::string, std::string> metadata,
                  const SaveProgress& progress);

/// A tensor of a GGUF file out of weights of a checkpoint.
struct GgufWeight {
  std::string name;                  // in the file
  std::vector<std::string> sources;  // one under the other
  /// Rows of a head, which are laid as the pairs that are rotated together; 0: as they are.
  std::int64_t head_rows = 0;
  float added = 0;            // to every number of a vector
  std::vector<float> values;  // of a vector without sources
};

/// Writes a GGUF file of these weights as they are stored now; vectors as f32. Throws
/// Error(unsupported) where one is stored as GGUF has no type for, naming it, Error(shape) where
/// parts do not fit, Error(file).
void save_gguf(const std::shared_ptr<Context>& context, const Checkpoint& checkpoint,
               const std::string& path, const std::vector<GgufPair>& keys,
               const std::vector<GgufWeight>& weights, const SaveProgress& progress);

}  // namespace perilune
