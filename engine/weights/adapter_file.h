// The tensors of one adapter's file, put beside the modules that a family's passes ask for.
#pragma once

#include <string>
#include <vector>

#include "engine/weights/checkpoint.h"

namespace perilune {

/// What an adapter's file holds for one module of the published model. Names are keys of the file;
/// "" where there is none. Either down and up, or whole, or bias alone.
struct AdapterModule {
  std::string module;      // "model.layers.0.self_attn.q_proj", as the base's file calls it
  std::string down, up;    // A [rank, inputs], B [outputs, rank]
  bool embedding = false;  // they are of one: A [rank, ids]
  std::string up_bias;     // [outputs], scaled as B (A x) is
  std::string whole;       // [outputs, inputs] as the base is stored
  std::string bias;        // [outputs], in the base's bias's place
  double scale = 1;
};

/// Adds the adapter `number` (from 1) to what the checkpoint's modules have beside them.
/// `options`: the prefixes, views and axes of the family; parts of a split get their own rows of
/// B. Gives the paths of the modules. Throws Error(format | shape) naming file, tensor and sizes
/// for what does not fit the checkpoint.
std::vector<std::string> read_adapter(const std::shared_ptr<Context>& context,
                                      Checkpoint& checkpoint, std::int64_t number,
                                      const std::string& path,
                                      const std::vector<AdapterModule>& modules,
                                      CheckpointOptions options);

}  // namespace perilune
