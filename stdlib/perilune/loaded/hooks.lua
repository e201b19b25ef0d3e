-- Functions of scripts that see, and may replace, tensors on the way through a model's passes.
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local path_pattern = require "perilune.base.path_pattern"
local pass_runner = require "perilune.loaded.pass_runner"
local unknown_path = require "perilune.loaded.unknown_path"

local hooks = {}

---@class Hook
---@field path string the path or pattern that it was hung on
---@field remove fun() takes the hook away; a second time does nothing
local Hook = { __name = "Hook" }

function Hook.__tostring(hook) return ("Hook %s%s"):format(hook.path, hook.removed and " (removed)" or "") end

local List = {}
List.__index = List

function List:remove()
  for i = #self, 1, -1 do self[i]:remove() end
end

function List.__tostring(list)
  local lines = {}
  for i, hook in ipairs(list) do lines[i] = ("%d  %s"):format(i, hook.path) end
  return #lines > 0 and table.concat(lines, "\n") or "no hooks"
end

--- Hangs a function on a path, or on all that a pattern fits.
---@param m table
---@param path string
---@param f function
---@return Hook
function hooks.add(m, path, f)
  local s = pass_runner.open(m, "hook")
  if type(f) ~= "function" then raise("argument", "hook", "expected a function, got " .. options.show(f)) end
  local all, paths, found = pass_runner.paths(s), {}, false
  local pattern = type(path) == "string" and path_pattern.exact(path)
  for _, known in ipairs(all) do
    if pattern and pattern(known) then paths[known], found = true, true end
  end
  if not found then raise("argument", "hook", ("no tensor is called %s"):format(options.show(path)), unknown_path(path, all)) end
  local hook = setmetatable({ path = path, paths = paths, call = f }, Hook)
  function hook.remove()
    for i, one in ipairs(s.hooks) do if one == hook then table.remove(s.hooks, i) break end end
    hook.removed = true
  end
  s.hooks[#s.hooks + 1] = hook
  return hook
end

--- The hooks of a model, in the order they run.
---@param m table
---@return Hook[] list:remove() takes all of them away
function hooks.list(m)
  local list = {}
  for i, hook in ipairs(pass_runner.open(m, "hooks").hooks) do list[i] = hook end
  return setmetatable(list, List)
end

return hooks
