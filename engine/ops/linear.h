// Products with packed weights.
#pragma once

#include "engine/ops/op.h"

namespace perilune {

/// One weight of a linear: its result is [x's kept axes..., axes...].
struct LinearPart {
  std::shared_ptr<Weight> weight;  // null only while names are collected (heads not chosen)
  Tensor bias;                     // f32 [outputs], or undefined
  kernels::Activation activation = kernels::Activation::none;
  std::vector<Axis> axes;  // sizes multiply to the weight's outputs
  std::string path;
};

/// x f32 [..., over...] times one or more weights of the same inputs; one output a part. Which
/// parts share an op never changes a bit: every output is one chain over the inputs, ascending.
class LinearOp final : public Op {
 public:
  static constexpr std::size_t kMaxParts = 8;

  /// `over`: x's trailing axes that are summed over, outermost first; empty: the last one.
  LinearOp(std::vector<LinearPart> parts, std::vector<std::string> over, double scale = 1.0)
      : parts_(std::move(parts)), over_(std::move(over)), scale_(scale) {}

  const std::vector<LinearPart>& parts() const { return parts_; }
  const std::vector<std::string>& over() const { return over_; }
  double scale() const { return scale_; }

  std::string_view name() const override { return "linear"; }
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override;
  std::string lacks(const kernels::KernelTable& table,
                    std::span<const TensorSpec> /*inputs*/) const override {
    return lacking(table.linear, "linear");
  }
  void run(OpRun& run) const override;
  void bind_call(const OpRun& run, BoundCall& call) const override;
  std::size_t scratch_bytes(const OpRun& run) const override;
  std::vector<std::shared_ptr<Weight>> weights() const override;
  std::vector<Tensor> constants() const override;
  std::string describe() const override;

 private:
  int trailing() const { return over_.empty() ? 1 : static_cast<int>(over_.size()); }
  kernels::LinearArguments arguments(const OpRun& run, kernels::LinearSegment* segments) const;
  /// Calls each(arguments) for runs of parts that have one arithmetic and one order of inputs.
  template <class Each>
  void by_math(kernels::LinearArguments linear, const Each& each) const;

  std::vector<LinearPart> parts_;
  std::vector<std::string> over_;
  double scale_;
};

/// Rows of a packed table by id: ids i32 or i64 [...] -> f32 [..., axis]. Ids are checked against
/// the table before anything is read.
class EmbeddingOp final : public Op {
 public:
  EmbeddingOp(std::shared_ptr<Weight> table, std::string path, std::int64_t offset, double scale,
              Axis axis)
      : table_(std::move(table)),
        path_(std::move(path)),
        offset_(offset),
        scale_(scale),
        axis_(std::move(axis)) {}
  std::string_view name() const override { return "embedding"; }
  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override;
  std::string lacks(const kernels::KernelTable& table,
                    std::span<const TensorSpec> /*inputs*/) const override {
    return lacking(table.embedding, "embedding");
  }
  void run(OpRun& run) const override;
  std::size_t scratch_bytes(const OpRun& run) const override;
  std::vector<std::shared_ptr<Weight>> weights() const override;
  bool has_ids() const override { return true; }
  void check_ids(const Tensor& ids, const RaggedRows* rows) const override;
  std::string describe() const override { return "embedding " + path_; }

 private:
  void check(std::int64_t index, std::int64_t id, const RaggedRows* rows) const;
  void check_computed(const OpRun& run) const;

  std::shared_ptr<Weight> table_;
  std::string path_;
  std::int64_t offset_;
  double scale_;
  Axis axis_;
};

}  // namespace perilune
