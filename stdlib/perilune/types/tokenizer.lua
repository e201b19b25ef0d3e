---@meta
-- What the engine itself gives: declarations for the reference, for ?name and for editors. Never run.

---@class Tokenizer
---@field kind string "sentencepiece", "bpe", "wordpiece", "unigram" or "tiktoken"
---@field vocab_size integer pieces of the base vocabulary
---@field max_id integer the highest id, added tokens included
---@field max_base_id integer the highest id of the base vocabulary or a special token
---@field specials table<string, integer> bos, eos, pad, unk, cls, sep, mask, where there are such
---@field model_max_length integer|nil tokens that its files name as the longest
---@field added_tokens table[] { id=, content=, special= }
---@field warnings string[] what was odd about its files
---@field path string where it was read from
local Tokenizer = {}

--- Texts as a batch of ids.
---@param input string|table a text, { text=, pair= }, or a list of either
---@param opts table|nil { special=true, truncate={ to=n|"model", side=, strategy=, stride=, windows= } }
---@return Batch
function Tokenizer:encode(input, opts) end

--- One text as a list of ids.
---@param text string
---@param opts table|nil as encode takes them
---@return integer[]
function Tokenizer:ids(text, opts) end

--- Ids as text.
---@param ids integer[]|integer[][]
---@param opts table|nil { special=false }
---@return string|string[]
function Tokenizer:decode(ids, opts) end

--- A decoder that takes ids one by one and never cuts a character.
---@param opts table|nil { special=false }
---@return Decoder
function Tokenizer:decoder(opts) end

--- Every token of a text with its place (bytes, from 1, inclusive).
---@param text string
---@return table[] { id=, piece=, first=, last=, special= }
function Tokenizer:tokens(text) end

--- The id of exactly this piece; nil without one.
---@param piece string
---@return integer|nil
function Tokenizer:id(piece) end

--- How the vocabulary writes an id.
---@param id integer
---@return string
function Tokenizer:piece(id) end

--- Whether decode leaves an id out.
---@param id integer
---@return boolean
function Tokenizer:is_special(id) end

--- Adds pieces after the highest id.
---@param pieces string[]|table { …, special= }
---@return integer[] ids
function Tokenizer:add(pieces) end

---@class Decoder
local Decoder = {}

--- Takes an id; gives the text that is complete now ("" while a character is open).
---@param id integer
---@return string
function Decoder:push(id) end

--- What was still open.
---@return string
function Decoder:flush() end

return { Tokenizer = Tokenizer, Decoder = Decoder }
