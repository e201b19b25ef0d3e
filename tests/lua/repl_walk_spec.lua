-- docs/repl.md: what is typed there gives what stands below it, and draws its pictures.
local same_text = require "same_text"
local t = require "spec"
local walk = dofile "scripts/make_repl_walk.lua"

local remedy = "write it anew: perilune scripts/make_repl_walk.lua"

t.test("the page and its pictures are what they would be now", function()
  local pictures, page = 0, 0
  walk.each(function(path, there, now)
    if path == walk.page then page = page + 1 else pictures = pictures + 1 end
    t.ok(there, path .. " is not there; " .. remedy)
    same_text(there, now, path .. ": " .. remedy, path:find "svg$" and 2e-2 or nil)
  end)
  t.equal(page, 1)
  t.ok(pictures >= 3, pictures .. " pictures")
end)

t.test("what a page types and what it says are told apart", function()
  local parts = walk.parts "a\n```repl (first 2 lines)\n[7]> f(\n  >> 1)\n2\ndebug> t\n```\n```\n> no\n```\n"
  local inputs = {}
  for _, part in ipairs(parts) do if part.input then inputs[#inputs + 1] = part end end
  t.equal(#inputs, 2)
  t.equal({ inputs[1].input, inputs[1].said, inputs[1].first, inputs[2].input }, { "f(\n1)", "2\n", 2, "t" })
end)

t.test("a page that drifts is found", function()
  local now = walk.run("```repl\n[1]> 6 * 7\n41\n[]> unknown_name\n```\n", os.tmpname())
  t.equal(now, "```repl\n[1]> 6 * 7\n42\n[2]> unknown_name\n[2]:1: unknown_name is not defined\n  [2]:1  unknown_name\n```\n")
end)
