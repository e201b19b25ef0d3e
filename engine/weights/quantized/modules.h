// Which tensors of a checkpoint are parts of quantized matrices.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine/weights/quantized/parts.h"

namespace perilune {

/// The parts of every quantized module, by its name.
std::map<std::string, QuantizedParts> quantized_modules(const QuantizationConfig& config,
                                                        const std::vector<CheckpointEntry>& all);

/// Whether the tensor `name` is a part of one of them.
bool is_quantized_part(const QuantizationConfig& config,
                       const std::map<std::string, QuantizedParts>& modules,
                       const std::string& name);

/// What the layout's reader makes of the parts; throws as that does (parts.h).
QuantizedMatrix read_quantized_module(const QuantizationConfig& config,
                                      const QuantizedParts& parts);

}  // namespace perilune
