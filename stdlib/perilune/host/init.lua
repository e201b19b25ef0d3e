-- What perilune.h does, in Lua: every function here is one of its functions, with numbers for handles.
local pl = require "perilune"
local core = require "perilune.core"
local names_of = require "perilune.base.names_of"
local objects = require "perilune.host.objects"
local events = require "perilune.host.events"
local conversation = require "perilune.host.conversation"
local scripts = require "perilune.host.scripts"

local host = {}

local function options_of(text)
  if text == nil then return {} end
  local o = pl.json.decode(text, { name = "options" })
  if type(o) ~= "table" then core.error { code = "option", op = "options", message = "expected a JSON object" } end
  return o
end

--- Once, before anything else. `native` holds the host's callbacks: log(level, text), progress(what, part) → true to
--- end it, read(path) → text|nil, on_text(data, text) → true to end it, real_path(path); worker, mod, folders.
---@param native table
function host.start(native)
  host.native = native
  core.on_warning(function(text, where) native.log(1, where ~= "" and ("%s (%s)"):format(text, where) or text) end)
  _G.print = function(...)
    local words = {}
    for i = 1, select("#", ...) do words[i] = tostring((select(i, ...))) end
    native.log(0, table.concat(words, "\t"))
  end
  scripts.start(native)
end

--- The number and kind of an object for C.
host.close = objects.close

-- What the host itself asks for may read and write where strangers' scripts may not.
local function as_host(f, ...)
  host.native.trusted = true
  local fine, value = pcall(f, ...)
  host.native.trusted = nil
  if not fine then error(value, 0) end
  return value
end

-- ---------------------------------------------------------------- models and text

function host.load(path, options)
  local native, o = host.native, options_of(options)
  if o.on_progress == nil then
    o.on_progress = function(done, total)
      if native.progress("load", total and total > 0 and done / total or 0) then
        core.error { code = "cancelled", op = "load", message = "ended by the host" }
      end
    end
  end
  return objects.add("model", as_host(pl.load, path, o))
end

local function tokenizer_of(m, op)
  if not m.tokenizer then core.error { code = "argument", op = op, message = "this model has no tokenizer" } end
  return m.tokenizer
end

function host.encode(number, text, options) return tokenizer_of(objects.get(number, "model"), "encode"):ids(text, options_of(options)) end

function host.decode(number, ids) return tokenizer_of(objects.get(number, "model"), "decode"):decode(ids) end

function host.chat(number, messages, options)
  return tokenizer_of(objects.get(number, "model"), "chat"):chat(pl.json.decode(messages, { name = "messages" }), options_of(options))
end

function host.embed(number, texts, options)
  local t = objects.get(number, "model"):embed(texts, options_of(options))
  return t:to "cpu":to "f32", t:size "hidden"
end

function host.classify(number, texts, options)
  local m = objects.get(number, "model")
  local entry = objects.entry(number)
  if not entry.ids then
    entry.ids = {}
    for id = 0, #(m.labels or {}) do
      if m.labels and m.labels[id] then entry.ids[m.labels[id]] = id end
    end
  end
  local list = {}
  for i, best in ipairs(pl.pipeline("text-classification", m, options_of(options))(texts)) do
    list[i] = { id = entry.ids[best.label] or -1, score = best.score }
  end
  return list
end

function host.label(number, id) return objects.get(number, "model"):label(id) end

-- ---------------------------------------------------------------- writing

local function prompt_of(text, messages, ids)
  local prompt = { prompt = text, ids = ids }
  if messages then prompt.messages = pl.json.decode(messages, { name = "messages" }) end
  return prompt
end

function host.generate(number, text, messages, ids, options, on_text)
  local stream = objects.get(number, "model"):stream(prompt_of(text, messages, ids), options_of(options))
  for piece in stream do
    if on_text and piece ~= "" and host.native.on_text(on_text, piece) then stream:cancel() end
  end
  local result = stream:result()
  return objects.add("request", { result = result, text = result.text or "" })
end

function host.submit(number, text, messages, ids, options)
  return events.submit(objects.entry(number, "model"), prompt_of(text, messages, ids), options_of(options), host.native.worker)
end

host.step = events.step
host.peek_event = events.peek
host.drop_event = events.drop

function host.request_cancel(number)
  local request = objects.get(number, "request")
  if request.line and not request.result then request.line:cancel() end
  events.collect()
end

local finishes = { stop = 1, length = 2, context = 3, cancelled = 4, error = 5 }

--- finish, prompt tokens, new tokens, tokens a second
function host.request_result(number)
  local request = objects.get(number, "request")
  events.collect()
  local result = request.result
  if not result then return 0, request.line.prompt_tokens or 0, request.tokens or 0, 0 end
  return finishes[result.finish_reason] or 5, result.prompt_tokens or 0, #(result.ids or {}), (result.timings or {}).tokens_per_s or 0
end

function host.request_text(number)
  local request = objects.get(number, "request")
  events.collect()
  return request.result and (request.result.error or request.result.text) or request.text
end

function host.converse(number, options)
  return objects.add("conversation", conversation.new(objects.entry(number, "model"), options_of(options)))
end

function host.say(number, text) return conversation.say(objects.get(number, "conversation"), text, host.native.worker) end

function host.save(number, path) as_host(conversation.save, objects.get(number, "conversation"), path) end

function host.restore(number, path)
  return objects.add("conversation", as_host(conversation.restore, objects.entry(number, "model"), path))
end

-- ---------------------------------------------------------------- scripts

host.run = scripts.run
host.run_file = scripts.run_file
host.call = scripts.call

--- What a value is for C: "json" with its text, "object" with its kind and number, or its own type.
function host.describe(value)
  local kind = type(value)
  if kind == "table" and not getmetatable(value) or kind == "table" and getmetatable(value).json then
    return "json", pl.json.encode(value)
  end
  if kind == "userdata" and core.type(value) == "Tensor" then return "floats", value:to "cpu":to "f32" end
  if kind ~= "table" and kind ~= "userdata" and kind ~= "function" and kind ~= "thread" and kind ~= "cdata" then return kind end
  return "object", objects.number_of(value)
end

--- A value that C hands in: JSON text, floats as a list, an object's number.
function host.from_json(text) return pl.json.decode(text, { name = "argument" }) end

function host.from_floats(list) return pl.tensor(list, { axes = { "n" } }) end

host.object = objects.any

--- Threads that compute, and what memory is used.
host.set_threads = core.set_threads
host.memory = core.memory
host.names = function() return names_of(host) end

return host
