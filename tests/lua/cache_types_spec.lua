-- Keys and values in fewer bits: f16, and whole numbers with a scale for each token and head.
local pl = require "perilune"
local t = require "spec"

local ids = {}
for i = 1, 90 do ids[i] = (i * 37) % 40 + 1 end

local function load(name, cache) return pl.load(t.golden(name), { tokenizer = false, device = "cpu", compute = "f32", cache = cache }) end
local function last(m, input, cache) return m:forward(input, { rows = "last", cache = cache }).logits end
local function slice(from, to)
  local out = {}
  for i = from, to do out[#out + 1] = ids[i] end
  return out
end

-- mistral-window and gemma2 have windows, t5 keeps keys of what it reads.
for _, name in ipairs { "llama-gqa", "mistral-window", "gemma2-softcap", "gpt2-plain" } do
  local exact = load(name, "f32")
  for cache, bound in pairs { f16 = 2e-3, int8 = 0.05 } do
    t.test(("%s answers alike with keys and values in %s"):format(name, cache), function()
      local m = load(name, cache)
      t.equal(m.cache_dtype, cache)
      local ours, theirs = last(m, { ids }), last(exact, { ids })
      local spread = theirs:max() - theirs:min()
      t.ok(ours:max_difference(theirs) > 0, "rounded")
      t.ok(ours:max_difference(theirs) < bound * spread, ("off by %g of %g"):format(ours:max_difference(theirs), spread))
    end)
    t.test(("%s: chunks, forks, crops and files keep the bits with keys and values in %s"):format(name, cache), function()
      local m = load(name, cache)
      local whole = last(m, { ids }):tolist()
      local c = m:cache()
      for first = 1, 90, 13 do
        local out = last(m, { slice(first, math.min(90, first + 12)) }, c):tolist()
        if first + 12 >= 90 then t.equal(out, whole) end
      end
      local d = m:cache()
      last(m, { slice(1, 70) }, d)
      local fork = d:fork()
      last(m, { { 3, 4, 5 } }, d)
      t.equal(last(m, { slice(71, 90) }, fork):tolist(), whole)
      local path = os.tmpname()
      local e = m:cache()
      last(m, { slice(1, 70) }, e)
      e:save(path)
      t.equal(last(m, { slice(71, 90) }, pl.cache_load(path, m)):tolist(), whole)
      os.remove(path)
      if name == "llama-gqa" or name == "gpt2-plain" then   -- windows give back what they no longer see
        d:crop(70)
        t.equal(last(m, { slice(71, 90) }, d):tolist(), whole)
      end
      local batch = last(m, { { 5, 6 }, ids, { 7 } }):tolist()
      t.equal(batch[2], whole[1])
    end)
  end
end

t.test("keys and values take the bytes that they say", function()
  local per_token = {}
  for _, cache in ipairs { "f32", "f16", "int8" } do
    local m = load("llama-gqa", cache)
    per_token[cache] = pl.estimate(t.golden "llama-gqa", { device = "cpu", compute = "f32", cache = cache }).cache_per_token
    local c = m:cache()
    last(m, { ids }, c)
    t.ok(m:memory().cache > 0)
  end
  t.equal(per_token.f16 * 2, per_token.f32)
  local m = load("llama-gqa", "int8")
  local head_dim = m.config.head_dim or m.config.hidden_size / m.config.num_attention_heads
  t.equal(per_token.int8, per_token.f32 / 4 * (head_dim + 4) / head_dim)
end)

t.test("a file of keys and values belongs to its type", function()
  local path, m = os.tmpname(), load("llama-gqa", "int8")
  local c = m:cache()
  last(m, { { 1, 2, 3 } }, c)
  c:save(path)
  t.raises_text(function() pl.cache_load(path, load("llama-gqa", "f16")) end, "cache=int8")
  os.remove(path)
end)

t.test("generation with keys and values in int8 does not depend on the batch", function()
  local m = load("mistral-window", "int8")
  local rows, settings = { ids, { 5 }, { 7, 8, 9 } }, { do_sample = false, max_new_tokens = 40 }
  local together = m:generate(rows, settings)
  for i, row in ipairs(rows) do t.equal(m:generate({ row }, settings)[1].ids, together[i].ids) end
end)
