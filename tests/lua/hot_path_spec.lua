-- A decode step under a policy of the engine's own runs no Lua: the hook of calls sees none.
local pl = require "perilune"
local submit = require "perilune.serve.submit"
local t = require "spec"

local m = pl.load(t.golden "llama-gqa")

-- Calls of Lua and C functions while `run` is called, itself included.
local function calls_during(run, ...)
  local calls = 0
  debug.sethook(function() calls = calls + 1 end, "c")
  run(...)
  debug.sethook()
  return calls
end

-- The most calls that a decode step of `rows` requests makes, less those of a call that does nothing.
local function calls_in_steps(policy, rows, options)
  local engine = submit.engine(policy)
  local given = { max_new_tokens = 40, min_new_tokens = 40 }
  for key, value in pairs(options or {}) do given[key] = value end
  for i = 1, rows do submit.submit(m, engine, { ids = { 1, 4 + i, 9 }, options = given }, "generate") end
  engine:step()   -- reads the prompts
  local most, nothing = 0, calls_during(engine.idle, engine)
  t.ok(nothing > 0, "the hook sees calls")
  for _ = 1, 30 do most = math.max(most, calls_during(engine.step, engine) - nothing) end
  t.equal(engine:stats().running, rows)
  engine:cancel_all()
  engine:drain()
  engine:close()
  return most
end

local function hot_path_test(name, run)
  t.test("hot path: " .. name, function()
    jit.off()   -- compiled code calls no hooks
    local fine, err = pcall(run)
    debug.sethook()
    jit.on()
    if not fine then error(err, 0) end
  end)
end

hot_path_test("policies by name call no Lua", function()
  local policies = { fifo = pl.policy.fifo(), fill = pl.policy.fill(), buckets = pl.policy.buckets { 2, 8 } }
  for name, policy in pairs(policies) do
    for _, rows in ipairs { 1, 3 } do
      for _, options in ipairs { { do_sample = false }, { do_sample = true, seed = 3, top_p = 0.9, temperature = 0.8 } } do
        t.equal(calls_in_steps(policy, rows, options), 0, name)
      end
    end
  end
end)

hot_path_test("what a script brings is called, and seen", function()
  local fifo = function(queue) return queue end
  t.ok(calls_in_steps(fifo, 1) > 0, "a policy")
  t.ok(calls_in_steps(pl.policy.fifo(), 1, { on_token = function() end }) > 0, "a hook")
end)
