// Names of axes in a file's metadata, a text a tensor ("axes.NAME": ["batch","hidden"]): what reads
// only the published format passes over it.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "engine/tensor/tensor.h"

namespace perilune {

/// Adds an entry for every tensor that has axes.
void note_axis_names(const std::vector<std::pair<std::string, Tensor>>& tensors,
                     std::map<std::string, std::string>& metadata);

/// The names noted for a tensor of `rank` axes; none where nothing is noted, or what is noted does
/// not fit.
std::vector<std::string> noted_axis_names(const std::map<std::string, std::string>& metadata,
                                          const std::string& tensor, std::size_t rank);

}  // namespace perilune
