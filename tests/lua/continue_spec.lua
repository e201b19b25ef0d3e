-- What generation goes on from and what goes on in it: a cache of the script's own, a context that slides,
-- hooks that act on every token, and no cache at all.
local pl = require "perilune"
local t = require "spec"
local rows = require "rows_of"
local load, ids, joined, answer, alone = rows.load, rows.ids, rows.joined, rows.answer, rows.alone
local greedy = { max_new_tokens = 6, do_sample = false, eos_token_id = {}, logprobs = 1 }

t.test("generate, stream and submit go on from a cache, and leave the answer in it", function()
  for _, name in ipairs { "llama-gqa", "mistral-window" } do
    local m = load(name)
    local c, text = m:cache(), ids(1, 70)
    m:forward({ text }, { cache = c })
    local r = m:generate(ids(2, 5), t.with(greedy, { cache = c }))
    text = joined(text, ids(2, 5))
    t.equal(answer(r), alone(m, text, greedy))
    t.equal({ r.prompt_tokens, r.reused_tokens }, { 75, 70 })
    text = joined(text, r.ids)
    t.equal(c.length, #text)

    local s = m:stream(ids(3, 4), t.with(greedy, { cache = c }))
    for _ in s do end
    text = joined(text, ids(3, 4))
    t.equal(answer(s:result()), alone(m, text, greedy))
    t.equal(s:result().reused_tokens, 80)   -- the last id of the answer before had no keys yet
    text = joined(text, s:result().ids)

    local e = pl.engine(m)
    local line = e:submit(ids(4, 3), t.with(greedy, { cache = c }))
    t.raises_text(function() c:fork() end, "has not ended", "fork")
    t.raises_text(function() m:forward({ { 5 } }, { cache = c }) end, "has not ended")
    e:drain()
    text = joined(text, ids(4, 3))
    t.equal(answer(line:result()), alone(m, text, greedy))
    text = joined(text, line:result().ids)
    t.equal(c.length, #text)
    t.ok(m:forward({ ids(5, 2) }, { cache = c:fork() }).logits:equal(m:forward({ joined(text, ids(5, 2)) }).logits))

    local path = os.tmpname()
    c:save(path)
    local again = load(name)
    local loaded = pl.cache_load(path, again)
    os.remove(path)
    t.equal(loaded.length, #text)
    local prompt = joined(text, ids(6, 2))
    t.equal(answer(again:generate(ids(6, 2), t.with(greedy, { cache = loaded }))), alone(m, prompt, greedy))
    local found = again:generate(prompt, greedy)   -- what was loaded is found by its ids, too
    t.ok(found.reused_tokens >= #text - 1)
    t.equal(answer(found), alone(m, prompt, greedy))
    if name == "llama-gqa" then
      c:crop(40)
      t.equal(answer(m:generate(ids(7, 3), t.with(greedy, { cache = c }))), alone(m, joined({ unpack(text, 1, 40) }, ids(7, 3)), greedy))
    end
  end
end)

t.test("messages keep what the cache begins with", function()
  local m = pl.load("scripts/models/tales", { compute = "f32", threads = 1 })
  local template = "{% for message in messages %}{{ message.content }} {% endfor %}"
  local c, messages = m:cache(), {}
  for turn = 1, 3 do
    messages[#messages + 1] = { role = "user", content = ("One day number %d a fox met a brave crow near the stone wall."):format(turn) }
    local options = { max_new_tokens = 8, do_sample = false }
    local r = m:generate({ messages = messages, template = template }, t.with(options, { cache = c }))
    local plain = m:generate({ messages = messages, template = template }, t.with(options, { reuse = false }))
    t.equal(r.text, plain.text)
    if turn > 1 then t.ok(r.reused_tokens > r.prompt_tokens - 40, "it read more than what is new") end
    messages[#messages + 1] = { role = "assistant", content = r.text }
  end
end)

t.test("what a cache cannot be gone on from is refused", function()
  local m, other = load "llama-gqa", load "gpt2-plain"
  local function refused(cache, more, ...)
    t.raises_text(function() m:generate(ids(1, 3), t.with(t.with(greedy, { cache = cache }), more)) end, ...)
  end
  refused(other:cache(), {}, "option cache", "another model")
  refused(m:cache { rows = 2 }, {}, "2 rows")
  refused(m:cache(), { n = 2, do_sample = true }, "one answer")
  refused(m:cache(), { num_beams = 2, logprobs = false }, "one answer")
  refused(m:cache(), { context = "slide" }, "slide", "cache")
  refused(7, {}, "option cache")
  local e = pl.engine(m, { memory = 1e8 })
  t.raises_text(function() e:submit(ids(1, 3), { cache = m:cache() }) end, "option cache", "its own")
  e:close()
  local c = m:cache()
  t.raises_text(function() m:generate({ ids(1, 4), ids(2, 4) }, t.with(greedy, { cache = c })) end, "has not ended")
end)

t.test("use_cache = false computes every token from the whole text, to the same bits", function()
  for _, name in ipairs { "llama-gqa", "gemma2-softcap", "bart-plain" } do
    local m = load(name)
    for _, options in ipairs { greedy, { max_new_tokens = 6, n = 2, do_sample = true, seed = 4 }, { max_new_tokens = 6, num_beams = 2 } } do
      local a, b = m:generate(ids(3, 20), options), m:generate(ids(3, 20), t.with(options, { use_cache = false }))
      t.equal(answer(a), answer(b))
      for i, s in ipairs(a.sequences or {}) do t.equal(s.ids, b.sequences[i].ids) end
    end
  end
end)

t.test("a context that slides: its beginning stays, the older half goes, the rest is read again", function()
  local m = load "llama-gqa"
  local limit, keep = m.max_tokens, 20
  local options = { do_sample = false, eos_token_id = {}, context = "slide", slide_keep = keep }
  local prompt = ids(8, limit - 30)
  t.equal(m:generate(prompt, { do_sample = false, eos_token_id = {}, max_new_tokens = 300 }).finish_reason, "context")
  local r = m:generate(prompt, t.with(options, { max_new_tokens = 200 }))
  t.equal({ #r.ids, r.finish_reason }, { 200, "length" })
  local text, made = joined(prompt), {}   -- the same by hand
  while #made < 200 do
    local next_ids = m:generate(text, { do_sample = false, eos_token_id = {}, max_new_tokens = math.min(limit - #text, 200 - #made), reuse = false }).ids
    made, text = joined(made, next_ids), joined(text, next_ids)
    if #text == limit then
      local drop = math.floor((limit - keep + 1) / 2)
      text = joined({ unpack(text, 1, keep) }, { unpack(text, keep + drop + 1) })
    end
  end
  t.equal(r.ids, made)
  t.equal(m:generate(prompt, t.with(options, { max_new_tokens = 200, prompt_lookup_num_tokens = 6 })).ids, made)
  local e = pl.engine(m, { max_tokens = 37 })
  local lines = {}
  for i = 1, 3 do lines[i] = e:submit(prompt, t.with(options, { max_new_tokens = 150 + 25 * (i - 1) })) end
  e:drain()
  for i, line in ipairs(lines) do t.equal(line:result().ids, { unpack(made, 1, 150 + 25 * (i - 1)) }) end
  local long = joined(prompt, ids(9, 100))
  local cut = m:generate(long, t.with(options, { max_new_tokens = 5 }))
  t.equal(cut.lost, #long - (limit - 5))
  t.equal(cut.ids, m:generate(joined({ unpack(long, 1, keep) }, { unpack(long, #long - (limit - 5) + keep + 1) }),
    { do_sample = false, eos_token_id = {}, max_new_tokens = 5 }).ids)
  t.raises_text(function() m:generate(prompt, { slide_keep = 3 }) end, "slide_keep", "slide")
  t.raises_text(function() m:generate(prompt, { context = "slide", num_beams = 2 }) end, "slide", "num_beams")
end)

t.test("hooks act on every token of an answer, to the bits of the eager pass", function()
  for _, name in ipairs { "llama-gqa", "gpt2-plain", "bart-plain" } do
    local m = load(name)
    local before = answer(m:generate(ids(4, 12), greedy))
    local path = name == "bart-plain" and "decoder.layers.0" or "layers.0"
    local calls = 0
    local handle = m:hook(path, function(x)
      calls = calls + 1
      return x * 0.5
    end)
    local r = m:generate(ids(4, 12), greedy)
    t.ok(calls >= 6, "it was called for some tokens only")
    t.differ(answer(r), before)
    if name ~= "bart-plain" then
      local text = ids(4, 12)
      for _, id in ipairs(r.ids) do   -- by hand: the whole text through forward, which runs eagerly
        t.equal(m:forward({ text }).logits:argmax("vocab"):tolist()[1], id)
        text[#text + 1] = id
      end
    end
    local several = m:generate({ ids(4, 12), ids(5, 30), ids(4, 12) }, greedy)
    t.equal(answer(several[1]), answer(r))
    t.equal(answer(several[3]), answer(r))
    local e = pl.engine(m, { worker = true })
    t.raises_text(function() e:submit(ids(4, 12), greedy) end, "thread of its own")
    e:close()
    handle:remove()
    t.equal(answer(m:generate(ids(4, 12), greedy)), before)
    m:hook(path, function() error "stop here" end)
    t.ok(m:generate(ids(4, 12), greedy).error:find("stop here", 1, true))
  end
end)
