-- What a template puts behind an answer: the token that ends a turn, which must stop an answer too. A
-- checkpoint's eos may be another one, and the model would go on as the user.
local chat_template = require "perilune.chat.template"

local turn_end = {}

-- A text that no template writes.
local mark = "perilune-answer-ends-here"

local known = setmetatable({}, { __mode = "k" })

local function find(tok, source)
  local messages = { { role = "user", content = "a" }, { role = "assistant", content = mark } }
  local fine, text = pcall(chat_template.chat, tok, messages, { template = source, add_generation_prompt = false })
  if not fine then return nil end
  local behind = text:match("^.*" .. mark:gsub("%-", "%%-") .. "%s*(.*)$")
  local id = behind and behind ~= "" and tok:ids(behind, { special = false })[1]
  return id and tok:is_special(id) and id or nil
end

--- The token that a tokenizer's template puts behind an answer; nil where it puts none, or there is no
--- template.
---@param tok Tokenizer
---@param opts table|nil { template=, tools= } as tok:chat takes them
---@return integer|nil
function turn_end.id(tok, opts)
  local fine, source = pcall(chat_template.choose, tok.chat_templates, opts and opts.template, opts ~= nil and opts.tools ~= nil, "chat")
  if not fine then return nil end
  local mine = known[tok] or {}
  known[tok] = mine
  if mine[source] == nil then mine[source] = find(tok, source) or false end
  return mine[source] or nil
end

local function list_of(ids) return type(ids) == "table" and ids or { ids } end

--- Whether an id is among those of eos_token_id, one or a list.
---@param id integer
---@param eos integer|integer[]|nil
---@return boolean
function turn_end.among(id, eos)
  for _, one in ipairs(list_of(eos)) do if one == id then return true end end
  return false
end

--- The ids that end an answer to messages: the model's own and the template's; nil where the model's
--- hold already, or nothing is known.
---@param m Model
---@param defaults table its generation settings
---@param opts table|nil as tok:chat takes them
---@return integer[]|nil
function turn_end.stops(m, defaults, opts)
  local id = m.tokenizer and turn_end.id(m.tokenizer, opts)
  if not id then return nil end
  if turn_end.among(id, defaults.eos_token_id) then return nil end
  local ids = { id }
  for _, eos in ipairs(list_of(defaults.eos_token_id)) do ids[#ids + 1] = eos end
  return ids
end

return turn_end
