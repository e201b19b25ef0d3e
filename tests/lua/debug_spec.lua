-- m:debug driven by a list of commands: where it stops, what is seen there, what is changed, and that nothing else is.
local pl = require "perilune"
local t = require "spec"

local m = pl.load("scripts/models/tales", { compute = "f32" })
local plain = m:forward("Once upon").logits

-- What the commands said, as one text.
local function said(input, opts)
  local result, lines = m:debug(input, opts)
  return table.concat(lines, "\n"), result
end

t.test("a pass that only stops is the same to the bit", function()
  local text, r = said("Once upon", { ":next", ":step", ":step 5", ":continue" })
  t.ok(r.logits:equal(plain))
  t.ok(text:find("[1] embedding embed_tokens in the pass, llama.lua:", 1, true), text)
  t.ok(text:find("[2] embeddings", 1, true), text)
end)

t.test("step goes into functions, next does not", function()
  local text = said("Once", { ":next", ":next", ":step", ":where", ":up" })
  t.ok(text:find("[4] linear layers.0.self_attn.q_proj in attention", 1, true), text)
  t.ok(text:find("local function attention(layer, h, batch, window)", 1, true), text)
  t.ok(text:find(">2  the pass  llama.lua", 1, true), text)
  text = said("Once", { ":next 3" })
  t.ok(text:find("[2] layers.0.attention in the pass", 1, true), text)
end)

t.test("breakpoints: a tensor, a module by either path, an op, a pattern, an expression", function()
  for _, case in ipairs {
    { "layers.2.mlp", "break layers.2.mlp: layers.2.mlp" }, { "layers.1.self_attn.k_proj", "linear layers.1.self_attn.k_proj" },
    { "layers.*.attention.query", "layers.0.attention.query" }, { "rms_norm", "rms_norm layers.0.input_layernorm" },
    { "norm", "rms_norm norm" }, { "where i == 3 and path == 'layers.3'", "layers.3 in" }, { "logits", "break logits: logits" },
  } do
    local text = said("Once", { ":break " .. case[1], ":continue" })
    t.ok(text:find(case[2], 1, true), case[1] .. ":\n" .. text)
  end
  local gpt2 = pl.load "tests/golden/gpt2-plain"
  for _, path in ipairs { "h.0.mlp.c_fc", "layers.0.mlp.c_fc" } do
    local _, lines = gpt2:debug({ 1, 2 }, { ":break " .. path, ":continue", "path" })
    t.equal(lines[#lines], '"h.0.mlp.c_fc"')
  end
  t.raises_text(function() said("Once", { ":break layers.2.mpl" }) end, "command 1", "layers.2.mpl", "layers.2.mlp")
  t.raises_text(function() said("Once", { ":break where (" }) end, "command 1")
end)

t.test("an expression that is never known says so, and one that is becomes true where it does", function()
  local text = said("Once", { ":break where nothing_of_this_name > 1", ":step" })
  t.ok(not text:find "never known", "the list ended before the pass did")
  text = said("Once", { ":break where nothing_of_this_name > 1", function() return ":continue" end })
  t.ok(text:find("never known", 1, true), text)
  text = said("Once", { ":break where x:has_nan()", ":break layers.1.mlp", ":continue", "t = t / 0 * 0", ":unbreak 2", ":continue", "x:has_nan()" })
  t.ok(text:find("break where x:has_nan(): ", 1, true) and text:find("true$"), text)
end)

t.test("locals are read and written by name, of outer functions as well", function()
  local text, r = said("Once upon", { ":break layers.0.self_attn.v_proj", ":continue", ":locals", "c.layers", "i", "k = k * 0", "k:max()" })
  for _, part in ipairs { "\nq ", "\nk ", "\nlayer +Net layers.0", "\n6", "\n0" } do t.ok(text:find(part), part) end
  t.differ(r.logits:equal(plain), true)
  local _, changed = said("Once upon", { ":break layers.2.mlp", ":continue", function(names) names.x = names.x * 0 end })
  t.differ(changed.logits:equal(plain), true)
  t.equal(rawget(_G, "x"), nil)
  said("Once", { "fresh = 5", function(names) t.equal(names.fresh, 5) end })
  t.equal(rawget(_G, "fresh"), nil, "names of a script's commands stay with them")
end)

t.test("what an op gave is replaced, and a stranger is refused", function()
  local hook = m:hook("layers.1.mlp", function(x) return x * 0 end)
  local wanted = m:forward("Once upon").logits
  hook:remove()
  local _, r = said("Once upon", { ":break layers.1.mlp", ":continue", "t = t * 0" })
  t.ok(r.logits:equal(wanted))
  t.raises_text(function() said("Once upon", { ":break layers.1.mlp", ":continue", "t = t:at { token = 1 }" }) end, "layers.1.mlp", "another form")
  t.ok(m:forward("Once upon").logits:equal(plain), "the model goes on")
end)

t.test("rewind: the same pass up to an earlier stop, with what was changed before it", function()
  local text, r = said("Once upon", { ":break layers.*.mlp", ":continue", ":continue", "t = t * 0", ":continue", ":rewind 3", ":stops",
    "t:max() > 0", ":continue" })
  t.ok(r.logits:equal(plain), "the change at stop 3 is undone")
  t.ok(text:find("\n>3  layers.1.mlp\n", 1, true) and text:find("true\n", 1, true), text)
  local again, _
  text, again = said("Once upon", { ":break layers.*.mlp", ":continue", "t = t * 0", ":continue", ":rewind", ":continue", ":rewind 3", ":continue" })
  t.ok(again.logits:equal(plain), text)
  local hook = m:hook("layers.0.mlp", function(x) return x * 0 end)
  local wanted = m:forward("Once upon").logits
  hook:remove()
  _, again = said("Once upon", { ":break layers.*.mlp", ":continue", "t = t * 0", ":continue", ":continue", ":rewind 3", ":continue" })
  t.ok(again.logits:equal(wanted), "the change at stop 2 is made again")
end)

t.test("rewind: what was written into tensors is written again, and what was written at the stop itself is not", function()
  for _, change in ipairs { "t:set(0)", "x:set(0, { token = 2 })" } do
    local _, wanted = said("Once upon", { ":break layers.2.mlp", ":continue", change, ":continue" })
    t.ok(not wanted.logits:equal(plain), change)
    local _, again = said("Once upon", { ":break layers.*.mlp", ":continue", ":continue", ":continue", change, ":continue", ":rewind 4" })
    t.ok(again.logits:equal(plain), "rewound to the stop of the change: " .. change)
    _, again = said("Once upon", { ":break layers.*.mlp", ":continue", ":continue", ":continue", change, ":continue", ":rewind 5" })
    t.ok(again.logits:equal(wanted.logits), change)
  end
  local greedy = { max_new_tokens = 3, do_sample = false }
  local _, chosen = said("Once upon", { ":choose 300", ":token", generate = greedy })
  local _, again = said("Once upon", { ":choose 300", ":token", ":token", ":rewind 2", generate = greedy })
  t.equal(again.ids, chosen.ids)
  t.equal(again.ids[1], 300)
end)

t.test("leave gives the pass up, the cache is as before, fork is what was there", function()
  local cache = m:cache()
  m:forward("Once", { cache = cache })
  local kept
  local result, lines = m:debug({ 723 }, { ":next", ":fork mine", function(names) kept = names.mine end, ":rewind 1", ":leave", cache = cache })
  t.equal(result, nil)
  t.ok(table.concat(lines, "\n"):find("mine: a cache of 2 positions", 1, true))
  t.equal({ cache.length, kept.length }, { 2, 2 })
  local one = m:debug({ 723 }, { ":next", cache = cache }).logits
  t.equal({ cache.length, kept.length }, { 3, 2 })
  t.ok(m:forward({ 723 }, { cache = kept }).logits:equal(one))
  t.raises_text(function() m:debug("Once", { ":fork" }) end, "cache")
end)

t.test("in generate: rivals before and after processors, choices, breaks, other ways to go on", function()
  local greedy = { max_new_tokens = 4, do_sample = false }
  local wanted = m:generate("Once upon", greedy)
  local text, r = said("Once upon", { ":rivals 3", ":token", ":step", ":continue", generate = greedy })
  t.equal(r.ids, wanted.ids)
  t.ok(text:find('token 1 after ""', 1, true) and text:find("[3] embedding", 1, true), text)
  local first = wanted.ids[1]
  text, r = said("Once upon", { ":choose 300", ":next", ":fork 261 263", ":rewind 1", "row:argmax()", ":choose 301", generate = greedy })
  t.equal(r.ids[1], 301)
  t.ok(text:find("\n" .. first .. "\n", 1, true), "rewound, its row is as it was:\n" .. text)
  local _
  _, r = said("Once upon a time, a", { ":choose  fox", ":rewind 1", ':choose " fox"', generate = greedy })
  t.equal(m.tokenizer:decode { r.ids[1] }, "fox")
  local banned = { max_new_tokens = 2, do_sample = false, processors = function(row) row:set(-math.huge, { vocab = first }) end }
  text, r = said("Once upon", { "raw:argmax()", ":break where step == 1", ":continue", generate = banned })
  t.ok(text:find("\n" .. first .. "\n", 1, true) and r.ids[1] ~= first, text)
  t.ok(text:find("break where step == 1", 1, true) or text:find("token 2 after", 1, true), text)
  text = said("Once upon", { ":break layers.2.mlp", ":continue", ":where", generate = greedy })
  t.ok(text:find("break layers.2.mlp", 1, true), text)
end)

t.test("what is wrong is said", function()
  for _, case in ipairs {
    { { ":stepp" }, ":stepp", "step" }, { { ":step x" }, "step" }, { { ":rewind 7" }, "no stop 7" }, { { ":unbreak 4" }, "no breakpoint 4" },
    { { ":down" }, "innermost" }, { { ":rivals" }, "token" }, { { "1 +" }, "command 1" }, { { 5 }, "command 1" }, { { "nothing.x" }, "nothing" },
    { { ":next", generate = 3 }, "generate" }, { { ":next", generate = {}, rows = "all" }, "rows" }, { { ":next", rowz = 1 }, "rowz", "rows" },
    { { ":choose nonsense here", generate = {} }, "token" },
  } do
    t.raises_table(function() m:debug("Once", case[1]) end, case[2], case[3] or "")
  end
  t.raises_table(function() m:debug "Once" end, "nobody to ask", "commands")
  t.raises_table(function() m:debug({ "a", "b" }, { ":next", generate = true }) end, "one prompt")
  t.ok(m:forward("Once upon").logits:equal(plain))
end)

t.test("other kinds of models: an encoder, an encoder with a decoder", function()
  for _, folder in ipairs { "tests/golden/bert-base", "tests/golden/t5-base", "tests/golden/bart-base" } do
    local fine, other = pcall(pl.load, folder)
    if fine then
      local path = other:paths()[#other:paths()]
      local result, lines = other:debug({ 4, 5 }, { ":break " .. path, ":continue", "path" })
      t.ok(result and lines[#lines], folder)
    end
  end
end)
