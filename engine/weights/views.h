// How stored tensors become the names that a family's passes ask for.
#pragma once

#include <string>
#include <vector>

#include "engine/weights/checkpoint.h"

namespace perilune {

/// A name that passes may ask for, and where its elements lie.
struct NamedView {
  std::string name;
  StoredView view;
};

/// `name` without the longest of `prefixes` that it begins with.
std::string strip_prefix(const std::string& name, const std::vector<std::string>& prefixes);

/// What the stored tensor `whole` (called `name` below the prefixes) becomes under the views that
/// fit it: itself renamed, transposed, or its parts. Throws Error(format) naming the tensor where
/// sizes do not fit, Error(argument) where a view is wrong in itself or two fit one name.
std::vector<NamedView> apply_views(const std::string& name, const StoredView& whole,
                                   const CheckpointOptions& options);

/// Marks a view whose rows are stored in pairs, or whose weight has something added, as the
/// options' permutations and offsets say. Throws Error(format | argument) where sizes do not fit.
void apply_row_rules(NamedView& named, const CheckpointOptions& options);

/// The pieces of `name` that the stars of `pattern` stand for; nullopt where it does not fit.
std::optional<std::vector<std::string>> match_captures(std::string_view pattern,
                                                       std::string_view name);

/// `pattern` with its stars replaced by `captures` in order.
std::string fill_pattern(std::string_view pattern, const std::vector<std::string>& captures);

}  // namespace perilune
