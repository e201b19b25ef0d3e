return [==[
Masks

A mask says which cells of a padded table are tokens and which only fill it up. Inside, nothing is padded: a
batch is ragged, its rows lie end to end, and attention never looks beyond a row. So there is no mask to
forget, and none to pass.

    local m = pl.load "scripts/models/tales"
    local b = m.tokenizer:encode { "Once upon a time", "The" }
    print(b.size, b.tokens, table.concat(b.lengths, " "))                --> 2	7	5 2

A padded table and its mask are made where another program, or a look at it, wants one. The side is the
family's: left for models that go on writing, right for the others.

    local view = b:padded { side = "left" }
    print(view.ids.shape, view.mask:at { batch = 2, seq = 1 }:item())    --> [batch=2, seq=5]	0

Padded tables come in as { ids=, mask= }, and answers have their layout. ids alone raise: the pad id may be a
real token. A mask with a hole raises with its row.

    local answer = m:forward { ids = view.ids, mask = view.mask }
    print(answer.logits.shape)                                           --> [batch=2, vocab=2048]
    print(pl.try(m.forward, m, { ids = view.ids }))                      --> nil	forward: padded ids need their mask

Causal masks and sliding windows are the family's own; a pass says mask="causal" or "none" where it attends.
For attention weights a cell beyond the row is 0: see m:trace.
]==]
