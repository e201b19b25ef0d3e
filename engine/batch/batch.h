// Ragged batches: ids of all rows end to end with row starts. Padding is a view at the edge.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/tensor/tensor.h"

namespace perilune {

/// The rows of one ragged axis: row r is [starts[r], starts[r + 1]).
struct RaggedRows {
  std::string axis = "token";
  AxisIdentity identity = 0;
  std::vector<std::int64_t> starts{0};

  std::int64_t rows() const { return static_cast<std::int64_t>(starts.size()) - 1; }
  std::int64_t total() const { return starts.back(); }
  std::int64_t length(std::int64_t row) const {
    return starts[static_cast<std::size_t>(row) + 1] - starts[static_cast<std::size_t>(row)];
  }
  std::int64_t longest() const;
  /// Becomes `rows` rows of `length` each, in place.
  void set_even(std::string_view name, AxisIdentity new_identity, std::int64_t rows,
                std::int64_t length);
  /// Becomes rows of these lengths, in place.
  void set_lengths(std::string_view name, AxisIdentity new_identity,
                   std::span<const std::int64_t> lengths);
  static RaggedRows from_lengths(std::string axis, AxisIdentity identity,
                                 const std::vector<std::int64_t>& lengths);
};

/// Facts of one sequence that a pass may need.
struct SequenceFacts {
  std::int64_t prompt_tokens =
      -1;  // boundary between prompt and generated tokens; -1: all are prompt
  std::int64_t first_position = 0;  // cache position of the first row token (its position base)
  std::int64_t lost = 0;            // tokens dropped by truncation
  std::int64_t source = 0;          // which input of the caller this row came from (0-based)
  std::int64_t adapter = 0;         // number of the adapter that its passes go through; 0: none
};

/// Which tokens logits are computed for.
enum class RowSelection { automatic, last, all, listed };

/// One named input of a batch: the rows of `tensor` [axis, ...] end to end.
struct BatchInput {
  std::string name;  // "features"
  Tensor tensor;
  std::vector<std::int64_t> lengths;  // per row of the batch, in entries of `axis`
  std::string axis;                   // "frame"
};

/// Immutable once made; shared between passes. Has one or more ragged axes (tokens, frames), each
/// with row starts and an identity of its own; inputs over one axis share them.
class Batch {
 public:
  /// Rows of ids. Throws Error(argument) for no rows or a row without tokens (naming it).
  static std::shared_ptr<const Batch> make(const std::shared_ptr<Context>& context,
                                           const std::vector<std::vector<std::int32_t>>& rows);
  /// Rows of ids (none: no ids), and named inputs beside them; inputs over an axis of one name have
  /// the same row lengths. Without ids the first input's axis is the batch's own. Throws
  /// Error(argument | shape) for what does not fit together, naming row and input.
  static std::shared_ptr<const Batch> make(const std::shared_ptr<Context>& context,
                                           const std::vector<std::vector<std::int32_t>>& rows,
                                           const std::vector<BatchInput>& inputs);
  /// Rows of embeddings or frames alone.
  static std::shared_ptr<const Batch> make_inputs(const std::shared_ptr<Context>& context,
                                                  const std::string& name, const Tensor& rows,
                                                  const std::vector<std::int64_t>& lengths,
                                                  const std::string& axis);
  /// ids [batch][seq] and a mask (0 or 1) of the same sizes: packed. A mask with a hole, or a row
  /// without a 1, throws with its row, in the name of `op`. Remembers the layout for answers.
  static std::shared_ptr<const Batch> from_padded(
      const std::shared_ptr<Context>& context, const std::vector<std::vector<std::int32_t>>& ids,
      const std::vector<std::vector<std::int32_t>>& mask,
      const std::string& op = "batch_from_padded");

  const std::shared_ptr<Context>& context() const { return context_; }
  /// The batch's own ragged axis: of its ids, or of its first input.
  const RaggedRows& rows() const { return rows_; }
  /// Ragged axes of inputs beside it.
  const std::vector<RaggedRows>& other_rows() const { return other_rows_; }
  /// Those of with_made_rows.
  const std::vector<RaggedRows>& made_rows() const { return made_rows_; }
  std::int64_t size() const { return rows_.rows(); }
  std::int64_t tokens() const { return rows_.total(); }
  /// The identity of this batch's `batch` axis (one entry per row).
  AxisIdentity batch_identity() const { return batch_identity_; }

  bool has_ids() const { return ids_.defined(); }
  const Tensor& ids() const { return ids_; }  // i32 [token]
  std::vector<std::int32_t> row_ids(std::int64_t row) const;
  /// i32 [token]; made (0, 1, ... from first_position; zeros) where not given.
  const Tensor& positions() const { return positions_; }
  bool has_positions() const { return has_positions_; }
  const Tensor& type_ids() const { return type_ids_; }
  bool has_type_ids() const { return has_type_ids_; }
  const std::map<std::string, Tensor>& inputs() const { return inputs_; }
  /// What a pass reads by this name: "ids", "positions", "type_ids", or a named input; its first
  /// axis is one of the batch's. Undefined where there is none.
  const Tensor& input(const std::string& name) const;
  const std::vector<SequenceFacts>& facts() const { return facts_; }
  const std::vector<std::vector<std::int64_t>>& labels() const { return labels_; }
  RowSelection row_selection() const { return selection_; }
  /// For RowSelection::listed: 0-based token offsets inside each row.
  const std::vector<std::vector<std::int64_t>>& wanted() const { return wanted_; }
  /// What is asked for where the batch says nothing (RowSelection::automatic).
  RowSelection selection_or(RowSelection by_default) const {
    return selection_ == RowSelection::automatic ? by_default : selection_;
  }
  /// Appends the offsets in row `row` of the tokens that logits are computed for, ascending: the
  /// one place with this rule. `first` is added to each.
  void append_wanted(std::int64_t row, RowSelection by_default, std::int64_t first,
                     std::vector<std::int64_t>& offsets) const;

  /// How a padded pair came in (first column of each row's tokens), for answers in the same layout.
  struct PaddedLayout {
    std::int64_t width = 0;
    std::vector<std::int64_t> first;  // per row
  };
  const std::optional<PaddedLayout>& padded_layout() const { return layout_; }

  // Copies with one thing changed; sizes are checked.
  std::shared_ptr<const Batch> with_positions(
      const std::vector<std::vector<std::int64_t>>& positions) const;
  std::shared_ptr<const Batch> with_type_ids(
      const std::vector<std::vector<std::int64_t>>& type_ids) const;
  std::shared_ptr<const Batch> with_labels(
      const std::vector<std::vector<std::int64_t>>& labels) const;
  std::shared_ptr<const Batch> with_facts(std::vector<SequenceFacts> facts) const;
  /// The number of each row's adapter (0: none); a single one is for all rows.
  std::shared_ptr<const Batch> with_adapters(const std::vector<std::int64_t>& adapters) const;
  std::shared_ptr<const Batch> with_rows(RowSelection selection,
                                         std::vector<std::vector<std::int64_t>> wanted = {}) const;
  std::shared_ptr<const Batch> with_layout(PaddedLayout layout) const;
  /// Rows of axes that a pass made of this batch's rows (frames after a convolution, patches), so
  /// that split and others know tensors over them.
  std::shared_ptr<const Batch> with_made_rows(const std::vector<RaggedRows>& made) const;
  /// Rows in another order or fewer (0-based).
  std::shared_ptr<const Batch> select(const std::vector<std::int64_t>& rows) const;
  std::shared_ptr<const Batch> concat(const Batch& other) const;

  struct Padding {
    bool left = false;
    std::int64_t to = 0;  // 0: the longest row
    std::int64_t multiple_of = 1;
    std::int32_t pad_id = 0;
  };
  struct Padded {
    Tensor ids, mask, positions, type_ids;  // i32 [batch, seq]
    double waste = 0;                       // share of cells that are padding
    PaddedLayout layout;
  };
  /// The padded view. Throws when a row is longer than `to`, naming row and both numbers.
  Padded padded(const Padding& options) const;
  /// A ragged [token, ...] of this batch as [batch, seq, ...], zeros outside rows.
  Tensor pad(const Tensor& ragged, const PaddedLayout& layout) const;
  PaddedLayout layout(const Padding& options) const;
  /// One tensor [token=n, ...] a row (views, no identity), over whichever of the batch's ragged
  /// axes the tensor has.
  std::vector<Tensor> split(const Tensor& ragged) const;
  /// The tensor's axis that is one of this batch's ragged ones (by its own name also without an
  /// identity), and its rows; throws without one.
  std::pair<int, const RaggedRows*> ragged_axis(std::string_view op, const Tensor& ragged) const;

 private:
  friend class BatchMaker;
  Batch() = default;
  std::shared_ptr<Batch> clone() const;
  void set_rows(const std::vector<std::int64_t>& lengths, const std::string& axis);
  void renew(RaggedRows& rows, std::span<const std::int64_t> lengths, std::string_view axis) const;
  RaggedRows new_rows(const std::vector<std::int64_t>& lengths, const std::string& axis) const;
  /// Equal rows of ids are the same rows: their axes get the identities that others have which hold
  /// the same. Not where inputs stand beside the ids: two pictures of one caption differ.
  void identify_by_ids();
  static void check_row_lengths(std::span<const std::int64_t> lengths);
  void check_position(std::size_t row, const SequenceFacts& facts) const;
  void check_wanted(std::size_t row, std::span<const std::int64_t> wanted) const;
  /// Makes `tensor` an i32 [token] of these rows: where it is, if it has room and nobody else holds
  /// its memory.
  void refit(Tensor& tensor) const;
  void add_input(const BatchInput& input);
  /// Positions and type ids that nobody gave.
  void fill_defaults();
  Tensor ragged_integers(const char* op, const char* what,
                         const std::vector<std::vector<std::int64_t>>& values) const;

  std::shared_ptr<Context> context_;
  RaggedRows rows_;
  std::vector<RaggedRows> other_rows_;
  std::vector<RaggedRows> made_rows_;  // no input is over them
  AxisIdentity batch_identity_ = 0;
  Tensor ids_, positions_, type_ids_;
  bool has_type_ids_ = false;
  bool has_positions_ = false;
  std::map<std::string, Tensor> inputs_;
  std::vector<SequenceFacts> facts_;
  std::vector<std::vector<std::int64_t>> labels_, wanted_;
  RowSelection selection_ = RowSelection::automatic;
  std::optional<PaddedLayout> layout_;
};

}  // namespace perilune
