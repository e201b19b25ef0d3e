-- pl.lengths: percentiles, a length and buckets that suit, and what padding would waste.
local pl = require "perilune"
local t = require "spec"

-- A text of n tokens, put-in ones included.
local tok = pl.tokenizer "scripts/models/tales"
local put_in = #tok:ids ""
local function text(n) return (("the "):rep(n - put_in):gsub(" $", "")) end
t.test("texts of known lengths", function()
  t.equal({ put_in, #tok:ids(text(9)), #tok:ids(text(2)) }, { 1, 9, 2 })
end)

-- The least padding that `count` widths of `grid` can reach, by trying all.
local function least(lengths, grid, count)
  local best = math.huge
  local function try(chosen, from)
    if #chosen == count then
      local sum = 0
      for _, length in ipairs(lengths) do
        for _, width in ipairs(chosen) do
          if length <= width then
            sum = sum + width - length
            break
          end
        end
      end
      if chosen[#chosen] == grid[#grid] then best = math.min(best, sum) end
      return
    end
    for i = from, #grid do
      chosen[#chosen + 1] = grid[i]
      try(chosen, i + 1)
      chosen[#chosen] = nil
    end
  end
  try({}, 1)
  return best
end

t.test("percentiles, mean, total, histogram", function()
  local texts, total = {}, 0
  for n = 2, 101 do texts[#texts + 1], total = text(n), total + n end
  local r = pl.lengths(texts, tok)
  t.equal({ r.count, r.total, r.mean, r.max }, { 100, total, total / 100, 101 })
  t.equal({ r.p50, r.p90, r.p99 }, { 51, 91, 100 })
  t.equal({ r.histogram[2], r.histogram[101], r.histogram[1] }, { 1, 1, nil })
  t.equal(r.suggested, 101)
  t.equal(pl.lengths({ text(9) }, tok, { special = false }).max, 9 - put_in)
  local many = {}
  for i = 1, 200 do many[i] = text(i == 1 and 90 or 17) end
  t.equal(pl.lengths(many, tok).suggested, 24)
end)

t.test("an iterator is read once, one text at a time", function()
  local n, told = 0, 0
  local r = pl.lengths(function()
    n = n + 1
    if n <= 50 then return text(n + 1) end
  end, tok, { on_progress = function(done) told = done end })
  t.equal({ r.count, r.max, told }, { 50, 51, 50 })
  t.equal(pl.lengths(("a\nb c\nd"):gmatch "[^\n]+", tok).count, 3)
end)

t.test("buckets pad least", function()
  local state = 7
  local function random(n)
    state = (state * 16807) % 2147483647
    return state % n + 1
  end
  for _ = 1, 12 do
    local lengths, texts, grid, has = {}, {}, {}, {}
    for i = 1, 5 + random(20) do
      lengths[i] = 1 + random(random(2) == 1 and 70 or 20)
      texts[i] = text(lengths[i])
    end
    local longest = math.max(unpack(lengths))
    for _, length in ipairs(lengths) do has[math.min(longest, math.ceil(length / 8) * 8)] = true end
    for width in pairs(has) do grid[#grid + 1] = width end
    table.sort(grid)
    for count = 1, math.min(4, #grid) do
      local r = pl.lengths(texts, tok, { buckets = count })
      t.equal({ #r.buckets, r.buckets[#r.buckets] }, { count, longest })
      local padding = least(lengths, grid, count)
      t.near(r.waste(r.buckets), padding / (padding + r.total), 1e-12, table.concat(r.buckets, " "))
    end
  end
  t.equal(pl.lengths({ text(5) }, tok, { buckets = 9 }).buckets, { 5 })
end)

t.test("waste: of the longest, of a width, of buckets; cut texts count as cut", function()
  local r = pl.lengths({ text(4), text(8), text(16) }, tok)
  t.near(r.waste(), 1 - 28 / 48, 1e-12)
  t.near(r.waste(32), 1 - 28 / 96, 1e-12)
  t.near(r.waste(8), 1 - 20 / 24, 1e-12)
  t.near(r.waste { 16, 4, 8 }, 0, 1e-12)
  t.near(r.waste { 8, 16 }, 1 - 28 / 32, 1e-12)
  t.equal(pl.lengths({ text(7), text(7) }, tok).waste(), 0)
  for _, widths in ipairs { 0, -3, 1.5, 0 / 0, "8", {}, { 8, "x" } } do
    t.raises(function() r.waste(widths) end, "waste:")
  end
end)

t.test("what is no text, no tokenizer, no option", function()
  t.raises_text(function() pl.lengths({}, tok) end, "no texts")
  t.raises_text(function() pl.lengths("text", tok) end, "list of texts")
  t.raises_text(function() pl.lengths({ "a", 7 }, tok) end, "text 2", "7")
  t.raises_text(function() pl.lengths { "a" } end, "tokenizer")
  t.raises_text(function() pl.lengths({ "a" }, tok, { buckets = 0 }) end, "buckets")
  t.raises_text(function() pl.lengths({ "a" }, tok, { bucket = 3 }) end, "buckets")
end)
