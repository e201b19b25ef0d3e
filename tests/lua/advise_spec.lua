-- pl.advise: the ways of loading a model, what each takes, and which fit.
local pl = require "perilune"
local t = require "spec"

local tales, reviews = "scripts/models/tales", "scripts/models/reviews"

t.test("what a way is said to take is what it takes when it is loaded so", function()
  for _, path in ipairs { tales, reviews } do
    local ways = pl.advise(path, { device = "cpu" })
    t.ok(#ways >= 2)
    for _, way in ipairs(ways) do
      local m = pl.load(path, way.options)
      local memory = m:memory()
      t.equal({ way.how, way.weights, way.cache_per_token }, { way.how, memory.weights, memory.cache_per_token })
      t.equal({ m.compute, way.fits, way.context }, { way.options.compute, true, m.max_tokens })
      t.ok(way.how:find(m.compute, 1, true), way.how)
      m:close()
    end
  end
end)

t.test("the file's own numbers come before rounded ones", function()
  local ways = pl.advise(reviews, { device = "cpu" })                        -- stored as f32
  t.equal({ ways[1].options.compute, ways[2].options.compute }, { "f32", "bf16" })
  local own = pl.load(tales, { device = "cpu" })
  t.equal(pl.advise(tales, { device = "cpu" })[1].options.compute, own.compute)
end)

t.test("context is what is left beside weights and workspace, and fits says whether that is enough", function()
  local roomy = pl.advise(tales, { device = "cpu" })
  local way = roomy[1]
  local memory = way.weights + way.workspace + 100 * way.cache_per_token
  local tight = pl.advise(tales, { device = "cpu", memory = memory, context = 101 + 64 })
  local same
  for _, one in ipairs(tight) do if one.how == way.how then same = one end end
  t.ok(same.context > 100 - 64 and same.context <= 100, "context " .. same.context)   -- whole pages
  t.equal(same.fits, false)
  t.equal(pl.advise(tales, { device = "cpu", memory = memory, context = same.context })[1].fits, true)
  for _, one in ipairs(pl.advise(tales, { device = "cpu", memory = "1M" })) do t.equal({ one.context, one.fits }, { 0, false }) end
end)

t.test("those that fit come first", function()
  local all = pl.advise(reviews, { device = "cpu" })
  local most, least = all[1], all[#all]
  local memory = (most.weights + most.workspace + least.weights + least.workspace) / 2
  local ways = pl.advise(reviews, { device = "cpu", memory = memory })
  t.equal({ ways[1].options.compute, ways[1].fits, ways[#ways].fits }, { "bf16", true, false })
end)

t.test("it prints, and says what is wrong with what it was asked", function()
  t.ok(tostring(pl.advise(tales, { memory = "8G" })):find("8.0 GiB", 1, true))
  for _, case in ipairs {
    { { memory = "much" }, "option memory" }, { { context = 4096 }, "512 positions" }, { { contxt = 1 }, "did you mean" },
    { { context = 0 }, "above 0" }, { { device = "gpu9" }, "gpu9" },
  } do
    t.raises_text(function() pl.advise(tales, case[1]) end, case[2])
  end
end)
