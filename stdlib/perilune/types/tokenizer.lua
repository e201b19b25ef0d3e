---@meta
-- What the engine itself gives: declarations for the reference, for ?name and for editors. Never run.

---@class Tokenizer
---@field kind string "sentencepiece", "bpe", "wordpiece", "unigram", "wordlevel" or "tiktoken"
---@field marks_inner_pieces boolean whether what goes on inside a word is spelled with a mark ("##ing")
---@field vocab_size integer pieces of the base vocabulary
---@field max_id integer the highest id, added tokens included
---@field max_base_id integer the highest id of the base vocabulary or a special token
---@field specials table<string, integer> bos, eos, unk, cls, sep, mask and pad, where there are such; pad may be chosen: tok.specials.pad = id
---@field model_max_length integer|nil tokens that its files name as the longest
---@field added_tokens table[] { id=, piece=, special= }
---@field chat_templates table<string, string> Jinja sources by name, as its files carry them; most have one, "default"
---@field padding_side string|nil "left" or "right", where its files say; advice, not what is done
---@field truncation_side string|nil "left" or "right", where its files say; advice, not what is done
---@field warnings string[] what was odd about its files
---@field path string where it was read from
local Tokenizer = {}

--- Texts as a batch of ids. With `special=false` nothing is put in; with `recognize=false` special
--- tokens that are written in the text are plain text.
---
---     local tok = pl.tokenizer "scripts/models/reviews"
---     local b = tok:encode { "not bad", { text = "a question", pair = "an answer" } }
---     print(b.size, b:row(1).length)                                        --> 2	4
---@param input string|table a text, { text=, pair= }, or a list of either
---@param opts table|nil { special=true, recognize=true, truncate={ to=n|"model", side=, strategy=, stride=, windows= } }
---@return Batch
function Tokenizer:encode(input, opts) end

--- One text as a list of ids.
---
---     local tok = pl.tokenizer "scripts/models/reviews"
---     print(#tok:ids "not bad", #tok:ids("not bad", { special = false }))   --> 4	2
---@param text string
---@param opts table|nil as encode takes them
---@return integer[]
function Tokenizer:ids(text, opts) end

--- Ids as text.
---
---     local tok = pl.tokenizer "scripts/models/reviews"
---     print(tok:decode(tok:ids "not bad"))                                  --> not bad
---@param ids integer[]|integer[][]
---@param opts table|nil { special=false }
---@return string|string[]
function Tokenizer:decode(ids, opts) end

--- A decoder that takes ids one by one and never cuts a character.
---
---     local tok = pl.tokenizer "scripts/models/tales"
---     local decoder, out = tok:decoder(), {}
---     for _, id in ipairs(tok:ids "café") do out[#out + 1] = decoder:push(id) end
---     print(table.concat(out) .. decoder:flush())                           --> café
---@param opts table|nil { special=false, continues=false (true: the text follows other text) }
---@return Decoder
function Tokenizer:decoder(opts) end

--- Every token of a text with its place (bytes, from 1, inclusive): `text:sub(t.first, t.last)` is
--- what it came from. Tokens that were put in have no place; `word` counts the pieces that the text was
--- cut into before the vocabulary was asked, from 1 (nil where a tokenizer cuts none); `pair` is true
--- for tokens of the second text.
---
---     local tok, text = pl.tokenizer "scripts/models/reviews", "not bad"
---     local token = tok:tokens(text)[3]
---     print(token.piece, text:sub(token.first, token.last))                 --> bad	bad
---@param input string|table a text, or { text=, pair= }
---@param opts table|nil { special=true, recognize=true }
---@return table[] { id=, piece=, first=, last=, special=, word=, pair= }
function Tokenizer:tokens(input, opts) end

--- Messages as the text of a prompt, by the model's own Jinja template (chat_templates: "tool_use" where
--- there is one and tools are given, else "default"). Encode it with special tokens recognised and none
--- added: tok:ids(text, { special = false }); m:generate { messages= } does so. Keys of a Lua table have
--- no order: type, function, name, description, parameters, … come first, the others by name; {} is a
--- list, but a dictionary as properties, parameters and arguments. Messages, tools and documents given as
--- JSON text keep their order, null, and 1.0 beside 1. `template` is a name or a source; `date` (today, else
--- "YYYY-MM-DD" or seconds) is what strftime_now tells. With `continue_final_message` the prompt ends inside
--- the last message, whose text the model goes on with ("reasoning_content": inside its thought). Keys of a
--- message whose value is null count as absent. Warns when tools or documents are given and the template
--- never reads them.
---
---     local tok = pl.tokenizer "scripts/models/tales"
---     local source = "{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %}"
---     print(tok:chat({ { role = "user", content = "Hello" } }, { template = source }))   --> [user] Hello
---@param messages table[]|string list of { role=, content=, tool_calls=, … }, or the same as JSON text
---@param opts table|nil { tools=, documents=, add_generation_prompt=true, continue_final_message=, template=, date=, variables={ enable_thinking=false } }
---@return string
function Tokenizer:chat(messages, opts) end

--- The id of exactly this piece; nil without one.
---
---     local tok = pl.tokenizer "scripts/models/reviews"
---     print(tok:piece(tok:id "good"), (tok:id "no such piece"))             --> good	nil
---@param piece string
---@return integer|nil
function Tokenizer:id(piece) end

--- How the vocabulary writes an id.
---
---     local tok = pl.tokenizer "scripts/models/reviews"
---     print(tok:piece(tok:id "bad"))                                        --> bad
---@param id integer
---@return string
function Tokenizer:piece(id) end

--- The text that spellings make together, as decode writes it; spaces before punctuation stay.
---
---     local tok = pl.tokenizer "scripts/models/reviews"
---     print(tok:join { "un", "##true" })                                    --> untrue
---@param pieces string[]
---@return string
function Tokenizer:join(pieces) end

--- Whether ids of one tokenizer mean the same in the other: every piece has the same id in both. An added
--- token may be missing in one.
---
---     local tok = pl.tokenizer "scripts/models/reviews"
---     print(tok:same_vocabulary(pl.tokenizer "scripts/models/tales"))       --> false
---@param other Tokenizer
---@return boolean
function Tokenizer:same_vocabulary(other) end

--- Whether decode leaves an id out.
---
---     local tok = pl.tokenizer "scripts/models/reviews"
---     print(tok:is_special(tok.specials.cls), tok:is_special(tok:ids "bad"[1]))     --> true	true
---@param id integer
---@return boolean
function Tokenizer:is_special(id) end

--- Adds pieces after the highest id.
---
---     local tok = pl.tokenizer "scripts/models/reviews"
---     print(#tok:add { "<tag>" })                                           --> 1
---@param pieces string[]|table { …, special= }
---@return integer[] ids
function Tokenizer:add(pieces) end

--- A stage of pl.pipeline{ … }: row.text, a text or { text=, pair= } → row.batch.
---
---     local tok = pl.tokenizer "scripts/models/reviews"
---     local stage = tok:stage {}
---     print(#stage { text = "not bad" }.batch:row(1).ids)                   --> 4
---@param opts table|nil { from="text", to="batch", special=true, truncate= }
---@return fun(row: table): table
function Tokenizer:stage(opts) end

---@class Decoder
local Decoder = {}

--- Takes an id; gives the text that is complete now ("" while a character is open).
---
---     local tok = pl.tokenizer "scripts/models/tales"
---     local decoder, text = tok:decoder(), {}
---     for _, id in ipairs(tok:ids("Once upon", { special = false })) do text[#text + 1] = decoder:push(id) end
---     print(table.concat(text) .. decoder:flush())                          --> Once upon
---@param id integer
---@return string
function Decoder:push(id) end

--- What was still open.
---
---     local decoder = pl.tokenizer "scripts/models/tales":decoder()
---     print(#decoder:flush())                                               --> 0
---@return string
function Decoder:flush() end

return { Tokenizer = Tokenizer, Decoder = Decoder }
