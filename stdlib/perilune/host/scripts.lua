-- Scripts of a host: run from text, called by name, required through the host's own files.
local core = require "perilune.core"
local names_of = require "perilune.base.names_of"
local mod = require "perilune.host.mod"

local scripts = {}

local environment = _G   -- of scripts
local native

local function fail(code, op, message, hint)
  if code == "script" then error({ code = code, op = op, message = message }, 0) end   -- none of the engine's
  core.error { code = code, op = op, message = message, hint = hint }
end

local function load_text(text, name)
  local chunk, problem = loadstring(text, "@" .. name, "t")
  if not chunk or text:sub(1, 1) == "\27" then fail("script", "run", chunk and name .. ": compiled code is not run" or problem) end
  setfenv(chunk, environment)
  return chunk
end

-- require's way to the host's files.
local function find(name)
  local path = name:gsub("%.", "/") .. ".lua"
  local text = native.read(path)
  if text == nil then return "\n\tno file '" .. path .. "' of the host" end
  return load_text(text, path)
end

function scripts.start(callbacks)
  native = callbacks
  if native.mod then
    environment = mod.environment(native, find)
  elseif native.reads then
    table.insert(package.loaders, 3, find)
  end
end

function scripts.run(text, name) load_text(text, name)() end

function scripts.run_file(path)
  local text
  if native.reads then
    text = native.read(path)
    if text == nil then fail("file", "run_file", path .. ": the host has no such file") end
  elseif native.mod then
    fail("file", "run_file", path .. ": files are for the host to read, and it gave no callback that does")
  else
    text = core.read_file(path)
  end
  load_text(text, path)()
end

-- "think", "smith.think", "npc.smith:think"
local function find_function(name)
  local module, path = name:match "^([^:]+):(.+)$"
  local at, where = environment, "globals"
  if module then at, where = environment.require(module), module end
  for part in (path or name):gmatch "[^.]+" do
    local value = type(at) == "table" and rawget(at, part)
    if value == nil then
      local near = type(at) == "table" and core.nearest(part, names_of(at))
      fail("argument", "call", ("there is no %s in %s"):format(part, where), near and "did you mean " .. near .. "?")
    end
    at, where = value, part
  end
  if type(at) ~= "function" then fail("argument", "call", name .. " is a " .. type(at) .. ", not a function") end
  return at
end

function scripts.call(name, ...) return find_function(name)(...) end

return scripts
