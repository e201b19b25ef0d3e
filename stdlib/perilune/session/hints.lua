-- One line about the call that is being typed: what it takes, and the option at the cursor.
local documentation = require "perilune.help.documentation"
local place = require "perilune.session.place"

local hints = {}

-- "seed integer  the same seed gives the same text": the option whose value is being typed.
local function option_text(entry, key)
  for _, param in ipairs(entry.params) do
    local class = param.type:match "(%u%w*Options)"
    for _, field in ipairs(class and documentation.of(class) or {}) do
      if field.member == key then return ("%s: %s  %s"):format(key, field.type, field.text) end
    end
  end
  return nil
end

--- What the call takes that is open at the end of a text, or nil.
---@param text string
---@return string|nil
function hints.text(text)
  local stack, quote = place.open_places(text)
  if #stack == 0 then return nil end
  local callee, in_table = place.open_call(quote and text:sub(1, quote.at - 1) or text, stack)
  local entry = callee and place.entry_of(callee)
  if not entry then return nil end
  local key = in_table and text:match "[{,]%s*([%a_][%w_]*)%s*=%s*[^,{}]*$"
  return key and option_text(entry, key) or documentation.signature(entry)
end

return hints
