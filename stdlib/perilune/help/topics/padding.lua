return [==[
Padding

Batches are ragged: rows of different lengths lie end to end and nothing is computed for cells that are no
tokens. Padding is a view of a batch for other programs, and for looking at.

    local m = pl.load "scripts/models/tales"
    local b = m.tokenizer:encode { "Once upon a time", "The" }
    local view = b:padded { side = "right", to = 8 }
    print(view.ids.shape, view.waste)                                   --> [batch=2, seq=8]	0.5625

`side` is "left" or "right" (default: the family's), `to` "longest" or a number, `multiple_of` rounds up,
`pad_id` is what fills up. Where nobody says, the tokenizer's pad token does; one that has none can be given
one, which changes nothing but such views:

    local tok = m.tokenizer
    tok.specials.pad = 7
    print(b:padded { side = "right" }.ids:at { batch = 2, seq = -1 }:item())   --> 7

A tensor with a ragged axis is brought into the same layout by b:pad(t), and cut into rows by b:split(t).

    local logits = m:forward(b, { rows = "all" }).logits
    print(logits.shape)                                                  --> [token=7, vocab=2048]
    print(b:pad(logits, { side = "right" }).shape)                       --> [batch=2, seq=5, vocab=2048]

The answer is the same, to the bit, however an input was padded. What padding would cost elsewhere:
perilune lengths FILE --tokenizer MODEL, or pl.lengths.
]==]
