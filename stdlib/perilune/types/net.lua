---@meta
-- What a family's passes call: declarations for the reference, for ?name and for editors. Never run.

--- A scope of a model's modules: paths are below it. A shape that does not fit raises at the family's
--- line. Ops keep the ragged axis of x, whatever its name.
---@class Net
---@field config table what the family's config gave
---@field path string the scope's path in the checkpoint
---@field canonical string the scope's path in names for tracing
---@field tracing boolean whether the pass is written down; false when it runs line by line
local Net = {}

--- A scope below this one.
---@param path string in the checkpoint, such as "model.layers.3"
---@param canonical string|nil for tracing, such as "layers.3"; default: none is added
---@param opts table|nil { axes={ ffn=, … } }: sizes that differ from the model's
---@return Net
function Net:scope(path, canonical, opts) end

--- Names a tensor for tracing: its scope's canonical path, and a name below it.
---@param name string|Tensor may be left out: the scope itself
---@param t Tensor|nil
---@return Tensor t
function Net:mark(name, t) end

--- Whether the checkpoint has a tensor or module of this path, from the file's header.
---@param path string
---@return boolean
function Net:has(path) end

--- A checkpoint tensor as it is.
---@param path string
---@param axes string[] its axes, in the file's order
---@return Tensor
function Net:tensor(path, axes) end

--- Rows of a table: [token] → [token, hidden].
---@param ids Tensor i32 [token]: ids, positions or type ids
---@param path string its weight is [vocab, hidden]
---@param opts table|nil { offset=0 (added to ids), scale=1, axis="hidden" }
---@return Tensor
function Net:embedding(ids, path, opts) end

--- 0, 1, 2 … in every row: [token].
---@param x Tensor
---@return Tensor
function Net:positions(x) end

--- x W^T + b over its last axis, or over the axes named.
---@param x Tensor [token, …, in]
---@param path string its weight is [out, in]
---@param axes string|string[] of the result: one, or several that its outputs split into
---@param opts table|nil { over= (default: the last axis), bias=false }
---@return Tensor
function Net:linear(x, path, axes, opts) end

--- Logits: a linear layer whose weight may be another module's.
---@param x Tensor [token, hidden]
---@param path string
---@param axis string "vocab" or "class"
---@param opts table|nil { tied= (a path from the root), bias=false|true|a tensor's full name, scale=1 }
---@return Tensor
function Net:head(x, path, axis, opts) end

--- Root mean square normalisation over the last axis (Zhang and Sennrich, 2019).
---@param x Tensor
---@param path string
---@param eps number
---@param opts table|nil { plus_one=false, over= }
---@return Tensor
function Net:rms_norm(x, path, eps, opts) end

--- Layer normalisation over the last axis (Ba et al., 2016).
---@param x Tensor
---@param path string
---@param eps number
---@param opts table|nil { bias=true }
---@return Tensor
function Net:layer_norm(x, path, eps, opts) end

--- Rotary position embedding (Su et al., 2021) of queries or keys.
---@param x Tensor [token, head, head_dim]
---@param positions Tensor i32 [token]
---@param options table what pl.rope_options gave
---@return Tensor
function Net:rope(x, positions, options) end

--- Keys and values that a layer keeps: what each token sees is its row so far.
---@param k Tensor [token, kv_head, head_dim]
---@param v Tensor [token, kv_head, head_dim]
---@param opts table|nil { window= (the last n positions, its own included), kind="self"|"cross" }
---@return KeysAndValues kv
function Net:cached(k, v, opts) end

--- Keys and values of this pass alone, as an encoder has them.
---@param k Tensor [token, kv_head, head_dim]
---@param v Tensor [token, kv_head, head_dim]
---@param opts table|nil { window= (distance below n, both ways) }
---@return KeysAndValues kv
function Net:uncached(k, v, opts) end

--- Keys and values that this layer's `cross` wrote: each row sees its own source.
---@return KeysAndValues kv
function Net:cross() end

--- softmax(q k^T scale + bias) v, row by row.
---@param q Tensor [token, head, head_dim]
---@param kv KeysAndValues what cached, uncached or cross gave
---@param opts table { mask="causal"|"none" (must be given), scale=1/sqrt(head_dim), softcap=, bias=, name="attention" }
---@return Tensor [token, head, head_dim]
function Net:attention(q, kv, opts) end

--- Relative position bias in buckets (Raffel et al., 2020), for every layer's attention.
---@param path string its weight is [buckets, head]
---@param opts table|nil { buckets=32, max_distance=128, bidirectional=false }
---@return RelativeBias bias
function Net:relative_bias(path, opts) end

--- An activation by its published name; an unknown one raises.
---@param x Tensor
---@param name string "gelu", "gelu_new", "silu", "relu", …
---@return Tensor
function Net:activation(x, name) end

--- max(x, 0).
---@param x Tensor
---@return Tensor
function Net:relu(x) end

--- x * Phi(x), by the error function.
---@param x Tensor
---@return Tensor
function Net:gelu(x) end

--- x * sigmoid(x).
---@param x Tensor
---@return Tensor
function Net:silu(x) end

--- Hyperbolic tangent.
---@param x Tensor
---@return Tensor
function Net:tanh(x) end

--- 1 / (1 + exp(-x)).
---@param x Tensor
---@return Tensor
function Net:sigmoid(x) end

--- cap * tanh(x / cap).
---@param x Tensor
---@param cap number
---@return Tensor
function Net:softcap(x, cap) end

--- e to the power of each element.
---@param x Tensor
---@return Tensor
function Net:exp(x) end

--- x divided by its Euclidean length over the last axis.
---@param x Tensor
---@return Tensor
function Net:normalize(x) end

--- One token of every row: [token, …] → [batch, …].
---@param x Tensor
---@param which string "first", "last" or "eos" (the first of config.eos, else the last)
---@return Tensor
function Net:select(x, which) end

--- The mean of every row's tokens: [token, …] → [batch, …].
---@param x Tensor
---@return Tensor
function Net:mean(x) end

--- A convolution along the rows of x: [frame, in] → [frame, out], with weight [out, in, width]. A row of n frames
--- becomes (n + 2 padding - width) / stride + 1, zeros outside it; the result has a ragged axis of its own.
---@param x Tensor [frame, in]
---@param path string its weight is [out, in, width]
---@param axis string of the result
---@param opts table|nil { stride=1, padding=0, bias=false }
---@return Tensor [frame, axis]
function Net:conv1d(x, path, axis, opts) end

--- Pictures as rows of patches, from the top left, line by line, each times a weight: [batch, channel, height, width] →
--- [patch, axis] (Dosovitskiy et al., 2020).
---@param pixels Tensor batch.pixels
---@param path string its weight is [out, channel, size, size]
---@param axis string of the result
---@param opts table|nil { size= (default: the weight's), bias=false }
---@return Tensor [patch, axis]
function Net:patches(pixels, path, axis, opts) end

--- x with a stored tensor before every row (a class token): rows are longer by its entries.
---@param x Tensor [token, hidden]
---@param path string a tensor [hidden] or [entries, hidden], or a module with such a weight
---@return Tensor [token, hidden] over an axis of its own
function Net:prepend(x, path) end

--- Sines and cosines of positions (Vaswani et al., 2017): [token] → [token, hidden]. By default as Whisper has them:
--- sines, then cosines, of position * max_period^(-j / (pairs - 1)); without `endpoint` of ^(-j / pairs).
---@param positions Tensor i32 [token]: net:positions(x), batch.positions
---@param opts table|nil { axis="hidden", max_period=10000, style="half"|"interleaved", endpoint=true }
---@return Tensor [token, hidden]
function Net:sinusoids(positions, opts) end

return Net
