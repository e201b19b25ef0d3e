-- pl.json: texts of JSON. Reading and writing are the engine's, checked like a model's own files.
local core = require "perilune.core"
local options = require "perilune.base.options"

local json = {}

-- Stands for null where nil would be lost: in a list, whose length it keeps, and in what is encoded.
json.null = setmetatable({}, { __tostring = function() return "null" end })

local decode_spec = { null = "any", order = "boolean", name = "string" }
local encode_spec = { indent = "count", order = "table" }

--- Reads a text of JSON. Null is nil in an object and pl.json.null in a list; `null` names another value for both.
--- Whole numbers beyond 2^53 become the nearest number. Text that is not JSON raises with its line and column.
---
---     local t = pl.json.decode '{"b": [1, null, "x"], "a": null}'
---     print(#t.b, t.b[2], t.a)                                              --> 3	null	nil
---     print(pl.json.encode(pl.json.decode('{"b": 1, "a": 2}', { order = true })))   --> {"b": 1, "a": 2}
---@param text string
---@param opts table|nil { null= (any value), order=false (objects remember their members' order, for encode and names), name="json" (in errors) }
---@return any
function json.decode(text, opts)
  opts = options.check(opts, decode_spec, "json.decode")
  local null = opts.null
  return core.decode_json(text, opts.name or "json", null == nil and json.null or null, null, opts.order == true)
end

--- Writes a value as JSON. A table with entries 1..n is a list, any other an object, with its members sorted or
--- in the order they were read in; an empty one is an object unless pl.json.list marks it. What JSON cannot hold
--- (NaN, infinity, functions, lists with holes) raises with its place.
---
---     print(pl.json.encode { name = "ann", scores = { 1, 2.5 } })           --> {"name": "ann", "scores": [1, 2.5]}
---@param value any
---@param opts table|nil { indent=n (spaces a level; default: one line), order={ names that come first, in this order } }
---@return string
function json.encode(value, opts)
  opts = options.check(opts, encode_spec, "json.encode")
  return core.encode_json(value, json.null, opts.indent and math.min(opts.indent, 16) or -1, opts.order)
end

--- Marks a table as a list, so that an empty one is written as [].
---
---     print(pl.json.encode { found = pl.json.list {} })                     --> {"found": []}
---@param t table
---@return table t
function json.list(t) return core.array(t) end

--- The names of an object's members: in the order they were read in where decode was asked to keep it, else sorted.
---
---     local t = pl.json.decode('{"b": 1, "a": 2}', { order = true })
---     print(table.concat(pl.json.names(t), " "))                            --> b a
---@param t table
---@return string[]
function json.names(t) return core.json_names(t) end

return json
