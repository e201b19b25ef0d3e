return [==[
Quantization

What is stored in few bits runs: GGUF files with any published type are read. On the CPU Q4_0, Q4_1, Q5_0, Q5_1,
Q8_0, Q2_K to Q6_K, IQ4_NL, IQ4_XS and MXFP4 stay codes, in as many bits as the file has; the rarer types, and all of
them on a GPU, become numbers when they are loaded. m:memory() says what a model takes.

Folders that others quantized run by what config.json says in quantization_config (older ones: quantize_config.json
of GPTQ, quant_config.json of AWQ): GPTQ (2, 3, 4 and 8 bits, with and without act-order), AWQ (gemm), bitsandbytes
(LLM.int8, NF4, FP4) and compressed-tensors (int8, packed int4 and int8). Which modules are
quantized is what is stored: lists of modules that were not converted are not needed. On the CPU codes stay codes, in
as many bits as the file has (GPTQ's 2 and 3 whose scales need f32 in 4); groups or levels that no block format holds
become float32, with a warning. "auto" rounds activations only for int8 rows.

    local apart = pl.load("scripts/models/tales", { quantize = "int8", outliers = 6.0 })
    print(apart.compute, apart.outliers)                                 --> int8	6

That is LLM.int8 with its outliers: inputs that reach 6.0 in any row of a step are multiplied apart, in f32. A mode that is
not batch-invariant, and off by default: what is apart depends on all rows of a step, as the model says in its warnings.

    local m = pl.load("scripts/models/reviews", { compute = "f32" })     -- stored as f32
    local half = pl.load("scripts/models/reviews", { compute = "bf16" })
    print(m:memory().weights / half:memory().weights)                    --> 2

`compute` says what products are computed in: "f32"; "bf16", with half the memory of f32 weights and about three
digits; "int8" for weights of few bits, whose codes are multiplied as they are stored, with activations rounded to
eight bits in blocks of 32. "auto" takes what the file and the processor are good at. `cache` is the type of keys
and values: "f32", "f16", "bf16", or on the CPU "int8" with an f32 scale for each token and head.

    print(m.compute, m.cache_dtype, half.compute, half.cache_dtype)      --> f32	f32	bf16	bf16

Any model is quantized here: while it is loaded, or afterwards into a model of its own. A name is for all layers, a
table has patterns, the longest that fits first; embeddings and heads keep their type unless a pattern names them, norms
and biases always do. Types: int8, int8-weight, nf4, fp4, int4, f16, bf16, and GGUF's q4_0, q8_0, q4_k, q6_k, ….

    local full = pl.load("scripts/models/tales", { compute = "f32" })
    local small = full:quantize { ["layers.*.mlp.*"] = "nf4", ["layers.*.self_attn"] = "int8-weight" }
    print(small:memory().weights < full:memory().weights)                --> true
    print(pl.load("scripts/models/tales", { quantize = "int4", tokenizer = false }).quantization.type)   --> int4

m:save writes the blocks, and pl.load reads them back to the same bits. From the shell:
perilune quantize MODEL OUT --to TYPE, a folder or, with .gguf at the end of OUT, a file that llama.cpp reads.

Plain rounding looks at weights alone. `method = "gptq"` and "awq" look at what layers are fed, from a calibration text of
the kind that the model is for, and lose less at the same size; killed, they go on from `folder`. "mixed" measures every
layer and gives each the type that the budget is best spent on: bytes of all weights, or a divergence in nats a token.
Recipes are { type = "int4", group = 128, method = "gptq", calibration = text, folder = "work" } and
{ type = "mixed", bytes = "60M", calibration = text }, or kl = 0.02; m.quantization_plan says why each layer has its type.

perilune quantize takes the same as --method, --calibration, --folder, --bytes, --kl, and reports what was lost.

What was lost is measured, not guessed: layer by layer and in what the model says, against the model before.

    local r = half:quantization_report("Not a bad book.")
    print(r.layers[1].output_error < 0.01, r.cosine_mean > 0.99)         --> true	true

What would fit before a weight is read: pl.estimate(path) for one way of loading, pl.advise(path) for all of them, best
first.
]==]
