return [==[
Batches

A batch is rows of ids, ragged: end to end, without padding. tok:encode makes one of texts, pl.batch of ids.
How inputs are batched never changes an answer.

    local m = pl.load "scripts/models/tales"
    local b = m.tokenizer:encode { "Once upon a time", "The" }
    print(b.size, b.tokens, table.concat(b.row_starts, " "))             --> 2	7	1 6
    print(pl.batch({ { 5, 6, 7 }, { 8 } }).tokens)                       --> 4

Rows: b:row(i), b:rows(), b:select(list), b:concat(other). A long text becomes several rows when windows are
asked for; b.windows says which input each row came from, b.lost how many tokens cutting took.

    local long = ("Once upon a time there was a fox. "):rep(20)
    local windows = m.tokenizer:encode(long, { truncate = { to = 64, windows = true, stride = 16 } })
    print(windows.size > 2, windows.lengths[1])                          --> true	64
    local cut = m.tokenizer:encode(long, { truncate = { to = 64 } })
    print(cut.size, cut.lost[1] > 0)                                     --> 1	true

Model calls take a batch, a text, ids, or a list of either. Answers are [batch, ...] or [token, ...]:

    print(m:forward(b).logits.shape)                                     --> [batch=2, vocab=2048]
    print(m:forward(b, { rows = "all" }).logits.shape)                   --> [token=7, vocab=2048]

Answers of two calls belong to two batches, even if the batches look alike, so that rows are not mixed by
accident: a + b raises; t:rename{ batch = "other" } or a copy of the numbers (t:tolist()) makes one of its own.

Many requests at once: perilune help policies. Records with several fields: pl.collate.
]==]
