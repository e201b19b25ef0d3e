return [==[
Quantization

What is stored in few bits runs already: GGUF files with any published type (Q4_K, Q6_K, IQ2_XS, ...) are
read, and their weights become numbers when they are loaded. So a small file does not mean a small model in
memory: m:memory() says what it takes.

    local m = pl.load("scripts/models/reviews", { compute = "f32" })     -- stored as f32
    local half = pl.load("scripts/models/reviews", { compute = "bf16" })
    print(m:memory().weights / half:memory().weights)                    --> 2

`compute` says what products are computed in: "f32", or "bf16" with half the memory of f32 weights and about
three digits; "auto" takes what the file and the processor are good at. `cache` is the type of keys and values.

    print(m.compute, m.cache_dtype, half.compute, half.cache_dtype)      --> f32	f32	bf16	bf16

Computing on quantized weights (quantize=) is not in this build; asking for it is an error, not a guess:

    print(pl.try(pl.load, "scripts/models/tales", { quantize = "int8" }))   --> nil	load: option quantize

What would fit before a weight is read: pl.estimate(path).
]==]
