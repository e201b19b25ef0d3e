#include "engine/plan/plan.h"

#include <algorithm>

#include "engine/plan/fusion.h"

namespace perilune {

/// Makes a plan out of a program, step by step.
class PlanBuilder {
 public:
  PlanBuilder(std::shared_ptr<Context> context, std::shared_ptr<const Program> program,
              PlanOptions options)
      : plan_(new Plan()) {
    plan_->context_ = std::move(context);
    plan_->program_ = std::move(program);
    plan_->options_ = std::move(options);
    if (plan_->options_.device == nullptr) {
      plan_->options_.device = plan_->context_->cpu_device();
    }
  }

  std::shared_ptr<const Plan> build() {
    copy_values();
    copy_nodes();
    choose_outputs();
    drop_dead_steps(graph_);
    spread_over_ranks();
    place_steps(graph_, plan_->options_.devices, plan_->options_.device, plan_->devices_);
    if (plan_->options_.fuse) fuse(graph_);
    place_values(graph_, plan_->devices_);
    find_lifetimes();
    assign_buffers();
    plan_->steps_ = std::move(graph_.steps);
    for (std::size_t s = 0; s < plan_->steps_.size(); ++s) {
      if (!plan_->steps_[s].op->made_axes().empty()) plan_->axis_steps_.push_back(s);
    }
    plan_->values_ = std::move(graph_.values);
    return plan_;
  }

 private:
  const Program& program() const { return *plan_->program_; }

  void copy_values() {
    for (const ProgramValue& value : program().values) {
      PlanValue copy;
      copy.spec = value.spec;
      copy.input = value.input;
      copy.constant = value.constant;
      graph_.values.push_back(std::move(copy));
    }
  }

  int add_lazy(const LazyMark& mark) {
    PlanValue value;
    value.spec = mark.spec;
    graph_.values.push_back(std::move(value));
    const int id = static_cast<int>(graph_.values.size()) - 1;
    graph_.steps.push_back(
        {mark.node.op, mark.node.inputs, {id}, mark.node.where, mark.node.module});
    return id;
  }

  bool wants(const std::string& path) const {
    const std::vector<std::string>& paths = plan_->options_.outputs;
    return std::find(paths.begin(), paths.end(), path) != paths.end();
  }

  void copy_nodes() {
    std::size_t lazy = 0;
    const std::vector<LazyMark>& marks = program().lazy_marks;
    for (std::size_t i = 0; i <= program().nodes.size(); ++i) {
      for (; lazy < marks.size() && marks[lazy].after_node <= i; ++lazy) {
        if (wants(marks[lazy].path)) lazy_values_[marks[lazy].path] = add_lazy(marks[lazy]);
      }
      if (i == program().nodes.size()) break;
      const ProgramNode& node = program().nodes[i];
      graph_.steps.push_back({node.op, node.inputs, node.outputs, node.where, node.module});
    }
  }

  int asked_value(const std::string& path) const {
    if (const auto lazy = lazy_values_.find(path); lazy != lazy_values_.end()) return lazy->second;
    if (const int* mark = program().find_mark(path)) return *mark;
    const std::vector<std::string> paths = program().mark_paths();
    Error error(ErrorCode::argument, "trace", "there is no \"" + path + "\" in this model");
    const std::string guess = did_you_mean(path, paths);
    throw error.hint(guess.empty() ? "m:program(\"" + program().entry + "\") lists what there is"
                                   : guess);
  }

  void choose_outputs() {
    auto& outputs = plan_->outputs_;
    outputs = program().outputs;
    for (const std::string& path : plan_->options_.outputs) {
      const bool known = std::any_of(outputs.begin(), outputs.end(),
                                     [&](const auto& output) { return output.first == path; });
      if (!known) outputs.emplace_back(path, asked_value(path));
    }
    graph_.asked.assign(graph_.values.size(), false);
    for (const auto& [name, value] : outputs) graph_.asked[static_cast<std::size_t>(value)] = true;
  }

  /// What is followed is run for its effects alone.
  void spread_over_ranks() {
    const std::shared_ptr<const RankShare>& share = plan_->options_.ranks;
    if (share == nullptr) return;
    split_over_ranks(graph_, *share, plan_->rank_kv_heads_);
    if (share->group->leads()) return;
    plan_->outputs_.clear();
    graph_.asked.assign(graph_.values.size(), false);
    drop_dead_steps(graph_);
  }

  PlanValue& value(int id) { return graph_.values[static_cast<std::size_t>(id)]; }
  int root(int id) {
    while (value(id).view_of >= 0) id = value(id).view_of;
    return id;
  }

  void find_lifetimes() {
    const int count = static_cast<int>(graph_.steps.size());
    for (int i = 0; i < count; ++i) {
      const PlanStep& step = graph_.steps[static_cast<std::size_t>(i)];
      for (const int id : step.outputs) {
        if (step.op->is_view()) value(id).view_of = step.inputs[0];
        value(id).first_step = value(id).last_step = i;
      }
      for (const int id : step.inputs) {
        value(id).last_step = i;
        value(root(id)).last_step = i;
      }
    }
    for (const auto& [name, id] : plan_->outputs_) {
      value(id).last_step = count;
      value(root(id)).last_step = count;
    }
  }

  // What a value takes for a middling batch: only to choose which buffers to share.
  static std::size_t estimate(const TensorSpec& spec) {
    std::size_t bytes = dtype_size(spec.dtype);
    for (const Axis& axis : spec.shape.axes()) {
      bytes *= static_cast<std::size_t>(axis.symbolic() ? 64 : axis.size);
    }
    return bytes;
  }

  // Greedy over steps: the best-fitting buffer whose last value is dead, else the largest free one,
  // else a new one.
  void assign_buffers() {
    std::vector<std::size_t> sizes;
    std::vector<int> busy_until;
    std::vector<std::size_t> place;
    for (std::size_t i = 0; i < graph_.steps.size(); ++i) {
      for (const int id : graph_.steps[i].outputs) {
        PlanValue& made = value(id);
        if (made.view_of >= 0 || made.spec.without_storage) continue;
        const std::size_t need = estimate(made.spec);
        int best = -1;
        for (int b = 0; b < static_cast<int>(sizes.size()); ++b) {
          const auto at = static_cast<std::size_t>(b);
          if (busy_until[at] >= static_cast<int>(i) || place[at] != made.place) continue;
          if (best < 0) best = b;
          const std::size_t chosen = sizes[static_cast<std::size_t>(best)];
          const bool better =
              chosen < need ? sizes[at] > chosen : sizes[at] >= need && sizes[at] < chosen;
          if (better) best = b;
        }
        if (best < 0) {
          best = static_cast<int>(sizes.size());
          sizes.push_back(0);
          busy_until.push_back(-1);
          place.push_back(made.place);
        }
        const auto at = static_cast<std::size_t>(best);
        sizes[at] = std::max(sizes[at], need);
        busy_until[at] = made.last_step;
        made.buffer = best;
      }
    }
    plan_->buffers_ = static_cast<int>(sizes.size());
  }

  std::shared_ptr<Plan> plan_;
  PlanGraph graph_;
  std::map<std::string, int> lazy_values_;
};

std::shared_ptr<const Plan> Plan::make(std::shared_ptr<Context> context,
                                       std::shared_ptr<const Program> program,
                                       PlanOptions options) {
  return PlanBuilder(std::move(context), std::move(program), std::move(options)).build();
}

std::size_t Plan::arena_bytes(std::int64_t tokens, std::int64_t rows, const Device* on) const {
  std::vector<std::size_t> sizes(static_cast<std::size_t>(buffers_), 0);
  for (const PlanValue& value : values_) {
    if (value.buffer < 0 || (on != nullptr && devices_[value.place].get() != on)) continue;
    std::size_t bytes = dtype_size(value.spec.dtype);
    for (const Axis& axis : value.spec.shape.axes()) {
      std::int64_t size = axis.size;
      if (axis.symbolic()) {
        const std::string& source =
            program_->axes[static_cast<std::size_t>(axis.identity) - 1].source;
        size = axis.name == "batch" || source == "wanted" ? rows : tokens;
      }
      bytes *= static_cast<std::size_t>(size);
    }
    std::size_t& buffer = sizes[static_cast<std::size_t>(value.buffer)];
    buffer = std::max(buffer, ScratchCursor::align(bytes));
  }
  std::size_t total = 0;
  for (const std::size_t size : sizes) total += size;
  return total;
}

namespace {

/// Each weight of the plan once.
std::vector<std::pair<std::shared_ptr<Weight>, Device*>> weights_of(
    const std::vector<PlanStep>& steps) {
  std::vector<std::pair<std::shared_ptr<Weight>, Device*>> found;
  std::set<std::pair<Weight*, Device*>> seen;
  for (const PlanStep& step : steps) {
    for (const std::shared_ptr<Weight>& weight : step.op->weights()) {
      if (seen.insert({weight.get(), step.device.get()}).second) {
        found.emplace_back(weight, step.device.get());
      }
    }
  }
  return found;
}

}  // namespace

std::size_t Plan::weight_bytes(const std::vector<const Plan*>& others, const Device* on) const {
  std::set<std::pair<std::shared_ptr<Weight>, Device*>> counted;
  for (const Plan* other : others) {
    for (const auto& weight : weights_of(other->steps_)) counted.insert(weight);
  }
  std::size_t bytes = 0;
  for (const auto& [weight, device] : weights_of(steps_)) {
    if (counted.count({weight, device}) != 0 || (on != nullptr && device != on)) continue;
    bytes += weight->packed_bytes_on(*device, options_.math);
  }
  return bytes;
}

std::vector<PlanPart> Plan::parts() const {
  std::vector<PlanPart> parts;
  for (ProgramPart& part : parts_of(*program_)) {
    std::vector<PlanStep> steps;
    for (const PlanStep& step : steps_) {
      const auto& modules = part.modules;
      if (std::find(modules.begin(), modules.end(), step.module) != modules.end()) {
        steps.push_back(step);
      }
    }
    PlanPart& made = parts.emplace_back();
    made.device = steps.empty() ? options_.device : steps.front().device;
    for (const auto& [weight, device] : weights_of(steps)) {
      made.weights.emplace_back(weight->path(), weight->packed_bytes_on(*device, options_.math));
    }
    std::vector<KvSlotSpec> slots;
    for (const KvSlotSpec& slot : kv_slots()) {
      if (slot.path == part.path) slots.push_back(slot);
      if (slot.path == part.path && slot.device != nullptr) made.device = slot.device;
    }
    made.cache_bytes_per_token =
        CacheLayout(std::move(slots), options_.cache_dtype).bytes_per_token();
    made.part = std::move(part);
  }
  return parts;
}

void Plan::pack(const std::function<void(std::size_t, std::size_t)>& progress) const {
  const auto weights = weights_of(steps_);
  std::size_t done = 0;
  for (const auto& [weight, device] : weights) {
    weight->packed(*device, options_.math);
    ++done;
    if (progress) progress(done, weights.size());
  }
}

std::vector<KvSlotSpec> Plan::kv_slots() const {
  std::vector<KvSlotSpec> slots = program_->kv_slots;
  for (KvSlotSpec& slot : slots) {
    slot.device = device_of_path(options_.devices, slot.path);
    if (slot.device == nullptr && !options_.devices.empty()) slot.device = options_.device;
    const auto own = rank_kv_heads_.find(slot.path);
    if (own != rank_kv_heads_.end() && slot.kind == KvKind::self) slot.kv_heads = own->second;
  }
  return slots;
}

const std::vector<OpConstants>& Plan::constants() const {
  const std::lock_guard lock(mutex_);
  if (resolved_) return constants_;
  constants_.clear();
  for (const PlanStep& step : steps_) {
    constants_.push_back(resolve_constants(*step.op, *step.device, options_.math));
  }
  resolved_ = true;
  return constants_;
}

std::string Plan::text() const {
  std::string text = program_->entry + " " + kernels::math_name(options_.math);
  text += ", " + std::to_string(steps_.size()) + " ops, " + std::to_string(buffers_) +
          " buffers, " + options_.device->name() + " " + options_.device->kernels().tier + "\n";
  const auto value_text = [&](int id) {
    const PlanValue& value = values_[static_cast<std::size_t>(id)];
    if (!value.input.empty()) return value.input;
    return value.constant.defined() ? std::string("constant") : "%" + std::to_string(id);
  };
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    const PlanStep& step = steps_[i];
    text += std::to_string(i + 1) + "  " + step.op->describe() + " (";
    for (std::size_t j = 0; j < step.inputs.size(); ++j) {
      text += (j == 0 ? "" : ", ") + value_text(step.inputs[j]);
    }
    text += ") ->";
    for (const int id : step.outputs) {
      const PlanValue& value = values_[static_cast<std::size_t>(id)];
      text += " %" + std::to_string(id) + " ";
      text += value.spec.without_storage ? "stored" : value.spec.text();
      if (value.buffer >= 0) text += " in buffer " + std::to_string(value.buffer + 1);
    }
    if (devices_.size() > 1) text += "  on " + step.device->name();
    if (!step.where.empty()) text += "  in " + step.where;
    text += "\n";
  }
  return text;
}

}  // namespace perilune
