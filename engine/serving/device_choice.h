// Tokens of one pass that are chosen on the device where its logits lie: what each row asks goes
// there in one copy, one kernel chooses, and ids come back in one.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/sampling/sampler.h"
#include "engine/tensor/tensor.h"

namespace perilune {

struct Request;

/// Its memory, on the host and on the device, is used again by the next pass.
class DeviceChoice {
 public:
  /// Forgets the pass before.
  void begin() { asked_.clear(); }
  /// Whose token: of sequence `sequence`, from row `at` of the logits.
  struct Asked {
    const Request* request;
    std::size_t sequence;
    std::int64_t at;
  };
  /// `rules`: what sampler.rules() gave for `state`; `allowed`: a mask as Processor::allowed gives
  /// one, or nothing.
  void add(const Asked& asked, const Sampler& sampler, const SamplingState& state,
           const LogitEdits& rules, std::span<const std::uint32_t> allowed);
  bool empty() const { return asked_.empty(); }
  std::size_t size() const { return asked_.size(); }
  /// Chooses all that were added; `logits`: f32 [row, vocab], contiguous, on a device whose table
  /// has `choose`. Throws what the device has failed in until then.
  void run(const Tensor& logits);
  /// False: it was not added. `from_model`: with result.not_finite, whether the logits hold the
  /// NaN.
  bool take(const Asked& asked, Sampled& result, bool& from_model);

 private:
  struct Piece {
    std::size_t rows, edits, masks, total;  // bytes from the beginning
  };
  Piece lay_out();
  void* grown(std::unique_ptr<Storage>& storage, const Tensor& like, std::size_t bytes);
  std::size_t best_at() const;

  std::vector<Asked> asked_;
  std::vector<kernels::ChoiceRow> rows_;
  std::vector<kernels::LogitEdit> edits_;
  std::vector<std::uint32_t> masks_;
  std::vector<std::uint64_t> order_;  // of the edits of one row
  std::vector<std::byte> sent_, received_;
  std::unique_ptr<Storage> input_, output_, scratch_;
  std::int64_t width_ = 0, most_best_ = 0;
  std::size_t next_ = 0;  // of asked_: they are taken in the order they were added in
};

}  // namespace perilune
