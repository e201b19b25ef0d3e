// Batches one after the other, of ids that go on with sequences, in the memory of those before.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "engine/batch/batch.h"

namespace perilune {

class BatchMaker {
 public:
  struct Row {
    std::span<const std::int32_t> ids;
    SequenceFacts facts;
    std::span<const std::int64_t> wanted;  // of RowSelection::listed
  };
  /// Checked as Batch::make, with_facts and with_rows do. The batch made before is made over where
  /// nobody holds it any more; then nothing is allocated for as many rows and tokens as it had.
  std::shared_ptr<const Batch> make(const std::shared_ptr<Context>& context,
                                    std::span<const Row> rows);

 private:
  void fill(Batch& batch, std::span<const Row> rows);

  std::shared_ptr<Batch> made_;
  std::vector<std::int64_t> lengths_;
  std::vector<std::vector<std::int64_t>>
      spare_;  // lists of wanted tokens that fewer rows left over
};

}  // namespace perilune
