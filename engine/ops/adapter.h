// What adapters add to a product with a stored weight, row by row.
#pragma once

#include <array>
#include <optional>

#include "engine/ops/op.h"
#include "engine/weights/adapter_set.h"

namespace perilune {

/// y f32 [..., outputs...], x f32 [..., over...] -> y with each row's own adapter: y + scale *
/// B (A x) + bias, or W x + bias where the adapter has a weight of its own; rows without one keep
/// the bits of y. Each row is the same kernel calls' whatever runs beside it. Of an embedding x are
/// ids, whose rows of A' and W stand for the products.
class AdapterOp final : public Op {
 public:
  /// `outputs`, `inputs`: how many trailing axes of y and x those are. `scale`: of the product y
  /// (Net::head).
  AdapterOp(std::shared_ptr<const ModuleAdapters> changes, std::string path, int outputs,
            int inputs, double scale)
      : changes_(std::move(changes)),
        path_(std::move(path)),
        outputs_(outputs),
        inputs_(inputs),
        scale_(scale) {}
  /// Of an embedding: y f32 [token, outputs...], x i32 | i64 [token]; row id + `offset` is an id's.
  static std::shared_ptr<AdapterOp> of_embedding(std::shared_ptr<const ModuleAdapters> changes,
                                                 std::string path, std::int64_t offset,
                                                 double scale) {
    auto op = std::make_shared<AdapterOp>(std::move(changes), std::move(path), 1, 0, scale);
    op->offset_ = offset;
    return op;
  }
  std::string_view name() const override { return "adapter"; }
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override;
  std::string lacks(const kernels::KernelTable& table,
                    std::span<const TensorSpec> inputs) const override;
  void run(OpRun& run) const override;
  std::size_t scratch_bytes(const OpRun& run) const override;
  bool scratch_follows_binding() const override { return true; }
  std::vector<std::shared_ptr<Weight>> weights() const override;
  std::vector<Tensor> constants() const override;
  std::string describe() const override;

 private:
  /// Lines of y that go through one adapter.
  struct Part {
    const ModuleAdapter* change = nullptr;  // null: they stay
    std::size_t number = 0;                 // of the change
    std::int64_t first = 0, count = 0;
  };
  struct Lines;
  const ModuleAdapter* change_of(std::int64_t adapter, std::size_t& number) const;
  template <class Each>
  void each_part(const OpRun& run, const Each& each) const;
  std::size_t first_weight(std::size_t number) const;
  /// The product of `part` with the weight `which` of the op's.
  kernels::LinearArguments product(const OpRun& run, std::size_t which, const float* x,
                                   std::int64_t stride, std::int64_t rows,
                                   kernels::LinearSegment& segment) const;
  std::size_t part_scratch(const OpRun& run, const Part& part) const;
  bool gathers() const { return offset_.has_value(); }
  void check_sizes(std::span<const TensorSpec> inputs) const;
  void gather(const OpRun& run, std::size_t which, const Part& part, const Lines& lines,
              float scale, float* to) const;
  const std::int32_t* narrow_ids(const OpRun& run, ScratchCursor& scratch) const;
  void add_bias(const OpRun& run, const Part& part, const float* y, const float* bias,
                float* out) const;
  void run_part(const OpRun& run, const Part& part, const Lines& lines, void* scratch) const;

  std::shared_ptr<const ModuleAdapters> changes_;
  std::string path_;
  int outputs_, inputs_;
  double scale_;
  std::optional<std::int64_t> offset_;  // of an embedding's ids
};

}  // namespace perilune
