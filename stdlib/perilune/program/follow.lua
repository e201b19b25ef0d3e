-- What a rank other than 0 does: loads what rank 0 loads, runs the passes that it sends, and ends with it.
local core = require "perilune.core"
local json = require "perilune.json"
local ranks = require "perilune.loaded.ranks"
local load = require "perilune.load"
local pass_runner = require "perilune.loaded.pass_runner"

local follow = {}

--- Follows until rank 0 has no more.
function follow.run()
  local models = {}
  local function find(number, key)
    local entry, rest = key:match "^([^/]*)/(.*)$"
    local paths = {}
    for path in rest:gmatch "%S+" do paths[#paths + 1] = path end
    return pass_runner.plan(pass_runner.open(models[number], "ranks"), entry, paths)
  end
  for text in core.rank_follow, find do
    local command = json.decode(text)
    if command.load then
      -- Where it fails here, rank 0 raises what is wrong.
      local fine, m = pcall(ranks.follow, command, load.load)
      if fine then models[command.load] = m end
    elseif command.close and models[command.close] then
      core.rank_forget(command.close)
      models[command.close]:close()
      models[command.close] = nil
    end
  end
end

return follow
