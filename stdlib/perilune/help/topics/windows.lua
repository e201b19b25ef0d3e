return [==[
Windows: long documents

A text with more tokens than the model has positions is an error, never cut in silence. There are two ways on.

truncate= cuts it, and says how much is lost: `lost` in each result, once a run as a warning.

    local long = ("The food was good and the staff was helpful. "):rep(60)
    local cut = pl.pipeline("text-classification", "scripts/models/reviews", { truncate = "model" })
    print(cut(long).lost > 0)                                            --> true

stride=n reads all of it, in windows that share n tokens, and join= says how what the windows say becomes one:

    local whole = pl.pipeline("text-classification", "scripts/models/reviews", { stride = 16, join = "mean" })
    print(whole(long).label, whole(long).lost)                           --> POSITIVE	nil

  text-classification: "mean" (default) or "max" of the windows' probabilities, or "vote", the share of windows.
  zero-shot-classification: "mean" (default) or "max" of each label's entailment.
  token-classification: as published, the longer of entities that overlap; with join the "mean", "max" or
  "vote" of each token's windows, which single tokens (no aggregation_strategy) always have.
  question-answering: the best answer of all windows.
  fill-mask: "mean" (default) or "max" of the mask's probabilities in its windows.
  feature-extraction, sentence-similarity, m:embed: "mean" (default) or "max" of the windows' vectors, before
  they are normalized.

truncate = { windows = true, stride = n, to = m } says the same with windows of m tokens. By hand:

    local m = pl.load "scripts/models/reviews"
    local b = m.tokenizer:encode(long, { truncate = { to = "model", windows = true, stride = 16 } })
    print(b.size > 1, m:forward(b).logits:size "batch" == b.size)        --> true	true

Prompts are another matter: m:generate raises for one beyond the context, or drops its beginning with
context = "truncate_left".
]==]
