-- Lua's functions with bounds on the work of one call, which cannot be interrupted: a pattern with q repetitions looks
-- at a text of n bytes at most about n^(q+1) times, an insertion moves every entry behind its place.
local core = require "perilune.core"

local gsub = string.gsub   -- the plain one: strings' own methods are bounded in the end

local bounded = {}

local most_steps = 1e9
local most_bytes = 16 * 2 ^ 20   -- of one text

local function refuse(op, problem) core.error { code = "length", op = op, message = problem } end

-- Repetitions of a pattern, and other parts that look at many bytes.
local function repetitions(pattern)
  local plain = gsub(gsub(pattern, "%%[^b%df]", "x"), "%[%^?%]?[^%]]*%]", "x")
  local _, count = gsub(plain, "[*+?-]", "")
  local _, wide = gsub(plain, "%%[b%d]", "")
  return count + wide
end

local function check(op, text, pattern)
  if type(text) ~= "string" or type(pattern) ~= "string" then return end
  if #pattern > 200 then refuse(op, ("a pattern of %d bytes; at most 200"):format(#pattern)) end
  local q = repetitions(pattern)
  if (#text + 1) ^ (math.max(q, pattern:byte(1) == 94 and q or q + 1)) > most_steps then
    refuse(op, ("a pattern with %d repetitions over %d bytes may take too long"):format(q, #text))
  end
end

--- The library `string`, bounded.
---@return table
function bounded.string()
  local plain, out = string, {}
  for name, f in pairs(plain) do out[name] = f end
  local find, rep = plain.find, plain.rep
  for _, name in ipairs { "match", "gmatch", "gsub" } do
    local f = plain[name]
    out[name] = function(text, pattern, ...)
      check(name, text, pattern)
      return f(text, pattern, ...)
    end
  end
  out.find = function(text, pattern, from, is_plain)
    if not is_plain then check("find", text, pattern) end
    return find(text, pattern, from, is_plain)
  end
  out.rep = function(text, n, ...)
    if type(text) == "string" and type(n) == "number" and #text * n > most_bytes then
      refuse("rep", ("a text of %.0f bytes; at most %d"):format(#text * n, most_bytes))
    end
    return rep(text, n, ...)
  end
  out.dump = nil
  return out
end

--- table.insert, for places of the list or right behind it.
---@return function
function bounded.insert()
  local insert = table.insert
  return function(t, ...)
    local at = ...
    if select("#", ...) == 2 and type(t) == "table" and type(at) == "number" and not (at >= 1 and at <= #t + 1) then
      refuse("insert", ("place %.14g of a list of %d entries"):format(at, #t))
    end
    return insert(t, ...)
  end
end

return bounded
