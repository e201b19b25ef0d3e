return [==[
Errors

A call that cannot be done raises a table: message (also what it prints as), code, op, shapes, hint, where,
traceback. pl.try(f, ...) gives the value, or nil and the error.

    local t = pl.zeros({ 2, 3 }, { axes = { "batch", "hidden" } })
    local value, err = pl.try(t.softmax, t, "hiden")
    print(value, err.code, err.op)                                       --> nil	shape	softmax
    print(err.hint)                                                      --> did you mean "hidden"?

Messages read: operation, what is wrong, the operands, where, what to do. Codes:

  argument     a value of the wrong kind or out of its range
  option       an option that is not known, or contradicts another
  shape        axes or sizes that do not fit          dtype       an element type that does not fit
  device       a device that is missing or failed     file        cannot be read or written
  format       read, but damaged or not understood    pairing     model and tokenizer do not belong together
  unsupported  understood, and not there yet          memory      a budget or an allocation
  length       longer than the model's positions      state       used after close, or while something runs
  policy       a batching policy's plan               cancelled   Ctrl-C, or a cancel
  script       an error of the script's own, in a callback           internal   ours: please report it

What becomes of a request is no error of the call but data in its result:

    local m = pl.load "scripts/models/tales"
    local r = m:generate({ "The", { prompt = "The", processors = function() error "no" end } }, { max_new_tokens = 2 })
    print(r[1].finish_reason, r[2].finish_reason)                        --> length	error
    print(r[2].error ~= nil)                                             --> true

A pipeline's list holds { error = text } where an input failed; p:each gives the error as a third value. After
an error everything goes on: the engine, the model, the other requests. Exit statuses of the program: 0 done,
1 it failed, 2 wrong usage, 130 interrupted.
]==]
