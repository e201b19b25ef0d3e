# Sessions on a pseudo-terminal, read off the screen of a terminal emulator (pyte): a row of the table of
# what a session can do, each. Usage: python3 tests/repl/screens.py PROGRAM [ROW ...]   (exit status 77 without pyte)
import subprocess, sys, time

from screen_session import INTERRUPT, END, SEARCH, UP, Session, run_cases

MODEL = 'm = pl.load "tests/golden/llama-gqa"\r'


def prints_and_mutes(s):
    s.run("6 * 7", "\n42\n")
    s.run("y = 5; 'muted' .. 'text';")
    assert "mutedtext" not in s.text()


def goes_on_by_parse(s):
    s.type("for i = 1, 2 do\r")
    s.shows("  >>")
    s.type('print("pass" .. i)\rend\r')
    s.shows("pass2")
    s.prompt()
    s.type("\x1b[200~a = 20\na + 1\n\x1b[201~")
    s.shows("a + 1")
    assert "\n21" not in s.text()
    s.run("", "\n21")
    s.type("function f(\r" + END)
    s.prompt()
    s.run("1 + 1", "\n2\n")


def sums_up_tensors(s):
    s.run('pl.zeros({ 2, 3 }, { axes = { "token", "hidden" } })', "Tensor f32[token=2, hidden=3] cpu")


def completes(s):
    s.run(MODEL[:-1])
    for typed, wanted in (("m:gener\t", "m:generate"), ("m.vocab\t", "m.vocab_size"), ('pl.load("x", { compute = "b\t', 'compute = "bf16"'),
                          ('pl.load "smo\t', 'pl.load "smollm2'), ('m:trace({ 1 }, "layers.0.attention.w\t', "layers.0.attention.weights"),
                          ('m:forward({ 1 }).log\t', "}).logits"), (":bench --thr\t", ":bench --threads")):
        s.type(typed)
        s.shows(wanted)
        s.type(INTERRUPT)
        s.prompt()
    s.type("pl.batch\t")
    s.shows("batch_from_padded")
    s.type("\t\t\r")
    s.shows("pl.batch_from_padded")
    s.type(INTERRUPT)


def helps(s):
    s.run("?pl.clock", "pl.clock() → number", "print(pl.clock() >= start)")
    s.run("??pl.clock", "types/")
    s.run("?masks", "A mask says which cells")
    s.run("?embeding", "did you mean")
    s.run("?:bench", ":bench LUA")


def keeps_results(s):
    s.run("40 + 2")
    s.run("_ + _1", "\n84\n")


def measures(s):
    s.run(":time 1 + 1", " ms")
    s.run(":bench 1 + 1", "median ")


def lists_names(s):
    s.run('here = pl.zeros({ 2 }, { axes = { "n" } })')
    s.run(":whos", "1 name; 8 B on cpu")
    s.run(":mem", "peak")


# Checked builds take their time.
VERSION = subprocess.run([sys.argv[1], "--version"], capture_output=True, text=True).stdout
SLOWER = 10 if "sanitizers" in VERSION else 1


# What runs is stopped, and takes no more of the processors than this afterwards, however busy the machine is.
def is_interrupted(s, code, seconds=0.1):
    s.clear()
    s.type('print("run" .. "ning") %s\r' % code)
    s.shows("running")
    time.sleep(0.2)
    before = s.processor_time()
    s.type(INTERRUPT)
    s.shows("interrupted")
    taken = s.processor_time() - before
    s.prompt()
    assert "error in error" not in s.text()
    assert any(line.rstrip() in ("interrupted", "^Cinterrupted") for line in s.screen.display), s.text()
    assert taken <= (2 * seconds + 0.02) * SLOWER, "%s: %.0f ms of two processors until it was interrupted" % (code, 1000 * taken)
    print("    %3.0f ms of two processors: %s" % (1000 * taken, code))


def survives_interrupts(s):
    s.run(MODEL[:-1])
    for code in ("while true do end",
                 "for i = 1, 1e9 do m:generate({ ids = { 1, 2 }, max_new_tokens = 200, min_new_tokens = 200 }) end",
                 "for i = 1, 1e9 do m:forward { { 1, 2, 3 } } end"):
        is_interrupted(s, code)
        s.run("6 * 7", "\n42")


def interrupts_what_runs(s):
    s.run('big = pl.ones({ 3000, 3000 }, { axes = { "a", "b" } }); other = pl.ones({ 3000, 3000 }, { axes = { "c", "b" } })')
    for code in ('for i = 1, 1e9 do big:matmul(other, { over = "b" }) end', "for i = 1, 1e9 do (big + big):sum() end", 'for i = 1, 1e9 do big:sort "b" end',
                 'for i = 1, 1e9 do big:order("b", "a"):copy() end', "for i = 1, 1e9 do big:tolist() end",
                 "for i = 1, 1e9 do pl.random({ 4000, 4000 }) end", 'for i = 1, 1e9 do pl.json.decode("[" .. ("1,"):rep(2e6) .. "1]") end'):
        is_interrupted(s, code)
    s.run(MODEL[:-1])
    s.run('text = ("Once upon a time "):rep(100000); list = big:at { a = { 1, 300 } }:tolist();')
    s.run('words = pl.tokenizer "scripts/models/reviews"')
    for code in ("for i = 1, 1e9 do m.tokenizer:ids(text) end", "for i = 1, 1e9 do words:ids(text) end", "for i = 1, 1e9 do pl.json.encode(list) end", "for i = 1, 1e9 do pl.tensor(list) end"):
        is_interrupted(s, code)
    s.run("6 * 7", "\n42")


def highlights(s):
    s.type('if "text" then')
    s.shows("then")
    cells = s.screen.buffer[s.screen.cursor.y]
    colour = {cells[x].data: cells[x].fg for x in range(8, 20)}
    assert colour['"'] == "green" and cells[5].fg == "magenta", colour
    s.type("\x15pl.load(")
    s.shows("pl.load(path, opts) → Model")
    s.type(")")
    assert s.type(INTERRUPT) is None
    s.prompt()


def knows_globals(s):
    s.run("prnt(1)", "prnt is not defined; did you mean")


def traces(s):
    s.run("function deep()\nreturn nope.x\nend")
    s.run("deep()", "nope is not defined")
    s.run(":trace", "in function")


# The time of the processors until the prompt: a busy machine makes starts longer, not dearer.
def starts_at_once(s):
    taken = [s.processor_nanoseconds()]
    for _ in range(4):
        later = Session(sys.argv[1], s.folder)
        taken.append(later.processor_nanoseconds())
        later.close()
    print("    %.0f ms until the prompt" % (min(taken) / 1e6))
    assert min(taken) < 50e6 * SLOWER, taken


def shows_shapes(s):
    s.run(MODEL[:-1])
    s.run("r = m:forward { 1, 2, 3 }")
    s.run(":shapes", "lm_head", "vocab=")


def blocks_come_back(s):
    s.type("function twice(x)\r")
    s.shows(">>")
    s.type("return 2 * x\rend\r")
    s.shows("\n[2]>")
    s.type(UP)
    s.wait(lambda: s.text().count("return 2 * x") == 2, "the block")
    s.type(UP + "\x05\x7f3\r")
    s.shows("3")
    s.type(INTERRUPT)


def searches_history(s):
    s.run('"needle" .. 1')
    s.run("2 + 2")
    s.type("\x12needle")
    s.shows("(search) 'needle'")
    s.type("\r")
    s.prompt()
    assert s.text().count('"needle1"') == 2, s.text()
    s.type(END)
    assert s.status() == 0
    later = Session(sys.argv[1], s.folder)
    later.type(SEARCH + "needle")
    later.shows("(search) 'needle'")
    later.type("\r")
    later.shows('"needle1"')
    later.close()


def is_narrow(s):
    s.resize(20, 8)
    s.run('"a long line that wraps" .. " around 日本語"', "日本語")


ROWS = [starts_at_once, prints_and_mutes, goes_on_by_parse, sums_up_tensors, completes, helps, keeps_results, measures, lists_names,
        survives_interrupts, highlights, knows_globals, traces, shows_shapes, blocks_come_back, interrupts_what_runs, searches_history, is_narrow]

chosen = [row for row in ROWS if len(sys.argv) < 3 or row.__name__ in sys.argv[2:]]
sys.exit(1 if run_cases(sys.argv[1], chosen) else 0)
