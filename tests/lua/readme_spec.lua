-- README.md's "Adding a family in one sitting": its code block, run as it stands, makes a family that
-- loads, runs and writes, with the numbers that the same arithmetic gives when written out with tensors.
local pl = require "perilune"
local core = require "perilune.core"
local t = require "spec"
local folder_of = require "folder_of"

-- The first Lua block after a heading.
local function block(heading)
  local text = core.read_file "README.md"
  local _, from = text:find("\n## " .. heading .. "\n", 1, true)
  t.ok(from, "README.md has no section " .. heading)
  local _, open = text:find("\n```lua\n", from, true)
  local close = text:find("\n```\n", open, true)
  local next_heading = text:find("\n## ", from, true)
  t.ok(open and close and open < next_heading, "the section has no Lua block")
  return text:sub(open + 1, close)
end

assert(loadstring(block "Adding a family in one sitting", "=README.md"))()

local width, depth, heads, vocab, positions = 12, 2, 3, 40, 64
local head_dim, ffn = width / heads, 4 * width

-- Weights by the names the pass uses.
local w, seed = {}, 0
local function add(name, sizes, axes, around)
  seed = seed + 1
  w[name] = pl.random(sizes, { seed = seed, axes = axes }) * 0.5 + (around or 0)
end
add("embed.weight", { vocab, width }, { "row", "hidden" })
add("places.weight", { positions, width }, { "row", "hidden" })
for i = 0, depth - 1 do
  local b = "blocks." .. i .. "."
  for _, norm in ipairs { "norm1", "norm2" } do
    add(b .. norm .. ".weight", { width }, { "hidden" }, 1)
    add(b .. norm .. ".bias", { width }, { "hidden" })
  end
  for _, name in ipairs { "q", "k", "v", "out" } do add(b .. "attn." .. name .. ".weight", { width, width }, { "out", "hidden" }) end
  add(b .. "attn.out.bias", { width }, { "hidden" })
  add(b .. "up.weight", { ffn, width }, { "out", "hidden" })
  add(b .. "up.bias", { ffn }, { "out" })
  add(b .. "down.weight", { width, ffn }, { "out", "hidden" })
  add(b .. "down.bias", { width }, { "hidden" })
end
add("norm.weight", { width }, { "hidden" }, 1)
add("head.weight", { vocab, width }, { "out", "hidden" })

local function folder(prefix, changes)
  local json = { model_type = "heron", architectures = { "HeronForCausalLM" }, width = width, depth = depth, heads = heads,
    vocab_size = vocab, positions = positions, eos_token_id = 39 }
  for key, value in pairs(changes or {}) do json[key] = value end
  local path, tensors = folder_of.copy(t.golden "llama-gqa", { ["config.json"] = core.write_json(json), ["model.safetensors"] = false,
    ["tokenizer.model"] = false, ["tokenizer_config.json"] = false, ["generation_config.json"] = false }), {}
  for name, value in pairs(w) do tensors[name:find "^head" and name or prefix .. name] = value end
  pl.save(path .. "/model.safetensors", tensors)
  return path
end

-- ---------------------------------------------------------------- the same, written out

local function rows_of(name, list)
  local rows = {}
  for i, at in ipairs(list) do rows[i] = w[name]:at { row = at + 1 } end
  return pl.stack(rows, "token")
end

-- [token, a] with weight [out, a] → [token, out], the axis under another name.
local function linear(x, name, axis, bias)
  local inner = x.shape[2].name
  local y = x:matmul(w[name .. ".weight"]:rename { hidden = "inner" }:rename { inner = inner == "out" and "ffn" or inner }, { over = inner })
  y = y:rename { out = axis }
  if bias then
    local b = w[name .. ".bias"]
    y = y + b:rename { [b.shape[1].name] = axis }
  end
  return y
end

local function layer_norm(x, name)
  local centred = x - x:mean "hidden"
  return centred / ((centred * centred):mean "hidden" + 1e-5):sqrt() * w[name .. ".weight"] + w[name .. ".bias"]
end

-- Every token's weighed sum of the values up to its own, head by head.
local function attention(q, k, v)
  local tokens, out = q.shape.token, {}
  for at = 1, tokens do
    local parts = {}
    for head = 1, heads do
      local own = { (head - 1) * head_dim + 1, head * head_dim }
      local query = q:at { token = at, hidden = own }
      local keys = k:at { token = { 1, at }, hidden = own }:rename { token = "key" }
      local values = v:at { token = { 1, at }, hidden = own }:rename { token = "key" }
      local weights = (keys * query):sum "hidden" * head_dim ^ -0.5
      parts[head] = (values * weights:softmax "key"):sum "key"
    end
    out[at] = pl.cat(parts, "hidden")
  end
  return pl.stack(out, "token")
end

local function by_hand(ids)
  local counted = {}
  for i = 1, #ids do counted[i] = i - 1 end
  local x = rows_of("embed.weight", ids) + rows_of("places.weight", counted)
  for i = 0, depth - 1 do
    local b = "blocks." .. i .. "."
    local h = layer_norm(x, b .. "norm1")
    local a = attention(linear(h, b .. "attn.q", "hidden"), linear(h, b .. "attn.k", "hidden"), linear(h, b .. "attn.v", "hidden"))
    x = x + linear(a, b .. "attn.out", "hidden", true)
    h = linear(layer_norm(x, b .. "norm2"), b .. "up", "ffn", true):clamp(0, math.huge)
    x = x + linear(h:rename { ffn = "hidden" }, b .. "down", "hidden", true)
  end
  x = x / ((x * x):mean "hidden" + 1e-6):sqrt() * w["norm.weight"]
  return linear(x, "head", "vocab"), x
end

-- ---------------------------------------------------------------- what must agree

local ids = { 7, 0, 39, 12, 7, 30, 2, 2, 25 }

t.test("the block's family loads its checkpoints, with and without their prefix", function()
  for _, prefix in ipairs { "heron.", "" } do
    local m = pl.load(folder(prefix), { compute = "f32" })
    t.equal({ m.family, m.head, m.max_tokens, m.vocab_size, #m.warnings }, { "heron", "causal", positions, vocab, 0 })
    t.near(m:forward({ ids }, { rows = "all" }).logits:tolist(), by_hand(ids):tolist(), 1e-4)
    m:close()
  end
end)

t.test("forward: the numbers of the arithmetic written out", function()
  local m = pl.load(folder "heron.", { compute = "f32" })
  local out = m:forward({ ids }, { rows = "all", outputs = { "logits", "last_hidden_state", "hidden_states" } })
  local logits, last = by_hand(ids)
  t.ok(logits:abs():max() > 0.5)
  t.near(out.logits:tolist(), logits:tolist(), 1e-4)
  t.near(out.last_hidden_state:tolist(), last:tolist(), 1e-4)
  t.equal(#out.hidden_states, depth + 1)
  local base = pl.load(folder("heron.", { architectures = { "HeronModel" } }), { compute = "f32" })
  t.near(base:forward({ ids }).last_hidden_state:tolist(), last:tolist(), 1e-4)
  t.ok(m:eager():forward({ ids }, { rows = "all" }).logits:equal(out.logits))
end)

t.test("generate: the likeliest token by hand, again and again; alone, in a list, in an engine", function()
  local m = pl.load(folder "heron.", { compute = "f32" })
  local prompts, wanted = { { 7, 3, 11 }, { 5 }, ids }, {}
  for i, prompt in ipairs(prompts) do
    local row, new = {}, {}
    for k, id in ipairs(prompt) do row[k] = id end
    for k = 1, 6 do
      local logits = by_hand(row):at { token = #row }
      new[k] = logits:argmax("vocab"):item()
      row[#row + 1] = new[k]
    end
    wanted[i] = new
  end
  local options = { max_new_tokens = 6, do_sample = false, eos_token_id = {} }
  for i, result in ipairs(m:generate(prompts, options)) do t.equal(result.ids, wanted[i]) end
  local e, lines = pl.engine(m, { policy = pl.policy.buckets { 2 } }), {}
  for i, prompt in ipairs(prompts) do lines[i] = e:submit(prompt, options) end
  e:drain()
  for i, line in ipairs(lines) do t.equal(line:result().ids, wanted[i]) end
  e:close()
end)

t.test("padding, tracing and errors are those of any family", function()
  local m = pl.load(folder "heron.", { compute = "f32" })
  local batch = pl.batch { ids, { 5 }, { 8, 9 } }
  t.equal(m:forward { { 5 } }.batch:padded { to = 3 }.mask:tolist(), { { 0, 0, 1 } })   -- left: the family's side
  local ragged = m:forward(batch, { rows = "last" }).logits
  t.ok(m:forward(batch:padded { side = "right" }, { rows = "last" }).logits:equal(ragged))
  t.ok(m:trace({ ids }, "layers.1.attention.weights")["layers.1.attention.weights"]:sum("key"):close(pl.ones({ #ids, heads }, { axes = { "token", "head" } }), 1e-5))
  t.raises_text(function() pl.load(folder("heron.", { width = 24 })) end, "12", "24", "README.md:")   -- the block's own line
  t.raises_text(function() pl.load(folder("heron.", { heads = 5 })) end, "head_dim", "2.4")
  t.raises_text(function() pl.load(folder("heron.", { depth = 1 })) end, "read by no pass of family heron")
  t.equal(#pl.load(folder("heron.", { wingspan = 2 })).warnings, 1)
end)

t.test("folders are removed", function() folder_of.remove_all() end)
