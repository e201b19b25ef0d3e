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

/// Input batches of a pass by role: "batch" is encode's or decode's own; "encoded" the encoder's
/// rows that a cross pass reads.
class PassBinding {
 public:
  PassBinding(std::shared_ptr<Context> context, std::shared_ptr<const Batch> batch);

  const std::shared_ptr<Context>& context() const { return context_; }
  const Batch& batch() const { return *batch_; }
  const std::shared_ptr<const Batch>& batch_pointer() const { return batch_; }

  /// Named tensors a pass reads beside the batch ("encoded": [token, hidden] of another batch).
  void set_input(const std::string& name, Tensor tensor, const RaggedRows& rows);
  const Tensor* input(const std::string& name) const;

  /// Rows of the axis with this identity; throws Error(internal) for one that was never bound.
  const RaggedRows& rows(AxisIdentity identity) const;
  void add_rows(const RaggedRows& rows);
  bool has_rows(AxisIdentity identity) const;

  /// One cache a row, in row order; room must be reserved already. Borrowed.
  void set_caches(std::vector<SequenceCache*> caches, const CacheLayout* layout);
  bool has_caches() const { return !caches_.empty(); }
  const CacheLayout* cache_layout() const { return layout_; }
  /// The kernel's rows for a slot. Self: tokens are the batch's rows, appended at first_position.
  /// Cross while written (`writing`): tokens are the rows of `identity`, from position 0. Cross
  /// while read: tokens are the batch's rows, keys the committed cross length.
  void kv_rows(const KvSlot& slot, KvKind kind, bool writing, AxisIdentity identity,
               std::vector<kernels::KvRow>& rows) const;

  /// Token offsets (of the whole batch, ascending) that the head computes.
  const std::vector<std::int64_t>& wanted() const { return wanted_; }
  AxisIdentity wanted_identity() const { return wanted_identity_; }
  void set_wanted(std::vector<std::int64_t> wanted, std::vector<std::int64_t> per_row);

  /// Per token: the length that dynamic rope goes by (the prompt's for prompt tokens, position + 1
  /// for generated ones).
  std::vector<std::int64_t> rope_lengths(AxisIdentity identity) const;

 private:
  std::shared_ptr<Context> context_;
  std::shared_ptr<const Batch> batch_;
  std::map<std::string, Tensor> inputs_;
  std::vector<RaggedRows> rows_;
  std::vector<SequenceCache*> caches_;
  const CacheLayout* layout_ = nullptr;
  std::vector<std::int64_t> wanted_;
  AxisIdentity wanted_identity_ = 0;
};

}  // namespace perilune
