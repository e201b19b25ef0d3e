// Net: the scope a family writes its passes with (API.md, Families).
#include "bindings/lua/models/net.h"
#include "bindings/lua/models/rope_options.h"
#include "engine/ops/kernel_names.h"

namespace perilune::lua {

namespace {

int push_net(lua_State* L, Net net) {
  push_object(L, std::move(net));
  lua_getfenv(L, 1);
  lua_setfenv(L, -2);
  return 1;
}

int scope(lua_State* L) {
  const Net& net = scope_of(L, "scope");
  const std::string path = to_text(L, 2, "scope", "path");
  int next = 3;
  std::string canonical = path;
  if (!lua_istable(L, 3)) {
    if (!lua_isnoneornil(L, 3)) canonical = to_text(L, 3, "scope", "canonical path");
    next = 4;
  }
  Options options(L, next, "scope");
  const auto axes = options.sizes("axes").value_or(std::map<std::string, std::int64_t>{});
  options.done();
  return push_net(L, net.scope(path, canonical, axes));
}

int mark(lua_State* L) {
  const Net& net = scope_of(L, "mark");
  if (lua_type(L, 2) == LUA_TSTRING) {
    const std::string name = to_text(L, 2, "mark", "name");
    return push_result(L, net.mark(name, to_value(L, 3, "mark", "t")));
  }
  return push_result(L, net.mark("", to_value(L, 2, "mark", "t")));
}

int has(lua_State* L) {
  const Net& net = scope_of(L, "has");
  lua_pushboolean(L, net.has(to_text(L, 2, "has", "path")) ? 1 : 0);
  return 1;
}

int tensor(lua_State* L) {
  const Net& net = scope_of(L, "tensor");
  const std::string path = to_text(L, 2, "tensor", "path");
  push_object(L, net.tensor(path, to_texts(L, 3, "tensor", "axes")));
  return 1;
}

int embedding(lua_State* L) {
  const Net& net = scope_of(L, "embedding");
  const Value& ids = to_value(L, 2, "embedding", "ids");
  const std::string path = to_text(L, 3, "embedding", "path");
  Options options(L, 4, "embedding");
  Net::EmbeddingOptions settings;
  settings.offset = options.integer("offset").value_or(0);
  settings.scale = options.number("scale").value_or(1.0);
  settings.axis = options.text("axis").value_or("hidden");
  options.done();
  return push_result(L, net.embedding(ids, path, settings));
}

int positions(lua_State* L) {
  const Net& net = scope_of(L, "positions");
  return push_result(L, net.positions(to_value(L, 2, "positions", "x")));
}

int linear(lua_State* L) {
  const Net& net = scope_of(L, "linear");
  const Value& x = to_value(L, 2, "linear", "x");
  const std::string path = to_text(L, 3, "linear", "path");
  const auto axes = to_texts(L, 4, "linear", "axes");
  Options options(L, 5, "linear");
  Net::LinearOptions settings;
  settings.over = options.texts("over").value_or(std::vector<std::string>{});
  settings.bias = options.boolean("bias").value_or(false);
  options.done();
  return push_result(L, net.linear(x, path, axes, settings));
}

int head(lua_State* L) {
  const Net& net = scope_of(L, "head");
  const Value& x = to_value(L, 2, "head", "x");
  const std::string path = to_text(L, 3, "head", "path");
  const std::string axis = to_text(L, 4, "head", "axis");
  Options options(L, 5, "head");
  Net::HeadOptions settings;
  settings.tied = options.text("tied");
  settings.scale = options.number("scale").value_or(1.0);
  if (options.push("bias")) {
    if (lua_type(L, -1) == LUA_TSTRING) {
      settings.bias_name = to_text(L, -1, "head", "option bias");
      settings.bias = true;
    } else {
      settings.bias = to_boolean(L, -1, "head", "option bias");
    }
    lua_pop(L, 1);
  }
  options.done();
  return push_result(L, net.head(x, path, axis, settings));
}

int rms_norm(lua_State* L) {
  const Net& net = scope_of(L, "rms_norm");
  const Value& x = to_value(L, 2, "rms_norm", "x");
  const std::string path = to_text(L, 3, "rms_norm", "path");
  const double epsilon = to_number(L, 4, "rms_norm", "eps");
  Options options(L, 5, "rms_norm");
  const bool plus_one = options.boolean("plus_one").value_or(false);
  const auto over = options.texts("over").value_or(std::vector<std::string>{});
  options.done();
  return push_result(L, net.rms_norm(x, path, epsilon, plus_one, over));
}

int layer_norm(lua_State* L) {
  const Net& net = scope_of(L, "layer_norm");
  const Value& x = to_value(L, 2, "layer_norm", "x");
  const std::string path = to_text(L, 3, "layer_norm", "path");
  const double epsilon = to_number(L, 4, "layer_norm", "eps");
  Options options(L, 5, "layer_norm");
  const bool bias = options.boolean("bias").value_or(true);
  options.done();
  return push_result(L, net.layer_norm(x, path, epsilon, bias));
}

// ---------------------------------------------------------------- rope and attention

int rope_options(lua_State* L) {
  push_object(L, read_rope(L, 1, nullptr));
  return 1;
}

/// The same table gives the same options for every layer of a pass: they share one cosine table.
RopePointer pass_rope(lua_State* L, int index, const Net& net) {
  if (const RopePointer* given = test_object<RopePointer>(L, index)) return *given;
  expect_table(L, index, "rope", "options");
  lua_getfenv(L, 1);
  lua_getfield(L, -1, "rope");
  lua_pushvalue(L, index);
  lua_rawget(L, -2);
  if (const RopePointer* known = test_object<RopePointer>(L, -1)) {
    RopePointer found = *known;
    lua_pop(L, 3);
    return found;
  }
  lua_pop(L, 1);
  RopePointer read = read_rope(L, index, net.state().checkpoint.get());
  lua_pushvalue(L, index);
  push_object(L, RopePointer(read));
  lua_rawset(L, -3);
  lua_pop(L, 2);
  return read;
}

int rope(lua_State* L) {
  const Net& net = scope_of(L, "rope");
  const Value& x = to_value(L, 2, "rope", "x");
  const Value& at = to_value(L, 3, "rope", "positions");
  return push_result(L, net.rope(x, at, pass_rope(L, 4, net)));
}

int cached(lua_State* L) {
  const Net& net = scope_of(L, "cached");
  const Value& k = to_value(L, 2, "cached", "k");
  const Value& v = to_value(L, 3, "cached", "v");
  Options options(L, 4, "cached");
  const std::int64_t window = options.integer("window").value_or(0);
  const bool crosses = options.choice("kind", {"self", "cross"}) == "cross";
  options.done();
  push_object(L, net.cached(k, v, window, crosses ? KvKind::cross : KvKind::self));
  return 1;
}

int uncached(lua_State* L) {
  const Net& net = scope_of(L, "uncached");
  const Value& k = to_value(L, 2, "uncached", "k");
  const Value& v = to_value(L, 3, "uncached", "v");
  Options options(L, 4, "uncached");
  const std::int64_t window = options.integer("window").value_or(0);
  options.done();
  push_object(L, net.uncached(k, v, window));
  return 1;
}

int cross(lua_State* L) {
  push_object(L, scope_of(L, "cross").cross());
  return 1;
}

int attention(lua_State* L) {
  const Net& net = scope_of(L, "attention");
  const Value& q = to_value(L, 2, "attention", "q");
  const KvHandle& kv = check_object<KvHandle>(L, 3, "attention", "kv");
  Options options(L, 4, "attention");
  Net::AttentionOptions settings;
  const auto mask = options.choice("mask", {"causal", "none"});
  if (!mask) {
    throw Error(ErrorCode::option, "attention", "option mask must be given")
        .hint("mask=\"causal\" or mask=\"none\"");
  }
  settings.mask = mask == "causal" ? Mask::causal : Mask::none;
  settings.scale = options.number("scale");
  settings.softcap = options.number("softcap").value_or(0.0);
  if (const auto* bias = options.object<RelativeBiasPointer>("bias")) settings.bias = *bias;
  settings.name = options.text("name").value_or("attention");
  options.done();
  return push_result(L, net.attention(q, kv, settings));
}

int relative_bias(lua_State* L) {
  const Net& net = scope_of(L, "relative_bias");
  const std::string path = to_text(L, 2, "relative_bias", "path");
  Options options(L, 3, "relative_bias");
  const std::int64_t buckets = options.integer("buckets").value_or(32);
  const std::int64_t distance = options.integer("max_distance").value_or(128);
  const bool bidirectional = options.boolean("bidirectional").value_or(false);
  options.done();
  push_object(L, net.relative_bias(path, buckets, distance, bidirectional));
  return 1;
}

// ---------------------------------------------------------------- the rest

int activation(lua_State* L) {
  const Net& net = scope_of(L, "activation");
  const Value& x = to_value(L, 2, "activation", "x");
  return push_result(L, net.activation(x, to_text(L, 3, "activation", "name")));
}

constexpr char kRelu[] = "relu", kGelu[] = "gelu", kSilu[] = "silu", kTanh[] = "tanh",
               kSigmoid[] = "sigmoid";

template <const char* name>
int named_activation(lua_State* L) {
  const Net& net = scope_of(L, name);
  return push_result(L, net.activation(to_value(L, 2, name, "x"), name));
}

int softcap(lua_State* L) {
  const Net& net = scope_of(L, "softcap");
  const Value& x = to_value(L, 2, "softcap", "x");
  return push_result(L, net.softcap(x, to_number(L, 3, "softcap", "cap")));
}

int exponential(lua_State* L) {
  const Net& net = scope_of(L, "exp");
  const Value& x = to_value(L, 2, "exp", "x");
  return push_result(L, tensor_ops::unary(Unary::exp, x, net.where()));
}

/// x divided by its Euclidean length over the last axis.
int normalize(lua_State* L) {
  const Net& net = scope_of(L, "normalize");
  const Value& x = to_value(L, 2, "normalize", "x");
  if (x.spec.shape.rank() == 0) {
    throw Error(ErrorCode::shape, "normalize", "x has no axes").where(net.where());
  }
  const Value length = tensor_ops::norm(x, {x.spec.shape.back().name}, net.where());
  return push_result(L, tensor_ops::divide(x, length, net.where()));
}

int select(lua_State* L) {
  const Net& net = scope_of(L, "select");
  const Value& x = to_value(L, 2, "select", "x");
  const std::string which = to_text(L, 3, "select", "which");
  std::vector<std::int64_t> eos;
  lua_getfenv(L, 1);
  lua_getfield(L, -1, "config");
  if (lua_istable(L, -1)) {
    lua_getfield(L, -1, "eos");
    if (!lua_isnil(L, -1)) eos = to_integers(L, -1, "select", "config.eos");
  }
  return push_result(L, net.select(x, which, eos));
}

int mean(lua_State* L) {
  const Net& net = scope_of(L, "mean");
  return push_result(L, net.mean(to_value(L, 2, "mean", "x")));
}

int config(lua_State* L) {
  (void)self<Net>(L, "config");
  lua_getfenv(L, 1);
  lua_getfield(L, -1, "config");
  return 1;
}

int path(lua_State* L) {
  push_text(L, self<Net>(L, "path").path());
  return 1;
}

int canonical(lua_State* L) {
  push_text(L, self<Net>(L, "canonical").canonical());
  return 1;
}

int tracing(lua_State* L) {
  lua_pushboolean(L, self<Net>(L, "tracing").state().pass->tracing() ? 1 : 0);
  return 1;
}

}  // namespace

void add_net(lua_State* L) {
  constexpr Member kFunctions[] = {{"rope_options", guarded<rope_options>}};
  set_functions(L, kFunctions);
  constexpr Member kMethods[] = {
      {"scope", guarded<scope>},
      {"mark", guarded_once<mark>},
      {"has", guarded<has>},
      {"tensor", guarded<tensor>},
      {"embedding", guarded_once<embedding>},
      {"positions", guarded_once<positions>},
      {"linear", guarded_once<linear>},
      {"head", guarded_once<head>},
      {"rms_norm", guarded_once<rms_norm>},
      {"layer_norm", guarded_once<layer_norm>},
      {"rope", guarded_once<rope>},
      {"cached", guarded_once<cached>},
      {"uncached", guarded_once<uncached>},
      {"cross", guarded_once<cross>},
      {"attention", guarded_once<attention>},
      {"relative_bias", guarded<relative_bias>},
      {"activation", guarded_once<activation>},
      {"relu", guarded_once<named_activation<kRelu>>},
      {"gelu", guarded_once<named_activation<kGelu>>},
      {"silu", guarded_once<named_activation<kSilu>>},
      {"tanh", guarded_once<named_activation<kTanh>>},
      {"sigmoid", guarded_once<named_activation<kSigmoid>>},
      {"softcap", guarded_once<softcap>},
      {"exp", guarded_once<exponential>},
      {"normalize", guarded_once<normalize>},
      {"select", guarded_once<select>},
      {"mean", guarded_once<mean>},
      {"conv1d", guarded_once<net_conv1d>},
      {"patches", guarded_once<net_patches>},
      {"prepend", guarded_once<net_prepend>},
      {"sinusoids", guarded_once<net_sinusoids>},
  };
  constexpr Member kGetters[] = {
      {"config", guarded<config>},
      {"path", guarded<path>},
      {"canonical", guarded<canonical>},
      {"tracing", guarded<tracing>},
  };
  register_type<Net>(L, kMethods, kGetters);
  register_type<KvHandle>(L, {}, {});
  register_type<RopePointer>(L, {}, {});
  register_type<RelativeBiasPointer>(L, {}, {});
}

}  // namespace perilune::lua
