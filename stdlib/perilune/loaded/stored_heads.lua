-- Which heads a checkpoint holds: what to say where another one is asked for.
local raise = require "perilune.base.raise"
local kind = require "perilune.base.kind"
local names_of = require "perilune.base.names_of"
local family = require "perilune.loaded.family"
local passes = require "perilune.loaded.passes"
local pass_runner = require "perilune.loaded.pass_runner"

local stored_heads = {}

-- Heads all of whose tensors are stored.
local function heads_of(s)
  local list, entry = {}, family.main_entry(s.family)
  for _, head in ipairs(names_of(s.family.heads)) do
    if pcall(passes.trace, s.checkpoint, s.family, s.c, entry, head) then list[#list + 1] = head end
  end
  return list
end

-- A head that cannot be traced while others can is not in the file. Sizes that do not fit are told as they are.
local function explain(s, err)
  local heads = type(err) == "table" and not kind.no_memory(err) and err.code ~= "shape" and err.code ~= "unsupported" and heads_of(s) or {}
  if #heads == 0 then error(err, 0) end
  local lacking = tostring(err.message):match '"([^"]+%.[^"]+)"'
  raise("option", "load", ("the weights hold no head %s%s"):format(s.head, lacking and " (" .. lacking .. " is missing)" or ""),
    ("they hold %s: load with head=%q"):format(table.concat(heads, ", "), heads[#heads]))
end

-- Stored tensors that nothing has read yet, as a set.
local function unread(s)
  local set = {}
  for _, name in ipairs(s.checkpoint:unread()) do set[name] = true end
  return set
end

-- The names of `before` that are gone from `after`: one of them, or nil.
local function taken(before, after)
  for _, name in ipairs(names_of(before)) do
    if not after[name] then return name end
  end
end

--- Traces every entry with the model's head. Warns where a head was asked for that reads what another head of the
--- file has stored; names the heads of the file where it lacks the one asked for.
---@param s table the state that is being made; s.named_head is config.json's
function stored_heads.trace(s)
  local before
  if s.named_head and s.named_head ~= s.head and s.named_head ~= "base" and s.head ~= "base" and s.family.heads.base then
    passes.trace(s.checkpoint, s.family, s.c, family.main_entry(s.family), "base", { names_only = true })
    before = unread(s)
  end
  local fine, err = pcall(function()
    for _, entry in ipairs(s.family.entries) do pass_runner.program(s, entry) end
  end)
  if not fine then explain(s, err) end
  local shared = before and taken(before, unread(s))
  if shared then
    s.warnings[#s.warnings + 1] = ("the stored head is %s (config.json); %s was asked for and reads its weights, such as %s, as another kind")
      :format(s.named_head, s.head, shared)
  end
end

return stored_heads
