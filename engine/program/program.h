// One pass, traced once into a list of ops and shape-checked while traced. Immutable when finished.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/ops/op.h"

namespace perilune {

struct ProgramValue {
  TensorSpec spec;
  int producer = -1;  // node; -1: an input or a constant
  std::string input;  // "ids", "positions", "type_ids", "encoded", "features", ...
  Tensor constant;    // when defined
};

struct ProgramNode {
  OpPointer op;
  std::vector<int> inputs, outputs;  // values
  std::string where;                 // "layers.3.mlp, llama.lua:41"
  std::string module;                // "layers.3.mlp" by canonical path; "" between modules
};

/// A ragged axis of the program. How its rows come about is the business of the op that makes it
/// (Op::bind_axes); `source` names the input for axes of inputs.
struct ProgramAxis {
  std::string name;    // "token", "batch", "frame"
  std::string source;  // "batch" (the pass's own batch), "wanted" (its wanted rows), an input's
                       // name ("encoded"), or "" when made by an op
};

class RopeTableOp;

/// A path whose value costs extra (attention weights): its op joins a plan only when asked for.
struct LazyMark {
  std::string path;
  ProgramNode node;  // outputs empty: the one value is made by the plan
  TensorSpec spec;
  std::size_t after_node = 0;  // goes before node `after_node` of the program
  std::size_t after_mark = 0;  // its place among the marks
};

class Program {
 public:
  std::string entry;  // "decode", "encode", "cross"
  std::string head;   // "" without
  std::vector<ProgramValue> values;
  std::vector<ProgramNode> nodes;
  std::vector<ProgramAxis> axes;                   // axis i has identity i + 1
  std::vector<std::pair<std::string, int>> marks;  // canonical path -> value, in order of marking
  std::vector<LazyMark> lazy_marks;
  std::vector<std::pair<std::string, int>> outputs;  // "logits", "last_hidden_state", ... -> value
  std::vector<KvSlotSpec> kv_slots;
  /// For which tokens logits are computed when nobody says: `last` for heads that predict a next
  /// token, else `all`.
  RowSelection default_rows = RowSelection::all;

  /// Rotary tables that depend on how long the whole text is; owned by the nodes.
  std::vector<const RopeTableOp*> length_tables;
  void find_length_tables();

  /// Whether keys that were made for a text of `a` tokens are those of a text of `b`.
  bool same_keys(std::int64_t a, std::int64_t b) const;
  /// One length for all whose texts have the same keys as one of `tokens`.
  std::int64_t key_length(std::int64_t tokens) const;
  /// Whether the pass writes keys and values of this kind.
  bool writes(KvKind kind) const;
  const int* find_mark(const std::string& path) const;
  /// All paths that a plan may be asked for, lazy ones at their place.
  std::vector<std::string> mark_paths() const;
  /// A table of ops: number, op, inputs -> output shapes, where.
  std::string text() const;
};

}  // namespace perilune
