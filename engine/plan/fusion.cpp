#include "engine/plan/fusion.h"

#include <algorithm>

#include "engine/ops/attention.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/linear.h"
#include "engine/ops/norm.h"
#include "engine/ops/rope_op.h"
#include "engine/plan/fusion_steps.h"

namespace perilune {

namespace {

// Linears merged into one share their lifetimes: more would hold too many results at once.
constexpr std::size_t kMaxMerged = 4;

}  // namespace

void drop_dead_steps(PlanGraph& graph) {
  std::vector<bool> needed = graph.asked;
  needed.resize(graph.values.size(), false);
  for (std::size_t i = graph.steps.size(); i-- > 0;) {
    PlanStep& step = graph.steps[i];
    const bool wanted = std::any_of(step.outputs.begin(), step.outputs.end(),
                                    [&](int id) { return needed[index(id)]; });
    if (!wanted && !step.op->has_effect()) {
      step.op = nullptr;
      continue;
    }
    for (const int id : step.inputs) needed[index(id)] = true;
  }
  graph.sweep();
}

void fuse_rope_into_write(PlanGraph& graph) {
  const std::vector<int> uses = graph.uses(), producers = graph.producers();
  for (PlanStep& step : graph.steps) {
    const KvWriteOp* write = step.op == nullptr ? nullptr : as<KvWriteOp>(step);
    if (write == nullptr || write->has_rope()) continue;
    PlanStep* rope = only_use_of<RopeOp>(graph, producers, uses, step.inputs[0], step);
    if (rope == nullptr || graph.values[index(rope->inputs[0])].spec.shape.rank() != 3) continue;
    const bool interleaved = as<RopeOp>(*rope)->interleaved();
    step.inputs = {rope->inputs[0], step.inputs[1], rope->inputs[1], rope->inputs[2]};
    step.op = std::make_shared<KvWriteOp>(write->path(), write->kind(), true, interleaved);
    rope->op = nullptr;
  }
  graph.sweep();
}

namespace {

/// Whether a step of (after, before) reads `value`.
bool read_between(const PlanGraph& graph, int value, std::size_t after, std::size_t before) {
  for (std::size_t s = after + 1; s < before; ++s) {
    const std::vector<int>& inputs = graph.steps[s].inputs;
    if (std::find(inputs.begin(), inputs.end(), value) != inputs.end()) return true;
  }
  return false;
}

/// Whether the queries can be turned where the keys are: by the same angles, of the same tokens,
/// and nobody wants them earlier.
bool turns_together(const PlanGraph& graph, std::size_t rope, std::size_t write) {
  const PlanStep &turn = graph.steps[rope], &store = graph.steps[write];
  const auto* a = as<RopeOp>(turn);
  const auto* b = as<KvWriteOp>(store);
  if (a == nullptr || b == nullptr || !b->has_rope() || b->turns_queries()) return false;
  const bool same = a->interleaved() == b->interleaved() && turn.device == store.device &&
                    turn.inputs[1] == store.inputs[2] && turn.inputs[2] == store.inputs[3];
  const Shape &q = graph.values[index(turn.inputs[0])].spec.shape,
              &k = graph.values[index(store.inputs[0])].spec.shape;
  return same && store.device->kernels().turns_queries && rope < write && q.rank() == 3 &&
         q.axis(0) == k.axis(0) && q.size(2) == k.size(2) &&
         !read_between(graph, turn.outputs[0], rope, write);
}

}  // namespace

void fuse_rope_of_queries(PlanGraph& graph) {
  const std::vector<int> producers = graph.producers();
  for (const PlanStep& step : graph.steps) {
    const AttentionOp* attention = step.op == nullptr ? nullptr : as<AttentionOp>(step);
    if (attention == nullptr || !attention->setting().cached || step.inputs.size() < 2) continue;
    const int rope = producers[index(step.inputs[0])], write = producers[index(step.inputs[1])];
    if (rope < 0 || write < 0 || graph.steps[index(rope)].op == nullptr) continue;
    if (!turns_together(graph, index(rope), index(write))) continue;
    PlanStep &turn = graph.steps[index(rope)], &store = graph.steps[index(write)];
    const KvWriteOp* old = as<KvWriteOp>(store);
    store.inputs.push_back(turn.inputs[0]);
    store.outputs.push_back(turn.outputs[0]);
    store.op =
        std::make_shared<KvWriteOp>(old->path(), old->kind(), true, old->interleaved(), true);
    turn.op = nullptr;
  }
  graph.sweep();
}

void fuse_gated(PlanGraph& graph) {
  const std::vector<int> uses = graph.uses(), producers = graph.producers();
  for (PlanStep& step : graph.steps) {
    const BinaryOp* product = step.op == nullptr ? nullptr : as<BinaryOp>(step);
    if (product == nullptr || product->kind() != kernels::Binary::multiply) continue;
    const Shape& shape = graph.values[index(step.outputs[0])].spec.shape;
    for (const std::size_t side : {std::size_t{0}, std::size_t{1}}) {
      PlanStep* active = only_use_of<ActivationOp>(graph, producers, uses, step.inputs[side], step);
      const int other = step.inputs[1 - side];
      if (active == nullptr || other == step.inputs[side]) continue;
      const TensorSpec& a = graph.values[index(active->inputs[0])].spec;
      const TensorSpec& b = graph.values[index(other)].spec;
      if (a.shape != shape || b.shape != shape || b.dtype != DType::f32) continue;
      const kernels::Activation activation = as<ActivationOp>(*active)->activation();
      step.inputs = {active->inputs[0], other};
      step.op = std::make_shared<GatedOp>(activation);
      active->op = nullptr;
      break;
    }
  }
  graph.sweep();
}

void fuse_activation(PlanGraph& graph) {
  const std::vector<int> uses = graph.uses(), producers = graph.producers();
  for (PlanStep& step : graph.steps) {
    const ActivationOp* active = step.op == nullptr ? nullptr : as<ActivationOp>(step);
    if (active == nullptr) continue;
    PlanStep* linear = only_use_of<LinearOp>(graph, producers, uses, step.inputs[0], step);
    if (linear == nullptr) continue;
    const auto* old = as<LinearOp>(*linear);
    const auto found = std::find(linear->outputs.begin(), linear->outputs.end(), step.inputs[0]);
    const auto part = static_cast<std::size_t>(found - linear->outputs.begin());
    std::vector<LinearPart> parts = old->parts();
    if (parts[part].activation != kernels::Activation::none) continue;
    parts[part].activation = active->activation();
    linear->op = std::make_shared<LinearOp>(std::move(parts), old->over(), old->scale());
    linear->outputs[part] = step.outputs[0];
    step.op = nullptr;
  }
  graph.sweep();
}

namespace {

bool merges(const PlanStep& first, const PlanStep& step) {
  const auto *a = as<LinearOp>(first), *b = as<LinearOp>(step);
  return a != nullptr && b != nullptr && first.inputs == step.inputs && a->over() == b->over() &&
         a->scale() == b->scale() && first.device == step.device &&
         a->parts()[0].weight->inputs() == b->parts()[0].weight->inputs() &&
         a->parts().size() + b->parts().size() <= kMaxMerged;
}

/// "layers.0.self_attn.q_proj, llama.lua:9" of two merged steps: both modules.
void merge_into(PlanStep& first, PlanStep& step) {
  const auto *a = as<LinearOp>(first), *b = as<LinearOp>(step);
  std::vector<LinearPart> parts = a->parts();
  parts.insert(parts.end(), b->parts().begin(), b->parts().end());
  const std::vector<std::string> over = a->over();
  const double scale = a->scale();
  first.op = std::make_shared<LinearOp>(std::move(parts), over, scale);
  first.outputs.insert(first.outputs.end(), step.outputs.begin(), step.outputs.end());
  step.op = nullptr;
}

}  // namespace

void merge_linears(PlanGraph& graph) {
  for (std::size_t i = 0; i < graph.steps.size(); ++i) {
    if (graph.steps[i].op == nullptr || as<LinearOp>(graph.steps[i]) == nullptr) continue;
    for (std::size_t j = i + 1; j < graph.steps.size(); ++j) {
      if (graph.steps[j].op == nullptr || !merges(graph.steps[i], graph.steps[j])) continue;
      merge_into(graph.steps[i], graph.steps[j]);
    }
  }
  graph.sweep();
}

void fuse_residual_norm(PlanGraph& graph) {
  const std::vector<int> producers = graph.producers();
  for (PlanStep& step : graph.steps) {
    const NormOp* norm = step.op == nullptr ? nullptr : as<NormOp>(step);
    if (norm == nullptr || norm->residual()) continue;
    const int producer = producers[index(step.inputs[0])];
    if (producer < 0) continue;
    PlanStep& sum = graph.steps[index(producer)];
    const BinaryOp* add = sum.op == nullptr ? nullptr : as<BinaryOp>(sum);
    if (add == nullptr || add->kind() != kernels::Binary::add || sum.device != step.device) {
      continue;
    }
    const TensorSpec& a = graph.values[index(sum.inputs[0])].spec;
    const TensorSpec& b = graph.values[index(sum.inputs[1])].spec;
    if (a.shape != b.shape || a.dtype != DType::f32 || b.dtype != DType::f32) continue;
    // At the sum's place: whatever reads it comes later.
    sum.op = std::make_shared<NormOp>(norm->options(), true);
    sum.outputs = {step.outputs[0], sum.outputs[0]};
    sum.where = step.where;
    step.op = nullptr;
  }
  graph.sweep();
}

void fuse(PlanGraph& graph) {
  fuse_rope_into_write(graph);
  fuse_rope_of_queries(graph);
  fuse_gated(graph);
  fuse_activation(graph);
  merge_linears(graph);
  fuse_gate_into_linear(graph);
  fuse_residual_into_linear(graph);
  fuse_norm_into_linear(graph);
  fuse_residual_norm(graph);
  drop_dead_steps(graph);
}

}  // namespace perilune
