-- The Lua surface name by name: every function, method and field that scripts rely on is there, and answers
-- have the keys that they are said to have. What each means is tested where it belongs.
local pl = require "perilune"
local core = require "perilune.core"
local t = require "spec"

local m = pl.load("scripts/models/tales", { compute = "f32" })
local clf = pl.load("scripts/models/reviews", { compute = "f32" })
local greedy = { max_new_tokens = 2, do_sample = false }
local e = pl.engine(m)
local batch = pl.batch { { 1, 670, 261 }, { 1, 670 } }

local function words(text)
  local list = {}
  for word in text:gmatch "%S+" do list[#list + 1] = word end
  return list
end

-- What has which functions.
local functions = {
  pl = { pl, [[load estimate check health devices on_warning family families tokenizer batch batch_from_padded collate lengths
    cache_load engine pipeline tensor zeros ones arange random cat stack clamp_to_shortest pad where save open scope keep clock try
    rope_options show simulate sleep]] },
  ["pl.json"] = { pl.json, "encode decode" },
  ["pl.sound"] = { pl.sound, "log_mel open read resample write" },
  ["pl.files"] = { pl.files, "list exists make_folder remove" },
  ["pl.policy"] = { pl.policy, "fifo fill buckets shortest_first bin_pack token_budget priority fair deadline prefix_first padded" },
  Model = { m, [[forward embed score cache trace eager hook debug generate stream memory program fingerprint label save close weight
    set_weight to stage paths shapes bytes_per_token]] },
  Tokenizer = { m.tokenizer, "encode ids decode decoder tokens explain id piece add chat stage is_special join" },
  Decoder = { m.tokenizer:decoder(), "push flush" },
  Batch = { batch, "row rows select concat padded pad split mean last first" },
  Tensor = { pl.zeros { 2 }, [[size at set item tolist to copy order rename split_axis merge expand squeeze matmul softmax log_softmax exp
    log sqrt tanh gelu silu abs clamp sum mean max min argmax argmin topk norm cumsum sort gather where any all lt gt le ge eq ne equal
    close has_nan stats show hist plot free detach pad]] },
  Cache = { m:cache(), "fork crop save bytes" },
  Engine = { e, "submit step events drain stats set_policy set_more idle close" },
  Request = { e:submit("The", greedy), "events result cancel" },
  Stream = { m:stream("The", greedy), "cancel result" },
  Trace = { m:trace("The", { "layers.0" }), "each" },
  Pipeline = { pl.pipeline("text-classification", clf), "each" },
  ["hook's handle"] = { m:hook("layers.0", function() end), "remove" },
}
functions["hook's handle"][1].remove()

for what, case in pairs(functions) do
  t.test(what .. ": its functions", function()
    for _, name in ipairs(words(case[2])) do
      local fine, value = pcall(function() return case[1][name] end)
      t.ok(fine and type(value) == "function", ("%s has no function %s"):format(what, name))
    end
  end)
end

-- Which fields are of which type; one that may be nil has a "?".
local fields = {
  Model = { m, { tokenizer = "userdata", config = "table", family = "string", head = "string", device = "string", compute = "string",
    max_tokens = "number", vocab_size = "number", warnings = "table", path = "string" } },
  ["a classifier"] = { clf, { labels = "table" } },
  Tokenizer = { m.tokenizer, { kind = "string", vocab_size = "number", max_id = "number", specials = "table", model_max_length = "number?" } },
  Batch = { batch, { size = "number", tokens = "number", ids = "userdata", lengths = "table", row_starts = "table", lost = "table",
    windows = "table" } },
  Tensor = { pl.zeros { 2 }, { dtype = "string", device = "string", bytes = "number", rank = "number", shape = "table" } },
  Cache = { m:cache(), { length = "table|number" } },
  Request = { functions.Request[1], { id = "number", state = "string" } },
}

local function check_types(what, object, types)
  for name, wanted in pairs(types) do
    local kinds = {}
    for kind in wanted:gsub("%?", "|nil"):gmatch "[^|]+" do kinds[kind] = true end
    t.ok(kinds[type(object[name])], ("%s.%s: expected %s, got %s"):format(what, name, wanted, type(object[name])))
  end
end

for what, case in pairs(fields) do
  t.test(what .. ": its fields", function() check_types(what, case[1], case[2]) end)
end

-- What is answered: keys and their types.
local answers = {
  ["pl.estimate"] = { function() return pl.estimate "scripts/models/tales" end,
    { weights = "number", cache_per_token = "number", workspace = "number", fits = "table" } },
  ["m:memory"] = { function() return m:memory() end, { weights = "number", cache = "number", workspace = "number", by_device = "table" } },
  ["pl.health"] = { pl.health, { ok = "boolean", devices = "table" } },
  ["pl.devices()[1]"] = { function() return pl.devices()[1] end,
    { name = "string", kind = "string", memory = "number", free = "number", tier = "string" } },
  ["pl.families()[1]"] = { function() return pl.families()[1] end, { name = "string", model_types = "table", heads = "table" } },
  ["pl.check"] = { function() return pl.check(m, m.tokenizer) end, { ok = "boolean", errors = "table", warnings = "table" } },
  ["pl.lengths"] = { function() return pl.lengths({ "a", "a fox", "once upon a time" }, m.tokenizer) end,
    { p50 = "number", p90 = "number", p99 = "number", max = "number", buckets = "table", waste = "function" } },
  ["pl.simulate"] = { function() return pl.simulate(pl.policy.fifo(), { 4, { prompt = 3, output = 2 } }, { ms_per_step = 1, ms_per_token = 0.1 }) end,
    { steps = "number", waste = "number", tokens = "number", peak_bytes = "number", wait_ms = "table", rows = "number", timeline = "table" } },
  ["pl.open"] = { function() return pl.open "scripts/models/tales/model.safetensors" end, { names = "table", tensors = "table" } },
  ["tok:tokens()[1]"] = { function() return m.tokenizer:tokens("A fox")[1] end,
    { id = "number", piece = "string", first = "number?", last = "number?", special = "boolean" } },
  ["b:row"] = { function() return m.tokenizer:encode({ "A fox" }):row(1) end,
    { ids = "table|userdata", length = "number", lost = "number", tokens = "function" } },
  ["b:padded"] = { function() return batch:padded { pad_id = 0 } end,
    { ids = "userdata", mask = "userdata", positions = "userdata", type_ids = "userdata", waste = "number" } },
  ["m:forward"] = { function() return m:forward(batch) end, { logits = "userdata", batch = "userdata" } },
  ["m:forward, hidden states"] = { function() return m:forward(batch, { outputs = { "hidden_states" } }) end, { hidden_states = "table" } },
  ["m:score"] = { function() return m:score "A fox" end, { logprob = "number", perplexity = "number", tokens = "table" } },
  ["m:score, a token"] = { function() return m:score("A fox").tokens[2] end, { id = "number", piece = "string", logprob = "number" } },
  ["a Result"] = { function() return m:generate("A fox", { max_new_tokens = 2, logprobs = 2, prompt_logprobs = true, seed = 1 }) end,
    { text = "string", ids = "table", prompt_tokens = "number", reused_tokens = "number", finish_reason = "string", seed = "number",
      logprobs = "table", top_logprobs = "table", prompt_logprobs = "table", timings = "table" } },
  ["a Result's timings"] = { function() return m:generate("A fox", greedy).timings end,
    { queued_ms = "number", prefill_ms = "number", decode_ms = "number", tokens_per_s = "number" } },
  ["a Result's sequences"] = { function() return m:generate("A fox", { max_new_tokens = 2, do_sample = false, num_beams = 2, num_return_sequences = 2 }).sequences[2] end,
    { text = "string", ids = "table", score = "number" } },
  ["a Result with an error"] = { function() return m:generate({ "A fox", { 99999 } }, greedy)[2] end,
    { finish_reason = "string", error = "string" } },
  ["e:step"] = { function() return e:step() end, { tokens = "number", rows = "number", ms = "number", idle = "boolean" } },
  ["an event"] = { function()
    local line = e:submit("The", greedy)
    e:drain()
    return line:events()()
  end, { kind = "string", text = "string", id = "number?" } },
  ["t:stats"] = { function() return pl.ones({ 2 }):stats() end,
    { min = "number", max = "number", mean = "number", std = "number", nan = "number", inf = "number" } },
  ["an error"] = { function() return select(2, pl.try(pl.zeros, { -1 })) end,
    { message = "string", code = "string", op = "string", shapes = "table?", hint = "string?", traceback = "string" } },
  ["text-classification"] = { function() return pl.pipeline("text-classification", clf) "fine" end, { label = "string", score = "number" } },
}

for what, case in pairs(answers) do
  t.test(what .. ": the keys of the answer", function() check_types(what, case[1](), case[2]) end)
end

t.test("a policy sees entries and a room as described", function()
  local seen, room_seen
  local watched = pl.engine(m, { policy = function(queue, room)
    seen, room_seen = queue[1], room
    return queue
  end })
  watched:submit("The", greedy)
  watched:step()
  check_types("an entry", seen, { id = "number", kind = "string", state = "string", prompt_tokens = "number", cached_tokens = "number",
    pending_tokens = "number", new_tokens = "number", max_new_tokens = "number", waited_steps = "number", waited_ms = "number",
    priority = "number", rows = "number", pages_needed = "number", pool = "number" })
  check_types("the room", room_seen, { tokens = "number", rows = "number", pages = "table", page_tokens = "number", bytes = "number",
    now_ms = "number", step = "number", more = "boolean" })
end)

t.test("a pass calls what the surface names", function()
  local there
  pl.family { name = "surface", model_types = { "surface" }, architectures = { SurfaceModel = "base" }, padding = "right",
    tokenizers = {}, keys = {}, config = function() return { layers = 0, axes = { hidden = 4, vocab = 3 } } end, weights = function() return {} end,
    encode = function(net, input)
      there = {}
      for _, name in ipairs(words [[scope mark has tensor embedding positions linear head rms_norm layer_norm rope cached uncached cross
        attention relative_bias activation relu gelu silu tanh sigmoid softcap normalize exp select mean]]) do
        there[name] = type(net[name])
      end
      return net:embedding(input.ids, "table")
    end,
    heads = { base = function(_, x) return { last_hidden_state = x } end } }
  local folder = os.tmpname()
  os.remove(folder)
  core.make_directory(folder, "test")
  core.write_file(folder .. "/config.json", '{ "model_type": "surface", "architectures": ["SurfaceModel"] }')
  pl.save(folder .. "/model.safetensors", { ["table.weight"] = pl.ones { 3, 4 } })
  pl.load(folder, { tokenizer = false }):close()
  for name, kind in pairs(there) do t.equal(kind, "function", name) end
  for _, name in ipairs { "/config.json", "/model.safetensors", "" } do os.remove(folder .. name) end
end)
