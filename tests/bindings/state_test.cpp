// Lua states: independent of each other, of the current folder, and of the order things close in.
#include <unistd.h>

#include <cstdlib>

#include "tests/bindings/host.h"
#include "tests/catch.h"

using perilune_test::Host;

namespace {

void collect_often(lua_State* L, lua_Debug*) {
  lua_gc(L, LUA_GCCOLLECT, 0);
}

const char* kUseEverything = R"lua(
  local batch = core.batch{ { 1, 5, 9, 12 }, { 1, 7 } }
  local out = core.execute(plan, batch, { cache = pool, rows = "all" })
  local top, ids = out.logits:softmax "vocab":topk(2, "vocab")
  assert(ids:size "vocab" == 2)
  for _, part in ipairs(batch:split(core.zeros({ 6, 2 }, { axes = { "token", "hidden" } }))) do
    assert(part:sum() == 0)
  end
  local kept = {}
  local engine = core.engine({ plan = function(queue, room)
    local plan = {}
    for i, entry in ipairs(queue) do plan[i] = { entry, tokens = math.min(2, entry.pending_tokens) } end
    return plan
  end, submitted = function(entry) kept[entry.id] = entry end })
  local lines = {}
  for i = 1, 3 do
    lines[i] = engine:submit{ ids = { 1, 4 + i }, plan = plan, cache = pool,
      options = { max_new_tokens = 3 },
      processors = { function(row, state) row:set(-1e9, { vocab = 0 }) return nil end },
      stop_when = function(state) return #state.ids > 100 end,
      on_token = function(text, event) assert(event.id) end }
  end
  while not engine:idle() do engine:step() end
  local tokens = 0
  for request, event in engine:events() do
    assert(request == lines[request.id])
    if event.kind == "token" then tokens = tokens + 1 end
  end
  assert(tokens == 9, tokens)
  for _, line in ipairs(lines) do assert(#line:result().ids == 3) end
)lua";

}  // namespace

TEST_CASE("everything survives a collector that runs all the time") {
  Host host;
  REQUIRE(host.run("core.jit(false)") == "");
  lua_sethook(host.L, collect_often, LUA_MASKCOUNT, 50);
  CHECK(host.run(std::string(perilune_test::kTinyModel) + kUseEverything) == "");
  lua_sethook(host.L, nullptr, 0, 0);
}

TEST_CASE("memory comes back when scripts let go") {
  Host host;
  REQUIRE(host.run("collectgarbage() BEFORE = core.memory().used") == "");
  for (int i = 0; i < 3; ++i) {
    REQUIRE(host.run(std::string(perilune_test::kTinyModel) + kUseEverything) == "");
  }
  CHECK(host.run("collectgarbage() collectgarbage() "
                 "assert(core.memory().used == BEFORE, core.memory().used - BEFORE)") == "");
}

TEST_CASE("dropped requests and streams cost nothing, even with functions that hold them") {
  Host host;
  REQUIRE(host.run("collectgarbage() BEFORE = core.memory().used") == "");
  REQUIRE(host.run(std::string(perilune_test::kTinyModel) + R"lua(
    local engine = core.engine(pl.policy.fifo())
    local line
    line = engine:submit{ ids = { 1, 2 }, plan = plan, cache = pool, options = { max_new_tokens = 50 },
      stop_when = function(state) return line == nil or engine == nil end }
    engine:step()
    engine:step()
  )lua") == "");
  CHECK(host.run("collectgarbage() collectgarbage() collectgarbage() "
                 "assert(core.memory().used == BEFORE, core.memory().used - BEFORE)") == "");
}

TEST_CASE("closing a state with everything alive") {
  Host host;
  REQUIRE(host.run(std::string(perilune_test::kTinyModel) + R"lua(
    KEEP = { ck, program, plan, pool, pool:sequence(), core.zeros{ 100 }, core.batch{ { 1, 2 } } }
    KEEP.engine = core.engine(pl.policy.fifo())
    KEEP.line = KEEP.engine:submit{ ids = { 1, 2 }, plan = plan, cache = pool,
      options = { max_new_tokens = 50 }, on_token = function() end }
    KEEP.engine:step()
    KEEP.pass = core.trace(ck, { axes = c.axes, config = c })
    KEEP.net = KEEP.pass:net()
    core.on_warning(function() end)
  )lua") == "");
  host.close();
}

TEST_CASE("two states do not know of each other") {
  Host one, two;
  REQUIRE(one.run("core.set_threads(1) core.on_warning(function() GOT = true end)") == "");
  REQUIRE(two.run("core.set_threads(2) core.warn 'x'") == "");
  CHECK(one.eval("core.threads()") == "1");
  CHECK(two.eval("core.threads()") == "2");
  CHECK(one.eval("GOT") == "nil");
  one.close();
  CHECK(two.eval("core.zeros{ 3 }:sum()") == "0");
}

TEST_CASE("modules do not depend on the current folder") {
  char folder[4096];
  REQUIRE(getcwd(folder, sizeof folder) != nullptr);
  REQUIRE(chdir("/") == 0);
  {
    Host host;
    CHECK(host.eval("type(require 'perilune.models.llama')") == "table");
  }
  REQUIRE(chdir(folder) == 0);
  Host host;
  const std::string missing = host.run("require 'perilune.no_such_module'");
  CHECK(missing.find("no module 'perilune.no_such_module'") != std::string::npos);
}

TEST_CASE("a budget of tensor bytes: what is no longer held is collected before an error") {
  perilune::lua::StateOptions options;
  options.memory_budget = std::size_t{64} << 20;
  Host host(options);
  CHECK(host.run("for i = 1, 200 do local t = core.zeros({ 1024, 1024 }) end") == "");
  const std::string failed =
      host.run("local all = {} for i = 1, 200 do all[i] = core.zeros({ 1024, 1024 }) end");
  CHECK(failed.find("budget") != std::string::npos);
  CHECK(host.run("local t = core.zeros({ 1024, 1024 })") == "");  // usable afterwards
}

TEST_CASE("scopes free what was made inside") {
  Host host;
  REQUIRE(host.run("collectgarbage('stop') BEFORE = core.memory().used") == "");
  CHECK(host.run(R"lua(
    local kept
    local sum = pl.scope(function()
      local a = core.ones{ 100000 }
      kept = pl.keep(core.ones{ 10 })
      return (a + a):sum()
    end)
    assert(sum == 200000 and kept:sum() == 10)
    assert(core.memory().used - BEFORE < 4096, core.memory().used - BEFORE)
    local out = pl.scope(function() return core.ones{ 5 } end)
    assert(out:sum() == 5)
    assert(not pcall(pl.scope, function() error "x" end))
  )lua") == "");
}

TEST_CASE("an interrupt stops a pass and leaves the session usable") {
  Host host;
  REQUIRE(host.run("X = core.threads()") == "");
  const auto interrupter = perilune::lua::interrupter(host.L);
  REQUIRE(interrupter.valid());
  interrupter.interrupt();
  const std::string model = perilune_test::kTinyModel;
  const std::string failed =
      host.run(model + "core.execute(plan, core.batch{ { 1, 2 } }, { cache = pool })");
  CHECK(failed.find("interrupt") != std::string::npos);
  interrupter.clear();
  CHECK(host.run(model + "core.execute(plan, core.batch{ { 1, 2 } }, { cache = pool })") == "");
  host.close();
  interrupter.interrupt();  // outlives the state
}
