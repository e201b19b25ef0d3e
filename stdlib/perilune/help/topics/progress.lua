return [==[
Progress

On a terminal the program says how far it is, on standard error, once something takes longer than two seconds:
loading, m:embed, m:score, m:generate, the prompt of a stream, pipelines, pl.lengths, and the verbs. A script
asks for it with on_progress; a host that asks for nothing hears nothing.

    local m = pl.load "scripts/models/tales"
    local last
    m:score({ "Once upon a time", "The" }, { on_progress = function(done, total) last = done .. " of " .. total end })
    print(last)                                                          --> 2 of 2
    local seen = {}
    m:generate({ "Once", "The" }, { max_new_tokens = 2, on_progress = function(done, total) seen = { done, total } end })
    print(seen[1], seen[2])                                              --> 2	2

on_progress is an option of pl.load, pl.lengths, pl.pipeline, p:each, m:embed, m:score and m:generate. Warnings go
to pl.on_warning(function(text, where) ... end).
]==]
