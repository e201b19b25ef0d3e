// perilune.h: writing, now or step by step, and conversations.
#include "bindings/c/call.h"

namespace perilune::c {
namespace {

const char* prompt_problem(const pl_prompt& prompt) {
  const int sources =
      (prompt.text != nullptr) + (prompt.messages != nullptr) + (prompt.ids != nullptr);
  if (sources != 1) return "exactly one of the prompt's text, messages and ids must be given";
  if (prompt.id_count > INT32_MAX) return "too many ids";
  return nullptr;
}

int push_prompt(lua_State* L, const pl_prompt& prompt) {
  if (prompt.text != nullptr) {
    lua_pushlstring(L, prompt.text,
                    prompt.text_size > 0 ? prompt.text_size : std::strlen(prompt.text));
  } else {
    lua_pushnil(L);
  }
  push_text(L, prompt.messages);
  if (prompt.ids != nullptr) {
    lua_createtable(L, static_cast<int>(prompt.id_count), 0);
    for (size_t i = 0; i < prompt.id_count; ++i) {
      lua_pushinteger(L, prompt.ids[i]);
      lua_rawseti(L, -2, static_cast<int>(i + 1));
    }
  } else {
    lua_pushnil(L);
  }
  push_text(L, prompt.options);
  return 4;
}

pl_status ask(pl_model model, const char* function, const pl_prompt* given, bool streams,
              pl_request* request) {
  if (request == nullptr) return bad_argument(model, "request is NULL");
  *request = 0;
  if (given == nullptr) return bad_argument(model, "prompt is NULL");
  pl_prompt prompt{};
  if (!read_struct(given, prompt)) return bad_argument(model, "the prompt has no size");
  if (const char* problem = prompt_problem(prompt)) return bad_argument(model, problem);
  return call(
      model, Kind::model, function,
      [&](lua_State* L, Instance&) {
        int count = push_prompt(L, prompt);
        if (streams && prompt.on_text != nullptr) {
          lua_pushlightuserdata(L, &prompt);
          ++count;
        }
        return count;
      },
      [&](lua_State* L, Instance& here) {
        return take_handle(L, here, Kind::request, 1, request);
      });
}

}  // namespace
}  // namespace perilune::c

using namespace perilune::c;

extern "C" {

PL_API pl_status pl_generate(pl_model model, const pl_prompt* prompt, pl_request* request) {
  return ask(model, "generate", prompt, true, request);
}

PL_API pl_status pl_submit(pl_model model, const pl_prompt* prompt, pl_request* request) {
  return ask(model, "submit", prompt, false, request);
}

PL_API pl_status pl_step(pl_instance instance, double budget_ms, pl_step_report* report) {
  if (!(budget_ms >= 0)) return bad_argument(instance, "step: budget_ms must be 0 or more");
  pl_step_report made{};
  if (report != nullptr && !read_struct(report, made)) {
    return bad_argument(instance, "step: report has no size");
  }
  return call(
      instance, Kind::instance, "step",
      [&](lua_State* L, Instance&) {
        lua_pushnumber(L, budget_ms);
        return 1;
      },
      [&](lua_State* L, Instance&) -> pl_status {
        made.idle = lua_toboolean(L, 1);
        made.tokens = static_cast<int32_t>(lua_tointeger(L, 2));
        made.ms = lua_tonumber(L, 3);
        if (report != nullptr) write_struct(report, made);
        return PL_OK;
      });
}

PL_API pl_status pl_next_event(pl_instance instance, pl_event* event) {
  if (event == nullptr) return bad_argument(instance, "next_event: event is NULL");
  pl_event made{};
  if (!read_struct(event, made) || event->size < sizeof(pl_event)) {
    return bad_argument(instance, "next_event: event has no size");
  }
  return call(instance, Kind::instance, "peek_event", kNothing,
              [&](lua_State* L, Instance& here) -> pl_status {
                if (lua_gettop(L) == 0) return PL_EMPTY;
                take_handle(L, here, Kind::request, 1, &made.request);
                made.kind = static_cast<int32_t>(lua_tointeger(L, 2));
                made.token = static_cast<int32_t>(lua_tointeger(L, 3));
                const pl_status status = copy_text(L, 4, made.text, made.capacity, &made.text_size);
                write_struct(event, made);
                if (status != PL_OK) return status;
                push_function(L, "drop_event");
                lua_call(L, 0, 0);
                return PL_OK;
              });
}

PL_API pl_status pl_request_cancel(pl_request request) {
  return call(request, Kind::request, "request_cancel", kNothing, kDone);
}

PL_API pl_status pl_request_result(pl_request request, pl_result* result) {
  if (result == nullptr) return bad_argument(request, "result is NULL");
  pl_result made{};
  if (!read_struct(result, made)) return bad_argument(request, "the result has no size");
  return call(request, Kind::request, "request_result", kNothing,
              [&](lua_State* L, Instance&) -> pl_status {
                made.finish = static_cast<int32_t>(lua_tointeger(L, 1));
                made.prompt_tokens = static_cast<int32_t>(lua_tointeger(L, 2));
                made.new_tokens = static_cast<int32_t>(lua_tointeger(L, 3));
                made.tokens_per_s = lua_tonumber(L, 4);
                write_struct(result, made);
                return PL_OK;
              });
}

PL_API pl_status pl_request_text(pl_request request, char* buffer, size_t capacity, size_t* size) {
  return call(request, Kind::request, "request_text", kNothing,
              [&](lua_State* L, Instance&) { return copy_text(L, 1, buffer, capacity, size); });
}

PL_API pl_status pl_converse(pl_model model, const char* options, pl_conversation* conversation) {
  if (conversation == nullptr) return bad_argument(model, "converse: conversation is NULL");
  *conversation = 0;
  return call(
      model, Kind::model, "converse",
      [&](lua_State* L, Instance&) {
        push_text(L, options);
        return 1;
      },
      [&](lua_State* L, Instance& here) {
        return take_handle(L, here, Kind::conversation, 1, conversation);
      });
}

PL_API pl_status pl_say(pl_conversation conversation, const char* text, size_t text_size,
                        pl_request* request) {
  if (request == nullptr) return bad_argument(conversation, "say: request is NULL");
  *request = 0;
  if (text == nullptr) return bad_argument(conversation, "say: text is NULL");
  return call(
      conversation, Kind::conversation, "say",
      [&](lua_State* L, Instance&) {
        lua_pushlstring(L, text, text_size > 0 ? text_size : std::strlen(text));
        return 1;
      },
      [&](lua_State* L, Instance& here) {
        return take_handle(L, here, Kind::request, 1, request);
      });
}

PL_API pl_status pl_save(pl_conversation conversation, const char* path) {
  if (path == nullptr) return bad_argument(conversation, "save: path is NULL");
  return call(
      conversation, Kind::conversation, "save",
      [&](lua_State* L, Instance&) {
        push_text(L, path);
        return 1;
      },
      kDone);
}

PL_API pl_status pl_restore(pl_model model, const char* path, pl_conversation* conversation) {
  if (conversation == nullptr) return bad_argument(model, "restore: conversation is NULL");
  *conversation = 0;
  if (path == nullptr) return bad_argument(model, "restore: path is NULL");
  return call(
      model, Kind::model, "restore",
      [&](lua_State* L, Instance&) {
        push_text(L, path);
        return 1;
      },
      [&](lua_State* L, Instance& here) {
        return take_handle(L, here, Kind::conversation, 1, conversation);
      });
}

}  // extern "C"
