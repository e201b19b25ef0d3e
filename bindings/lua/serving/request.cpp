// Request: its fields, events and result.
#include "bindings/lua/edge/answer.h"
#include "bindings/lua/models/cache.h"
#include "bindings/lua/serving/grammar.h"
#include "bindings/lua/serving/serving.h"
#include "bindings/lua/tensors/tensor_value.h"

namespace perilune::lua {

lua_State* frame_state(const EngineObject& engine, const char* op) {
  if (engine.frame == nullptr) {
    throw Error(ErrorCode::state, op, "its engine is not running");
  }
  return engine.frame;
}

void push_shared(lua_State* L, const char* name) {
  lua_getfenv(L, 1);
  lua_getfield(L, -1, name);
  lua_remove(L, -2);
}

namespace {

const char* event_name(EventKind kind) {
  switch (kind) {
    case EventKind::token: return "token";
    case EventKind::done: return "done";
    case EventKind::error: return "error";
    case EventKind::warning: return "warning";
  }
  return "?";
}

const char* public_state(RequestState state) {
  switch (state) {
    case RequestState::waiting: return "waiting";
    case RequestState::done: return "done";
    default: return "running";
  }
}

void push_logprobs(lua_State* L, const Sequence& sequence) {
  if (!sequence.logprobs.empty()) {
    push_list(L, sequence.logprobs);
    lua_setfield(L, -2, "logprobs");
  }
  if (!sequence.top_logprobs.empty()) {
    lua_createtable(L, static_cast<int>(sequence.top_logprobs.size()), 0);
    int place = 0;
    for (const auto& best : sequence.top_logprobs) {
      lua_createtable(L, static_cast<int>(best.size()), 0);
      int rank = 0;
      for (const TokenLogprob& token : best) {
        lua_createtable(L, 0, 2);
        set_field(L, "id", static_cast<std::int64_t>(token.id));
        set_field(L, "logprob", static_cast<double>(token.logprob));
        lua_rawseti(L, -2, ++rank);
      }
      lua_rawseti(L, -2, ++place);
    }
    lua_setfield(L, -2, "top_logprobs");
  }
}

/// Sets text, ids, stop and log-probabilities in the table on top; of several answers also the
/// score, the log-probability of the whole.
void set_sequence(lua_State* L, const Request& request, const Sequence& sequence) {
  if (request.spec.tokenizer != nullptr) set_field(L, "text", sequence.text);
  const auto begin = sequence.ids.begin() + static_cast<std::ptrdiff_t>(request.spec.prompt_tokens);
  push_list(L, std::vector<std::int32_t>(begin, sequence.ids.end()));
  lua_setfield(L, -2, "ids");
  if (!sequence.stop.empty()) set_field(L, "stop", sequence.stop);
  set_choice(L, request, sequence.text);
  if (sequence.score) {
    set_field(L, "score", static_cast<double>(*sequence.score));
  } else if (request.spec.options.n > 1) {
    double score = 0;
    for (const float logprob : sequence.logprobs) score += static_cast<double>(logprob);
    set_field(L, "score", score);
  }
  if (!request.spec.options.score_only) push_logprobs(L, sequence);
}

/// Without their companions, which one that is cancelled inside a pass still has.
std::span<const Sequence> answers_of(const Request& request) {
  return std::span(request.sequences).first(request.answers());
}

double milliseconds(double from, double to) {
  return from > 0 && to > from ? (to - from) * 1e3 : 0;
}

void set_timings(lua_State* L, const Request& request) {
  const RequestTimes& times = request.progress.times;
  const double first_run = times.first_run > 0 ? times.first_run : times.finished;
  const double first_token = times.first_token > 0 ? times.first_token : times.finished;
  const double decode = milliseconds(first_token, times.finished);
  std::int64_t tokens = 0;
  for (const Sequence& sequence : answers_of(request)) {
    tokens += static_cast<std::int64_t>(sequence.ids.size()) - request.spec.prompt_tokens - 1;
  }
  lua_createtable(L, 0, 4);
  set_field(L, "queued_ms", milliseconds(times.submitted, first_run));
  set_field(L, "prefill_ms", milliseconds(first_run, first_token));
  set_field(L, "decode_ms", decode);
  const bool measured = decode > 0 && tokens > 0;
  set_field(L, "tokens_per_s", measured ? static_cast<double>(tokens) / decode * 1e3 : 0.0);
  lua_setfield(L, -2, "timings");
}

void set_generated(lua_State* L, const Request& request) {
  if (request.sequences.empty()) return;
  set_sequence(L, request, request.sequences[0]);
  set_field(L, "reused_tokens", request.progress.reused_tokens);
  if (request.spec.drafts.tokens > 0) {
    set_field(L, "drafted_tokens", request.progress.drafted);
    set_field(L, "accepted_tokens", request.progress.accepted);
  }
  set_field(L, "seed", static_cast<std::int64_t>(request.spec.options.sampling.seed));
  if (request.spec.options.prompt_logprobs) {  // of a prompt of one token: none
    push_list(L, request.sequences[0].prompt_logprobs);
    lua_setfield(L, -2, "prompt_logprobs");
  }
  if (request.spec.options.n <= 1) return;
  const std::span<const Sequence> answers = answers_of(request);
  lua_createtable(L, static_cast<int>(answers.size()), 0);
  int position = 0;
  for (const Sequence& sequence : answers) {
    lua_createtable(L, 0, 6);
    set_sequence(L, request, sequence);
    set_field(L, "finish_reason", finish_reason_name(sequence.reason));
    lua_rawseti(L, -2, ++position);
  }
  lua_setfield(L, -2, "sequences");
  const std::int64_t missing = request.spec.options.n - position;
  if (missing > 0) set_field(L, "missing_sequences", missing);
}

int result(lua_State* L) {
  Request& request = *self<RequestObject>(L, "result").request;
  if (!request.done()) return 0;
  request.outbox->forget(request);
  lua_createtable(L, 0, 14);
  set_field(L, "finish_reason", finish_reason_name(request.reason()));
  set_field(L, "prompt_tokens",
            request.spec.source ? request.spec.source->tokens() : request.spec.prompt_tokens);
  if (!request.progress.error.empty()) {
    set_field(L, "error", request.progress.error);
    set_field(L, "error_code", error_code_name(request.progress.error_code));
  } else if (!request.progress.why.empty()) {
    set_field(L, "error", request.progress.why);
    set_field(L, "error_code", error_code_name(ErrorCode::policy));
  }
  set_timings(L, request);
  if (request.spec.kind == RequestKind::generate) {
    set_generated(L, request);
    mark_answers(L);
    return 1;
  }
  lua_createtable(L, 0, static_cast<int>(request.progress.forward_outputs.size()));
  for (const auto& [name, tensor] : request.progress.forward_outputs) {
    push_tensor(L, tensor);
    lua_setfield(L, -2, name.c_str());
  }
  lua_setfield(L, -2, "outputs");
  mark_answers(L);
  return 1;
}

/// Iterator: upvalue: request.
int next_event(lua_State* L) {
  Request& request =
      *check_object<RequestObject>(L, lua_upvalueindex(1), "events", "request").request;
  Event event;
  if (!request.outbox || !request.outbox->next_of(request, event)) return 0;
  push_event(L, event);
  return 1;
}

int events(lua_State* L) {
  (void)self<RequestObject>(L, "events");
  lua_pushvalue(L, 1);
  lua_pushcclosure(L, guarded_once<next_event>, 1);
  return 1;
}

int cancel(lua_State* L) {
  auto& object = self<RequestObject>(L, "cancel");
  if (object.request->done() || object.engine->scheduler == nullptr) return 0;
  const EngineFrame frame(*object.engine, L);
  object.engine->scheduler->cancel(object.request);
  return 0;
}

int wait_state(lua_State* L) {
  lua_pushstring(L,
                 request_state_name(self<RequestObject>(L, "wait_state").request->progress.state));
  return 1;
}

int id(lua_State* L) {
  push_integer(L, static_cast<std::int64_t>(self<RequestObject>(L, "id").request->id));
  return 1;
}

int state_name(lua_State* L) {
  lua_pushstring(L, public_state(self<RequestObject>(L, "state").request->progress.state));
  return 1;
}

int prompt_tokens(lua_State* L) {
  push_integer(L, self<RequestObject>(L, "prompt_tokens").request->spec.prompt_tokens);
  return 1;
}

/// core.continued(request): all ids of its prompt and answer, and what it made of the cache that it
/// was given, once; nothing of one that failed.
int continued(lua_State* L) {
  Request& request = *self<RequestObject>(L, "continued").request;
  if (!request.done() || !request.progress.error.empty() || !request.progress.returned) return 0;
  push_list(L, request.sequences[0].ids);
  push_object(L, SequencePointer(std::move(request.progress.returned)));
  return 2;
}

int tostring(lua_State* L) {
  const Request& request = *self<RequestObject>(L, "tostring").request;
  push_text(L, "Request " + std::to_string(request.id) + " (" +
                   public_state(request.progress.state) + ")");
  return 1;
}

}  // namespace

void push_event(lua_State* L, const Event& event) {
  lua_createtable(L, 0, 4);
  set_field(L, "kind", event_name(event.kind));
  // The texts of events, said one after the other, are the answer: an end has none.
  const bool ended = event.kind == EventKind::done;
  set_field(L, "text", ended ? std::string() : event.text);
  if (ended) set_field(L, "finish_reason", event.text);
  if (event.kind == EventKind::token && event.id >= 0) {
    set_field(L, "id", static_cast<std::int64_t>(event.id));
  }
  if (event.output_index > 0) {
    set_field(L, "output", static_cast<std::int64_t>(event.output_index) + 1);
  }
  mark_answer(L);
}

void push_request(lua_State* L, EngineObject& engine, const RequestPointer& request) {
  reserve_stack(L, 8);
  push_shared(L, "requests");
  lua_pushnumber(L, static_cast<double>(request->id));
  lua_rawget(L, -2);
  if (test_object<RequestObject>(L, -1) != nullptr) {
    lua_remove(L, -2);
    return;
  }
  lua_pop(L, 1);
  push_object(L, RequestObject{request, &engine});
  lua_getfenv(L, 1);
  lua_setfenv(L, -2);
  lua_pushnumber(L, static_cast<double>(request->id));
  lua_pushvalue(L, -2);
  lua_rawset(L, -4);
  lua_remove(L, -2);
}

void add_request(lua_State* L) {
  constexpr Member kFunctions[] = {{"continued", guarded_once<continued>}};
  set_functions(L, kFunctions);
  constexpr Member kMethods[] = {
      {"result", guarded<result>},
      {"events", guarded<events>},
      {"cancel", guarded_once<cancel>},
      {"wait_state", guarded<wait_state>},
  };
  constexpr Member kGetters[] = {
      {"id", guarded<id>},
      {"state", guarded<state_name>},
      {"prompt_tokens", guarded<prompt_tokens>},
  };
  constexpr Member kOperators[] = {{"__tostring", guarded<tostring>}};
  register_type<RequestObject>(L, kMethods, kGetters, kOperators);
}

}  // namespace perilune::lua
