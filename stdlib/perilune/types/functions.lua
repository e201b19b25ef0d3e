---@meta
-- What the engine itself gives: declarations for the reference, for ?name and for editors. Never run.
local pl = {}

--- A tensor from nested lists; rows that differ in length raise.
---@param data table|number
---@param opts table|nil { dtype="f32", axes={ "batch", "hidden" } }
---@return Tensor
function pl.tensor(data, opts) end

--- Zeros.
---@param sizes integer[]
---@param opts table { dtype="f32", axes= }
---@return Tensor
function pl.zeros(sizes, opts) end

--- Ones.
---@param sizes integer[]
---@param opts table { dtype="f32", axes= }
---@return Tensor
function pl.ones(sizes, opts) end

--- Whole numbers in order.
---@param ... any first, last, and { dtype=, axes= }
---@return Tensor
function pl.arange(...) end

--- Random numbers: a hash of the seed and each element's place.
---@param sizes integer[]
---@param opts table { seed=, dtype=, axes=, … }
---@return Tensor
function pl.random(sizes, opts) end

--- Tensors end to end along an axis they have; every other axis must agree.
---@param list Tensor[]
---@param axis string
---@return Tensor
function pl.cat(list, axis) end

--- Tensors of one shape along a new axis.
---@param list Tensor[]
---@param axis string
---@return Tensor
function pl.stack(list, axis) end

--- Cuts all tensors to the shortest along an axis, and says what each lost.
---@param list Tensor[]
---@param axis string
---@return Tensor[]
---@return integer[] lost
function pl.clamp_to_shortest(list, axis) end

--- Rows of ids as a batch: ragged, nothing padded. `inputs` gives named inputs beside them, or alone: one
--- tensor a row, whose first axis is ragged, too ({ features = { [frame, mel], … } }).
---@param rows integer[][]|Tensor[]|nil
---@param opts table|nil { pairs= (second parts, of type 1), inputs=, positions=, type_ids=, labels=, rows="last"|"all"|lists }
---@return Batch
function pl.batch(rows, opts) end

--- A padded pair as a batch; a mask with a hole raises with its row.
---@param ids Tensor|integer[][] [batch, seq]
---@param mask Tensor|integer[][] [batch, seq], 0 or 1
---@return Batch
function pl.batch_from_padded(ids, mask) end

--- Monotonic wall time in seconds.
---@return number
function pl.clock() end

--- Who is told of warnings; nil for nobody.
---@param f fun(text: string, where: string)|nil
function pl.on_warning(f) end

return pl
