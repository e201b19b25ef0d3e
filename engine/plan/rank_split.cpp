#include "engine/plan/rank_split.h"

#include <algorithm>
#include <numeric>

#include "engine/ops/attention.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/linear.h"
#include "engine/ops/norm.h"
#include "engine/ops/rank_ops.h"
#include "engine/ops/rope_op.h"

namespace perilune {
namespace {

std::size_t index(int id) {
  return static_cast<std::size_t>(id);
}

bool can_be_split(const Axis& axis) {
  return !axis.symbolic() && (axis.name == "head" || axis.name == "kv_head" || axis.name == "ffn");
}

/// The position of the axis that values are split along, or -1.
int split_axis(const Shape& shape) {
  for (int i = 0; i < shape.rank(); ++i) {
    if (can_be_split(shape.axis(i))) return i;
  }
  return -1;
}

template <typename SomeOp>
const SomeOp* as(const PlanStep& step) {
  return dynamic_cast<const SomeOp*>(step.op.get());
}

/// Values that are split together or not at all: the heads of one layer, its channels.
class Groups {
 public:
  explicit Groups(std::size_t values) : parent_(values), whole_(values, false) {
    std::iota(parent_.begin(), parent_.end(), std::size_t{0});
  }
  std::size_t root(std::size_t value) const {
    while (parent_[value] != value) value = parent_[value];
    return value;
  }
  void join(std::size_t a, std::size_t b) {
    a = root(a);
    b = root(b);
    if (a == b) return;
    whole_[a] = whole_[a] || whole_[b];
    parent_[b] = a;
  }
  /// Nobody may split it.
  void keep_whole(std::size_t value) { whole_[root(value)] = true; }
  bool whole(std::size_t value) const { return whole_[root(value)]; }

 private:
  std::vector<std::size_t> parent_;
  std::vector<bool> whole_;
};

class RankSplit {
 public:
  RankSplit(PlanGraph& graph, const RankShare& share, std::map<std::string, std::int64_t>& kv_heads)
      : graph_(graph),
        share_(share),
        kv_heads_(kv_heads),
        groups_(graph.values.size()),
        shared_(graph.values.size(), true),
        size_(share.group->size()) {}

  void run() {
    for (std::size_t v = 0; v < graph_.values.size(); ++v) {
      if (split_axis(spec(static_cast<int>(v)).shape) >= 0) look_at_source(v);
    }
    for (const PlanStep& step : graph_.steps) look_at(step);
    for (const PlanStep& step : graph_.steps) look_at_sizes(step);
    for (PlanStep& step : graph_.steps) rewrite(step);
    gather_asked();
  }

 private:
  const TensorSpec& spec(int value) const { return graph_.values[index(value)].spec; }
  bool has_axis(int value) const { return split_axis(spec(value).shape) >= 0; }

  void look_at_source(std::size_t value) {
    if (producers_.empty()) producers_ = graph_.producers();
    if (producers_[value] < 0) groups_.keep_whole(value);  // an input or a constant
  }

  // ------------------------------------------------------------- what may be split

  void look_at(const PlanStep& step) {
    if (const auto* linear = as<LinearOp>(step)) return look_at_linear(step, *linear);
    std::vector<int> touched;
    for (const int value : step.inputs) {
      if (has_axis(value)) touched.push_back(value);
    }
    for (const int value : step.outputs) {
      if (has_axis(value)) touched.push_back(value);
    }
    if (touched.empty()) return;
    for (const int value : touched) groups_.join(index(touched[0]), index(value));
    if (!works_on_parts(step)) groups_.keep_whole(index(touched[0]));
    join_slot(step, touched[0]);
  }

  /// Whether a part of its inputs gives that part of its outputs.
  bool works_on_parts(const PlanStep& step) const {
    if (const auto* norm = as<NormOp>(step)) {
      const Shape& shape = spec(step.inputs[0]).shape;
      const int over =
          norm->options().over.empty() ? 1 : static_cast<int>(norm->options().over.size());
      return split_axis(shape) < shape.rank() - over;
    }
    if (const auto* write = as<KvWriteOp>(step)) return write->kind() == KvKind::self;
    if (const auto* attention = as<AttentionOp>(step)) return splits(attention->setting());
    if (const auto* weights = as<AttentionWeightsOp>(step)) return splits(weights->setting());
    return as<RopeOp>(step) || as<ActivationOp>(step) || as<UnaryOp>(step) || as<ScalarOp>(step) ||
           as<BinaryOp>(step);
  }

  static bool splits(const AttentionSetting& setting) {
    return setting.kind == KvKind::self && setting.kv_heads > 0;
  }

  /// All that a layer's keys are written and read by.
  void join_slot(const PlanStep& step, int value) {
    const std::optional<KvUse> use = step.op->kv_use();
    if (!use) return;
    const auto [found, first] = slots_.emplace(
        std::string(use->path) + (use->kind == KvKind::cross ? "/cross" : ""), value);
    if (!first) groups_.join(index(found->second), index(value));
  }

  void look_at_linear(const PlanStep& step, const LinearOp& linear) {
    const int x = step.inputs[0];
    for (std::size_t i = 0; i < step.outputs.size(); ++i) {
      if (!has_axis(step.outputs[i])) continue;
      const std::vector<Axis>& axes = linear.parts()[i].axes;
      const bool made = !axes.empty() && can_be_split(axes[0]) && !has_axis(x);
      if (!made) groups_.keep_whole(index(step.outputs[i]));
    }
    if (has_axis(x) && !sums_over(step, linear)) groups_.keep_whole(index(x));
  }

  /// Whether the product sums over x's split axis, and can be cut into segments there.
  bool sums_over(const PlanStep& step, const LinearOp& linear) const {
    const Shape& shape = spec(step.inputs[0]).shape;
    const int over = linear.over().empty() ? 1 : static_cast<int>(linear.over().size());
    if (linear.parts().size() != 1 || split_axis(shape) != shape.rank() - over) return false;
    if (has_axis(step.outputs[0])) return false;
    const LinearPart& part = linear.parts()[0];
    if (part.weight == nullptr || part.activation != kernels::Activation::none) return false;
    const std::int64_t inputs = part.weight->inputs();
    return inputs % kRankSegments == 0 && can_slice(*part.weight, segment(*part.weight, 0));
  }

  static MatrixPart segment(const Weight& weight, std::int64_t number) {
    const std::int64_t inputs = weight.inputs() / kRankSegments;
    return {0, weight.outputs(), number * inputs, inputs};
  }

  // ------------------------------------------------------------- what the ranks divide

  /// Groups that are cut into segments, but whose axes this number of ranks does not divide.
  void look_at_sizes(const PlanStep& step) {
    for (const auto* list : {&step.inputs, &step.outputs}) {
      for (const int value : *list) {
        const Shape& shape = spec(value).shape;
        const int axis = split_axis(shape);
        if (axis >= 0 && shape.size(axis) % size_ != 0) compute_all(value);
      }
    }
    if (const auto* linear = as<LinearOp>(step)) {
      for (std::size_t i = 0; i < step.outputs.size(); ++i) {
        const LinearPart& part = linear->parts()[i];
        if (!has_axis(step.outputs[i]) || part.weight == nullptr) continue;
        if (!can_slice(*part.weight, own_outputs(*part.weight))) compute_all(step.outputs[i]);
      }
    }
  }

  void compute_all(int value) { shared_[groups_.root(index(value))] = false; }

  /// Whether each rank has its own part of the value.
  bool is_split(int value) const {
    return size_ > 1 && has_axis(value) && !groups_.whole(index(value)) &&
           shared_[groups_.root(index(value))];
  }

  MatrixPart own_outputs(const Weight& weight) const {
    const std::int64_t outputs = weight.outputs() / size_;
    return {share_.group->rank() * outputs, outputs, 0, weight.inputs()};
  }

  // ------------------------------------------------------------- rewriting

  void rewrite(PlanStep& step) {
    const auto any_split = [&](const std::vector<int>& values) {
      return std::any_of(values.begin(), values.end(), [&](int value) { return is_split(value); });
    };
    if (const auto* linear = as<LinearOp>(step)) {
      const int x = step.inputs[0];
      if (has_axis(x) && !groups_.whole(index(x))) {
        step.op = summed(*linear, is_split(x));
      } else if (any_split(step.outputs)) {
        step.op = own_part(step, *linear);
      } else {
        return;
      }
    } else if (!any_split(step.inputs) && !any_split(step.outputs)) {
      return;
    } else if (const auto* attention = as<AttentionOp>(step)) {
      step.op = std::make_shared<AttentionOp>(own_part(attention->setting()));
    } else if (const auto* weights = as<AttentionWeightsOp>(step)) {
      step.op = std::make_shared<AttentionWeightsOp>(own_part(weights->setting()),
                                                     weights->made_axes()[0]);
    } else if (const auto* write = as<KvWriteOp>(step)) {
      kv_heads_[write->path()] = spec(step.inputs[0]).shape.size(1);  // resized already
    }
    resize(step);
  }

  /// Outputs as the step's op makes them of what its inputs have become.
  void resize(PlanStep& step) {
    std::vector<TensorSpec> inputs;
    for (const int value : step.inputs) inputs.push_back(spec(value));
    const std::vector<TensorSpec> made = step.op->infer(inputs);
    for (std::size_t i = 0; i < made.size(); ++i)
      graph_.values[index(step.outputs[i])].spec = made[i];
  }

  OpPointer summed(const LinearOp& linear, bool split) {
    const LinearPart& part = linear.parts()[0];
    RankLinearOp::Options options;
    const std::int64_t own = split ? kRankSegments / size_ : kRankSegments;
    const std::int64_t first = split ? share_.group->rank() * own : 0;
    for (std::int64_t s = first; s < first + own; ++s) {
      options.segments.push_back(share_.slices->slice(part.weight, segment(*part.weight, s)));
    }
    options.bias = part.bias;
    options.axes = part.axes;
    options.over = linear.over().empty() ? 1 : static_cast<int>(linear.over().size());
    options.scale = linear.scale();
    options.path = part.path;
    options.ranks = share_.group;
    return std::make_shared<RankLinearOp>(std::move(options));
  }

  OpPointer own_part(const PlanStep& step, const LinearOp& linear) {
    std::vector<LinearPart> parts = linear.parts();
    for (std::size_t i = 0; i < parts.size(); ++i) {
      if (!is_split(step.outputs[i])) continue;
      const MatrixPart own = own_outputs(*parts[i].weight);
      parts[i].weight = share_.slices->slice(parts[i].weight, own);
      parts[i].axes[0].size /= size_;
      if (parts[i].bias.defined()) {
        parts[i].bias = parts[i].bias.slice(0, own.first_output, own.outputs);
      }
    }
    return std::make_shared<LinearOp>(std::move(parts), linear.over(), linear.scale());
  }

  AttentionSetting own_part(AttentionSetting setting) {
    setting.kv_heads /= size_;
    if (setting.bias == nullptr) return setting;
    std::shared_ptr<const RelativeBias>& own = biases_[setting.bias.get()];
    if (own == nullptr) {
      RelativeBias part = *setting.bias;
      const std::int64_t heads = part.weight.shape().size(1) / size_;
      part.weight = part.weight.slice(1, share_.group->rank() * heads, heads).copy();
      own = std::make_shared<const RelativeBias>(std::move(part));
    }
    setting.bias = own;
    return setting;
  }

  /// What a caller reads is whole.
  void gather_asked() {
    const std::size_t count = graph_.steps.size();
    std::vector<PlanStep> steps;
    for (std::size_t s = 0; s < count; ++s) {
      PlanStep& step = graph_.steps[s];
      std::vector<std::pair<int, int>> asked;  // value, gathered value
      for (const int value : step.outputs) {
        if (graph_.asked[index(value)] && is_split(value)) asked.emplace_back(value, -1);
      }
      const std::string where = step.where, module = step.module;
      steps.push_back(std::move(step));
      for (auto& [value, whole] : asked) gather(value, where, module, steps);
    }
    graph_.steps = std::move(steps);
  }

  /// The gathered tensor keeps the value's number, which callers know; all else reads the part.
  void gather(int value, const std::string& where, const std::string& module,
              std::vector<PlanStep>& steps) {
    const PlanValue part = graph_.values[index(value)];
    const int local = static_cast<int>(graph_.values.size());
    graph_.values.push_back(part);
    graph_.asked.push_back(false);
    const auto rename = [&](std::vector<int>& values) {
      std::replace(values.begin(), values.end(), value, local);
    };
    for (PlanStep& step : graph_.steps) rename(step.inputs);
    rename(steps.back().outputs);
    const int axis = split_axis(part.spec.shape);
    PlanStep step{
        std::make_shared<RankGatherOp>(axis, share_.group), {local}, {value}, where, module};
    resize(step);
    steps.push_back(std::move(step));
  }

  PlanGraph& graph_;
  const RankShare& share_;
  std::map<std::string, std::int64_t>& kv_heads_;
  Groups groups_;
  std::vector<bool> shared_;  // per root
  int size_;
  std::vector<int> producers_;
  std::map<std::string, int> slots_;
  std::map<const RelativeBias*, std::shared_ptr<const RelativeBias>> biases_;
};

}  // namespace

void split_over_ranks(PlanGraph& graph, const RankShare& share,
                      std::map<std::string, std::int64_t>& kv_heads) {
  RankSplit(graph, share, kv_heads).run();
}

}  // namespace perilune
