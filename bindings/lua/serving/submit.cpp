// engine:submit: the request that a table of options stands for.
#include "bindings/lua/batches/batch_input.h"
#include "bindings/lua/batches/batch_object.h"
#include "bindings/lua/models/cache.h"
#include "bindings/lua/models/plan.h"
#include "bindings/lua/serving/grammar.h"
#include "bindings/lua/serving/serving.h"

namespace perilune::lua {

namespace {

void read_forward(Options& options, RequestSpec& spec) {
  spec.kind = RequestKind::forward;
  const auto* batch = options.object<BatchObject>("batch");
  if (batch == nullptr) throw Error(ErrorCode::argument, "submit", "a forward needs its batch");
  spec.forward_input = batch->batch;
  const auto rows = options.choice("rows", {"last", "all"});
  if (rows) {
    spec.forward_input =
        spec.forward_input->with_rows(rows == "last" ? RowSelection::last : RowSelection::all);
  }
}

/// What its tokens are chosen with: the text without the prompt, candidates.
void read_companions(Options& options, RequestSpec& spec) {
  GuidanceOptions& guidance = spec.guidance;
  guidance.scale = options.number("guidance_scale").value_or(1.0);
  guidance.ids = options.ids("negative_ids").value_or(std::vector<std::int32_t>{});
  if (const auto* source = options.object<BatchObject>("negative_source")) {
    guidance.source = source->batch->with_adapters({spec.adapter});
    guidance.ids = spec.prompt;
  }
  ContrastiveOptions& contrastive = spec.contrastive;
  contrastive.alpha = options.number("penalty_alpha").value_or(0.0);
  contrastive.top_k = options.integer("candidates").value_or(0);
  contrastive.hidden = options.text("hidden_path").value_or("");
  if (const auto* plan = options.object<PlanObject>("hidden_plan")) contrastive.plan = plan->plan;
}

/// A text as it is; any other value waits in the environment table under a name made for it.
std::string read_tag(lua_State* L, Options& options, EngineObject& engine) {
  if (!options.push("tag")) return "";
  std::string name;
  if (lua_type(L, -1) == LUA_TSTRING) {
    name = to_text(L, -1, options.op(), options.label("tag"));
  } else {
    name = std::string(kTagMark) + std::to_string(++engine.tags);
    push_shared(L, "tags");
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, name.c_str());
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return name;
}

}  // namespace

int submit(lua_State* L) {
  EngineObject& engine = open_engine(L, "submit");
  Options options(L, 2, "submit");
  RequestSpec spec;
  if (options.choice("kind", {"generate", "forward"}) == "forward") {
    read_forward(options, spec);
  } else {
    read_generate(L, options, spec);
  }
  const auto* plan = options.object<PlanObject>("plan");
  if (plan == nullptr) throw Error(ErrorCode::argument, "submit", "a request needs its plan");
  spec.plan = plan->plan;
  if (const auto* source = options.object<BatchObject>("source")) spec.source = source->batch;
  spec.adapter = options.integer("adapter").value_or(0);
  if (spec.adapter != 0 && spec.source) spec.source = spec.source->with_adapters({spec.adapter});
  if (spec.adapter != 0 && spec.forward_input) {
    spec.forward_input = spec.forward_input->with_adapters({spec.adapter});
  }
  if (const auto* encode = options.object<PlanObject>("encode_plan")) {
    spec.encode_plan = encode->plan;
  }
  if (const auto* cross = options.object<PlanObject>("cross_plan")) {
    spec.cross_plan = cross->plan;
  }
  CachePointer cache;
  if (const auto* pool = options.object<CachePointer>("cache")) cache = *pool;
  spec.max_tokens = options.integer("max_tokens").value_or(0);
  spec.priority = options.integer("priority").value_or(0);
  spec.deadline_ms = options.number("deadline_ms").value_or(0.0);
  if (const auto* text = options.object<SequencePointer>("continued")) spec.continued = *text;
  spec.slide_keep = options.integer("slide_keep").value_or(-1);
  spec.reuse = options.boolean("reuse").value_or(true);
  spec.recompute = !options.boolean("use_cache").value_or(true);
  read_drafts(options, spec);
  read_companions(options, spec);
  spec.client = options.text("client").value_or("");
  spec.tag = read_tag(L, options, engine);
  lua_newtable(L);
  read_grammar(options, spec);
  const bool hooked = read_hooks(L, options, engine, spec);
  // Functions of scripts see scores of what may come; what they change holds no more than that.
  if (spec.constraint && hooked) spec.hooks.processors.push_back(spec.hooks.processors.front());
  if (hooked && engine.worker) {
    throw Error(ErrorCode::unsupported, "submit",
                "processors, stop_when and on_token run in this script, and the engine steps on a "
                "thread of its own (worker = true)")
        .hint("take the tokens from line:events(), stop by stop= or line:cancel()");
  }
  options.done();
  const int hooks = lua_gettop(L);

  const EngineFrame frame(engine, L);
  const RequestPointer accepted = engine.scheduler->submit(std::move(spec), cache);
  if (hooked) {
    push_shared(L, "hooks");
    lua_pushnumber(L, static_cast<double>(accepted->id));
    lua_pushvalue(L, hooks);
    lua_rawset(L, -3);
  }
  push_request(L, engine, accepted);
  return 1;
}

}  // namespace perilune::lua
