-- docs/reference.md is what the comments say, every public name has its comment, and no comment
-- names what is not there.
local pl = require "perilune"
local core = require "perilune.core"
local documentation = require "perilune.help.documentation"
local generation = require "perilune.serve.generation"
local t = require "spec"

local all = documentation.all()

t.test("docs/reference.md is up to date", function()
  local wanted, found = require("perilune.help.documentation_page").text(require "perilune.commands"), core.read_file "docs/reference.md"
  if wanted == found then return end
  local line = 0
  local next_found = found:gmatch "([^\n]*)\n"
  for text in wanted:gmatch "([^\n]*)\n" do
    line = line + 1
    local have = next_found()
    if have ~= text then
      t.ok(false, ("line %d: expected %q, found %q; run: perilune scripts/make_reference.lua > docs/reference.md")
        :format(line, text, tostring(have)))
    end
  end
  t.ok(false, "docs/reference.md has lines too many")
end)

t.test("every function of pl and of pl.policy is described", function()
  for _, name in ipairs(documentation.public_names()) do t.ok(all.by_name["pl." .. name], "pl." .. name .. " is not described") end
  for _, owner in ipairs { "async", "files", "json", "policy" } do
    for name in pairs(pl[owner]) do t.ok(all.by_name["pl." .. owner .. "." .. name], owner .. "." .. name .. " is not described") end
  end
end)

t.test("what is described of pl is there", function()
  for _, owner in ipairs(documentation.owners) do
    for _, entry in ipairs(documentation.of(owner)) do
      local holder = owner == "pl" and pl or pl[owner:sub(4)]
      t.ok(holder[entry.member] ~= nil, entry.name .. " is described and not there")
    end
  end
end)

for _, name in ipairs { "Tensor", "Batch", "Tokenizer", "Decoder", "Request", "Net" } do
  t.test(name .. ": described and there", function()
    local there, type_members = {}, core.types()[name]
    t.ok(type_members, "no such type: " .. name)
    for _, method in ipairs(type_members.methods) do
      there[method] = true
      t.ok(all.by_name[name .. ":" .. method], name .. ":" .. method .. " is not described")
    end
    for _, field in ipairs(type_members.fields) do
      there[field] = true
      t.ok(all.by_name[name .. "." .. field], name .. "." .. field .. " is not described")
    end
    for _, entry in ipairs(documentation.of(name)) do
      t.ok(there[entry.member], entry.name .. " is described and not there")
    end
  end)
end

t.test("Model: methods described and there", function()
  local Model = require "perilune.model"
  for name, value in pairs(Model) do
    if type(value) == "function" and not name:find "^__" then t.ok(all.by_name["Model:" .. name], "Model:" .. name .. " is not described") end
  end
  for _, entry in ipairs(documentation.of "Model") do
    if entry.kind == "method" then t.ok(Model[entry.member], entry.name .. " is described and not there") end
  end
end)

t.test("GenerateOptions lists exactly the options of generation", function()
  local wanted, described = { policy = true, truncate = true, on_progress = true }, {}
  for name in pairs(generation.spec) do wanted[name] = true end
  for _, field in ipairs(documentation.of "GenerateOptions") do described[field.member] = true end
  t.equal(described, wanted)
end)

t.test("every option of LoadOptions is one that pl.load knows", function()
  for _, field in ipairs(documentation.of "LoadOptions") do
    local _, raised = pcall(pl.load, "no such folder", { [field.member] = function() end })
    t.ok(not tostring(raised):find("unknown option", 1, true), "LoadOptions." .. field.member)
  end
  t.raises_text(function() pl.load("no such folder", { devise = "cpu" }) end, "unknown option", "device")
end)

t.test("everything says what it is, and every parameter is described", function()
  for _, entry in ipairs(all.list) do
    if entry.kind ~= "class" then t.ok(entry.text ~= "", entry.name .. " has no text") end
    local params = {}
    for _, param in ipairs(entry.params) do params[param.name] = true end
    for name in (entry.arguments or ""):gmatch "[^%s,()]+" do
      t.ok(params[name], entry.name .. ": parameter " .. name .. " is not described")
    end
    for _, param in ipairs(entry.params) do
      t.ok(entry.arguments:find(param.name, 1, true), entry.name .. ": there is no parameter " .. param.name)
    end
  end
end)

t.test("help finds names, members and types", function()
  local help = require "perilune.help.help"
  t.ok(help.text("pl.load"):find("pl.load(path, opts) → Model", 1, true))
  t.ok(help.text("generate"):find("max_new_tokens", 1, true), "options are listed")
  t.ok(help.text("Tensor"):find("Tensor:softmax(axis)", 1, true))
  t.ok(help.text("softmx"):find("did you mean softmax?", 1, true))
  t.ok(help.source("pl.load"):find("stdlib/perilune/load.lua:%d+"))
end)
