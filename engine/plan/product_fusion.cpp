// Fusions for devices whose products do something beside.
#include <memory>
#include <utility>

#include "engine/ops/elementwise.h"
#include "engine/ops/linear.h"
#include "engine/ops/norm.h"
#include "engine/plan/fusion.h"
#include "engine/plan/fusion_steps.h"
#include "kernels/squared_width.h"

namespace perilune {

namespace {

bool fuses(const PlanStep& step) {
  return step.device->kernels().fuses_products;
}

OpPointer with(const LinearOp& linear, LinearBeside beside) {
  return std::make_shared<LinearOp>(linear.parts(), linear.over(), linear.scale(),
                                    std::move(beside));
}

const Shape& shape_of(const PlanGraph& graph, int value) {
  return graph.values[index(value)].spec.shape;
}

}  // namespace

void fuse_gate_into_linear(PlanGraph& graph) {
  const std::vector<int> uses = graph.uses(), producers = graph.producers();
  for (PlanStep& step : graph.steps) {
    const GatedOp* gate = as<GatedOp>(step);
    if (gate == nullptr || !fuses(step)) continue;
    PlanStep* linear = only_use_of<LinearOp>(graph, producers, uses, step.inputs[0], step);
    if (linear == nullptr ||
        only_use_of<LinearOp>(graph, producers, uses, step.inputs[1], step) != linear) {
      continue;
    }
    const auto* old = as<LinearOp>(*linear);
    if (!old->plain() || old->parts().size() != 2) continue;
    std::vector<LinearPart> parts = old->parts();
    if (linear->outputs[0] != step.inputs[0]) std::swap(parts[0], parts[1]);
    if (parts[0].activation != kernels::Activation::none) continue;
    parts[0].activation = gate->activation();
    LinearBeside beside;
    beside.gated = true;
    linear->op =
        std::make_shared<LinearOp>(std::move(parts), old->over(), old->scale(), std::move(beside));
    linear->outputs = step.outputs;
    step.op = nullptr;
  }
  graph.sweep();
}

void fuse_residual_into_linear(PlanGraph& graph) {
  const std::vector<int> uses = graph.uses(), producers = graph.producers();
  for (PlanStep& step : graph.steps) {
    const BinaryOp* sum = as<BinaryOp>(step);
    if (sum == nullptr || sum->kind() != kernels::Binary::add || !fuses(step)) continue;
    for (const std::size_t side : {std::size_t{1}, std::size_t{0}}) {
      const int result = step.inputs[side], other = step.inputs[1 - side];
      PlanStep* linear = only_use_of<LinearOp>(graph, producers, uses, result, step);
      if (linear == nullptr || graph.values[index(other)].spec.dtype != DType::f32) continue;
      const auto* old = as<LinearOp>(*linear);
      if (!old->plain() || old->parts().size() != 1) continue;
      if (shape_of(graph, result) != shape_of(graph, other)) continue;
      LinearBeside beside;
      beside.residual = true;
      // At the sum's place: what is added may be made after the product.
      step.inputs = {linear->inputs[0], other};
      step.op = with(*old, std::move(beside));
      step.where = linear->where;
      step.module = linear->module;
      linear->op = nullptr;
      break;
    }
  }
  graph.sweep();
}

namespace {

/// Whether a linear may norm its input so: rms_norm over the one axis that it sums over, as wide as
/// products sum squares of.
bool norms_input(const PlanGraph& graph, const PlanStep& norm, const LinearOp& linear) {
  const NormOptions& options = as<NormOp>(norm)->options();
  const std::int64_t width = shape_of(graph, norm.inputs[0]).back().size;
  return !options.layer && !as<NormOp>(norm)->residual() && options.over.size() <= 1 &&
         linear.over().size() <= 1 && !linear.beside().norm && !linear.beside().residual &&
         kernels::sums_squares_by_pieces(width) && options.weight.defined() &&
         options.weight.contiguous();
}

/// The squares of a linear's one result, which it then also gives; -1 where it does not.
int squares_of(PlanGraph& graph, int producer, int result, const PlanStep& reader) {
  if (producer < 0) return -1;
  PlanStep& step = graph.steps[index(producer)];
  const auto* linear = as<LinearOp>(step);
  if (linear == nullptr || step.device != reader.device) return -1;
  if (linear->beside().squares) return step.outputs[1];
  const Shape& shape = shape_of(graph, result);
  if (linear->parts().size() != 1 || shape.back().size != linear->parts()[0].weight->outputs()) {
    return -1;
  }
  LinearBeside beside = linear->beside();
  beside.squares = true;
  const OpPointer op = with(*linear, std::move(beside));
  std::vector<TensorSpec> inputs;
  for (const int input : step.inputs) inputs.push_back(graph.values[index(input)].spec);
  PlanValue squares;
  squares.spec = op->infer(inputs)[1];
  graph.values.push_back(std::move(squares));
  graph.asked.push_back(false);
  step.op = op;
  step.outputs.push_back(static_cast<int>(graph.values.size()) - 1);
  return step.outputs[1];
}

}  // namespace

void fuse_norm_into_linear(PlanGraph& graph) {
  const std::vector<int> uses = graph.uses(), producers = graph.producers();
  graph.asked.resize(graph.values.size(), false);
  for (PlanStep& step : graph.steps) {
    const auto* linear = as<LinearOp>(step);
    if (linear == nullptr || !fuses(step)) continue;
    PlanStep* norm = only_use_of<NormOp>(graph, producers, uses, step.inputs[0], step);
    if (norm == nullptr || !norms_input(graph, *norm, *linear)) continue;
    const int x = norm->inputs[0], squares = squares_of(graph, producers[index(x)], x, step);
    if (squares < 0) continue;
    LinearBeside beside = linear->beside();
    beside.norm = as<NormOp>(*norm)->options();
    step.inputs = {x, squares};
    step.op = with(*linear, std::move(beside));
    norm->op = nullptr;
  }
  graph.sweep();
}

}  // namespace perilune
