-- m:patch: an activation of one run put into another, and what that changes (causal tracing; Meng et al., 2022).
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local path_pattern = require "perilune.base.path_pattern"
local pass_runner = require "perilune.loaded.pass_runner"
local inputs = require "perilune.run.inputs"
local unknown_path = require "perilune.loaded.unknown_path"
local pieces = require "perilune.inside.pieces"
local heat_map = require "perilune.show.heat_map"
local family = require "perilune.loaded.family"
local core = require "perilune.core"
local progress = require "perilune.base.progress"

local patch = {}

local Patched = { __name = "Patched" }
Patched.__index = Patched

function Patched.__tostring(p)
  local head = ("%s: %.4f in the second text, %.4f in the first; each cell: how much nearer its activation brings the second to the first")
    :format(p.piece, p.before, p.wanted)
  return head .. "\n" .. heat_map.text(p.effect:tolist(), { rows = p.paths, columns = p.pieces })
end

--- Draws the effects to a file.
---
---     local m, path = pl.load "scripts/models/tales", os.tmpname() .. ".svg"
---     m:patch { from = "Once upon a", into = "She was a", paths = "layers.*" }:plot(path)
---     print(pl.files.exists(path))                                          --> true	file
---     pl.files.remove(path)
---@param path string
---@return Patched self
function Patched:plot(path)
  self.effect:plot(path, { title = "probability of " .. self.piece, rows = self.paths, columns = self.pieces })
  return self
end

local function fitting_paths(s, pattern)
  local all, list = pass_runner.paths(s), {}
  local asked = type(pattern) == "table" and pattern or { pattern }
  for _, one in ipairs(asked) do
    local fits, found = path_pattern.exact(one), false
    for _, path in ipairs(all) do
      if fits(path) and not path:find "%.weights$" then
        list[#list + 1], found = path, true
      end
    end
    if not found then raise("argument", "patch", ("no tensor is called %s"):format(options.show(one)), unknown_path(one, all)) end
  end
  return list
end

local function one_row(m, s, input, name)
  if input == nil then raise("argument", "patch", "option " .. name .. " is missing", "m:patch{ from = text, into = text }") end
  local batch = inputs.read(m, input, "patch", s.c.max_tokens)
  if batch.size ~= 1 then raise("argument", "patch", ("option %s: one text, got %d"):format(name, batch.size)) end
  return batch
end

-- The probability of a token after the last position of every row.
local function chances(m, batch, id)
  local logits = m:forward(batch, { rows = "last" }).logits
  return logits:softmax("vocab"):at({ vocab = id }):tolist()
end

-- Position i of row i comes from the other run: one pass tells of all positions.
local function patched_chances(m, rows, path, donor, positions, length, id)
  local hook = m:hook(path, function(t)
    local changed = t:copy()
    local axis = t.shape[1].name
    for row, position in ipairs(positions) do
      changed:set(donor:at { [axis] = position }:detach(), { [axis] = (row - 1) * length + position })
    end
    return changed
  end)
  local fine, found = pcall(chances, m, rows, id)
  hook:remove()
  if not fine then error(found, 0) end
  return found
end

local spec = { from = "any", into = "any", paths = "string|table", token = "string|count", positions = "table", on_progress = "function" }

--- Puts activations of the run of one text into the run of another.
---@param m Model
---@param opts table
---@return table
function patch.of(m, opts)
  local s = pass_runner.open(m, "patch")
  local o = options.check(opts, spec, "patch")
  if not family.predicts_next[s.head] or family.two_part(s.family) then
    raise("unsupported", "patch", ("head %s of family %s predicts no next token"):format(s.head, m.family), "m:hook and m:trace do the same by hand")
  end
  local from, into = one_row(m, s, o.from, "from"), one_row(m, s, o.into, "into")
  local length = into.lengths[1]
  if from.lengths[1] ~= length then
    raise("shape", "patch", ("the texts have %d and %d tokens"):format(from.lengths[1], length), "choose words of as many tokens: tok:explain(text)")
  end
  local paths = fitting_paths(s, o.paths or "layers.*")
  local id = o.token
  if type(id) == "string" then
    local ids = m.tokenizer:ids(id, { special = false })
    if #ids ~= 1 then raise("option", "patch", ("option token: %s is %d tokens"):format(options.show(id), #ids), "give one token, or its id") end
    id = ids[1]
  end
  if id == nil then id = m:forward(from, { rows = "last" }).logits:at({ batch = 1 }):argmax "vocab" end
  if type(id) ~= "number" then id = id:item() end
  local positions = o.positions
  if not positions then
    positions = {}
    for i = 1, length do positions[i] = i end
  end
  local copies, ids = {}, into.ids:tolist()
  for i in ipairs(positions) do copies[i] = ids end
  local rows = core.batch(copies)
  local traced, before, wanted = m:trace(from, paths), chances(m, into, id)[1], chances(m, from, id)[1]
  local effects = {}
  progress.during("patch", o.on_progress, function(tick)
    for i, path in ipairs(paths) do
      effects[i] = patched_chances(m, rows, path, traced[path], positions, length, id)
      for k, after in ipairs(effects[i]) do effects[i][k] = after - before end
      tick(i, #paths)
    end
  end)
  local labels, all = {}, pieces.list(m, ids)
  for i, position in ipairs(positions) do labels[i] = all[position] end
  return setmetatable({ token = id, piece = pieces.of(m, id), before = before, wanted = wanted, paths = paths, positions = positions, pieces = labels,
    effect = core.tensor(effects, { axes = { "layer", "token" } }) }, Patched)
end

return patch
