-- m:cache where a sliding window gives pages back, and while a pass runs.
local pl = require "perilune"
local t = require "spec"

local function ids(first, count)
  local list = {}
  for i = 1, count do list[i] = (first * 7 + i * 13) % 90 + 5 end
  return list
end

local function feed(m, c, rows, from, to, step)
  local last
  for at = from, to, step do
    local next_rows = {}
    for r, row in ipairs(rows) do
      next_rows[r] = {}
      for i = at, math.min(to, at + step - 1) do next_rows[r][#next_rows[r] + 1] = row[i] end
    end
    last = m:forward(next_rows, { cache = c }).logits
  end
  return last
end

for _, name in ipairs { "mistral-window", "gemma2-softcap" } do
  t.test(name .. ": pages that left the window change no bit", function()
    local m = pl.load("tests/golden/" .. name, { compute = "f32", threads = 1, tokenizer = false })
    local page = 64 * m:memory().cache_per_token
    local row, other = ids(1, 200), ids(2, 200)
    local small, large = m:cache(), m:cache()
    local a, b = feed(m, small, { row }, 1, 200, 1), feed(m, large, { row }, 1, 200, 100)
    t.ok(a:equal(b))
    t.equal(small:bytes(), large:bytes())
    t.ok(name ~= "mistral-window" or small:bytes() <= 2 * page, "at most 2 pages")
    local whole = m:forward({ row }).logits
    t.ok(whole:equal(a), "as without a cache")

    local fork = small:fork()
    t.ok(feed(m, fork, { other }, 1, 30, 7):equal(feed(m, large, { other }, 1, 30, 3)))
    t.raises_text(function() fork:crop(40) end, "position 40", "sliding window")
    t.equal(fork.length, 230)
    fork:crop(229)
    t.ok(m:forward({ { other[30] } }, { cache = fork }).logits:equal(m:forward({ { other[30] } }, { cache = large:crop(229) }).logits))
    fork:crop(0)
    t.equal(fork:bytes(), 0)
    t.ok(feed(m, fork, { row }, 1, 200, 50):equal(whole))

    local path = os.tmpname()
    small:save(path)
    local again = pl.cache_load(path, m)
    os.remove(path)
    t.equal(again.length, 200)
    t.equal(again:bytes(), small:bytes())
    t.ok(feed(m, again, { other }, 1, 20, 4):equal(feed(m, small, { other }, 1, 20, 20)))
  end)
end

t.test("a cache is refused to everybody else while a pass writes to it", function()
  local m = pl.load("tests/golden/llama-gqa", { compute = "f32", threads = 1, tokenizer = false })
  local uses = {
    forward = function(c) m:forward({ ids(3, 200) }, { cache = c }) end,
    crop = function(c) c:crop(0) end,
    fork = function(c) c:fork() end,
    save = function(c) c:save(os.tmpname()) end,
  }
  local plain = m:cache()
  m:forward({ { 1, 2, 3 } }, { cache = plain })
  local clean = m:forward({ { 4, 5 } }, { cache = plain }).logits
  for _, use in pairs(uses) do
    local c, once = m:cache(), true
    m:forward({ { 1, 2, 3 } }, { cache = c })
    local before = c:bytes()
    local hook = m:hook("layers.1", function()
      if not once then return end
      once = false
      t.raises_text(function() use(c) end, "a pass that has not ended")
    end)
    t.ok(m:forward({ { 4, 5 } }, { cache = c }).logits:equal(clean))
    t.ok(not once)
    hook:remove()
    t.equal(c.length, 5)
    t.equal(c:bytes(), before)
  end
end)
