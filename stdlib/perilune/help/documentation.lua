-- The `---` comments of the standard library, read: what every public function, method, field and
-- type does. Functions written in C++ are described in perilune/types/.
--
-- An entry: { name = "pl.load" | "Model:forward" | "Model.path" | "Model", owner = "pl" | "Model",
--   member = "load", kind = "function" | "method" | "field" | "class", arguments = "(path, opts)",
--   text = , params = { { name=, type=, text= } }, returns = { "type text" }, file =, line = }
local core = require "perilune.core"

local documentation = {}

-- Files whose own table is called something else outside: variable → name. A module that defines
-- public names has a table named after its file, and is `pl` outside.
local function outside_names(source)
  for name, module in pairs(getmetatable(require "perilune").tables) do
    if module == source.name then return { [name] = "pl." .. name } end
  end
  for _, module in pairs(getmetatable(require "perilune").where) do
    if module == source.name then return { [module:match "[%w_]+$"] = "pl" } end
  end
  return {}
end

-- "type rest": a type ends at the first space outside of brackets; fun(): X goes on.
local function split_type(text)
  local depth, i = 0, 1
  while i <= #text do
    local c = text:sub(i, i)
    if c:find "[%(<{]" then depth = depth + 1
    elseif c:find "[%)>}]" then depth = depth - 1
    elseif c == " " and depth == 0 and not text:sub(1, i - 1):find "[:,|]$" then break end
    i = i + 1
  end
  return text:sub(1, i - 1), (text:sub(i + 1):gsub("^%s+", ""))
end

local function new_block() return { text = {}, params = {}, returns = {}, fields = {} } end

local readers = {
  param = function(block, rest)
    local name, more = rest:match "^(%S+)%s*(.*)$"
    local type_text, text = split_type(more or "")
    block.params[#block.params + 1] = { name = name, type = type_text, text = text }
    return block.params[#block.params]
  end,
  ["return"] = function(block, rest)
    block.returns[#block.returns + 1] = rest
    return block.returns
  end,
  class = function(block, rest) block.class = rest:match "^[%w_]+" end,
  field = function(block, rest, line)
    local name, more = rest:match "^(%S+)%s*(.*)$"
    local type_text, text = split_type(more or "")
    block.fields[#block.fields + 1] = { name = name, type = type_text, text = text, line = line }
    return block.fields[#block.fields]
  end,
}

local function read_comment(block, line, number)
  local tag, rest = line:match "^%-%-%-@(%a+)%s*(.*)$"
  if tag then
    block.tag = nil
    if readers[tag] then block.tag = readers[tag](block, rest, number) end
  elseif block.tag then  -- goes on with the tag above
    local text = line:gsub("^%-%-%-%s*", " ")
    if block.tag == block.returns then block.returns[#block.returns] = block.returns[#block.returns] .. text
    else block.tag.text = block.tag.text .. text end
  else
    block.text[#block.text + 1] = (line:gsub("^%-%-%-%s?", ""))
  end
end

local function add(all, entry)
  if not all.by_name[entry.name] then
    all.by_name[entry.name] = entry
    all.list[#all.list + 1] = entry
  end
end

local function add_class(all, name, block, file, line)
  local class = all.by_name[name]
  if not class then
    class = { name = name, owner = name, kind = "class", text = "", params = {}, returns = {}, file = file, line = line }
    add(all, class)
  end
  if class.text == "" then class.text = table.concat(block.text, "\n") end
  for _, field in ipairs(block.fields) do
    add(all, { name = name .. "." .. field.name, owner = name, member = field.name, kind = "field", type = field.type,
      text = field.text, params = {}, returns = {}, file = file, line = field.line })
  end
end

-- A line of code after a comment block: a function, or the table of a class.
local function read_code(all, owners, block, line, file, number)
  if block.class then
    add_class(all, block.class, block, file, number)
    local variable = line:match "^local%s+([%w_]+)%s*="
    if variable then owners[variable] = block.class end
    return
  end
  local name = line:match '^local%s+[%w_]+%s*=%s*{%s*__name%s*=%s*"([%w_]+)"'
  if name then
    owners[line:match "^local%s+([%w_]+)"] = name
    add_class(all, name, block, file, number)
    return
  end
  local variable, separator, member, arguments = line:match "^function%s+([%w_]+)([%.:])([%w_]+)%s*(%b())"
  local owner = variable and owners[variable]
  if not owner or member:find "_$" or member:find "^__" then return end
  local method = separator == ":"
  add(all, { name = owner .. separator .. member, owner = owner, member = member, kind = method and "method" or "function",
    arguments = arguments, text = table.concat(block.text, "\n"), params = block.params, returns = block.returns,
    documented = #block.text > 0, file = file, line = number })
end

-- Files with methods of a class that stands in another file: variable → class.
local parts_of_classes = { ["perilune.inside.methods"] = { Model = "Model" }, ["perilune.model_facts"] = { Model = "Model" } }

local function read_file(all, source)
  local owners = { pl = "pl" }
  for variable, name in pairs(parts_of_classes[source.name] or {}) do owners[variable] = name end
  for variable, name in pairs(outside_names(source)) do owners[variable] = name end
  local block, number, text = new_block(), 0, core.stdlib_source(source.file) .. "\n"
  for class, variable in text:gmatch 'core%.extend%("(%w+)",%s*([%w_]+)%)' do owners[variable] = class end
  for line in text:gmatch "(.-)\r?\n" do
    number = number + 1
    if line:find "^%-%-%-" then
      read_comment(block, line, number)
    else
      if block.class or line:find "^function" or line:find "^local%s" then read_code(all, owners, block, line, source.file, number) end
      block = new_block()
    end
  end
end

-- What `require "perilune"` gives beside functions.
local own_fields = {
  { owner = "pl", member = "async", type = "table", text = "tasks that wait for requests: pl.async.run(f)" },
  { owner = "pl", member = "files", type = "table", text = "folders and files: pl.files.list(folder)" },
  { owner = "pl", member = "json", type = "table", text = "texts of JSON: pl.json.decode(text)" },
  { owner = "pl", member = "policy", type = "table", text = "constructors of policies: pl.policy.fifo()" },
  { owner = "pl", member = "sound", type = "table", text = "sound files and what models hear: pl.sound.read(path)" },
  { owner = "pl", member = "version", type = "string", text = "of this library: major.minor.patch" },
  { owner = "pl.json", member = "null", type = "table", text = "stands for null where nil would be lost: in a list, and in what is encoded" },
}

--- Tables of functions that a script reaches by name, in order.
documentation.owners = { "pl", "pl.async", "pl.files", "pl.json", "pl.policy", "pl.sound" }

local cached

-- Only what scripts can reach: pl's own names, and types.
local function is_public(entry, public)
  if entry.owner ~= "pl" then return true end
  return public[entry.member] == true
end

--- All entries, read once.
---@return table { list = entries in order of files and lines, by_name = entry by name }
function documentation.all()
  if cached then return cached end
  local all = { list = {}, by_name = {} }
  for _, source in ipairs(core.stdlib()) do
    if source.name ~= "perilune.core" and not source.file:find("^stdlib/perilune/commands/") and not source.file:find("^stdlib/perilune/models/") then
      read_file(all, source)
    end
  end
  local public = {}
  for _, name in ipairs(documentation.public_names()) do public[name] = true end
  local kept = { list = {}, by_name = {} }
  for _, field in ipairs(own_fields) do
    add(kept, { name = field.owner .. "." .. field.member, owner = field.owner, member = field.member, kind = "field",
      type = field.type, text = field.text, params = {}, returns = {}, file = "stdlib/perilune/init.lua", line = 1 })
  end
  for _, entry in ipairs(all.list) do if is_public(entry, public) and entry.owner ~= "Session" then add(kept, entry) end end
  cached = kept
  return kept
end

--- The names of the table that `require "perilune"` gives.
---@return string[]
function documentation.public_names() return getmetatable(require "perilune").names() end

--- Entries of one owner: "pl", "pl.json", "Tensor", …, sorted by name, fields first.
---@param owner string
---@return table[]
function documentation.of(owner)
  local list = {}
  for _, entry in ipairs(documentation.all().list) do
    if entry.owner == owner and entry.kind ~= "class" then list[#list + 1] = entry end
  end
  table.sort(list, function(a, b)
    if (a.kind == "field") ~= (b.kind == "field") then return a.kind == "field" end
    return a.member < b.member
  end)
  return list
end

--- Names of all types, sorted.
---@return string[]
function documentation.classes()
  local list = {}
  for _, entry in ipairs(documentation.all().list) do if entry.kind == "class" then list[#list + 1] = entry.name end end
  table.sort(list)
  return list
end

-- The braces at the end of a description: "nil { rows=, outputs={ … } }" → "rows=, outputs={ … }".
local function keys_in(text, keys)
  local inner = text:match "%b{}"
  if not inner then return end
  inner = inner:sub(2, -2):gsub("%b{}", ""):gsub("%b()", "")
  for name in inner:gmatch "([%a_][%w_]*)%s*=" do keys[#keys + 1] = name end
end

--- Keys of the table that a function returns: "table { logits=, batch= }"; none where it is described otherwise.
---@param entry table
---@return string[]
function documentation.result_keys(entry)
  local keys = {}
  if (entry.returns[1] or ""):find "^table" then keys_in(entry.returns[1], keys) end
  return keys
end

--- Option names that a function takes.
---@param entry table
---@return string[]
function documentation.option_keys(entry)
  local keys = {}
  for _, param in ipairs(entry.params) do
    local class = param.type:match "(%u%w*Options)"
    if class then
      for _, field in ipairs(documentation.of(class)) do keys[#keys + 1] = field.member end
    elseif param.type:find "table" then
      keys_in(param.text, keys)
    end
  end
  table.sort(keys)
  return keys
end

--- "pl.load(path, opts) → Model": the first line of a description.
---@param entry table
---@return string
function documentation.signature(entry)
  if entry.kind == "class" then return entry.name end
  if entry.kind == "field" then return ("%s: %s"):format(entry.name, entry.type) end
  local returns = {}
  for i, text in ipairs(entry.returns) do returns[i] = (split_type(text)) end
  return entry.name .. entry.arguments .. (#returns > 0 and " → " .. table.concat(returns, ", ") or "")
end

return documentation
