-- m:attention: who looks at whom in one head, with the tokens on both axes.
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local pass_runner = require "perilune.loaded.pass_runner"
local inputs = require "perilune.run.inputs"
local forward = require "perilune.run.forward"
local pieces = require "perilune.inside.pieces"
local heat_map = require "perilune.show.heat_map"
local family = require "perilune.loaded.family"
local unknown_path = require "perilune.loaded.unknown_path"

local attention_map = {}

local Map = { __name = "AttentionMap" }
Map.__index = Map

function Map.__tostring(map)
  return ("layer %d, head %s: rows look at columns\n"):format(map.layer, tostring(map.head)) ..
    heat_map.text(map.weights:tolist(), { rows = map.queries, columns = map.keys, least = 0, most = 1 })
end

--- Draws the map to a file.
---
---     local m, path = pl.load "scripts/models/tales", os.tmpname() .. ".svg"
---     m:attention("Once upon a", { layer = 2, head = 1 }):plot(path)
---     print(pl.files.exists(path))                                          --> true	file
---     pl.files.remove(path)
---@param path string
---@return AttentionMap self
function Map:plot(path)
  self.weights:plot(path, { title = ("layer %d, head %s"):format(self.layer, tostring(self.head)), rows = self.queries, columns = self.keys })
  return self
end

-- The weights of a layer in the passes of an entry, whose paths may begin with "encoder." or "image.".
local function weights_path(s, entry, layer, kind)
  local plain = ("layers.%d.%s.weights"):format(layer, kind)
  local paths, entry_of = pass_runner.paths(s)
  for _, path in ipairs(paths) do
    if entry_of[path] == entry and path:sub(-#plain) == plain and (#path == #plain or path:sub(-#plain - 1, -#plain - 1) == ".") then return path end
  end
  local known = paths[1] and paths[1]:match "^(.-)embeddings" or ""
  return raise("argument", "attention", ("no tensor is called %s"):format(options.show(known .. plain)), unknown_path(known .. plain, paths))
end

--- The weights of one head, or the mean of all heads.
---@param m Model
---@param input any one text or row of ids
---@param opts table|nil
---@return table
function attention_map.of(m, input, opts)
  local s = pass_runner.open(m, "attention")
  local o = options.check(opts, { layer = "count", head = "positive", side = { "encoder", "decoder", "cross" }, decoder = "table|Batch" }, "attention")
  local batch = inputs.read(m, input, "attention", s.c.max_tokens or s.c.max_source)
  if batch.size ~= 1 then raise("argument", "attention", ("one text at a time, got %d"):format(batch.size)) end
  local layer = o.layer or 0
  local entry = pass_runner.entry_for(s, batch)
  local side = o.side or "encoder"
  if family.two_part(s.family) then
    entry = side == "encoder" and "encode" or "decode"
  elseif o.side then
    raise("option", "attention", "option side: this model has one side only")
  end
  local path = weights_path(s, entry, layer, side == "cross" and "cross_attention" or "attention")
  local produced
  if side ~= "encoder" then produced = forward.decoder_batch(m, o, batch, "attention") end
  local queries = produced or batch
  local weights = m:trace(batch, path, { decoder = produced })[path]
  local heads = weights:size "head"
  if o.head and o.head > heads then raise("option", "attention", ("option head: %d, there are %d (from 1)"):format(o.head, heads)) end
  local one = o.head and weights:at { head = o.head } or weights:mean "head"
  if one.rank == 3 then one = one:at { [one.shape[1].name] = 1 } end   -- a picture's have a batch
  return setmetatable({ weights = one:detach():rename { [one.shape[1].name] = "query" }, layer = layer, head = o.head or "mean of " .. heads,
    queries = pieces.of_row(m, queries, one.shape[1].size),
    keys = pieces.of_row(m, side == "cross" and batch or queries, one.shape[2].size) }, Map)
end

return attention_map
