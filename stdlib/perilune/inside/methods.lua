-- The methods of a model that look inside it: hooks, stops, tables and pictures of a pass.
local hooks = require "perilune.loaded.hooks"

local Model = {}

--- Calls `f` with the tensor of a canonical path whenever forward, trace or generate computes it; what it
--- returns (same shape and dtype), if anything, takes the tensor's place. `*` is one component: the hook is called for
--- every path that fits, which is its second argument. The model runs eagerly while it has hooks. Changed attention weights
--- act: each head sums the values under them, over the keys that its token sees.
---
---     local m = pl.load "scripts/models/tales"
---     local before = m:forward("The").logits
---     local handle = m:hook("layers.2", function(t) return t * 0 end)
---     print(m:forward("The").logits:equal(before))                          --> false
---     handle:remove()
---     print(m:forward("The").logits:equal(before))                          --> true
---@param path string a path or a pattern, such as "layers.*.mlp"
---@param f fun(t: Tensor, path: string): Tensor|nil
---@return Hook handle handle:remove(), handle.path
function Model:hook(path, f) return hooks.add(self, path, f) end

--- The hooks of a model in the order they run; prints as a list. hooks:remove() takes all away.
---
---     local m = pl.load "scripts/models/tales"
---     m:hook("layers.*.mlp", print)
---     print(#m:hooks(), m:hooks()[1].path)                                  --> 1	layers.*.mlp
---     m:hooks():remove()
---     print(#m:hooks())                                                     --> 0
---@return Hook[]
function Model:hooks() return hooks.list(self) end

--- One pass that stops: at the next op, at breakpoints, where an expression is true. At a stop lines see the family's
--- locals by name, `t` (what the op gave, replaced by `t = …`), `op` and `path`. At the prompt of the perilune program a
--- person says how to go on; a script gives commands as a list (texts as they would be typed, or functions of the names
--- at the stop), after whose last the pass runs to its end. With generate= it stops at every token as well, where `row`
--- (the scores after processors), `raw` (before them), `step`, `ids` and `text` are seen.
---
--- :step :next :token :continue :break :unbreak :locals :up :down :where :stops :rewind :fork :leave :rivals :choose
---
---     local m = pl.load("scripts/models/tales", { compute = "f32" })
---     local r, said = m:debug("The", { ":break layers.1.mlp", ":continue", "t = t * 0", "x.shape" })
---     print(said[#said])                                                    --> [token=2, hidden=256]
---     print(r.logits:equal(m:forward("The").logits))                        --> false
---@param input any as forward or generate takes it
---@param opts table|nil { generate=true (or options of m:generate), rows=, decoder=, cache= (else as forward takes them) }, and in it
--- commands as a list
---@return table|nil result what forward or generate gives; nil when it was left
---@return string[]|nil transcript what the commands said
function Model:debug(input, opts) return require("perilune.inside.debugging").debug(self, input, opts) end

--- The shapes and statistics of a whole pass, a row an op, in the order they ran; rows whose op is "=" are named tensors.
--- Prints as a table.
---
---     local m = pl.load "scripts/models/tales"
---     local list = m:activations "Once"
---     print(list[1].op, list[1].path, list[1].shape)                        --> embedding	embed_tokens	[token=2, hidden=256]
---@param input any as forward takes it
---@param opts table|nil { rows=, decoder=, decoder_start_token_id=, allow_foreign= }
---@return table[] list of { op=, path=, shape=, dtype=, min=, max=, mean=, std=, nan=, inf=, line= }
function Model:activations(input, opts) return require("perilune.inside.activations").of(self, input, opts) end

--- What each layer would say if it were the last (the logit lens): its residual through the model's own norm and head.
--- Prints as layers by positions, each with its likeliest token.
---
---     local m = pl.load "scripts/models/tales"
---     local l = m:lens("Once upon a", { top = 2 })
---     local last = l[#l].tokens[4][1]
---     print(#l, l[1].path, last.piece)                                      --> 7	embeddings	▁time
---@param input any one text or row of ids
---@param opts table|nil { top=1 (tokens of each position), decoder= }
---@return table list of { path=, tokens={ { { id=, piece=, probability= }, … }, … by position } }; pieces=, ids=
function Model:lens(input, opts) return require("perilune.inside.lens").of(self, input, opts) end

--- Who looks at whom in one head, or in the mean of all: a map with the tokens on both axes, printed or drawn.
---
---     local m = pl.load "scripts/models/tales"
---     local map = m:attention("Once upon a", { layer = 2, head = 1 })
---     print(map.weights.shape)                                              --> [query=4, key=4]
---@param input any one text or row of ids
---@param opts table|nil { layer=0, head= (from 1; default: the mean), side="encoder"|"decoder"|"cross" (of an encoder-decoder; cross:
--- who of the decoder's text looks at whom of the source), decoder= (its text, as forward takes it) }
---@return table { weights= Tensor [query, key], queries=, keys=, layer=, head= }; map:plot(file)
function Model:attention(input, opts) return require("perilune.inside.attention_map").of(self, input, opts) end

--- Causal tracing: activations of the run of one text, put one at a time (a path, a position) into the run of another, and
--- what each changes of the probability of a token. Prints as a heat map of paths by positions.
---
---     local m = pl.load "scripts/models/tales"
---     local p = m:patch { from = "Once upon a", into = "She was a", paths = "layers.*" }
---     print(p.effect.shape, p.piece)                                        --> [layer=6, token=4]	▁time
---@param opts table { from=, into= (texts of as many tokens), paths="layers.*", token= (default: the first's likeliest), positions=,
--- on_progress=function(done, total) }
---@return table { effect= Tensor [layer, token], before=, wanted=, token=, piece=, paths=, positions=, pieces= }; p:plot(file)
function Model:patch(opts) return require("perilune.inside.patch").of(self, opts) end

return Model
