-- Stages: functions of one row (a table) that give a row back. pl.pipeline{ … } chains them; tok:stage
-- and m:stage make the usual ones. A stage sees one row at a time, so how rows were batched cannot
-- matter.
local core = require "perilune.core"
local kind = require "perilune.base.kind"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local forward = require "perilune.run.forward"
local pass_runner = require "perilune.loaded.pass_runner"

local stage = {}

---@class Chain
local Chain = { __name = "Chain" }
Chain.__index = Chain

-- One value through all stages; errors name the stage.
local function through(chain, value)
  if value == nil then raise("argument", "pipeline", "expected a text or a row, got nil") end
  local row = type(value) == "table" and kind.of(value) == nil and value or { text = value }
  for i, step in ipairs(chain.stages_) do
    local ok, result = pcall(step, row)
    if not ok then
      if type(result) == "table" and result.message then
        core.error { code = result.code, op = "pipeline", message = ("stage %d: %s"):format(i, tostring(result)), level = 1 }
      end
      error(result, 0)
    end
    if result ~= nil then row = result end
  end
  return row
end

function Chain:__call(input)
  kind.expect(self, "Chain", "pipeline")
  if input == nil then raise("argument", "pipeline", "expected a row or a list of rows, got nil") end
  if not kind.is_list(input) then return through(self, input) end
  local out = {}
  for i, value in ipairs(kind.whole(input, "pipeline", "rows")) do
    local ok, row = pcall(through, self, value)
    if ok then out[i] = row else out[i] = { error = tostring(row) } end
  end
  return out
end

--- `for input, row, err in chain:each(iterator) do`, one value at a time.
---
---     local tok = pl.tokenizer "scripts/models/reviews"
---     local chain = pl.pipeline { tok:stage {}, function(row) return { n = #row.batch:row(1).ids } end }
---     for text, row in chain:each(("worse"):gmatch "%a+") do print(text, row.n) end     --> worse	5
---@param iterator fun(): any
---@return fun(): any, any, any
function Chain:each(iterator)
  kind.expect(self, "Chain", "each")
  if type(iterator) ~= "function" then
    raise("argument", "each", "expected an iterator, got " .. options.show(iterator), "for a list, call the pipeline itself")
  end
  return function()
    local value = iterator()
    if value == nil then return nil end
    local ok, row = pcall(through, self, value)
    if ok then return value, row end
    return value, nil, row
  end
end

function Chain.__tostring(chain) return ("Pipeline of %d stages"):format(#chain.stages_) end

--- A pipeline of stages.
---@param list function[]
---@param opts any none: stages have options of their own
---@return Chain
function stage.chain(list, opts)
  options.check(opts, {}, "pipeline")
  for i, step in ipairs(list) do
    if type(step) ~= "function" then
      raise("argument", "pipeline", ("stage %d: expected a function of a row, got %s"):format(i, options.show(step)),
        "tok:stage{ … } and m:stage{ … } make stages")
    end
  end
  return setmetatable({ stages_ = list }, Chain)
end

local function expect_row(row)
  if type(row) ~= "table" or kind.of(row) then raise("argument", "stage", "expected a row, a table, got " .. options.show(row)) end
end

--- A stage that encodes: row[from] (a text or { text=, pair= }) → row[to], a batch of one row.
---@param tokenizer Tokenizer
---@param opts table|nil { from="text", to="batch", special=true, truncate= }
---@return fun(row: table): table
function stage.tokenizer(tokenizer, opts)
  local o = options.check(opts, { from = "string", to = "string", special = "boolean", truncate = "any" }, "stage")
  local from, to = o.from or "text", o.to or "batch"
  return function(row)
    expect_row(row)
    if row[from] == nil then raise("argument", "stage", "the row has no key " .. from) end
    row[to] = tokenizer:encode(row[from], { special = o.special, truncate = o.truncate })
    return row
  end
end

--- A stage that runs the model: row[from] → row.logits, row.pooled, … (forward's outputs) or, with
--- generate=, row.result.
---@param m Model
---@param opts table|nil { from="batch", rows=, outputs=, adapter=, allow_foreign=, generate={ options of m:generate } }
---@return fun(row: table): table
function stage.model(m, opts)
  pass_runner.open(m, "stage")
  local o = options.check(opts, { from = "string", rows = "any", outputs = "table", generate = "table", allow_foreign = "boolean",
    adapter = "string|boolean" }, "stage")
  local from = o.from or "batch"
  return function(row)
    expect_row(row)
    local input = row[from]
    if input == nil then raise("argument", "stage", "the row has no key " .. from, "put tok:stage{ } before m:stage{ }, or say from=") end
    if o.generate then
      local result = m:generate(input, o.generate)
      row.result = result.text and result or result[1]
      return row
    end
    for name, value in pairs(forward.forward(m, input, { rows = o.rows, outputs = o.outputs, adapter = o.adapter, allow_foreign = o.allow_foreign })) do
      if name ~= "batch" then row[name] = value end
    end
    return row
  end
end

return stage
