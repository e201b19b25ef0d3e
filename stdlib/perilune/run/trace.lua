-- Tensors on the way: m:trace asks for them by canonical path.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local kind = require "perilune.base.kind"
local path_pattern = require "perilune.base.path_pattern"
local family = require "perilune.loaded.family"
local pass_runner = require "perilune.loaded.pass_runner"
local forward = require "perilune.run.forward"
local unknown_path = require "perilune.loaded.unknown_path"

local trace = {}

local function short_list(paths)
  return #paths <= 12 and table.concat(paths, ", ") or ("%s, … (%d; tr:each() goes through them)"):format(table.concat(paths, ", ", 1, 6), #paths)
end

local Trace = { __name = "Trace" }

-- Asked paths and patterns → paths of the passes, in computed order. Of several encoders only one runs: `entry`.
local function expand(s, asked, entry, op)
  local all, entry_of = pass_runner.paths(s)
  if not s.family.decode then all = pass_runner.program(s, entry):marks() end
  local wanted = {}
  for _, path in ipairs(asked) do
    if type(path) ~= "string" then raise("argument", op, "a path must be a string, got " .. options.show(path)) end
    local fits, found = path_pattern.exact(path), false
    for _, known in ipairs(all) do
      if fits(known) then wanted[known], found = true, true end
    end
    if not found then
      raise("argument", op, ("no tensor is called %q"):format(path), unknown_path(path, all))
    end
  end
  local list = {}
  for _, path in ipairs(all) do if wanted[path] then list[#list + 1] = path end end
  return list, entry_of
end

--- The traced tensors in the order they were computed.
---
---     local m = pl.load "scripts/models/tales"
---     for path, t in m:trace("Once upon", "layers.0.mlp"):each() do print(path, t.shape) end   --> layers.0.mlp	[token=3, hidden=256]
---@return fun(): string, Tensor
function Trace:each()
  pass_runner.expect(self, "Trace", "each")
  local order, values, i = rawget(self, "order_"), rawget(self, "values_"), 0
  return function()
    i = i + 1
    if order[i] then return order[i], values[order[i]] end
  end
end

-- How a row of attention weights lies over a picture: what stands before its patches, and their lines.
local function grid_of(t, w, path)
  local grid = rawget(t, "grid_")
  local over = w.rank == 4 and w.shape[4].name == "key" and w.shape[3].name == "query"
  if not grid or not over then
    raise("argument", "patches", ("%s is %s, not attention over the patches of pictures"):format(options.show(path), tostring(w.shape)),
      'trace a picture: m:trace({ image = file }, "image.layers.*.attention.weights")')
  end
  return grid
end

--- Attention weights as pictures: how much each patch is seen. t:plot draws one.
---
---     local m = pl.load "tests/golden/clip-plain"
---     local tr = m:trace({ image = "tests/golden/clip-plain/picture.png" }, "image.layers.1.attention.weights")
---     print(tr:patches("image.layers.1.attention.weights").shape)          --> [batch=1, row=4, column=4]
---@param path string of traced weights [batch, head, query, key]
---@param opts table|nil { query= (who looks: a position; default: the class token, without one the mean of all), head= (default: the mean) }
---@return Tensor [batch, row, column]
function Trace:patches(path, opts)
  pass_runner.expect(self, "Trace", "patches")
  local o = options.check(opts, { query = "positive", head = "positive" }, "patches")
  local w = self[path]
  local grid = grid_of(self, w, path)
  w = o.head and w:at { head = o.head } or w:mean "head"
  local query = o.query or grid.before > 0 and 1 or nil
  w = query and w:at { query = query } or w:mean "query"
  return w:at { key = { grid.before + 1, -1 } }:split_axis("key", { "row", "column" }, { row = grid.rows })
end

function Trace.__index(t, key)
  if Trace[key] then return Trace[key] end
  local value = rawget(t, "values_")[key]
  if value ~= nil then return value end
  local order = rawget(t, "order_")
  local near = type(key) == "string" and core.did_you_mean(key, order)
  return raise("argument", "trace", ("%s was not traced"):format(options.show(key)), near or ("traced: " .. short_list(order)))
end

function Trace.__tostring(t)
  local lines = {}
  for path, tensor in t:each() do lines[#lines + 1] = ("%-32s %s"):format(path, tostring(tensor):match "^[^\n]*") end
  return table.concat(lines, "\n")
end

--- Runs a pass and gives back tensors on the way, by canonical path (`*` is one component). Answers
--- keep the caller's layout; attention weights are [batch, head, query, key] for a padded input and
--- [token, head, key] for a ragged one.
---@param m Model
---@param input any
---@param paths string|string[]
---@param opts table|nil { rows=, decoder=, decoder_start_token_id=, adapter=, allow_foreign= }
---@return Trace
function trace.trace(m, input, paths, opts)
  local s = pass_runner.open(m, "trace")
  local o = options.check(opts, { rows = "string|table", decoder = "table|Batch", decoder_start_token_id = "count",
    allow_foreign = "boolean", adapter = "string|boolean|table" }, "trace")
  if type(paths) == "string" then paths = { paths } end
  if type(paths) ~= "table" or #paths == 0 then
    raise("argument", "trace", "expected a list of paths", 'for instance { "layers.*.attention" }; m:paths() lists them all')
  end
  local settled, picture_view, entry = forward.settle(m, input, "trace")
  kind.whole(paths, "trace", "paths")
  local list, entry_of = expand(s, paths, entry, "trace")
  local split = { encode = {}, cross = {}, main = {} }
  local encoder_decoder = family.two_part(s.family)
  for _, path in ipairs(list) do
    local side = encoder_decoder and split[entry_of[path]] or split.main
    if path ~= "logits" then side[#side + 1] = path end
  end
  local results, encoded, given = forward.compute(m, settled, o, "trace", split)
  given.view = given.view or picture_view
  local values = {}
  for _, path in ipairs(list) do
    local from_encoder = encoder_decoder and (entry_of[path] == "encode" or entry_of[path] == "cross")
    local t, view = results[path], given.view
    if from_encoder then t, view = encoded[path], given.source_view end
    values[path] = view and view:pad(t) or t
  end
  return setmetatable({ order_ = list, values_ = values, grid_ = picture_view and s.c.grid or nil }, Trace)
end

return trace
