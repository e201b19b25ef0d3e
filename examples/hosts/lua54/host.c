/* A game whose own scripts are Lua 5.4: they call the model through one function. The library has a LuaJIT of its own
 * inside, and the two do not meet. cc host.c $(pkg-config --cflags --libs lua5.4 perilune) */
#include <lauxlib.h>
#include <lualib.h>
#include <perilune.h>
#include <stdio.h>

static pl_instance instance;
static pl_model model;

/* continue(prompt, tokens) -> text, or nil and what is wrong */
static int continue_text(lua_State* L) {
  char options[64], text[2000];
  pl_request request = 0;
  pl_prompt prompt = {sizeof prompt};
  prompt.text = luaL_checklstring(L, 1, &prompt.text_size);
  snprintf(options, sizeof options, "{\"max_new_tokens\": %d, \"do_sample\": false}", (int)luaL_checkinteger(L, 2));
  prompt.options = options;
  pl_status status = pl_generate(model, &prompt, &request);
  if (status == PL_OK) status = pl_request_text(request, text, sizeof text, NULL);
  pl_release(request);
  if (status == PL_OK) return lua_pushstring(L, text), 1;
  pl_error_text(instance, text, sizeof text, NULL);
  lua_pushnil(L);
  lua_pushstring(L, text);
  return 2;
}

int main(int argc, char** argv) {
  lua_State* L = luaL_newstate();
  luaL_openlibs(L);
  lua_register(L, "continue", continue_text);
  int failed = pl_open(NULL, &instance) != PL_OK ||
               pl_load(instance, argc > 1 ? argv[1] : "scripts/models/tales", NULL, &model) != PL_OK;
  failed = failed || luaL_dostring(L,
                                   "local prompt <const> = 'Once upon a time'\n" /* 5.4's own words */
                                   "print(_VERSION, prompt .. assert(continue(prompt, 24)))\n"
                                   "print(continue(prompt, -1))\n"
                                   "print(7 // 2)");
  if (failed) fprintf(stderr, "host: %s\n", lua_gettop(L) > 0 ? lua_tostring(L, -1) : "no model");
  lua_close(L);
  pl_close(instance);
  return failed;
}
