-- Commands that look inside models: thin callers of m:activations, pl.diff, m:lens, m:attention, m:patch.
local raise = require "perilune.base.raise"
local kind = require "perilune.base.kind"
local models = require "perilune.session.models"
local names_of = require "perilune.base.names_of"
local policies = require "perilune.policy"
local core = require "perilune.core"

local looking = {}

-- The arguments of a command as Lua: the model that they name or the only one, and the others.
local function arguments_of(session, rest, command)
  local chunk, problem = session:compile("{ " .. rest .. " }")
  if not chunk then raise("argument", command, problem) end
  local list = chunk()
  local m = kind.of(list[1]) == "Model" and table.remove(list, 1) or models.only(session, command, command ~= "graph" and list[1] == nil)
  return m, list
end

--- What is looked at where nobody says: the input of the last forward.
---@param m Model
---@param given any
---@param command string
---@return any
function looking.input_of(m, given, command)
  if given ~= nil then return given end
  local last = rawget(m, "state_").last_forward
  if not last then raise("state", command, "nothing was run yet", (":%s \"a text\", or m:forward first"):format(command)) end
  return last.input
end

local function show(session, make) session:run(make) end

-- How the last forward was called, where it is what is looked at.
local function last_options(m, given)
  local last = given == nil and rawget(m, "state_").last_forward
  return last and last.opts or {}
end

function looking.shapes(session, rest)
  local m, list = arguments_of(session, rest, "shapes")
  local input = looking.input_of(m, list[1], "shapes")
  local last = last_options(m, list[1])
  show(session, function()
    return m:activations(input, { rows = last.rows, decoder = last.decoder, decoder_start_token_id = last.decoder_start_token_id,
      allow_foreign = last.allow_foreign })
  end)
end

function looking.diff(session, rest)
  local chunk, problem = session:compile("{ " .. rest .. " }")
  if not chunk then raise("argument", "diff", problem) end
  local list = chunk()
  local o = list[3]
  if o == nil and kind.of(list[1]) == "Model" then o = { input = looking.input_of(list[1], nil, "diff") } end
  if type(o) == "string" then o = { input = o } end
  show(session, function() return require("perilune.inside.diff").diff(list[1], list[2], o) end)
end

function looking.lens(session, rest)
  local m, list = arguments_of(session, rest, "lens")
  local input = looking.input_of(m, list[1], "lens")
  local o = list[2] or { decoder = last_options(m, list[1]).decoder }
  show(session, function() return m:lens(input, o) end)
end

function looking.attention(session, rest)
  local layer, head, more = rest:match "^(%d+)%s+(%d+)%s*,?%s*(.*)$"
  if not layer then
    layer, more = rest:match "^(%d+)%s*,?%s*(.*)$"
  end
  if not layer then raise("argument", "attention", "expected a layer (from 0) and a head (from 1)", ':attention 2 1, or :attention 2 1 "a text"') end
  local m, list = arguments_of(session, more, "attention")
  local o = {}
  for key, value in pairs(list[2] or { decoder = last_options(m, list[1]).decoder }) do o[key] = value end
  o.layer, o.head = tonumber(layer), tonumber(head)
  show(session, function() return m:attention(looking.input_of(m, list[1], "attention"), o) end)
end

function looking.patch(session, rest)
  local m, list = arguments_of(session, rest, "patch")
  local o = list[1]
  if type(o) == "string" or list[2] ~= nil then o = { from = o, into = list[2], paths = list[3] } end
  show(session, function() return m:patch(o or {}) end)
end

function looking.graph(session, rest)
  local file, more = rest:match "^%s*([^%s,]+)%s*,?%s*(.*)$"
  if not file then raise("argument", "graph", "expected a file", ":graph file.svg") end
  local m, list = arguments_of(session, more, "graph")
  m:program(list[1]):graph(file)
  print("written: " .. file)
end

-- The engine that a line names, or the only one that has a name; and the rest of the line.
local function engine_of(session, rest)
  local name, more = rest:match "^([%a_][%w_]*)%s*(.*)$"
  if name and kind.of(rawget(_G, name)) == "Engine" then return rawget(_G, name), more end
  local found, names = nil, {}
  for key, value in pairs(_G) do
    if kind.of(value) == "Engine" and not tostring(key):find "^_" and rawget(value, "core_") and not session.initial[key] then
      found, names[#names + 1] = value, key
    end
  end
  table.sort(names)
  if #names > 1 then raise("argument", "queue", "several engines have names: " .. table.concat(names, ", "), (":queue %s …"):format(names[1])) end
  if not found then raise("state", "queue", "no engine has a name yet", "e = pl.engine(m)") end
  return found, rest
end

-- Steps until nothing is left, showing the queue a few times a second.
local function watch(e)
  local shown = 0
  while not e:idle() do
    e:step()
    if core.clock() - shown > 0.2 then
      shown = core.clock()
      print(tostring(e:queue()) .. "\n")
    end
  end
  print(tostring(e:queue()))
end

function looking.queue(session, rest)
  local e, more = engine_of(session, rest)
  local verb, argument = more:match "^(%S*)%s*(.-)%s*$"
  if verb == "run" then return watch(e) end
  if verb == "timeline" then
    e:timeline(argument)
    return print("written: " .. argument)
  end
  if verb == "policy" then
    local word = argument:match "^[%a_]+$"
    local shipped = word and rawget(policies, word)
    local chunk, problem = session:compile(argument)
    if not shipped and (argument == "" or word and rawget(_G, word) == nil) then
      raise("argument", "queue", argument == "" and "which policy?" or ("no policy is called %q"):format(word),
        core.did_you_mean(argument, names_of(policies)) or "shipped: " .. table.concat(names_of(policies), ", "))
    end
    if not shipped and not chunk then raise("argument", "queue", problem) end
    e:set_policy(shipped and shipped() or chunk())
  elseif verb == "step" then
    e:queue()   -- looks from this step on
    for _ = 1, tonumber(argument) or 1 do e:step() end
  elseif verb ~= "" then
    raise("argument", "queue", ("%q is nothing to do with a queue"):format(verb), "step [N], run, policy NAME, timeline FILE, or nothing")
  end
  print(tostring(e:queue()))
end

return looking
