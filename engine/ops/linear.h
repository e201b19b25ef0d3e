// Products with packed weights.
#pragma once

#include "engine/ops/norm.h"
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

/// What a linear does beside, on a device whose table fuses_products; each changes no bit.
struct LinearBeside {
  std::optional<NormOptions> norm;  // rms_norm of x first; its squares are the last input
  bool gated = false;               // two parts; the one output is the first's times the second's
  bool residual = false;            // input 1, as the one output: added to it
  bool squares = false;  // output 1, f32 [..., piece]: for the norm of output 0 in other linears
};

/// x f32 [..., over...] times one or more weights of the same inputs; one output a part. Which
/// parts share an op never changes a bit: every output is one chain over the inputs, ascending.
class LinearOp final : public Op {
 public:
  static constexpr std::size_t kMaxParts = 8;

  /// `over`: x's trailing axes that are summed over, outermost first; empty: the last one.
  LinearOp(std::vector<LinearPart> parts, std::vector<std::string> over, double scale = 1.0,
           LinearBeside beside = {})
      : parts_(std::move(parts)),
        over_(std::move(over)),
        scale_(scale),
        beside_(std::move(beside)) {}

  const std::vector<LinearPart>& parts() const { return parts_; }
  const std::vector<std::string>& over() const { return over_; }
  double scale() const { return scale_; }
  const LinearBeside& beside() const { return beside_; }
  bool plain() const {
    return !beside_.norm && !beside_.gated && !beside_.residual && !beside_.squares;
  }

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
  /// Without a residual that has to be copied first.
  kernels::LinearFusion fusion(const OpRun& run) const;
  std::size_t input_scratch(const OpRun& run, const kernels::LinearArguments& linear) const;
  /// Calls each(arguments) for runs of parts that have one arithmetic and one order of inputs.
  template <class Each>
  void by_math(kernels::LinearArguments linear, const Each& each) const;

  std::vector<LinearPart> parts_;
  std::vector<std::string> over_;
  double scale_;
  LinearBeside beside_;
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
