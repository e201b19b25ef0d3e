-- Rotary positions that depend on how long the text is: generation answers as forward on the whole text does,
-- when the original length is crossed by an answer, by chunks of a prompt, by what follows in a cache.
local pl = require "perilune"
local core = require "perilune.core"
local folder_of = require "folder_of"
local t = require "spec"

local function changed(golden, changes)
  local json = core.read_json(t.golden(golden) .. "/config.json")
  for key, value in pairs(changes) do json[key] = value end
  return folder_of.copy(t.golden(golden), { ["config.json"] = core.write_json(json), ["generation_config.json"] = false })
end

local models = {
  dynamic = { "llama-gqa", { max_position_embeddings = 12, rope_parameters = { rope_type = "dynamic", factor = 4, rope_theta = 10000 } } },
  longrope = { "phi3-fused-qkv", { max_position_embeddings = 64, original_max_position_embeddings = 12, sliding_window = nil,
    rope_parameters = { rope_type = "longrope", rope_theta = 10000, short_factor = { 1, 1, 1, 1.5, 2, 2 }, long_factor = { 2, 3, 4, 5, 6, 7 } } } },
}

local function load(name) return pl.load(changed(unpack(models[name])), { compute = "f32", tokenizer = false, threads = 1 }) end

local function text(n)
  local ids = {}
  for i = 1, n do ids[i] = (i * 37) % 300 + 3 end
  return ids
end

-- The last token's logits of the whole text.
local function whole(m, ids) return m:forward({ ids }, { rows = "last" }).logits:tolist()[1] end

-- The most likely next ids, each from a pass over the whole text.
local function followed(m, prompt, count)
  local ids, added = { unpack(prompt) }, {}
  for _ = 1, count do
    local best, at = -math.huge, nil
    for id, value in ipairs(whole(m, ids)) do if value > best then best, at = value, id - 1 end end
    ids[#ids + 1], added[#added + 1] = at, at
  end
  return added
end

for name in pairs(models) do
  t.test("an answer that crosses the original length is that of the whole text: " .. name, function()
    local m = load(name)
    local greedy = { do_sample = false, max_new_tokens = 12, eos_token_id = {} }
    for _, n in ipairs { 3, 8, 11, 12, 13, 20 } do
      t.equal(m:generate(text(n), greedy).ids, followed(m, text(n), 12), "prompt of " .. n)
    end
    local together = m:generate({ text(5), text(9), text(14) }, greedy)
    for i, n in ipairs { 5, 9, 14 } do t.equal(together[i].ids, followed(m, text(n), 12)) end
    m:close()
  end)

  t.test("several outputs and beams are those of runs alone: " .. name, function()
    local m = load(name)
    local o = { do_sample = true, temperature = 0.7, seed = 5, max_new_tokens = 10, eos_token_id = {}, n = 3, logprobs = 0 }
    local list = m:generate(text(6), o)
    local outputs = list.outputs or list
    for _, out in ipairs(outputs) do
      local ids = text(6)
      for i, id in ipairs(out.ids) do
        local logits = whole(m, ids)
        local most, sum = -math.huge, 0
        for _, v in ipairs(logits) do most = math.max(most, v) end
        for _, v in ipairs(logits) do sum = sum + math.exp((v - most) / 0.7) end
        t.near(out.logprobs and out.logprobs[i] or out.token_logprobs[i], (logits[id + 1] - most) / 0.7 - math.log(sum), 1e-3)
        ids[#ids + 1] = id
      end
    end
    local beams = { num_beams = 3, max_new_tokens = 8, eos_token_id = {} }
    t.equal(#m:generate(text(9), beams).ids, 8)
    m:close()
  end)

  t.test("chunks, crops, forks and files of a cache: " .. name, function()
    local m = load(name)
    local ids = text(24)
    local function piece(first, last) return { { unpack(ids, first, last) } } end
    local function last(c, first, to) return m:forward(piece(first, to), { cache = c, rows = "last" }).logits:tolist()[1] end
    local function prefix(n) return whole(m, { unpack(ids, 1, n) }) end
    local c, at = m:cache(), 0
    for _, n in ipairs { 4, 5, 2, 3, 1, 6 } do
      t.near(last(c, at + 1, at + n), prefix(at + n), 1e-4, ("%d after %d"):format(n, at))
      at = at + n
    end
    local path = os.tmpname()
    c:save(path)
    local read = pl.cache_load(path, m)
    os.remove(path)
    local fork = c:fork()
    c:crop(6)
    t.near(last(c, 7, 9), prefix(9), 1e-4)
    t.near(last(c, 10, 15), prefix(15), 1e-4)
    t.near(last(fork, at + 1, at + 2), prefix(at + 2), 1e-4)
    read:crop(5)   -- keys of the long text: the file has the ids to make them again
    t.near(last(read, 6, 8), prefix(8), 1e-4)
    m:close()
  end)
end

t.test("remove the folders", folder_of.remove_all)
