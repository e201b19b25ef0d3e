return [==[
Policies

An engine serves many requests, and a policy says at every step who runs. Shipped ones are pl.policy.fifo(),
fill, buckets{ 16, 64, 256 }, shortest_first, bin_pack, token_budget, priority, fair, deadline, prefix_first and
padded. A policy of one's own is a function of the queue and the room of a step; it gives a list of entries, first
come first.

    local m = pl.load "scripts/models/tales"
    local function shortest_first(queue)
      table.sort(queue, function(a, b)
        if a.state ~= b.state then return a.state == "decode" end        -- answers under way go on
        return a.prompt_tokens < b.prompt_tokens
      end)
      return queue
    end
    local results = m:generate({ "Once upon a time, a brave", "The" }, { policy = shortest_first, max_new_tokens = 4, do_sample = false })
    print(#results, #results[1].ids)                                     --> 2	4

An entry says what it is: id, kind, state ("waiting", "prefill", "decode"), prompt_tokens, cached_tokens,
pending_tokens, new_tokens, max_new_tokens, waited_steps, waited_ms, deadline_ms, priority, client, tag, rows,
pages_needed, pool. The room: tokens, rows, pages (by pool), page_tokens, bytes, budget_ms, now_ms, step, more.
?QueueEntry and ?Room describe each.

    local seen
    local engine = pl.engine(m, { policy = function(queue, room)
      seen = seen or { queue[1].state, queue[1].prompt_tokens, queue[1].client, room.step }
      return queue
    end })
    local line = engine:submit("Once upon a time", { max_new_tokens = 3, client = "npc7" })
    engine:drain()
    print(seen[1], seen[2], seen[3])                                     --> waiting	5	npc7
    print(line.state, line:result().finish_reason)                       --> done	length

The plan may have fields: { entry, tokens = n } reads a prompt in parts, layout = "padded", drop = { entry or
{ entry, reason = text } }, preempt = { entries }, wait_ms = n. What is listed and does not fit waits; what is not
listed does not run. An empty plan while nothing more may come is an error that names the request, and a bad plan
leaves everything as it was. The order of work never changes an answer.

pl.simulate tries a policy on lengths alone, as the program does: perilune simulate POLICY.lua LENGTHS.txt
]==]
