--- The Lua specs' test runner: `local t = require "spec"`.
--- A spec is a file that calls t.test(name, fn) any number of times; tests/lua/run_spec.lua runs it.
local spec = { tests = {} }

local Skip = {}

local function show(value)
  if type(value) == "string" then return ("%q"):format(value) end
  return tostring(value)
end

-- Blames the line that called the assertion.
local function fail(message)
  error(message, 3)
end

local function same(a, b, seen)
  if a == b then return true end
  if a ~= a and b ~= b then return true end
  if type(a) ~= "table" or type(b) ~= "table" then return false end
  if seen[a] == b then return true end
  seen[a] = b
  for key, value in pairs(a) do
    if not same(value, b[key], seen) then return false, key end
  end
  for key in pairs(b) do
    if a[key] == nil then return false, key end
  end
  return true
end

-- Where and how two numbers or nested arrays of numbers differ, or nil.
local function difference(a, b, tolerance, path)
  if type(a) == "table" and type(b) == "table" then
    if #a ~= #b then return ("at %s: expected %d values, got %d"):format(path, #b, #a) end
    for i = 1, #a do
      local wrong = difference(a[i], b[i], tolerance, path .. "[" .. i .. "]")
      if wrong then return wrong end
    end
  elseif type(a) ~= "number" or type(b) ~= "number" then
    return ("at %s: expected %s, got %s"):format(path, show(b), show(a))
  elseif not (a == b or math.abs(a - b) <= tolerance) then
    return ("at %s: expected %.9g within %g, got %.9g"):format(path, b, tolerance, a)
  end
  return nil
end

--- Adds a test. It passes when `fn` returns.
---@param name string
---@param fn fun()
function spec.test(name, fn)
  assert(type(name) == "string" and type(fn) == "function", "t.test(name, fn)")
  spec.tests[#spec.tests + 1] = { name = name, fn = fn }
end

--- Ends the test that runs as skipped, or the whole spec when called outside of tests.
---@param reason string
function spec.skip(reason)
  error(setmetatable({ reason = reason }, Skip), 0)
end

--- Fails unless `value` is neither nil nor false.
function spec.ok(value, message)
  if not value then fail(message or ("expected a true value, got " .. show(value))) end
  return value
end

--- Fails unless `a` equals `b`; tables are compared by content, NaN equals NaN.
function spec.equal(a, b, message)
  local equal, key = same(a, b, {})
  if equal then return end
  local where = key ~= nil and (" (first difference at key " .. show(key) .. ")") or ""
  fail((message and message .. ": " or "") .. "expected " .. show(b) .. ", got " .. show(a) .. where)
end

--- Fails when `a` equals `b`, compared as spec.equal does.
function spec.differ(a, b, message)
  if same(a, b, {}) then fail((message and message .. ": " or "") .. "expected another value than " .. show(a)) end
end

--- A copy of a table with changes.
---@param base table
---@param changes table
---@return table
function spec.with(base, changes)
  local out = {}
  for key, value in pairs(base) do out[key] = value end
  for key, value in pairs(changes) do out[key] = value end
  return out
end

--- Fails when two numbers, or two arrays of numbers, are further apart than `tolerance`.
function spec.near(a, b, tolerance, message)
  local wrong = difference(a, b, tolerance, "value")
  if wrong then fail((message and message .. ": " or "") .. wrong) end
end

-- What `fn` raises, and what is wrong with its text: a part that it lacks.
local function caught(fn, plain, ...)
  local fine, raised = pcall(fn)
  if fine then return nil, "expected an error, none was raised" end
  local text = tostring(raised)
  for i = 1, select("#", ...) do
    local part = select(i, ...)
    if not text:find(part, 1, plain) then
      return raised, ("expected an error that %s %s, got: %s"):format(plain and "says" or "matches", show(part), text)
    end
  end
  return raised
end

--- Fails unless `fn` raises an error whose text matches every Lua pattern given.
---@return any error what was raised
function spec.raises(fn, ...)
  local raised, wrong = caught(fn, false, ...)
  if wrong then fail(wrong) end
  return raised
end

--- Fails unless `fn` raises an error whose text holds every string given, taken literally.
---@return any error what was raised
function spec.raises_text(fn, ...)
  local raised, wrong = caught(fn, true, ...)
  if wrong then fail(wrong) end
  return raised
end

--- Fails unless `fn` raises an error table with all its parts, whose text holds every string given.
---@return table error what was raised
function spec.raises_table(fn, ...)
  local raised, wrong = caught(fn, true, ...)
  if wrong then fail(wrong) end
  if type(raised) ~= "table" then fail("expected an error table, got: " .. tostring(raised)) end
  for _, field in ipairs { "message", "code", "op", "traceback" } do
    if type(raised[field]) ~= "string" then fail(("expected a text as the error's %s, got %s"):format(field, show(raised[field]))) end
  end
  if type(raised.shapes) ~= "table" then fail("expected a table as the error's shapes, got " .. show(raised.shapes)) end
  if tostring(raised) ~= raised.message or "<" .. raised .. ">" ~= "<" .. raised.message .. ">" then
    fail("expected an error that prints and concatenates as its message: " .. raised.message)
  end
  return raised
end

--- The reason when `raised` came from t.skip, else nil.
function spec.skip_reason(raised)
  if type(raised) == "table" and getmetatable(raised) == Skip then return raised.reason end
  return nil
end

--- Whether a file can be opened: for reference data that may be missing.
function spec.exists(path)
  local file = io.open(path, "rb")
  if file then file:close() end
  return file ~= nil
end

--- The folder of a golden model. A name that tests/golden does not have is a failure: the project
--- brings every model that a test names.
---@param name string for instance "llama-gqa"
---@return string path
function spec.golden(name)
  local folder = "tests/golden/" .. name
  if not spec.exists(folder .. "/config.json") then fail("tests/golden has no model " .. name) end
  return folder
end

--- What is known of a device in use: its memory, its counts.
---@param name string
---@return table|nil
function spec.device(name)
  for _, each in ipairs(require("perilune").devices()) do
    if each.name == name then return each end
  end
end

return spec
