// What one run of a pass knows of its batch: rows of every ragged axis, facts of every sequence,
// where keys and values lie, which rows are wanted.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/batch/batch.h"
#include "engine/cache/cache.h"

namespace perilune {

/// What a named input of a batch looks like to a pass that reads it.
struct InputForm {
  DType dtype = DType::i32;
  std::string ragged_axis = "token";
  bool own_axis = false;          // its axis is not the batch's own ("token")
  std::vector<std::string> axes;  // after the ragged one, by name
};
/// ids, positions, type_ids: i32 [token]; features: f32 [frame, mel]; pixels: f32 [batch, channel,
/// height, width], over the batch's own axis of rows. Null for other names.
const InputForm* input_form(const std::string& name);

/// Pages of a pass's rows that no SequenceCache of this process holds: another rank's, by the
/// numbers that it gives them.
struct LentPages {
  std::vector<std::vector<std::vector<void*>>> pages;  // [group][row][page]
  std::vector<std::int64_t> cross_lengths;             // per row
};

/// One batch as a pass reads it. Where an input comes from is decided here alone: what a pass
/// before it made (set_input), else the batch's own.
class PassBinding {
 public:
  PassBinding(std::shared_ptr<Context> context, std::shared_ptr<const Batch> batch);
  /// Another batch, and nothing else bound yet; memory is used again.
  void restart(std::shared_ptr<const Batch> batch);
  /// Lets batch, inputs and caches go, until restart().
  void release();

  const std::shared_ptr<Context>& context() const { return context_; }
  const Batch& batch() const { return *batch_; }
  const std::shared_ptr<const Batch>& batch_pointer() const { return batch_; }

  /// A tensor that the pass reads beside the batch ("encoded": [token, hidden], made by another
  /// pass), with the rows of its first axis.
  void set_input(const std::string& name, Tensor tensor, const RaggedRows& rows);
  /// Undefined where there is none. Its first axis has the identity of rows() that are bound.
  const Tensor& input(const std::string& name) const;
  /// Those of set_input.
  const std::map<std::string, Tensor>& set_inputs() const { return inputs_; }

  /// Rows of the axis with this identity; throws Error(state) for one that was never bound.
  const RaggedRows& rows(AxisIdentity identity) const;
  void add_rows(const RaggedRows& rows);
  /// The same for an axis that an op of the pass made: results over it go out by these rows.
  void add_made_rows(const RaggedRows& rows);
  const std::vector<RaggedRows>& made_rows() const { return made_rows_; }
  bool has_rows(AxisIdentity identity) const;

  /// One cache a row, in row order; room must be reserved already. Borrowed. `cross_lengths`: what
  /// an earlier pass of the same run wrote for each row and nobody has committed yet.
  void set_caches(const std::vector<SequenceCache*>& caches, const CacheLayout* layout,
                  const std::vector<std::int64_t>& cross_lengths = {});
  /// In their place: pages and the layout that they lie in, held until restart().
  void lend_pages(std::shared_ptr<const LentPages> pages, const CacheLayout* layout);
  bool has_caches() const { return !caches_.empty() || lent_ != nullptr; }
  const std::vector<SequenceCache*>& caches() const { return caches_; }
  /// Of each row's source, as keys of kind cross see it.
  std::int64_t cross_length(std::size_t row) const;
  const CacheLayout* cache_layout() const { return layout_; }
  /// The kernel's rows for a slot. Self: tokens are the batch's rows, appended at first_position.
  /// Cross while written (`writing`): tokens are the rows of `identity`, from position 0. Cross
  /// while read: tokens are the batch's rows, keys the cross length.
  void kv_rows(const KvSlot& slot, KvKind kind, bool writing, AxisIdentity identity,
               std::vector<kernels::KvRow>& rows) const;

  /// Token offsets (of the whole batch, ascending) that the head computes.
  const std::vector<std::int64_t>& wanted() const { return wanted_; }
  const std::vector<std::int64_t>& wanted_per_row() const { return wanted_per_row_; }
  /// Of their axis: the batch's own where all of its tokens are wanted, the batch axis' where
  /// `last` was said; 0 before set_wanted.
  AxisIdentity wanted_identity() const { return wanted_identity_; }
  /// `last`: one token a row, so that the answer's axis is "batch".
  void set_wanted(const std::vector<std::int64_t>& wanted, const std::vector<std::int64_t>& per_row,
                  bool last = false);
  /// The same as the batch itself says, and where it says nothing, as `by_default`.
  void bind_wanted(RowSelection by_default);
  /// A result of the pass as answers name its axes: wanted rows as they were bound.
  Tensor answer(const Tensor& result) const;

  /// Per token: the length that dynamic rope goes by (the prompt's for prompt tokens, position + 1
  /// for generated ones).
  std::vector<std::int64_t> rope_lengths(AxisIdentity identity) const;

 private:
  const std::vector<void*>& pages_of(std::size_t row, int group) const;
  RaggedRows& slot(AxisIdentity identity);
  void settle_wanted(bool last);

  std::shared_ptr<Context> context_;
  std::shared_ptr<const Batch> batch_;
  std::map<std::string, Tensor> inputs_;
  std::vector<RaggedRows> rows_;
  std::size_t bound_ = 0;  // of rows_; what is behind it is memory to use again
  std::vector<RaggedRows> made_rows_;
  std::vector<SequenceCache*> caches_;
  std::shared_ptr<const LentPages> lent_;
  const CacheLayout* layout_ = nullptr;
  std::vector<std::int64_t> cross_lengths_;
  std::vector<std::int64_t> wanted_, wanted_per_row_;
  AxisIdentity wanted_identity_ = 0;
};

}  // namespace perilune
