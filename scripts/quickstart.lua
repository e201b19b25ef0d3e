-- Perilune in a minute: load a model, look at its shapes, hear a tale, and see that a batch changes
-- nothing. Run it from anywhere: perilune scripts/quickstart.lua [MODEL]
local pl = require "perilune"

local here = arg[0]:match "^(.*)/[^/]*$" or "."
local function title(text) print(("\n== %s %s"):format(text, ("="):rep(72 - #text))) end
local function ms(from) return ("%.0f ms"):format(1000 * (pl.clock() - from)) end

-- Which device it is, and on the CPU why no GPU.
local function device_text(name)
  for _, device in ipairs(pl.devices()) do
    if device.name == name and device.kind ~= "cpu" then return ("on %s: %s"):format(name, device.title or device.tier) end
  end
  local _, why = pl.try(function() return pl.zeros({ 1 }):to "cuda" end)
  return "on the CPU" .. (why and ", no GPU: " .. (why.message:match "is not here: (.-); in " or why.message) or "")
end

-- 1. Load. Every shape is checked before a weight is used.
title "a model"
local started = pl.clock()
local m = pl.load(arg[1] or here .. "/models/tales")
print(m)
print(device_text(m.device))
print("loaded in " .. ms(started) .. ", " .. m.tokenizer.kind .. " tokenizer, " .. m.tokenizer.vocab_size .. " pieces")

local verdict = pl.check(m, m.tokenizer, { probe = true })
print("model and tokenizer " .. (verdict.ok and "belong together" or "do NOT belong together"))
for _, text in ipairs(verdict.errors) do print("  error: " .. text) end
for _, text in ipairs(verdict.warnings) do print("  warning: " .. text) end

-- 2. Shapes: what flows through it, axis by axis.
title "its shapes"
local prompt = "Once upon a time"

local function shape_text(t)
  local parts = {}
  for i, axis in ipairs(t.shape) do parts[i] = axis.name .. "=" .. axis.size end
  return t.dtype .. "[" .. table.concat(parts, ", ") .. "]"
end

-- Layers that look the same are one line.
local function flow(trace)
  local rows, at = {}, {}
  for path, t in trace:each() do
    local layer = path:match "layers%.(%d+)"
    local name = path:gsub("layers%.%d+", "layers.N")
    local key = name .. " " .. shape_text(t)
    if not at[key] then
      rows[#rows + 1] = { name = name, shape = shape_text(t), first = layer }
      at[key] = rows[#rows]
    end
    at[key].last = layer
  end
  return rows
end

for _, row in ipairs(flow(m:trace(prompt, m:paths()))) do
  local name = row.first and row.name:gsub("layers%.N", "layers." .. row.first .. "-" .. row.last) or row.name
  print(("  %-34s %s"):format(name, row.shape))
end
local memory = m:memory()
print(("weights %.1f MiB, keys and values %.1f KiB a token"):format(memory.weights / 2 ^ 20, memory.cache_per_token / 2 ^ 10))

-- 3. A tale, piece by piece.
title "a tale"
io.write(prompt)
local column, count = #prompt, 0
started = pl.clock()
local function say(text)
  -- Wraps at 76 columns, at spaces.
  for part in text:gmatch "[%s]*[^%s]*" do
    local word = part:gsub("^%s+", "")
    if part ~= word and column + #word > 74 then
      io.write("\n", word)
      column = #word
    else
      io.write(part)
      column = part:find "\n" and #part:match "[^\n]*$" or column + #part
    end
  end
  io.flush()
end
for piece in m:stream(prompt, { max_new_tokens = 80, seed = 7 }) do
  say(piece)
  count = count + 1
end
print(("\n(%d tokens in %s)"):format(count, ms(started)))

-- 4. Five prompts of very different lengths in one ragged batch: nothing is padded, and no answer
-- depends on who else is in the batch.
title "five prompts at once"
local function tale(seed)
  local first = "There was a small town by the sea."
  return first .. m:generate(first, { max_new_tokens = 120, seed = seed }).text
end
local prompts = {
  "The",
  "Once upon a time, a brave fox named Mira lived",
  "One day the fox met an old owl who knew a secret about the forest, and they talked until the moon came up. Then",
  tale(3) .. " The next day, a",
  tale(4) .. " " .. tale(5) .. " " .. tale(6) .. " The next day, a",
}
local options = { max_new_tokens = 24, seed = 11, logprobs = true }
started = pl.clock()
local together = m:generate(prompts, options)
print(("together, in %s:"):format(ms(started)))

local function identical(a, b)
  if #a.ids ~= #b.ids or a.text ~= b.text then return false end
  for i = 1, #a.ids do
    if a.ids[i] ~= b.ids[i] or a.logprobs[i] ~= b.logprobs[i] then return false end
  end
  return true
end

local same = 0
for i, text in ipairs(prompts) do
  local alone = m:generate(text, options)
  local equal = identical(together[i], alone)
  if equal then same = same + 1 end
  print(("  %3d tokens  %s  %s"):format(together[i].prompt_tokens, equal and "bit-identical alone" or "DIFFERS alone",
    together[i].text:sub(1, 44):gsub("%s+", " ")))
end
print(("%d of %d answers are bit-identical to the ones they get alone"):format(same, #prompts))
if same ~= #prompts then os.exit(1) end

print("\nNext: `perilune` alone is a prompt to try things at; scripts/my_policy.lua decides who runs next.")
