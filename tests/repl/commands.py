# Every command of a session, typed on a pseudo-terminal and read off the screen of a terminal emulator (pyte).
# Usage: python3 tests/repl/commands.py PROGRAM [CASE ...]   (exit status 77 without pyte; README.md has the table)
import os, subprocess, sys

from screen_session import END, Session, run_cases

MODEL = 'm = pl.load("scripts/models/tales", { compute = "f32" })'
covered = set()


# Types a command on an empty screen and waits for texts; the command counts as covered.
def command(s, line, *texts):
    covered.add(line[1:].split()[0])
    s.clear()
    s.run(line, *texts)


def finding_out(s):
    command(s, ":help :lens", ":lens [INPUT]", "what each layer would say")
    command(s, ":help masks", "A mask says which cells")
    s.run('here = pl.zeros({ 2 }, { axes = { "n" } })')
    command(s, ":whos", "here  8 B  cpu", "1 name; 8 B on cpu")
    command(s, ":mem", "peak", "Lua: ")
    s.run("function deep() return nope.x end")
    s.run("deep()", "nope is not defined")
    command(s, ":trace", "in function 'deep'")
    s.clear()
    s.run(":hlep", "no command is called :hlep; did you mean :help?")


def the_overview_is_paged(s):
    s.resize(100, 12)
    covered.add("help")
    s.type(":help\r")
    s.shows("Enter: more, q: stop")
    s.type("\r")
    s.shows("-- 20 of")
    s.type("q\r")
    s.shows("\n[2]>")


def working(s):
    path = os.path.join(s.folder, "typed.lua")
    command(s, ":time 6 * 7", "\n42\n", " ms")
    command(s, ":bench 6 * 7", "median ", "90 % within")
    s.run("kept = 40")
    s.run("kept + 2", "\n42\n")
    command(s, ":save " + path, "inputs in " + path)
    s.run("kept = 1")
    command(s, ":load " + path)
    s.run("kept", "\n40")
    with open(path, "w") as file:
        file.write("kept = 50\n")
    command(s, ":reload")
    s.run("kept", "\n50")
    editor = os.path.join(s.folder, "editor")
    with open(editor, "w") as file:
        file.write("#!/bin/sh\nsed -i s/kept/7/ \"$1\"\n")
    os.chmod(editor, 0o755)
    command(s, ":edit", "\n7")
    s.type(":quit\r")
    covered.add("quit")
    assert s.status() == 0


def looking_inside(s):
    s.run(MODEL)
    s.run(':lens', "nothing was run yet")
    s.run('r = m:forward "Once upon a"')
    command(s, ":shapes", "lm_head", "(a wider terminal shows line")
    s.resize(160, 50)
    command(s, ":shapes", "lm_head", "llama.lua:58")
    s.resize(110, 50)
    command(s, ":lens", "layers.5", "time 1.00")
    command(s, ":attention 2 1", "layer 2, head 1: rows look at columns")
    command(s, ':patch "Once upon a", "She was a"', "in the second text", "layers.5")
    s.run("quiet = " + MODEL[4:])
    s.run('quiet:set_weight("layers.4.mlp.down_proj", quiet:weight("layers.4.mlp.down_proj") * 0)')
    command(s, ":diff m, quiet", "they part first at linear layers.4.mlp.down_proj")
    file = os.path.join(s.folder, "pass.svg")
    command(s, ":graph " + file, "several models have names: m, quiet")
    s.run("quiet = nil")
    command(s, ":graph " + file, "written: ")
    assert "<svg" in open(file).read(5)


def the_last_forward_is_meant(s):
    s.run('b = pl.load "tests/golden/bart-plain"')
    s.run(MODEL)
    s.run("b:forward({ 5, 6, 7 }, { decoder = { 2, 9 } });")
    command(s, ":shapes", "decoder.layers.1", "vocab=400")
    command(s, ":lens", "decoder.layers.1")
    assert len(s.screen.display[1].split()) == 2, s.text()   # the decoder's two tokens
    command(s, ":attention 0 1", "layer 0, head 1")
    command(s, ":attention 0 1 b, { 5, 6, 7 }, { side = 'cross', decoder = { 2, 9 } }", "layer 0, head 1")
    s.run('m:forward "Once";')
    command(s, ":shapes", "layers.5", "vocab=2048")


# Tables are as wide as the terminal: each row is a line.
def tables_fit_the_terminal(s):
    s.resize(72, 50)
    s.run(MODEL)
    command(s, ':shapes "Once"', "(a wider terminal shows line, std")
    assert len([line for line in s.screen.display if line.startswith("layers.5.")]) > 10, s.text()
    command(s, ':lens "Once upon a time, there was a girl"', "layers.5")
    assert s.text().count("\nembeddings ") == 3, s.text()


def says_what_it_is_given(s):
    s.run("return 1, nil, 3", "\n1\nnil\n3\n")
    s.run('error { code = 7, why = "because" }', 'why = "because"')
    s.run("??", "of what?")
    s.run("q", "q is not defined")   # a letter leaves nothing
    s.type("exit\r")
    assert s.status() == 0


def an_engine(s):
    s.run(MODEL)
    s.run("e = pl.engine(m, { max_rows = 1, record = true })")
    s.run('for _, text in ipairs { "Once", "The fox" } do e:submit(text, { max_new_tokens = 3, do_sample = false }) end')
    command(s, ":queue", "2 waiting, 0 running")
    command(s, ":queue step", "1 of 1 are taken")
    command(s, ":queue policy shortest", "did you mean \"shortest_first\"?")
    command(s, ":queue policy shortest_first", "1 waiting, 1 running")
    command(s, ":queue run", "0 waiting, 0 running")
    file = os.path.join(s.folder, "run.svg")
    command(s, ":queue timeline " + file, "written: ")
    assert "<svg" in open(file).read(5)


def stopping(s):
    s.run(MODEL)
    s.run(":step", "no pass has stopped")
    command(s, ':debug "Once upon a"', "[1] embedding embed_tokens", "debug>")
    command(s, ":step 2", "layers.0.input_layernorm")
    command(s, ":next", "layers.0.attention")
    command(s, ":break layers.2.self_attn.q_proj", "breakpoint 1")
    command(s, ":break where i == 4", "breakpoint 2: where i == 4")
    command(s, ":continue", "break layers.2.self_attn.q_proj", "in attention, llama.lua")
    command(s, ":locals", "Net layers.2")
    command(s, ":up", ">2  the pass")
    command(s, ":down", ">1  attention")
    command(s, ":where", "local function attention(layer, h, batch, window)")
    command(s, ":unbreak 1")
    command(s, ":break", "1  where i == 4")
    s.run("t = t * 0")
    s.run("t:norm()", "\n0\n")
    command(s, ":continue", "break where i == 4")
    command(s, ":stops", ">5  ")
    command(s, ":rewind 4", "[4] ")
    s.run("t:norm() > 0", "true")
    command(s, ":leave", "\n[")
    s.run('r = m:forward "The"')
    command(s, ":debug", "token=2", "\ndebug>")
    command(s, ":leave", "\n[")
    s.type('m:debug("Once", { cache = m:cac\t')
    s.shows("m:cache")
    s.type("() })\r")
    s.shows("debug>")
    s.prompt()
    command(s, ":fork other", "other: a cache of 0 positions")
    command(s, ":continue")
    s.run("other.length", "\n0")


def stopping_at_tokens(s):
    s.run(MODEL)
    s.run('m:debug("Once upon a", { generate = { max_new_tokens = 3, do_sample = false } })', "[1] token 1 after", '" time"')
    command(s, ":rivals 2", '" riddle"')
    command(s, ":fork", '" time"', "a brave girl")
    command(s, ':choose " riddle"', "the next token is 1322")
    command(s, ":token", "chose 1322", "[2] token 2")
    command(s, ":continue", "finish_reason")


def ends_a_stop_as_it_ends_a_session(s):
    s.run(MODEL)
    s.run(':debug "Once"', "debug>")
    s.type(END)
    s.wait(lambda: s.screen.display[s.screen.cursor.y].startswith("["), "the session's prompt")


def verbs_are_commands(s):
    s.run(":check tests/golden/llama-gqa", "llama")
    s.run(":chat scripts/models/tales", "perilune chat scripts/models/tales")


def names_of(program):
    code = 'for _, s in ipairs(require "perilune.session.command_table") do for _, r in ipairs(s.rows) do print(r.name) end end'
    return set(subprocess.run([program, "-e", code], capture_output=True, text=True, check=True).stdout.split())


CASES = [finding_out, the_overview_is_paged, working, looking_inside, the_last_forward_is_meant, tables_fit_the_terminal,
         says_what_it_is_given, an_engine, stopping, stopping_at_tokens,
         ends_a_stop_as_it_ends_a_session, verbs_are_commands]

chosen = [case for case in CASES if len(sys.argv) < 3 or case.__name__ in sys.argv[2:]]
failed = run_cases(sys.argv[1], chosen, lambda program, folder: Session(program, folder, 110, 50, VISUAL=os.path.join(folder, "editor")))
missing = names_of(sys.argv[1]) - covered if chosen == CASES else set()
if missing:
    print("FAILED:  no case types " + ", ".join(sorted(missing)))
sys.exit(1 if failed or missing else 0)
