#include "engine/program/net.h"

#include <algorithm>

#include "engine/ops/adapter.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/linear.h"
#include "engine/ops/norm.h"
#include "engine/ops/outlier_linear.h"
#include "engine/ops/rope_op.h"
#include "engine/ops/rows.h"
#include "engine/program/composed_activations.h"
#include "engine/program/module_reader.h"
#include "engine/program/value_math.h"

namespace perilune {

// ---------------------------------------------------------------- names and sizes

Net Net::scope(const std::string& path, const std::string& canonical,
               const std::map<std::string, std::int64_t>& axes) const {
  Net inner(state_);
  inner.path_ = join_scopes(path_, path);
  inner.canonical_ = join_scopes(canonical_, canonical);
  inner.scope_axes_ = scope_axes_;
  for (const auto& [name, size] : axes) inner.scope_axes_[name] = size;
  return inner;
}

std::string Net::full(const std::string& path) const {
  return join_scopes(path_, path);
}

std::string Net::where(const std::string& module) const {
  const std::string path = full(module);
  const std::string& place = state_->pass->script_place;
  return path.empty() || place.empty() ? path + place : path + ", " + place;
}

std::int64_t Net::axis_size(const std::string& op, const std::string& name) const {
  if (const auto own = scope_axes_.find(name); own != scope_axes_.end()) return own->second;
  if (const auto all = state_->pass->axis_sizes.find(name); all != state_->pass->axis_sizes.end())
    return all->second;
  std::vector<std::string> known;
  for (const auto& [axis, size] : state_->pass->axis_sizes) known.push_back(axis);
  const std::string near = nearest(name, known);
  const std::string declared = "the family's config gives sizes: axes = { " + name + " = … }";
  throw Error(ErrorCode::argument, op, "axis \"" + name + "\" has no size")
      .where(where())
      .hint(near.empty() ? declared : "did you mean \"" + near + "\"? " + declared);
}

std::vector<Value> Net::apply(const OpPointer& op, std::vector<Value> inputs,
                              const std::string& module) const {
  return state_->pass->apply(op, std::move(inputs), where(module), join_scopes(canonical_, module));
}

Value Net::mark(const std::string& name, const Value& value) const {
  const std::string path = join_scopes(canonical_, name);
  if (path.empty()) {
    throw Error(ErrorCode::argument, "mark", "the root scope has no name of its own")
        .where(where())
        .hint("give one: net:mark(\"norm\", x)");
  }
  return state_->pass->mark(path, value);
}

bool Net::has(const std::string& path) const {
  return state_->checkpoint->has(full(path));
}

Value Net::tensor(const std::string& path, const std::vector<std::string>& axes) const {
  const ModuleReader reader{*state_, where(path)};
  Tensor tensor = reader.tensor(full(path), axes);
  std::vector<Axis> sizes;
  sizes.reserve(axes.size());
  for (const std::string& axis : axes) sizes.push_back({axis, axis_size("tensor", axis), 0});
  const Shape declared(sizes);
  if (!tensor.defined()) {
    tensor = Tensor::zeros(state_->pass->context(), DType::f32, declared);
  }
  if (tensor.shape() != declared) {
    throw Error(ErrorCode::shape, "tensor", "the stored sizes are not those of the axes")
        .operand("stored", tensor.spec().text())
        .operand("axes", declared.text())
        .where(where(path));
  }
  Value value = Value::of(tensor.as_read_only());
  return value;
}

// ---------------------------------------------------------------- embeddings, products

Value Net::embedding(const Value& ids, const std::string& path,
                     const EmbeddingOptions& options) const {
  const ModuleReader reader{*state_, where(path)};
  const Axis axis{options.axis, axis_size("embedding", options.axis), 0};
  const auto op = std::make_shared<EmbeddingOp>(reader.weight(full(path)), full(path),
                                                options.offset, options.scale, axis);
  const Value y = apply(op, {ids}, path).front();
  const auto changes = state_->checkpoint->adapters().of(full(path));
  if (changes == nullptr || state_->names_only) return y;
  const auto adapter = AdapterOp::of_embedding(changes, full(path), options.offset, options.scale);
  return apply(adapter, {y, ids}, path).front();
}

Value Net::positions(const Value& x) const {
  return apply(std::make_shared<RowPositionsOp>(), {x}).front();
}

namespace {

OpPointer product(const NetState& state, LinearPart part, const std::vector<std::string>& over,
                  double scale) {
  if (state.outliers > 0) {
    return std::make_shared<OutlierLinearOp>(std::move(part), over, scale, state.outliers);
  }
  return std::make_shared<LinearOp>(std::vector<LinearPart>{std::move(part)}, over, scale);
}

}  // namespace

Value Net::linear(const Value& x, const std::string& path, const std::vector<std::string>& axes,
                  const LinearOptions& options) const {
  const ModuleReader reader{*state_, where(path)};
  LinearPart part;
  part.path = full(path);
  std::int64_t outputs = 1;
  for (const std::string& axis : axes) {
    part.axes.push_back({axis, axis_size("linear", axis), 0});
    outputs *= part.axes.back().size;
  }
  part.weight = reader.weight(part.path);
  if (options.bias) part.bias = reader.tensor(part.path + ".bias", {"output"});
  check_size("linear", part.path + ".bias", part.bias, outputs, where(path));
  const auto op = product(*state_, std::move(part), options.over, 1.0);
  const int over = options.over.empty() ? 1 : static_cast<int>(options.over.size());
  return adapted(apply(op, {x}, path).front(), x, path, static_cast<int>(axes.size()), over, 1.0);
}

Value Net::adapted(const Value& y, const Value& x, const std::string& path, int outputs, int over,
                   double scale) const {
  const auto changes = state_->checkpoint->adapters().of(full(path));
  if (changes == nullptr || state_->names_only) return y;
  const auto op = std::make_shared<AdapterOp>(changes, full(path), outputs, over, scale);
  return apply(op, {y, x}, path).front();
}

Value Net::head(const Value& x, const std::string& path, const std::string& axis,
                const HeadOptions& options) const {
  const ModuleReader reader{*state_, where(path)};
  LinearPart part;
  part.path = full(path);
  part.axes = {{axis, axis_size("head", axis), 0}};
  if (options.tied) {
    reader.touch(part.path + ".weight");  // a stored copy is ignored
    part.weight = reader.weight(*options.tied);
    part.path += " = " + *options.tied;
  } else {
    part.weight = reader.weight(part.path);
  }
  const std::string bias = options.bias_name.empty() ? full(path) + ".bias" : options.bias_name;
  if (options.bias || !options.bias_name.empty()) part.bias = reader.tensor(bias, {axis});
  check_size("head", bias, part.bias, part.axes[0].size, where(path));
  const auto op = product(*state_, std::move(part), {}, options.scale);
  return adapted(apply(op, {x}, path).front(), x, path, 1, 1, options.scale);
}

// ---------------------------------------------------------------- norms, rope

Value Net::rms_norm(const Value& x, const std::string& path, double epsilon, bool plus_one,
                    const std::vector<std::string>& over) const {
  const ModuleReader reader{*state_, where(path)};
  NormOptions options;
  options.weight = reader.tensor(full(path) + ".weight", {"width"});
  options.epsilon = epsilon;
  options.offset = plus_one ? 1.0f : 0.0f;
  options.over = over;
  options.path = full(path);
  return apply(std::make_shared<NormOp>(std::move(options)), {x}, path).front();
}

Value Net::layer_norm(const Value& x, const std::string& path, double epsilon, bool bias) const {
  const ModuleReader reader{*state_, where(path)};
  NormOptions options;
  options.layer = true;
  options.weight = reader.tensor(full(path) + ".weight", {"width"});
  if (bias) options.bias = reader.tensor(full(path) + ".bias", {"width"});
  if (options.weight.defined()) {
    check_size("layer_norm", full(path) + ".bias", options.bias, options.weight.elements(),
               where(path));
  }
  options.epsilon = epsilon;
  options.path = full(path);
  return apply(std::make_shared<NormOp>(std::move(options)), {x}, path).front();
}

namespace {

/// Whether both are one value of the pass: by its number, or the same elements of the same memory
/// (both are alive).
bool same_value(const Value& a, const Value& b) {
  if (a.symbolic() || b.symbolic()) return a.id == b.id;
  return a.tensor.storage() == b.tensor.storage() && a.tensor.data() == b.tensor.data() &&
         a.tensor.strides() == b.tensor.strides() && a.spec.shape == b.spec.shape;
}

}  // namespace

Value Net::rope(const Value& x, const Value& positions,
                const std::shared_ptr<const RopeOptions>& options) const {
  if (options == nullptr) {
    throw Error(ErrorCode::argument, "rope", "needs rope options")
        .where(where())
        .hint("make them with pl.rope_options(json, head_dim)");
  }
  std::shared_ptr<const RopeOptions> used = options;
  if (used->dims == 0 && x.spec.shape.rank() > 0) {
    RopeOptions whole = *options;
    whole.dims = x.spec.shape.back().size;
    used = std::make_shared<RopeOptions>(std::move(whole));
  }
  // One table for all layers: by positions, options and the size where it was left open.
  std::vector<RopeTables>& made = state_->rope_tables;
  auto tables = std::find_if(made.begin(), made.end(), [&](const RopeTables& known) {
    return known.options == options && known.dims == used->dims &&
           same_value(known.positions, positions);
  });
  if (tables == made.end()) {
    std::vector<Value> both = apply(std::make_shared<RopeTableOp>(used), {positions});
    tables = made.insert(made.end(), {positions, options, used->dims, both[0], both[1]});
  }
  return apply(std::make_shared<RopeOp>(used->interleaved), {x, tables->cosine, tables->sine})
      .front();
}

// ---------------------------------------------------------------- the rest

kernels::Activation activation_by_name(const std::string& name) {
  static const std::pair<const char*, kernels::Activation> kNames[] = {
      {"gelu", kernels::Activation::gelu},
      {"gelu_python", kernels::Activation::gelu},
      {"gelu_new", kernels::Activation::gelu_tanh},
      {"gelu_pytorch_tanh", kernels::Activation::gelu_tanh},
      {"gelu_python_tanh", kernels::Activation::gelu_tanh},
      {"gelu_accurate", kernels::Activation::gelu_tanh},
      {"gelu_fast", kernels::Activation::gelu_tanh},
      {"quick_gelu", kernels::Activation::quick_gelu},
      {"relu", kernels::Activation::relu},
      {"silu", kernels::Activation::silu},
      {"swish", kernels::Activation::silu},
      {"tanh", kernels::Activation::tanh},
      {"sigmoid", kernels::Activation::sigmoid},
      {"gelu_10", kernels::Activation::gelu_10},
      {"relu2", kernels::Activation::relu2},
      {"relu6", kernels::Activation::relu6},
      {"leaky_relu", kernels::Activation::leaky_relu},
      {"mish", kernels::Activation::mish},
      {"laplace", kernels::Activation::laplace},
      {"linear", kernels::Activation::none}};
  std::vector<std::string> known;
  for (const auto& [known_name, activation] : kNames) {
    if (name == known_name) return activation;
    known.emplace_back(known_name);
  }
  std::string list;
  for (const std::string& each : known) list += each + ", ";
  const std::string lacks = activation_lacks(name);
  throw Error(ErrorCode::unsupported, "activation",
              "\"" + name + "\" is not known" + (lacks.empty() ? "" : ": " + lacks))
      .hint("known are " + list + "hardswish, sqrtsoftplus");
}

Value Net::activation(const Value& x, const std::string& name) const {
  if (activation_composed(name)) return composed_activation(x, name, where());
  try {
    const kernels::Activation activation = activation_by_name(name);
    if (activation == kernels::Activation::none) return x;
    return apply_op(std::make_shared<ActivationOp>(activation), {x}).front();
  } catch (Error& error) {
    error.where(where());
    throw;
  }
}

Value Net::softcap(const Value& x, double cap) const {
  const std::string place = where();
  if (!(cap > 0)) {
    throw Error(ErrorCode::argument, "softcap", "the cap must be above 0").where(place);
  }
  Value scaled = tensor_ops::scalar(kernels::Binary::divide, x, cap, false, place);
  scaled = tensor_ops::unary(kernels::Unary::tanh, scaled, place);
  return tensor_ops::scalar(kernels::Binary::multiply, scaled, cap, false, place);
}

Value Net::select(const Value& x, const std::string& which,
                  const std::vector<std::int64_t>& eos) const {
  RowToken token = RowToken::last;
  if (which == "first") {
    token = RowToken::first;
  } else if (which == "eos") {
    token = RowToken::eos;
  } else if (which != "last") {
    throw Error(ErrorCode::argument, "select", "\"" + which + "\" is not known")
        .where(where())
        .hint("it is \"first\", \"last\" or \"eos\"");
  }
  const AxisIdentity batch = state_->pass->new_axis("batch");
  return apply(std::make_shared<SelectTokenOp>(token, eos, batch), {x}).front();
}

Value Net::mean(const Value& x) const {
  const AxisIdentity batch = state_->pass->new_axis("batch");
  return apply(std::make_shared<MeanTokensOp>(batch), {x}).front();
}

Value wanted_rows(const std::shared_ptr<Pass>& pass, const Value& x, const std::string& where) {
  auto op = std::make_shared<WantedRowsOp>(pass->new_axis("wanted"));
  return pass->apply(op, {x}, where).front();
}

}  // namespace perilune
