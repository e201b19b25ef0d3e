return [==[
Progress

On a terminal the program says how far it is, on standard error, once something takes longer than two seconds. A
script asks for it with on_progress; a host that asks for nothing hears nothing.

- weights are counted by pl.load, m:to, m:quantize and m:save
- texts, prompts or tokens by m:embed, m:score, m:generate, the prompt of m:stream, pipelines and pl.lengths
- passes by pl.check and perilune check --probe, m:patch, m:quantization_report and perilune bench
- what is done of a list by pl.simulate and by perilune doctor, lock, check, quantize and bench --modes
- seconds of sound by perilune listen and pl.sound.read
- ops of a pass by whatever calls m:forward, m:trace, m:lens, m:activations, e:step and e:drain
- one long call says its name and for how long: tok:encode, pl.json, pl.tensor, pl.arange, pl.random, t:tolist, t:copy,
  t:matmul, t:topk, pl.save, m:fingerprint, the checksum of a known model

    local m = pl.load "scripts/models/tales"
    local last
    m:score({ "Once upon a time", "The" }, { on_progress = function(done, total) last = done .. " of " .. total end })
    print(last)                                                          --> 2 of 2
    local seen = {}
    m:generate({ "Once", "The" }, { max_new_tokens = 2, on_progress = function(done, total) seen = { done, total } end })
    print(seen[1], seen[2])                                              --> 2	2

on_progress is an option of pl.load, pl.lengths, pl.pipeline, p:each, m:embed, m:score, m:generate, m:patch and
m:save. Warnings go to pl.on_warning(function(text, where) ... end).
]==]
