-- Models that several processes compute together (mpirun -n 4 perilune script.lua): rank 0 runs the script and tells the
-- others what to load; each keeps its heads and channels. Which passes they run is the engine's to send.
local core = require "perilune.core"
local raise = require "perilune.base.raise"

local ranks = {}

local loading        -- the number of the model that is being loaded
local numbers = 0

local function send(command) core.rank_send(core.encode_json(command, nil, -1)) end

-- What a follower needs of pl.load's options: it has no tokenizer, shows nothing, and counts its own threads.
local function plain(o)
  local out = { tokenizer = false }
  for key, value in pairs(o) do
    if type(value) ~= "function" and key ~= "tokenizer" and key ~= "threads" then out[key] = value end
  end
  return out
end

local function as_number(number, load)
  loading = number
  local fine, m = pcall(load)
  loading = nil
  return fine and m or error(m, 0)
end

--- The number by which all ranks know the model that is being loaded; nil where this process computes it alone.
---@return integer|nil
function ranks.number() return loading end

--- Loads a model on every rank, or just here where there are no others.
---@param path string
---@param o table checked options of pl.load
---@param load fun(): Model
---@return Model
function ranks.load(path, o, load)
  if loading or not core.ranks() then return load() end
  numbers = numbers + 1
  send { load = numbers, path = path, options = plain(o) }
  local number = numbers
  return core.rank_together(function() return as_number(number, load) end)
end

--- A follower's part in it.
---@param command table what rank 0 sent
---@param load fun(path: string, options: table): Model
---@return Model
function ranks.follow(command, load)
  return core.rank_together(function()
    return as_number(command.load, function() return load(command.path, command.options) end)
  end)
end

--- Where this rank computes: its own GPU among those of its machine for "cuda", and for "auto" where every rank there
--- has one; else the device that was asked for.
---@param name string a device, or "auto"
---@return string
function ranks.device(name)
  if name ~= "cuda" and name ~= "auto" then return name end
  local gpus = 0
  for _, device in ipairs(core.devices()) do
    if device.kind == "cuda" then gpus = gpus + 1 end
  end
  -- Open MPI says which of the ranks on this machine this is.
  local own, here = tonumber(os.getenv "OMPI_COMM_WORLD_LOCAL_RANK") or 0, tonumber(os.getenv "OMPI_COMM_WORLD_LOCAL_SIZE") or 1
  if name == "auto" and gpus < here then return "cpu" end
  return gpus > 0 and "cuda:" .. own % gpus or name
end

--- Finds, with the other ranks, how parts of sums go between their devices, and notes it in each row's `why`.
---@param s table the model's state
---@param rows table[] what is where
function ranks.join(s, rows)
  if not s.rank_model then return end
  local known, how = core.ranks(), core.rank_join(s.devices[1])
  for _, row in ipairs(rows) do
    row.why = ("%srank %d of %d, %s"):format(row.why ~= "" and row.why .. ", " or "", known.rank, known.size, how)
  end
end

--- The model was closed here: the others close theirs.
---@param s table the model's state
function ranks.close(s)
  if s.rank_model and core.ranks().rank == 0 then send { close = s.rank_model } end
end

--- Raises for a model that several ranks compute.
---@param s table
---@param op string
---@param why string
function ranks.refuse(s, op, why)
  if s.rank_model then
    raise("unsupported", op, ("%s is computed by ranks together: %s"):format(s.path, why), "PERILUNE_RANKS=off loads it in one process")
  end
end

return ranks
