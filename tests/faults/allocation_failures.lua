-- allocation_failures.lua MODEL STEP [SCENARIO|"" [ids]]: with failing_allocations preloaded. In each scenario allocation n
-- fails, for every STEP-th n: the scenario ends with the right answer or an error whose code is "memory", nothing
-- dies, and the scenario works afterwards. `ids`: without the model's tokenizer.
local ffi = require "ffi"
ffi.cdef "void fault_arm(long n, int always, int kind); long fault_disarm(void); int fault_failed(void);"
local C = ffi.C
local pl = require "perilune"
require("perilune.core").on_warning(function() end)

local path, step, only = arg[1], tonumber(arg[2]), arg[3]
local malloc, mmap = 1, 2

local function checked(r)
  if r.finish_reason == "error" then error({ message = r.error, code = r.error_code }, 0) end
  return r
end

local tokenizer = nil
if arg[4] == "ids" then tokenizer = false end
local kept = pl.load(path, { threads = 1, tokenizer = tokenizer })
local seq2seq = kept.head == "seq2seq"
local generates = seq2seq or kept.head == "causal"
local text = kept.tokenizer and "Once upon a" or { 3, 4, 5 }
local file = os.tmpname()
local greedy = { max_new_tokens = 4, do_sample = false }

local function with(changes)
  local o = {}
  for k, v in pairs(greedy) do o[k] = v end
  for k, v in pairs(changes) do o[k] = v end
  return o
end
local function ids_of(r) return table.concat(checked(r).ids, " ") end

local scenarios = {
  load = function()
    local m = pl.load(path, { tokenizer = tokenizer })
    local r = generates and ids_of(m:generate(text, greedy)) or tostring(m:forward(text).last_hidden_state:sum())
    m:close()
    return r
  end,
  forward = not seq2seq and function() return tostring(kept:forward(text)[generates and "logits" or "last_hidden_state"]:sum()) end or nil,
  trace = not seq2seq and function()
    local sum = 0
    for _, t in kept:trace(text, "layers.*.attention"):each() do sum = sum + t:sum() end
    return tostring(sum)
  end or nil,
  tensor = function()
    local a = pl.random({ 8, 8 }, { seed = 1, axes = { "batch", "hidden" } })
    local b = a:softmax("hidden"):matmul(a:rename { batch = "x" }, { over = "hidden" })
    return tostring(b:sum()) .. tostring(b:topk(2, "x"))
  end,
  save = function()
    pl.save(file, { a = pl.ones({ 4, 4 }, { axes = { "x", "y" } }) })
    return tostring(pl.open(file).a:sum())
  end,
}
if kept.tokenizer then
  scenarios.encode = function() return kept.tokenizer:decode(kept.tokenizer:ids "Hello, world! 12") end
  scenarios.chat = function()
    return kept.tokenizer:chat({ { role = "user", content = "x" } }, { template = "{% for m in messages %}{{ m.role|upper }}: {{ m | tojson }}{% endfor %}" })
  end
end
if generates then
  scenarios.generate = function() return ids_of(kept:generate(text, greedy)) end
  scenarios.callbacks = function()
    local seen = 0
    local r = kept:generate(text, with { processors = function(row) row:set(row) end, on_token = function() seen = seen + 1 end,
      stop_when = function(state) return state.step > 3 end })
    return ids_of(r) .. seen
  end
  scenarios.engine = function()
    local e = pl.engine(kept, { policy = function(queue) return queue end })
    local a, b = e:submit(text, greedy), e:submit(text, with { n = 2 })
    e:drain()
    local ra, rb = checked(a:result()), checked(b:result())
    e:close()
    return ids_of(ra) .. "|" .. ids_of(rb)
  end
  scenarios.worker = function()   -- steps of another thread fail as well; what is said is the first thing that failed
    local e = pl.engine(kept, { worker = true })
    local fine, r = pcall(function()
      local request = e:submit(text, greedy)
      e:drain()
      return ids_of(request:result())
    end)
    e:close()
    if not fine then error(r, 0) end
    return r
  end
  scenarios.stream = function()
    local out, stream = {}, kept:stream(text, greedy)
    for piece in stream do out[#out + 1] = piece end
    return table.concat(out) .. ids_of(stream:result())
  end
  scenarios.beams = function() return ids_of(kept:generate(text, { max_new_tokens = 4, num_beams = 3 })) end
end

local wrong = 0
local function complain(...)
  wrong = wrong + 1
  print(...)
end

local function sweep(name, f, kind, always)
  for _ = 1, 3 do f() end
  local expected = f()
  C.fault_arm(0, 0, kind)
  f()
  local total = tonumber(C.fault_disarm())
  for n = 1, total + 2, step do
    C.fault_arm(n, always, kind)
    local fine, r = pcall(f)
    C.fault_disarm()
    local place = ("%s, allocation %d of kind %d%s"):format(name, n, kind, always == 1 and " and all after it" or "")
    if fine and r ~= expected then complain(place, "WRONG", r, "instead of", expected) end
    if not fine then
      local code = type(r) == "table" and r.code or tostring(r)
      if code ~= "memory" and r ~= "not enough memory" then complain(place, "CODE", code, type(r) == "table" and r.message) end
    end
    local again, after = pcall(f)
    if not again or after ~= expected then complain(place, "AFTER", tostring(after)) end
    if wrong > 20 then os.exit(1, false) end
  end
  return total
end

for name, f in pairs(scenarios) do
  if not only or only == "" or only == name then
    local counts = {}
    for _, always in ipairs { 0, 1 } do
      counts[#counts + 1] = sweep(name, f, malloc, always)
      counts[#counts + 1] = sweep(name, f, mmap, always)
    end
    print(("%s: %s: %s allocations"):format(path, name, table.concat(counts, ", ")))
    io.stdout:flush()
  end
end
os.remove(file)
os.exit(wrong == 0 and 0 or 1, true)
