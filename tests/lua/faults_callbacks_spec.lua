-- What functions of scripts may do to the engine that calls them: run it again, use the cache of the pass, return
-- what does not belong there. A table of each: the engine refuses it in words, and works afterwards.
local pl = require "perilune"
local core = require "perilune.core"
local t = require "spec"

local folder = "tests/golden/llama-gqa"
local m = pl.load(folder, { threads = 1 })
local greedy = { max_new_tokens = 2, do_sample = false }
local before = m:generate({ 3, 4, 5 }, greedy).ids

local function still_works()
  t.equal(m:generate({ 3, 4, 5 }, greedy).ids, before)
end

-- Each runs the engine from inside itself until something stops it, and gives the error that did.
local depth, deepest
local function deeper(run)
  depth = depth + 1
  deepest = math.max(deepest, depth)
  local fine, err = pcall(run)
  depth = depth - 1
  if not fine then error(err, 0) end
end

local recursions = {
  processor = function()
    local function again() deeper(function() return again and (function()
      local r = m:generate({ 3 }, { max_new_tokens = 1, processors = again })
      if r.error then error(r.error, 0) end
    end)() end) end
    return select(2, pl.try(function() m:generate({ 3 }, { max_new_tokens = 1, processors = again }) end))
  end,
  on_token = function()
    local function again() deeper(function()
      local r = m:generate({ 3 }, { max_new_tokens = 1, on_token = again })
      if r.error then error(r.error, 0) end
    end) end
    return select(2, pl.try(function() m:generate({ 3 }, { max_new_tokens = 1, on_token = again }) end))
  end,
  stop_when = function()
    local function again() deeper(function()
      local r = m:generate({ 3 }, { max_new_tokens = 1, stop_when = again })
      if r.error then error(r.error, 0) end
    end) end
    return select(2, pl.try(function() m:generate({ 3 }, { max_new_tokens = 1, stop_when = again }) end))
  end,
  hook = function()
    local hook
    hook = m:hook("layers.0", function() deeper(function() m:forward { { 1, 2 } } end) end)
    local _, err = pl.try(function() return m:forward { { 1, 2, 3 } } end)
    hook:remove()
    return err
  end,
  policy = function()
    local function plan(queue)
      deeper(function()
        local e = pl.engine(m, { policy = plan })
        e:submit({ 3 }, { max_new_tokens = 1 })
        e:step()
        e:close()
      end)
      return queue
    end
    local _, err = pl.try(function()
      local e = pl.engine(m, { policy = plan })
      e:submit({ 3 }, { max_new_tokens = 1 })
      e:step()
    end)
    return err
  end,
  warning = function()
    core.on_warning(function() deeper(function() core.warn("again", "test") end) end)
    local _, err = pl.try(core.warn, "first", "test")
    core.on_warning(nil)
    return err
  end,
}

for name, run in pairs(recursions) do
  t.test("a " .. name .. " that runs the engine again is stopped at a depth, in words", function()
    depth, deepest = 0, 0
    local err = run()
    t.ok(tostring(err):find("nested 16 deep", 1, true), tostring(err))
    t.ok(deepest >= 8 and deepest <= 17, deepest)
    still_works()
  end)
end

-- A cache in a running pass is nobody else's.
local uses = {
  crop = function(c) c:crop(0) end,
  fork = function(c) return c:fork() end,
  forward = function(c) return m:forward({ { 6, 7 } }, { cache = c }) end,
  save = function(c) return c:save(os.tmpname()) end,
}
for name, use in pairs(uses) do
  t.test("a hook cannot " .. name .. " the cache of its own pass", function()
    local c = m:cache()
    m:forward({ { 1, 2, 3 } }, { cache = c })
    local other, said = m:cache()
    local hook = m:hook("layers.1", function() said = said or select(2, pl.try(use, c)) end)
    m:forward({ { 4, 5 } }, { cache = c })
    hook:remove()
    if name ~= "save" then t.ok(tostring(said):find("pass", 1, true), tostring(said)) end
    t.equal(c.length, 5)
    -- What comes after is as without the hook.
    local clean = m:cache()
    m:forward({ { 1, 2, 3 } }, { cache = clean })
    m:forward({ { 4, 5 } }, { cache = clean })
    local a = m:forward({ { 6 } }, { cache = c }).logits
    t.equal(a:max_difference(m:forward({ { 6 } }, { cache = clean }).logits), 0)
    t.equal(other.length, 0)
  end)
end

-- Families that use what is not theirs. `kept`: a tensor of another pass (traced where the pass runs, real where it is
-- traced). Each is refused at the family's line.
local llama = require "perilune.models.llama"
local function family(changes)
  local f = {}
  for key, value in pairs(llama) do f[key] = value end
  for key, value in pairs(changes) do f[key] = value end
  pl.family(f)
end

local misuses = {
  { "a head gives back a traced tensor when the pass runs", function(kept)
    return { heads = { base = llama.heads.base, causal = function(net, x)
      local y = llama.heads.causal(net, x)
      if net.tracing then kept.y = y end
      return kept.y
    end } }
  end, "another pass" },
  { "a head adds a traced tensor when the pass runs", function(kept)
    return { heads = { base = llama.heads.base, causal = function(net, x)
      if net.tracing then kept.x = x end
      return llama.heads.causal(net, x + kept.x)
    end } }
  end, "traced already" },
  { "a head marks a traced tensor when the pass runs", function(kept)
    return { heads = { base = llama.heads.base, causal = function(net, x)
      if net.tracing then kept.x = x end
      net:mark("mine", kept.x)
      return llama.heads.causal(net, x)
    end } }
  end, "another pass" },
  { "a decoder goes on with the tensor of an earlier run", function(kept)
    return { decode = function(net, batch)
      local x = llama.decode(net, batch)
      if not net.tracing then kept.first = kept.first or x end
      return kept.first or x
    end }
  end, "another pass", 2 },
  { "an attention reads keys that nobody keeps", function()
    return { decode = function(net, batch)
      local x = llama.decode(net, batch)
      local layer = net:scope("layers.0", "extra")
      local q = layer:linear(x, "self_attn.q_proj", { "head", "head_dim" })
      local y = layer:attention(q, layer:cross(), { mask = "none" })
      return x + layer:linear(y, "self_attn.o_proj", { "hidden" }, { over = { "head", "head_dim" } })
    end }
  end, "cache" },
}

for _, case in ipairs(misuses) do
  local what, make, said, runs = case[1], case[2], case[3], case[4] or 1
  t.test(what .. ": an error at the family's line", function()
    local kept = {}
    family(make(kept))
    local fine, err = pcall(function()
      local own = pl.load(folder, { threads = 1 })
      for i = 1, runs do own:eager():forward { { 3, 4, 5 }, { i } } end
    end)
    pl.family(llama)
    t.ok(not fine, "no error")
    t.ok(type(err) == "table" and err.code ~= "internal", tostring(err))
    t.ok(tostring(err):find(said, 1, true), tostring(err))
    t.ok(tostring(err):find("faults_callbacks_spec.lua:%d+") or (err.traceback or ""):find "faults_callbacks_spec", tostring(err))
    still_works()
  end)
end
