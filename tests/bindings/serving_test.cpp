// Engines with policies and functions written in Lua.
#include "tests/bindings/host.h"
#include "tests/catch.h"

using perilune_test::Host;

namespace {

std::string with_engine(const std::string& policy, const std::string& code) {
  return std::string(perilune_test::kTinyModel) + "local engine = core.engine(" + policy + ") " +
         R"lua(
    local function submit(ids, more)
      local what = { ids = ids, plan = plan, cache = pool, options = { max_new_tokens = 4 } }
      for key, value in pairs(more or {}) do what[key] = value end
      return engine:submit(what)
    end
  )lua" + code;
}

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a bad plan is an error with the policy's line and changes nothing") {
  Host host;
  const auto fails = [&](const std::string& policy) {
    return host.run(with_engine("function(queue, room) " + policy + " end", R"lua(
      local line = submit({ 1, 2, 3 })
      local fine, e = pcall(engine.step, engine)
      assert(not fine)
      engine:set_policy(pl.policy.fifo())
      while not engine:idle() do engine:step() end
      assert(#line:result().ids == 4)
      assert(e.code == "policy", e.code)
      error(e, 0)
    )lua"));
  };
  CHECK(holds(fails("return 3"), "it returned 3, not a plan; in script.lua:"));
  CHECK(holds(fails("return"), "it returned nil, not a plan"));
  CHECK(holds(fails("return { 'x' }"), "entry 1 of the plan is \"x\""));
  CHECK(holds(fails("return { { queue[1], tokens = 99 } }"), "99"));
  CHECK(
      holds(fails("return { { queue[1], tokens = 0 } }"), "tokens must be a whole number above 0"));
  CHECK(holds(fails("return { queue[1], queue[1] }"), "1"));
  CHECK(holds(fails("return { { id = 77 } }"), "77"));
  CHECK(holds(fails("return { layot = 'padded' }"), "did you mean \"layout\"?"));
  CHECK(holds(fails("return { layout = 'square' }"), "layout must be"));
  CHECK(holds(fails("return {}"), "the policy never runs request 1"));
}

TEST_CASE("a policy's own error comes out with its text") {
  Host host;
  CHECK(holds(host.run(with_engine("function() error 'boom' end", "submit({ 1 }) engine:step()")),
              "boom"));
  CHECK(
      holds(host.run("core.engine(7)"), "policy: expected a function or { plan=function }, got 7"));
  CHECK(holds(host.run("core.engine{ plan = 1 }"), "plan must be a function"));
}

TEST_CASE("queue entries are the same tables in every step, and say what they should") {
  Host host;
  CHECK(host.run(R"lua(
    local seen, steps, gone = {}, 0, {}
    local policy = { name = "mine", plan = function(queue, room)
      steps = steps + 1
      assert(room.tokens > 0 and room.rows > 0 and room.step and room.now_ms and room.more == false)
      table.sort(queue, function(a, b) return a.id > b.id end)
      for _, entry in ipairs(queue) do
        assert(seen[entry.id] == entry, "a new table")
        entry.mine = (entry.mine or 0) + 1
      end
      return { queue[1] }
    end, submitted = function(entry) seen[entry.id] = entry end,
      finished = function(entry) gone[#gone + 1] = entry.id end }
  )lua" + with_engine("policy", R"lua(
    local a = submit({ 1, 2 }, { client = "npc", tag = "t", priority = 3, deadline_ms = 50 })
    local b = submit({ 1, 2, 3 })
    while not engine:idle() do engine:step() end
    assert(#a:result().ids == 4 and #b:result().ids == 4)
    assert(steps == 8, steps)
    assert(seen[1].client == "npc" and seen[1].tag == "t" and seen[1].priority == 3)
    assert(seen[1].deadline_ms >= 50 and seen[2].deadline_ms == nil)   -- on the clock of room.now_ms
    assert(seen[2].prompt_tokens == 3)
    assert(seen[1].mine == 8 and seen[2].mine == 4, seen[1].mine)
    assert(gone[1] == 2 and gone[2] == 1)
  )lua")) == "");
}

TEST_CASE("functions of a request: processors, stop_when, on_token") {
  Host host;
  CHECK(host.run(with_engine("pl.policy.fifo()", R"lua(
    local texts, steps = {}, {}
    local line
    line = submit({ 1, 2 }, {
      processors = { function(row, state)
        assert(row:size "vocab" == 384 and state.request == line)
        steps[#steps + 1] = state.step
        assert(#state.ids == 2 + state.step)
        row:set(1e6, { vocab = 40 + state.step })
      end, function(row) return row * 2 end },
      stop_when = function(state) return state.step == 3 and "enough" or false end,
      on_token = function(text, event) texts[#texts + 1] = event.id end })
    while not engine:idle() do engine:step() end
    local r = line:result()
    assert(r.finish_reason == "stop" and r.stop == "enough", r.finish_reason)
    assert(table.concat(r.ids, " ") == "40 41 42", table.concat(r.ids, " "))
    assert(table.concat(texts, " ") == "40 41 42")
    assert(table.concat(steps, " ") == "0 1 2")
  )lua")) == "");
}

TEST_CASE("a function that raises fails its own request alone") {
  Host host;
  CHECK(host.run(with_engine("pl.policy.fifo()", R"lua(
    local bad = submit({ 1, 2 }, { processors = { function() error "oops" end } })
    local good = submit({ 1, 2 })
    while not engine:idle() do engine:step() end
    assert(bad:result().finish_reason == "error" and bad:result().error:find "oops", bad:result().error)
    assert(good:result().finish_reason == "length" and #good:result().ids == 4)
  )lua")) == "");
}

TEST_CASE("an engine does not step inside its own step, and may be fed there") {
  Host host;
  CHECK(host.run(with_engine("pl.policy.fifo()", R"lua(
    local nested, second
    submit({ 1, 2 }, { on_token = function()
      if not nested then
        nested = select(2, pcall(engine.step, engine))
        second = submit({ 1, 9 })
      end
    end })
    while not engine:idle() do engine:step() end
    assert(nested.message:find "inside the engine's own step")
    assert(#second:result().ids == 4)
  )lua")) == "");
}

TEST_CASE("events are delivered once, cancel is data") {
  Host host;
  CHECK(host.run(with_engine("pl.policy.fifo()", R"lua(
    local a, b = submit({ 1, 2 }), submit({ 1, 3 })
    engine:step()
    local own = 0
    for event in a:events() do own = own + 1 assert(event.kind == "token") end
    b:cancel()
    while not engine:idle() do engine:step() end
    assert(own == 1)
    local count = {}
    for request, event in engine:events() do count[request.id] = (count[request.id] or 0) + 1 end
    assert(count[1] == 4, count[1])   -- three more tokens and the end
    assert(b:result().finish_reason == "cancelled" and b.state == "done")
    assert(a:events()() == nil)
    a:cancel()   -- done already: nothing happens
  )lua")) == "");
}

TEST_CASE("results carry log-probabilities, several outputs and times") {
  Host host;
  CHECK(host.run(with_engine("pl.policy.fifo()", R"lua(
    local line = submit({ 1, 2, 3 }, { options = { max_new_tokens = 3, logprobs = 2, n = 2,
      do_sample = true, seed = 5, prompt_logprobs = true } })
    while not engine:idle() do engine:step() end
    local r = line:result()
    assert(#r.sequences == 2 and #r.sequences[2].ids == 3)
    assert(#r.logprobs == 3 and r.logprobs[1] <= 0 and #r.top_logprobs[1] == 2)
    assert(r.top_logprobs[1][1].logprob >= r.top_logprobs[1][2].logprob)
    assert(#r.prompt_logprobs >= 2 and r.seed == 5 and r.prompt_tokens == 3)
    assert(r.timings.prefill_ms > 0 and r.timings.decode_ms > 0)
    assert(not pcall(submit, { 1 }, { options = { top_q = 1 } }))
    assert(not pcall(submit, {}))
  )lua")) == "");
}

TEST_CASE("caches: rows continue where they end, forks share, failures give back") {
  Host host;
  CHECK(host.run(std::string(perilune_test::kTinyModel) + R"lua(
    local whole = core.execute(plan, core.batch{ { 1, 5, 9, 12 } }, { cache = pool, rows = "all" }).logits
    local s = pool:sequence()
    core.execute(plan, core.batch{ { 1, 5, 9 } }, { caches = { s } })
    assert(s.length == 3)
    local fork = s:fork()
    local last = core.execute(plan, core.batch{ { 12 } }, { caches = { s } }).logits
    assert(last:at{ batch = 1 }:equal(whole:at{ token = 4 }))
    assert(fork.length == 3 and s.length == 4)
    core.execute(plan, core.batch{ { 12 } }, { caches = { fork }, commit = false })
    assert(fork.length == 3)
    local fine, e = pcall(core.execute, plan, core.batch{ { 1 }, { 2 } }, { caches = { s, s } })
    assert(not fine and e.message:find "share one cache")
    fine, e = pcall(core.execute, plan, core.batch{ { 1 } }, { caches = { s, fork } })
    assert(not fine and e.message:find "2 caches for a batch of 1 rows")
    local small = core.cache({ plan }, { budget = 1 })
    fine, e = pcall(core.execute, plan, core.batch{ { 1 } }, { cache = small })
    assert(not fine and e.code == "memory", tostring(e))
    s:crop(2) assert(s.length == 2) s:clear() fork:clear() assert(pool:used() == 0)
  )lua") == "");
}
