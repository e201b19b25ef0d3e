---@meta
-- What the engine itself gives: declarations for the reference, for ?name and for editors. Never run.

---@class Batch
---@field size integer rows
---@field tokens integer of all rows together
---@field ids Tensor i32 [token]
---@field has_ids boolean whether its rows are ids
---@field inputs string[] names of what passes can read: positions, type_ids, ids, and those of option inputs
---@field positions Tensor i32 [token], from 0
---@field type_ids Tensor i32 [token], from 0
---@field lengths integer[] tokens of every row
---@field row_starts integer[] where every row starts, from 1
---@field lost integer[] tokens that truncation dropped from every row; 0 where other windows have them
---@field windows integer[] which input every row came from; concat counts the other batch's inputs on
---@field labels integer[][]|nil the labels it was made with
---@field wanted string|integer[][]|nil which tokens it asks answers for: what option rows of pl.batch said
---@field tokenizer Tokenizer|nil what encoded it; a model with another one refuses it
local Batch = {}

--- One row. tokens() lists its tokens with their bytes of the source text; first_token is the row's first
--- token of its text, from 1 and without put-in ones (pair_first_token: of the pair), so that windows lead
--- back to where they began; rows that were given as ids have none.
---
---     local b = pl.batch { { 5, 6, 7 }, { 8 } }
---     print(b:row(1).length, b:row(2).ids[1])                               --> 3	8
---@param i integer
---@return table { ids=, length=, lost=, tokens=function, first_token=, pair_first_token= }
function Batch:row(i) end

--- Iterates over rows: `for i, row in b:rows() do`.
---
---     local b = pl.batch { { 5, 6, 7 }, { 8 } }
---     for i, row in b:rows() do if i == 1 then print(row.length) end end    --> 3
---@return fun(): integer, table
function Batch:rows() end

--- Rows in another order, or fewer.
---
---     local b = pl.batch { { 5, 6, 7 }, { 8 } }
---     print(b:select({ 2 }).tokens)                                         --> 1
---@param list integer[] positions of rows
---@return Batch
function Batch:select(list) end

--- The rows of both. Batches that two tokenizers made are refused unless that is meant.
---
---     print(pl.batch({ { 5 } }):concat(pl.batch { { 6, 7 } }).tokens)       --> 3
---@param other Batch
---@param opts table|nil { allow_foreign=true }
---@return Batch
function Batch:concat(other, opts) end

--- The padded view: ids and mask [batch, seq], and the share of cells that is padding. The pad id is the
--- tokenizer's pad token, or 0 where it has none: any is safe, since the mask says which cells are tokens
--- and a padded pair without its mask is refused.
---
---     local view = pl.batch({ { 5, 6, 7 }, { 8 } }):padded { side = "left" }
---     print(view.ids.shape, view.mask:at { batch = 2, seq = 1 }:item())     --> [batch=2, seq=3]	0
---@param opts table|nil { side="left"|"right" (default: the family's), to="longest"|n, multiple_of=, pad_id= }
---@return table { ids=, mask=, positions=, type_ids=, waste= }
function Batch:padded(opts) end

--- A ragged [token, …] of this batch as [batch, seq, …], zeros outside rows.
---
---     local b = pl.batch { { 5, 6, 7 }, { 8 } }
---     local x = b.ids:to "f32"
---     print(b:pad(x).shape)                                                 --> [batch=2, seq=3]
---@param t Tensor
---@param opts table|nil as padded takes them
---@return Tensor
function Batch:pad(t, opts) end

--- A ragged [token, …] of this batch as one tensor a row.
---
---     local b = pl.batch { { 5, 6, 7 }, { 8 } }
---     local x = b.ids:to "f32"
---     print(#b:split(x), b:split(x)[1]:tolist()[3])                         --> 2	7
---@param t Tensor
---@return Tensor[]
function Batch:split(t) end

--- The mean over every row's tokens.
---
---     local b = pl.batch { { 5, 6, 7 }, { 8 } }
---     local x = b.ids:to "f32"
---     print(table.concat(b:mean(x):tolist(), " "))                          --> 6 8
---@param t Tensor [token, …]
---@return Tensor [batch, …]
function Batch:mean(t) end

--- Every row's first token.
---
---     local b = pl.batch { { 5, 6, 7 }, { 8 } }
---     local x = b.ids:to "f32"
---     print(table.concat(b:first(x):tolist(), " "))                         --> 5 8
---@param t Tensor [token, …]
---@return Tensor [batch, …]
function Batch:first(t) end

--- Every row's last token.
---
---     local b = pl.batch { { 5, 6, 7 }, { 8 } }
---     local x = b.ids:to "f32"
---     print(table.concat(b:last(x):tolist(), " "))                          --> 7 8
---@param t Tensor [token, …]
---@return Tensor [batch, …]
function Batch:last(t) end

return Batch
