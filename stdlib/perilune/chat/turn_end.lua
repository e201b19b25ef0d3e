-- What ends an answer to messages beside the model's own eos, which may be another one, and the model would
-- go on as the user: what the template puts behind an answer, and the tokens of the vocabulary that
-- published models end turns with.
local kind = require "perilune.base.kind"
local chat_template = require "perilune.chat.template"

local turn_end = {}

-- A text that no template writes.
local mark = "perilune-answer-ends-here"

-- Spellings that end a turn or a text wherever a vocabulary has them as one token.
local spellings = { "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<turn|>", "<|end|>", "<|endofturn|>", "<|end_of_turn|>",
  "<end_of_utterance>", "<|end_of_utterance|>", "<|eot|>", "<|turn_end|>", "<|END_OF_TURN_TOKEN|>", "<|return|>", "<|call|>",
  "<|end_of_text|>", "<|endoftext|>", "<|EOT|>", "<｜end▁of▁sentence｜>", "[|endofturn|]", "<|user|>", "<|observation|>" }

local known = setmetatable({}, { __mode = "k" })

-- What follows the mark when these messages are rendered; nil where the template refuses them.
local function behind_mark(tok, source, messages)
  local fine, text = pcall(chat_template.chat, tok, messages, { template = source, add_generation_prompt = false })
  if not fine and kind.no_memory(text) then error(text, 0) end
  return fine and text:match("^.*" .. mark:gsub("%-", "%%-") .. "(.*)$") or nil
end

-- { id= } for a special token that is the first thing but white space in a text, { text= } for other text
-- before one; {} for neither.
local function ending(tok, text)
  local ids = tok:ids(text, { special = false })
  for i, id in ipairs(ids) do
    if tok:is_special(id) then
      local before = text:sub(1, (text:find(tok:piece(id), 1, true) or 1) - 1)
      if i == 1 or not before:find "%S" then return { id = id } end
      text = before
      break
    end
  end
  text = text:gsub("%s+$", "")
  return text ~= "" and { text = text } or {}
end

-- What ends an answer, or, where a template only begins the next turn, what that begins with.
local function find(tok, source)
  local messages = { { role = "user", content = "a" }, { role = "assistant", content = mark } }
  local behind = behind_mark(tok, source, messages)
  if behind and behind:find "%S" then return ending(tok, (behind:gsub("^%s+", ""))) end
  messages[3] = { role = "user", content = "perilune-next-turn" }
  behind = behind_mark(tok, source, messages)
  local next_turn = behind and behind:match "^(.-)perilune%-next%-turn"
  return next_turn and next_turn:find "%S" and ending(tok, next_turn) or {}
end

local function behind_answer(tok, opts)
  local fine, source = pcall(chat_template.choose, tok.chat_templates, opts and opts.template, opts ~= nil and opts.tools ~= nil, "chat")
  if not fine then return {} end
  local mine = known[tok] or {}
  known[tok] = mine
  mine[source] = mine[source] or find(tok, source)
  return mine[source], source
end

--- The token that a tokenizer's template puts behind an answer; nil where it puts none, or there is no
--- template.
---@param tok Tokenizer
---@param opts table|nil { template=, tools= } as tok:chat takes them
---@return integer|nil
function turn_end.id(tok, opts) return behind_answer(tok, opts).id end

--- The text that it puts there where that is no token.
---@param tok Tokenizer
---@param opts table|nil
---@return string|nil
function turn_end.text(tok, opts) return behind_answer(tok, opts).text end

--- The ids of a vocabulary that end a turn in published models.
---@param tok Tokenizer
---@return integer[]
function turn_end.vocabulary(tok)
  local ids = {}
  local returns = tok:id "<|return|>" ~= nil   -- there <|end|> ends a thought, and the answer follows
  for _, spelling in ipairs(spellings) do
    local id = tok:id(spelling)
    if id and not (returns and spelling == "<|end|>") then ids[#ids + 1] = id end
  end
  return ids
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

--- The ids that end an answer to messages: the template's, the vocabulary's and the model's own; nil
--- where the model's hold already, or nothing is known.
---@param m Model
---@param defaults table its generation settings
---@param opts table|nil as tok:chat takes them
---@return integer[]|nil
function turn_end.stops(m, defaults, opts)
  if not m.tokenizer then return nil end
  local ids, own = {}, list_of(defaults.eos_token_id)
  local function add(id)
    if id and not turn_end.among(id, own) and not turn_end.among(id, ids) then ids[#ids + 1] = id end
  end
  add(turn_end.id(m.tokenizer, opts))
  for _, id in ipairs(turn_end.vocabulary(m.tokenizer)) do add(id) end
  if #ids == 0 then return nil end
  for _, eos in ipairs(own) do ids[#ids + 1] = eos end
  return ids
end

--- Lets an answer to messages end where its turn does, unless the caller says where: sets eos_token_id,
--- and stop where the template ends a turn with text.
---@param options table of one request; changed
---@param m Model
---@param opts table|nil as tok:chat takes them
function turn_end.add(options, m, opts)
  if options.eos_token_id ~= nil or not m.tokenizer then return end
  local defaults = rawget(m, "state_").generation_defaults
  options.eos_token_id = turn_end.stops(m, defaults, opts)
  local text = turn_end.text(m.tokenizer, opts)
  if not text then return end
  local stops = { text }
  for _, key in ipairs { "stop", "stop_strings" } do
    local given = options[key]
    if given == nil and key == "stop_strings" and options.stop == nil then given = defaults.stop_strings end
    for _, one in ipairs(given ~= nil and list_of(given) or {}) do stops[#stops + 1] = one end
  end
  options.stop, options.stop_strings = stops, nil
end

return turn_end
