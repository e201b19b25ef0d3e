// How stored tensors become the names that a family's passes ask for.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/weights/stored_view.h"

namespace perilune {

/// One part of a split: a name for the child, and the axes whose sizes multiply to its outputs
/// (empty: equal parts).
struct SplitPart {
  std::string name;
  std::vector<std::string> axes;
};

/// How stored tensors become modules (API.md, Families: `weights`). Order: rename, transpose,
/// split.
struct WeightView {
  std::string pattern;  // "h.*.attn.c_attn"; '*' is one component, a leading '*' any depth
  std::string rename;
  bool transpose = false;
  std::vector<SplitPart> split;
  std::string per;  // with split: interleaved by this axis (stored [head, part, head_dim])
};

/// Modules whose outputs are stored as rotary pairs lie side by side (GGUF's llama): row
/// j * size/2 + i of each head at 2i + j.
struct HeadPermutation {
  std::string pattern;  // of module names
  std::string axis;     // of the heads: its size says how many
};

/// Weights that are stored with something added (GGUF's gemma2 norms): `value` is added on reading.
struct WeightOffset {
  std::string pattern;  // of module names
  float value = 0;
};

struct CheckpointOptions {
  std::vector<std::string> prefixes;  // the longest that fits is stripped, before anything else
  std::vector<WeightView> views;
  std::vector<std::string> unused;             // patterns of stored tensors nobody needs to read
  std::map<std::string, std::int64_t> axes;    // the family's axis sizes, for splits
  std::vector<HeadPermutation> permutations;   // after the views
  std::vector<WeightOffset> offsets;           // after the views
  std::vector<std::vector<std::string>> ties;  // names of one tensor, after everything else
  bool map = false;
};

/// True when `name` fits `pattern`, component by component; a leading "*." or a pattern that begins
/// with '*' matches any depth.
bool matches_pattern(std::string_view pattern, std::string_view name);

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
