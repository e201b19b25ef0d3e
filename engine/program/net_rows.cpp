// The part of a scope that changes how long rows are.
#include "engine/ops/linear.h"
#include "engine/ops/row_lengths.h"
#include "engine/program/module_reader.h"
#include "engine/program/net.h"

namespace perilune {

namespace {

/// The sizes of a stored weight; empty where there is none, which reading it tells.
std::vector<std::int64_t> stored_sizes(const ModuleReader& reader, const std::string& path) {
  const std::optional<StoredView> stored = reader.state.checkpoint->find(path + ".weight");
  return stored ? stored->sizes : std::vector<std::int64_t>{};
}

/// x's axis `index` and the weight's inputs must be of one size.
void expect_channels(const char* op, const Value& x, int index, const std::string& path,
                     const std::vector<std::int64_t>& sizes, const char* form,
                     const std::string& place) {
  if (index >= x.spec.shape.rank()) return;  // the op says what x must be
  const Axis& axis = x.spec.shape.axis(index);
  if (sizes.empty() || axis.size == sizes[1]) return;
  throw Error(ErrorCode::shape, op, "x and the weight have other numbers of channels")
      .operand("x", x.spec.text())
      .operand("weight", "\"" + path + "\" " + sizes_text(sizes) + " " + form + " " +
                             versus(axis.size, sizes[1]))
      .where(place);
}

void expect_at_least(const char* op, const char* option, std::int64_t value, std::int64_t least,
                     const std::string& place) {
  if (value >= least && value <= INT32_MAX) return;
  throw Error(ErrorCode::option, op,
              std::string("option ") + option + ": expected " + std::to_string(least) +
                  " or more, got " + std::to_string(value))
      .where(place);
}

}  // namespace

Value Net::window_product(const char* op, const Value& windows, const std::string& path,
                          std::size_t weight_axes, const std::string& axis, bool bias) const {
  const ModuleReader reader{*state_, where(path)};
  LinearPart part;
  part.path = full(path);
  part.axes = {{axis, axis_size(op, axis), 0}};
  part.weight = reader.weight(part.path, weight_axes);
  if (bias) part.bias = reader.tensor(part.path + ".bias", {"output"});
  check_size(op, part.path + ".bias", part.bias, part.axes[0].size, where(path));
  const auto linear = std::make_shared<LinearOp>(std::vector<LinearPart>{std::move(part)},
                                                 std::vector<std::string>{});
  return apply(linear, {windows}, path).front();
}

Value Net::conv1d(const Value& x, const std::string& path, const std::string& axis,
                  const Conv1dOptions& options) const {
  const std::string place = where(path);
  expect_at_least("conv1d", "stride", options.stride, 1, place);
  expect_at_least("conv1d", "padding", options.padding, 0, place);
  const ModuleReader reader{*state_, place};
  const std::vector<std::int64_t> sizes = stored_sizes(reader, full(path));
  reader.weight(full(path), 3);  // a missing one, or one of another form, is told first
  expect_channels("conv1d", x, 1, full(path), sizes, "[out, in, width]", place);
  const std::int64_t width = sizes.size() == 3 ? sizes[2] : 1;
  expect_at_least("conv1d", "width", width, 1, place);
  const std::string name = x.spec.shape.rank() > 0 ? x.spec.shape.axis(0).name : "frame";
  const auto windows = std::make_shared<WindowsOp>(width, options.stride, options.padding,
                                                   state_->pass->new_axis(name));
  return window_product("conv1d", apply(windows, {x}, path).front(), path, 3, axis, options.bias);
}

Value Net::patches(const Value& pixels, const std::string& path, const std::string& axis,
                   const PatchOptions& options) const {
  const std::string place = where(path);
  expect_at_least("patches", "size", options.size, 0, place);
  const ModuleReader reader{*state_, place};
  const std::vector<std::int64_t> sizes = stored_sizes(reader, full(path));
  reader.weight(full(path), 4);
  expect_channels("patches", pixels, 1, full(path), sizes, "[out, channel, size, size]", place);
  const std::int64_t stored =
      sizes.size() == 4 ? sizes[2] : std::max<std::int64_t>(1, options.size);
  const std::int64_t size = options.size == 0 ? stored : options.size;
  if (sizes.size() == 4 && (size != sizes[2] || size != sizes[3])) {
    throw Error(ErrorCode::shape, "patches", "the weight is for patches of another size")
        .operand("size", std::to_string(size))
        .operand("weight",
                 "\"" + full(path) + "\" " + sizes_text(sizes) + " [out, channel, size, size]")
        .where(place);
  }
  expect_at_least("patches", "size", size, 1, place);
  const auto cut = std::make_shared<PatchesOp>(size, state_->pass->new_axis("patch"));
  return window_product("patches", apply(cut, {pixels}, path).front(), path, 4, axis, options.bias);
}

Value Net::prepend(const Value& x, const std::string& path) const {
  const std::string place = where(path);
  const ModuleReader reader{*state_, place};
  const auto& checkpoint = *state_->checkpoint;
  // A parameter by itself, or a table's.
  const std::optional<StoredView> found = checkpoint.find(full(path));
  const bool table = checkpoint.find(full(path) + ".weight").has_value();
  const std::string name = full(path) + (table ? ".weight" : "");
  std::vector<std::string> axes;
  for (std::size_t i = 0; found && i < found->sizes.size(); ++i) {
    axes.push_back("axis" + std::to_string(i + 1));
  }
  Tensor entries = reader.tensor(name, axes);
  if (entries.defined()) {
    const std::int64_t width = entries.shape().rank() == 0 ? 1 : entries.shape().back().size;
    const std::int64_t count = width == 0 ? 0 : entries.elements() / width;
    entries = entries.with_shape(Shape({Axis{"entry", count, 0}, Axis{"hidden", width, 0}}));
  }
  const std::string axis = x.spec.shape.rank() > 0 ? x.spec.shape.axis(0).name : "token";
  const auto op =
      std::make_shared<PrependOp>(std::move(entries), name, state_->pass->new_axis(axis));
  return apply(op, {x}, path).front();
}

Value Net::sinusoids(const Value& positions, const SinusoidOptions& options) const {
  perilune::SinusoidOptions made;
  made.axis = {options.axis, axis_size("sinusoids", options.axis), 0};
  made.max_period = options.max_period;
  made.interleaved = options.interleaved;
  made.endpoint = options.endpoint;
  try {
    return apply(std::make_shared<SinusoidsOp>(made), {positions}).front();
  } catch (Error& error) {
    error.where(where());
    throw;
  }
}

}  // namespace perilune
