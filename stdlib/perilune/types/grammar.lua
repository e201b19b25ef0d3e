---@meta
-- What the engine itself gives: declarations for the reference, for ?name and for editors. Never run.

---@class Grammar
---@field kind string what it was made of: "regex", "json_schema", "gbnf" or "choices"
local Grammar = {}

--- Whether a text fits as a whole.
---
---     local g = pl.grammar { json_schema = { type = "array", items = { type = "integer" } } }
---     print(g:accepts "[1, 2]", g:accepts "[1, 2", g:accepts "[x]")         --> true	false	false
---@param text string
---@return boolean
function Grammar:accepts(text) end

--- Whether a text that fits begins so.
---
---     local g = pl.grammar { choices = { "yes", "no" } }
---     print(g:prefix "ye", g:prefix "yes", g:prefix "yess")                 --> true	true	false
---@param text string
---@return boolean
function Grammar:prefix(text) end

return Grammar
