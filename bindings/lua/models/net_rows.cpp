// The methods of Net that change how long rows are.
#include "bindings/lua/models/net.h"

namespace perilune::lua {

int net_conv1d(lua_State* L) {
  const Net& net = scope_of(L, "conv1d");
  const Value& x = to_value(L, 2, "conv1d", "x");
  const std::string path = to_text(L, 3, "conv1d", "path");
  const std::string axis = to_text(L, 4, "conv1d", "axis");
  Options options(L, 5, "conv1d");
  Net::Conv1dOptions settings;
  settings.stride = options.integer("stride").value_or(1);
  settings.padding = options.integer("padding").value_or(0);
  settings.bias = options.boolean("bias").value_or(false);
  options.done();
  return push_result(L, net.conv1d(x, path, axis, settings));
}

int net_patches(lua_State* L) {
  const Net& net = scope_of(L, "patches");
  const Value& pixels = to_value(L, 2, "patches", "pixels");
  const std::string path = to_text(L, 3, "patches", "path");
  const std::string axis = to_text(L, 4, "patches", "axis");
  Options options(L, 5, "patches");
  Net::PatchOptions settings;
  settings.size = options.integer("size").value_or(0);
  settings.bias = options.boolean("bias").value_or(false);
  options.done();
  return push_result(L, net.patches(pixels, path, axis, settings));
}

int net_prepend(lua_State* L) {
  const Net& net = scope_of(L, "prepend");
  const Value& x = to_value(L, 2, "prepend", "x");
  return push_result(L, net.prepend(x, to_text(L, 3, "prepend", "path")));
}

int net_sinusoids(lua_State* L) {
  const Net& net = scope_of(L, "sinusoids");
  const Value& positions = to_value(L, 2, "sinusoids", "positions");
  Options options(L, 3, "sinusoids");
  Net::SinusoidOptions settings;
  settings.axis = options.text("axis").value_or("hidden");
  settings.max_period = options.number("max_period").value_or(10000.0);
  settings.interleaved = options.choice("style", {"half", "interleaved"}) == "interleaved";
  settings.endpoint = options.boolean("endpoint").value_or(true);
  options.done();
  return push_result(L, net.sinusoids(positions, settings));
}

}  // namespace perilune::lua
