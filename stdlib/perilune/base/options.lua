-- Options tables: unknown keys raise with the nearest known one, values are checked by kind.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local kind = require "perilune.base.kind"
local names_of = require "perilune.base.names_of"

local options = {}

local function show(value)
  if type(value) == "string" then return '"' .. value .. '"' end
  if type(value) == "userdata" then return "a " .. (kind.of(value) or "userdata") end
  return type(value) == "table" and "a table" or tostring(value)
end
options.show = show

local checks = {
  string = function(v) return type(v) == "string" end,
  number = function(v) return type(v) == "number" and v == v end,
  integer = function(v) return type(v) == "number" and v % 1 == 0 and math.abs(v) < 2 ^ 53 end,
  count = function(v) return type(v) == "number" and v % 1 == 0 and v >= 0 and v < 2 ^ 31 end,
  positive = function(v) return type(v) == "number" and v % 1 == 0 and v > 0 and v < 2 ^ 31 end,
  boolean = function(v) return type(v) == "boolean" end,
  table = function(v) return type(v) == "table" end,
  ["function"] = function(v) return type(v) == "function" end,
  any = function() return true end,
}

local names = { count = "a whole number, 0 or more", positive = "a whole number above 0", integer = "a whole number",
  number = "a number", string = "a string", boolean = "true or false", table = "a table", ["function"] = "a function" }

local function fits(value, wanted)
  for word in wanted:gmatch "[^|]+" do
    local check = checks[word]
    if check then
      if check(value) then return true end
    elseif kind.of(value) == word then
      return true
    end
  end
  return false
end

local function wanted_text(wanted)
  local words = {}
  for word in wanted:gmatch "[^|]+" do words[#words + 1] = names[word] or ("a " .. word) end
  return table.concat(words, " or ")
end

-- What makes a value of an option that takes no text or switch, for who gives one all the same.
local makers = {
  policy = "pl.policy has them: pl.policy.fifo(), pl.policy.buckets { 16, 64 }, …",
  truncate = 'truncate = "model", a number of tokens, or { to = n }',
}

--- What to say of a name that is not known: the nearest by letters or by meaning, or what there is.
---@param name any
---@param known string[]
---@param what string "options", "heads", …
---@param op string
---@return string|nil
function options.unknown(name, known, what, op)
  if type(name) == "string" then return core.unknown_name_hint(name, known, what, op) end
  return #known > 0 and #known <= 12 and what .. " are " .. table.concat(known, ", ") or nil
end

--- What a value should have been, for people; nil where it is of the wanted kind.
---@param value any
---@param wanted string such as "count|table"
---@return string|nil
function options.expected(value, wanted)
  if not fits(value, wanted) then return wanted_text(wanted) end
end

--- Checks an options table against a specification and gives it back ({} for nil).
--- A specification maps names to kinds ("string", "count", "boolean|table", "Tokenizer", …) or to
--- a list of allowed strings.
---@param given table|nil what the caller passed
---@param spec table<string, string|string[]>
---@param op string
---@param topic string|nil what `perilune help` is asked for where the options are many; default: op
---@return table
function options.check(given, spec, op, topic)
  if given == nil then return {} end
  if type(given) ~= "table" or kind.of(given) then
    raise("argument", op, "options must be a table, got " .. show(given))
  end
  for key, value in pairs(given) do
    local wanted = spec[key]
    if wanted == nil then
      raise("option", op, "unknown option " .. show(key), options.unknown(key, names_of(spec), "options", topic or op))
    elseif type(wanted) == "table" then
      local found = false
      for _, allowed in ipairs(wanted) do found = found or allowed == value end
      if not found then
        raise("option", op, ("option %s: %s is not one of %s"):format(key, show(value), table.concat(wanted, ", ")),
          type(value) == "string" and core.did_you_mean(value, wanted) or nil)
      end
    elseif not fits(value, wanted) then
      raise("option", op, ("option %s: expected %s, got %s"):format(key, wanted_text(wanted), show(value)), makers[key])
    end
  end
  return given
end

--- A copy of the named keys of a table.
---@param given table
---@param keys string[]
---@return table
function options.pick(given, keys)
  local out = {}
  for _, key in ipairs(keys) do out[key] = given[key] end
  return out
end

return options
