---@meta
-- What the engine itself gives: declarations for the reference, for ?name and for editors. Never run.

---@class Request
---@field id integer from 1, in order of arrival
---@field state string "waiting", "running" or "done"
---@field prompt_tokens integer tokens of its prompt
local Request = {}

--- Its events that nobody took yet; yields what is there and never steps: `for event in line:events() do`.
---
---     local m = pl.load "scripts/models/tales"
---     local engine, text = pl.engine(m), {}
---     local line = engine:submit("Once", { max_new_tokens = 3, do_sample = false })
---     engine:drain()
---     for event in line:events() do text[#text + 1] = event.text end
---     print(table.concat(text) == line:result().text)                       --> true
---@return fun(): table event { kind="token"|"done"|"error"|"warning", text= ("" of done), id=, output= (of several), finish_reason= (of done) }
function Request:events() end

--- The result; nil until it is done.
---
---     local m = pl.load "scripts/models/tales"
---     local engine = pl.engine(m)
---     local line = engine:submit("Once upon a time", { max_new_tokens = 3, do_sample = false })
---     print(line:result() == nil)                                           --> true
---     engine:drain()
---     print(line:result().prompt_tokens)                                    --> 5
---@return table|nil Result
function Request:result() end

--- Ends it at the next chance.
---
---     local m = pl.load "scripts/models/tales"
---     local engine = pl.engine(m)
---     local line = engine:submit("Once upon a time", { max_new_tokens = 50 })
---     line:cancel()
---     engine:drain()
---     print(line:result().finish_reason)                                    --> cancelled
function Request:cancel() end

--- Where the scheduler has it: "waiting", "prefill", "decode" or "done".
---
---     local m = pl.load "scripts/models/tales"
---     local engine = pl.engine(m)
---     local line = engine:submit("Once upon a time", { max_new_tokens = 3, do_sample = false })
---     print(line:wait_state())                                              --> waiting
---@return string
function Request:wait_state() end

return Request
