#include "bindings/lua/models/rope_options.h"

namespace perilune::lua {

namespace {

RopeScaling scaling_by_name(const std::string& name) {
  constexpr std::pair<const char*, RopeScaling> kKnown[] = {
      {"default", RopeScaling::none},    {"linear", RopeScaling::linear},
      {"dynamic", RopeScaling::dynamic}, {"llama3", RopeScaling::llama3},
      {"yarn", RopeScaling::yarn},       {"longrope", RopeScaling::longrope}};
  for (const auto& [known, scaling] : kKnown) {
    if (name == known) return scaling;
  }
  throw Error(ErrorCode::unsupported, "rope", "unknown type \"" + name + "\"")
      .hint("known types are default, linear, dynamic, llama3, yarn, longrope");
}

std::vector<double> numbers_option(lua_State* L, Options& options, const char* key) {
  if (!options.push(key)) return {};
  auto list = to_numbers(L, -1, "rope", options.label(key));
  lua_pop(L, 1);
  return list;
}

/// The scaling table at the top of the stack.
void read_scaling(lua_State* L, RopeOptions& rope) {
  Options options(L, -1, "rope");
  rope.scaling = scaling_by_name(options.text("type").value_or("default"));
  rope.factor = options.number("factor").value_or(1.0);
  rope.original_max_positions =
      static_cast<std::int64_t>(options.number("original_max_position_embeddings").value_or(0));
  rope.low_freq_factor = options.number("low_freq_factor").value_or(rope.low_freq_factor);
  rope.high_freq_factor = options.number("high_freq_factor").value_or(rope.high_freq_factor);
  rope.beta_fast = options.number("beta_fast").value_or(rope.beta_fast);
  rope.beta_slow = options.number("beta_slow").value_or(rope.beta_slow);
  rope.attention_factor = options.number("attention_factor").value_or(0.0);
  rope.extrapolation = options.number("extrapolation_factor").value_or(1.0);
  rope.mscale = options.number("mscale").value_or(0.0);
  rope.mscale_all_dim = options.number("mscale_all_dim").value_or(0.0);
  rope.truncate = options.boolean("truncate").value_or(true);
  rope.short_factors = numbers_option(L, options, "short_factor");
  rope.long_factors = numbers_option(L, options, "long_factor");
  options.done();
}

}  // namespace

RopePointer read_rope(lua_State* L, int index, Checkpoint* checkpoint) {
  Options options(L, index, "rope");
  auto rope = std::make_shared<RopeOptions>();
  rope->theta = options.number("theta").value_or(10000.0);
  rope->dims = options.integer("dims").value_or(0);
  rope->interleaved = options.choice("style", {"half", "interleaved"}) == "interleaved";
  if (options.push("scaling")) {
    expect_table(L, -1, "rope", "scaling");
    read_scaling(L, *rope);
    lua_pop(L, 1);
  }
  if (options.push("factors")) {
    if (lua_type(L, -1) == LUA_TSTRING && checkpoint != nullptr) {
      rope->given_factors = checkpoint->tensor(lua_tostring(L, -1), {"pair"}).to_floats();
    } else {
      for (const double factor : to_numbers(L, -1, "rope", "factors")) {
        rope->given_factors.push_back(static_cast<float>(factor));
      }
    }
    lua_pop(L, 1);
  }
  options.done();
  return rope;
}

}  // namespace perilune::lua
