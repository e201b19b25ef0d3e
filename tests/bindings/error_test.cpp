// The edge between C++ and Lua: every failure is an error table, and the state goes on.
#include "tests/bindings/host.h"
#include "tests/catch.h"

using perilune_test::Host;

namespace {

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a C++ error is a table with all its parts") {
  Host host;
  REQUIRE(host.run(R"lua(
    local fine, e = pcall(function()
      local t = core.zeros({ 2, 3 }, { axes = { "batch", "hidden" } })
      local bad = t + core.zeros({ 2 }, { axes = { "hidden" } })
      return bad
    end)
    assert(not fine and type(e) == "table")
    assert(e.code == "shape" and e.op == "add", e.message)
    assert(#e.shapes == 2 and e.shapes[1]:find "hidden=3", e.message)
    assert(e.where == "script.lua:4", tostring(e.where))
    assert(e.message:find("script.lua:4", 1, true), e.message)
    assert(e.traceback:find "script.lua:4")
    assert(tostring(e) == e.message)
    assert("got: " .. e == "got: " .. e.message and e .. "!" == e.message .. "!")
  )lua") == "");
}

TEST_CASE("argument mistakes name the function, the argument and the value") {
  Host host;
  CHECK(holds(host.run("core.zeros('x')"), "zeros: sizes: expected a whole number, got \"x\""));
  CHECK(holds(host.run("core.zeros({ 1.5 })"), "sizes[1]: expected a whole number, got 1.5"));
  CHECK(holds(host.run("core.zeros({ 0/0 })"), "expected a whole number"));
  CHECK(holds(host.run("core.zeros({ 2 }, { dtyp = 'f32' })"), "did you mean \"dtype\"?"));
  CHECK(holds(host.run("core.zeros({ 2 }, { dtype = 'f64' })"), "unknown dtype \"f64\""));
  CHECK(holds(host.run("core.zeros({ 2 }, 7)"), "options: expected a table of options, got 7"));
  CHECK(holds(host.run("local t = core.zeros{ 2 } t.softmax('x')"), "call methods with a colon"));
  CHECK(holds(host.run("core.zeros{ 2 }:sofmax 'x'"), "did you mean \"softmax\"?"));
  CHECK(holds(host.run("local t = core.zeros{ 2 } t.x = 1"), "fields cannot be set"));
  CHECK(holds(host.run("return #core.zeros{ 2 }"), "# and ipairs do not work"));
  CHECK(holds(host.run("core.batch{ { 1 }, 'x' }"), "row 2: expected a list of ids, got \"x\""));
  CHECK(holds(host.run("core.batch{ { 2^31 } }"), "expected an id"));
  CHECK(host.eval("core.zeros{ 2 }:sum()") == "0");  // and goes on
}

TEST_CASE("core.error raises like the engine") {
  Host host;
  CHECK(host.run("core.error{ code = 'option', op = 'load', message = 'no', hint = 'say yes' }") ==
        "load: no; in script.lua:1; say yes");
  CHECK(holds(host.run("core.error{ code = 'nonsense' }"), "unknown code"));
}

TEST_CASE("use after close is an error that says so") {
  Host host;
  const std::string model = perilune_test::kTinyModel;
  CHECK(holds(host.run(model + "ck:close() ck:names()"), "names: the checkpoint was closed"));
  CHECK(holds(host.run(model + "local e = core.engine(pl.policy.fifo()) e:close() e:step()"),
              "step: the engine was closed"));
  CHECK(holds(host.run("local t = core.zeros{ 4 } t:free() t:sum()"), "free"));
  CHECK(holds(host.run(model + R"lua(
    local pass = core.trace(ck, { axes = c.axes, config = c })
    passes.write(llama, pass, "decode", "causal")
    pass:finish "causal"
    pass:finish "causal"
  )lua"),
              "finish: the pass is finished"));
}

TEST_CASE("symbolic tensors have no values and no ragged sizes") {
  Host host;
  const std::string trace = std::string(perilune_test::kTinyModel) +
                            "local pass = core.trace(ck, { axes = c.axes, config = c }) "
                            "local x = pass:net():embedding(pass:input 'ids', 'embed_tokens') ";
  CHECK(host.run(trace + "assert(x:size 'hidden' == 48 and x.shape.hidden == 48)") == "");
  CHECK(host.run(trace + "assert(tostring(x):find 'traced')") == "");
  CHECK(holds(host.run(trace + "x:size 'token'"), "has no size while a pass is traced"));
  CHECK(holds(host.run(trace + "return x.shape.token"), "has no size while a pass is traced"));
  CHECK(holds(host.run(trace + "x:tolist()"), "has no values"));
  CHECK(holds(host.run(trace + "x:at{ token = -1 }"), "cannot be counted from its end"));
}

TEST_CASE("errors of Lua callbacks pass through C++ as they were raised") {
  Host host;
  const std::string eager = std::string(perilune_test::kTinyModel) + R"lua(
    local function run(hook)
      local run = core.eager(plan, core.batch{ { 1, 2, 3 } }, { cache = pool, rows = "all" })
      local pass, entry = run:next(ck, { axes = c.axes, config = c, hook = hook })
      passes.write(llama, pass, entry, "causal")
      pass:finish()
      assert(run:next(ck) == nil)
      return (run:results())
    end
    local mine = { message = "mine" }
  )lua";
  CHECK(host.run(eager + R"lua(
    local fine, e = pcall(run, function() error(mine, 0) end)
    assert(not fine and e == mine)
    fine, e = pcall(run, function() error "text" end)
    assert(not fine and e.code == "script" and e.message:find "text" and e.traceback, tostring(e))
    fine, e = pcall(run, function() core.zeros{ -1 } end)
    assert(not fine and e.op == "zeros")
    fine, e = pcall(run, function() coroutine.yield(1) end)
    assert(not fine and e.message:find "yield", tostring(e))
    fine, e = pcall(run, function() return core.zeros{ 2 } end)
    assert(not fine and e.op == "hook" and e.code == "shape", tostring(e))
    assert(run(function() end).logits:size "vocab" == 384)
    collectgarbage() collectgarbage()
    assert(pool:used() == 0, "caches of failed runs were given back: " .. pool:used())
  )lua") == "");
}

TEST_CASE("callbacks run on the coroutine that called") {
  Host host;
  CHECK(host.run(std::string(perilune_test::kTinyModel) + R"lua(
    local seen
    local co = coroutine.create(function()
      local run = core.eager(plan, core.batch{ { 1 } }, { cache = pool })
      local pass = run:next(ck, { axes = c.axes, config = c, hook = function() seen = coroutine.running() end })
      passes.write(llama, pass, "decode", "causal")
      coroutine.yield()
    end)
    assert(coroutine.resume(co))
    assert(seen == co)
    co = nil
    collectgarbage() collectgarbage()
    core.on_warning(function(text) seen = text end)
    core.warn "hello"
    assert(seen == "hello")
  )lua") == "");
}
