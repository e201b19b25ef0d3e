-- Scripts of strangers: what they may reach. Best effort, as a language inside a process can be: memory, steps and
-- time are the instance's limits, and only a process of its own with limits of the system is more.
local pl = require "perilune"
local core = require "perilune.core"
local bounded = require "perilune.host.bounded"

local mod = {}

local function copy(t, names)
  local out = {}
  for name in names:gmatch "%S+" do out[name] = t[name] end
  return out
end

local function refuse(op, problem) core.error { code = "unsupported", op = op, message = problem } end

-- What the host brings itself, or below one of the folders that it named, links followed.
local function allowed(native, path, op)
  if native.trusted then return path end   -- the host itself loads
  if type(path) == "string" and native.brings(path) then return path end
  local real = type(path) == "string" and native.real_path(path)
  for _, folder in ipairs(native.folders) do
    local root = native.real_path(folder)
    if real and root and (real == root or real:sub(1, #root + 1) == root .. "/") then return real end
  end
  return refuse(op, "models are loaded from the folders that the host named, and " .. tostring(path) .. " is in none")
end

-- Nothing of the library writes files, and it reads those of the folders.
local function close_files(native)
  for _, name in ipairs { "write_file", "save_tensors", "remove_path", "make_directory", "sha256", "list_directory", "stdlib_source" } do
    local f = core[name]
    core[name] = function(...)
      if native.trusted then return f(...) end
      refuse(name, "scripts of strangers have no files")
    end
  end
  for _, name in ipairs { "read_file", "read_json", "checkpoint", "open_tensors", "tokenizer" } do
    local read = core[name]
    core[name] = function(path, ...) return read(allowed(native, path, name), ...) end
  end
end

-- The library's own modules are loaded while they may be, then the ways out are closed for them, too.
local function close_globals()
  io, dofile, loadfile, load, jit, debug = nil, nil, nil, nil, nil, copy(debug, "getinfo traceback")
  os = copy(os, "clock date difftime getenv time")   -- the mod has its own
  package.preload.ffi, package.loaded.ffi, package.loaded.jit, package.loaded.io = nil, nil, nil, nil
  package.loadlib, package.cpath, package.path = nil, "", ""
  package.loaded["jit.opt"], package.loaded["jit.util"], package.loaded.debug, package.loaded.os = nil, nil, debug, os
  string.dump = nil
end

-- What of `pl` a stranger's script sees.
local public = [[load tokenizer batch batch_from_padded tensor zeros ones arange random cat stack clamp_to_shortest pad where scope keep
  clock try engine pipeline policy lengths collate json show version async once]]

local function library(native)
  local names = copy(pl, public)
  names.load = function(path, options)
    if type(options) == "table" then
      for _, key in ipairs { "device", "device_map", "threads", "tokenizer", "adapters" } do
        if options[key] ~= nil then refuse("load", "option " .. key .. " is the host's to choose") end
      end
    end
    return pl.load(allowed(native, path, "load"), options)
  end
  names.tokenizer = function(path) return pl.tokenizer(allowed(native, path, "tokenizer")) end
  local pipeline = pl.pipeline
  names.pipeline = function(task, model, ...)
    if type(model) == "string" then model = names.load(model) end
    return pipeline(task, model, ...)
  end
  return names
end

-- Only tables of scripts' own have metatables to look at.
local function safe_metatable(get)
  return function(value)
    if type(value) ~= "table" then return nil end
    return get(value)
  end
end

-- pcall stays as it is: the limits raise again at the next step.
local basic = [[assert error ipairs next pairs pcall rawequal rawget rawset select tonumber tostring type unpack]]

--- The globals of a stranger's scripts.
---@param native table the host's callbacks
---@param find fun(name: string): function|string the host's own files
---@return table
function mod.environment(native, find)
  for _, name in ipairs { "perilune.pipelines.text_classification", "perilune.serve.engine", "perilune.serve.generate" } do pcall(require, name) end
  local text = bounded.string()
  getmetatable("").__index = text
  local set = setmetatable
  local env = copy(_G, basic)
  env._G = env
  env.string = copy(text, "byte char find format gmatch gsub len lower match rep reverse sub upper")
  env.table = copy(table, "concat maxn remove sort")
  env.table.insert = bounded.insert()
  env.math = copy(math, [[abs acos asin atan atan2 ceil cos cosh deg exp floor fmod frexp huge ldexp log log10 max min modf pi pow rad
    random sin sinh sqrt tan tanh]])
  env.coroutine = copy(coroutine, "create resume running status wrap yield")
  env.os = copy(os, "clock difftime time")
  env.print = _G.print
  -- A handler would run where no limit looks: it gets its turn after the call.
  env.xpcall = function(f, handler, ...)
    local function settle(fine, ...)
      if fine then return true, ... end
      return false, handler(...)
    end
    return settle(pcall(f, ...))
  end
  env.getmetatable = safe_metatable(getmetatable)
  env.setmetatable = function(t, meta)
    if type(t) ~= "table" or type(meta) == "table" and rawget(meta, "__gc") ~= nil then refuse("setmetatable", "expected tables without __gc") end
    return set(t, meta)
  end
  env.loadstring = function(source, name)
    if type(source) ~= "string" or source:byte(1) == 27 then return nil, "text only" end
    local chunk, problem = loadstring(source, "=" .. tostring(name or "loadstring"), "t")
    return chunk and setfenv(chunk, env), problem
  end
  local loaded, names = {}, library(native)
  env.require = function(name)
    if name == "perilune" then return names end
    if loaded[name] ~= nil then return loaded[name] end
    local chunk = type(name) == "string" and native.reads and find(name)
    if type(chunk) ~= "function" then refuse("modules", "there is no module " .. tostring(name)) end
    local value = chunk(name)
    loaded[name] = value == nil and true or value
    return loaded[name]
  end
  close_files(native)
  close_globals()
  return env
end

return mod
