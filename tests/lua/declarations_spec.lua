-- The declarations in stdlib/perilune/types say exactly what the engine's userdata have, and every
-- public function of the standard library is annotated.
local pl = require "perilune"
local core = require "perilune.core"
local t = require "spec"

local m = pl.load("scripts/models/tales", { compute = "f32" })
local e = pl.engine(m)
local request = e:submit("x", { max_new_tokens = 1 })

local wav = os.tmpname() .. ".wav"
pl.sound.write(wav, pl.zeros({ 1 }, { axes = { "sample" } }))

local objects = {
  { "tensor", "Tensor", pl.zeros({ 1 }, { axes = { "token" } }) },
  { "batch", "Batch", pl.batch { { 1 } } },
  { "tokenizer", "Tokenizer", m.tokenizer },
  { "tokenizer", "Decoder", m.tokenizer:decoder() },
  { "request", "Request", request },
  { "sound", "Sound", pl.sound.open(wav) },
  { "grammar", "Grammar", pl.grammar { regex = "a" } },
}

-- Names of a class: ---@field lines in its block, and its functions.
local function declared(text, class)
  local names = {}
  local block = text:match("%-%-%-@class " .. class .. "\n(.-)local " .. class .. " =")
  for name in (block or ""):gmatch "%-%-%-@field ([%w_]+)" do names[name] = true end
  for name in text:gmatch("function " .. class .. "[:.]([%w_]+)") do names[name] = true end
  return names
end

for _, object in ipairs(objects) do
  t.test(object[2] .. ": declared and there", function()
    local names = declared(core.read_file("stdlib/perilune/types/" .. object[1] .. ".lua"), object[2])
    for _, more in ipairs { "show/inspect", "types/tensor_math" } do   -- methods that stand elsewhere
      for name in pairs(declared(core.read_file("stdlib/perilune/" .. more .. ".lua"), object[2])) do names[name] = true end
    end
    local there = {}
    for _, name in ipairs(core.members(object[3])) do
      there[name] = true
      t.ok(names[name], object[2] .. "." .. name .. " is not declared")
    end
    for name in pairs(names) do t.ok(there[name], object[2] .. "." .. name .. " is declared and not there") end
  end)
end

-- Files with public functions: the modules that init.lua names, the model's methods, the types.
local function public_files()
  local list, seen = { "init", "model", "run/trace", "serve/generate", "show/inspect", "loaded/cache", "policy/init" }, {}
  for _, file in ipairs(list) do seen[file] = true end
  local function add(file)
    if not core.file_exists("stdlib/perilune/" .. file .. ".lua") then file = file .. "/init" end
    if not seen[file] then list[#list + 1], seen[file] = file, true end
  end
  for module in core.read_file "stdlib/perilune/init.lua":gmatch '= "perilune%.([%w_.]+)"' do add((module:gsub("%.", "/"))) end
  for _, name in ipairs(core.list_directory "stdlib/perilune/types") do
    if name:find "%.lua$" then add("types/" .. name:sub(1, -5)) end
  end
  t.ok(#list > 15)
  return list
end

t.test("every public function has its annotations", function()
  local missing = {}
  for _, file in ipairs(public_files()) do
    local text = core.read_file("stdlib/perilune/" .. file .. ".lua")
    local before = ""
    for line in text:gmatch "[^\n]*" do
      local class, name, arguments = line:match "^function ([%w_]+)[:.]([%w_]+)%((.-)%)"
      if class and not name:find "^_" then
        if not before:find "%-%-%- %S" then missing[#missing + 1] = file .. ": " .. class .. "." .. name .. " (what it does)" end
        for argument in arguments:gmatch "[^%s,]+" do
          if not before:find("---@param " .. argument, 1, true) and argument ~= "_" then
            missing[#missing + 1] = file .. ": " .. class .. "." .. name .. " (" .. argument .. ")"
          end
        end
      end
      if line:find "^%-%-%-" then before = before .. line .. "\n" elseif line ~= "" then before = "" end
    end
  end
  t.equal(table.concat(missing, "; "), "")
end)

t.test("every public name is declared somewhere and exists", function()
  for _, name in ipairs(getmetatable(pl).names()) do t.ok(pl[name] ~= nil, "pl." .. name) end
end)
