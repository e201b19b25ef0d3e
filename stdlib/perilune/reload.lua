-- pl.once and pl.reload: scripts that are changed while they run.
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"

local reload = {}

local kept = {}   -- name → { value }

--- What `make` gives, made once in this state: a script that runs again finds the model, engine or cache that it made.
---
---     local function load() return pl.load "scripts/models/tales" end
---     print(pl.once("tales", load) == pl.once("tales", load))               --> true
---@param name string
---@param make function
---@return any
function reload.once(name, make)
  if type(name) ~= "string" then raise("argument", "once", "expected a name, got " .. options.show(name)) end
  if not kept[name] then
    if type(make) ~= "function" then raise("argument", "once", "expected a function that makes " .. name .. ", got " .. options.show(make)) end
    kept[name] = { value = make() }
  end
  return kept[name].value
end

-- `old` becomes what `new` is: those who hold it see the new functions.
local function take_over(old, new)
  for key in next, old do if rawget(new, key) == nil then rawset(old, key, nil) end end
  for key, value in next, new do rawset(old, key, value) end
  return setmetatable(old, getmetatable(new))
end

--- Runs a module again. The table that it gave stays the one that everybody holds, with what the new one holds; where
--- the new text fails, the error is raised and the old module stays whole. What should outlive it is made with pl.once.
---
---     package.preload.smith = function() return { greeting = "Hello" } end     -- as a file would
---     local smith = require "smith"
---     package.preload.smith = function() return { greeting = "Good day" } end
---     pl.reload "smith"
---     print(smith.greeting)                                                 --> Good day
---@param name string as it was required
---@return any what require(name) gives from now on
function reload.reload(name)
  if type(name) ~= "string" then raise("argument", "reload", "expected the name of a module, got " .. options.show(name)) end
  if name == "" then raise("argument", "reload", "expected the name of a module, got an empty text") end
  if name:find "^perilune" then raise("argument", "reload", name .. " is part of the library") end
  local old = package.loaded[name]
  package.loaded[name] = nil
  local fine, new = pcall(require, name)
  if not fine then
    package.loaded[name] = old
    local looked = type(new) == "string" and new:match("^module '.-' not found:(.*)")
    if looked then
      raise("argument", "reload", "there is no module " .. options.show(name), "looked for" .. looked:gsub("\n\t", " "):gsub("no file ", ""))
    end
    error(new, 0)
  end
  if type(old) == "table" and type(new) == "table" and old ~= new then new = take_over(old, new) end
  package.loaded[name] = new
  return new
end

return reload
