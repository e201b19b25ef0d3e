# Sessions on a pseudo-terminal, read off the screen of a terminal emulator (pyte): a row of the table of
# what a session can do, each. Usage: python3 tests/repl/screens.py PROGRAM   (exit status 77 without pyte)
import fcntl, os, pty, select, shutil, signal, struct, sys, tempfile, termios, time

try:
    import pyte
except ImportError:
    print("screens: skipped, python3 has no module pyte (Debian: python3-pyte)")
    sys.exit(77)

UP, INTERRUPT, END = "\x1b[A", "\x03", "\x04"
MODEL = 'm = pl.load "tests/golden/llama-gqa"\r'


class Session:
    def __init__(self, state, columns=100, rows=30, **environment):
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.child, self.terminal = pty.fork()
        if self.child == 0:
            os.environ.update({"TERM": "xterm-256color", "XDG_STATE_HOME": state, **environment})
            os.execv(sys.argv[1], ["perilune"])
        self.resize(columns, rows)
        self.prompt()

    def resize(self, columns, rows):
        self.screen.resize(rows, columns)
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys):
        os.write(self.terminal, keys.encode())

    def text(self):
        return "\n".join(line.rstrip() for line in self.screen.display)

    def wait(self, condition, what, seconds=60):
        end = time.time() + seconds
        while not condition():
            if time.time() > end:
                raise AssertionError("%s\nis not on the screen:\n%s" % (what, self.text().rstrip()))
            if select.select([self.terminal], [], [], 0.05)[0]:
                try:
                    self.stream.feed(os.read(self.terminal, 65536))
                except OSError:
                    raise AssertionError("the program ended before %s" % what)

    def shows(self, text, seconds=60):
        self.wait(lambda: text in self.text(), text, seconds)

    # The line of the cursor is an empty prompt.
    def prompt(self):
        def there():
            line = self.screen.display[self.screen.cursor.y].rstrip()
            return line.endswith(">") and self.screen.cursor.x == len(line) + 1
        self.wait(there, "a prompt")

    def run(self, line, *texts):
        self.type(line + "\r")
        for text in texts:
            self.shows(text)
        self.prompt()

    def close(self):
        os.kill(self.child, signal.SIGKILL)
        os.waitpid(self.child, 0)
        os.close(self.terminal)


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


def survives_interrupts(s):
    s.run(MODEL[:-1])
    for code in ("while true do end", "for i = 1, 1e9 do m:generate({ ids = { 1, 2 }, max_new_tokens = 200, min_new_tokens = 200 }) end"):
        s.type('print("run" .. "ning") %s\r' % code)
        s.shows("running")
        s.screen.reset()
        start = time.time()
        s.type(INTERRUPT)
        s.shows("interrupted", 10)
        print("    interrupted after %.0f ms" % (1000 * (time.time() - start)))
        s.prompt()
        assert "error in error" not in s.text()
        s.screen.reset()
        s.type("\r")
        s.prompt()


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


def searches_history(s):
    s.run('"needle" .. 1')
    s.run("2 + 2")
    s.type("\x12needle")
    s.shows("(search) 'needle'")
    s.type("\r")
    s.prompt()
    assert s.text().count('"needle1"') == 2, s.text()


def is_narrow(s):
    s.resize(20, 8)
    s.run('"a long line that wraps" .. " around 日本語"', "日本語")


ROWS = [prints_and_mutes, goes_on_by_parse, sums_up_tensors, completes, helps, keeps_results, measures, lists_names,
        survives_interrupts, highlights, knows_globals, traces, searches_history, is_narrow]

failed = 0
for row in ROWS:
    folder = tempfile.mkdtemp()
    session = Session(folder)
    try:
        row(session)
        print("ok:      " + row.__name__.replace("_", " "))
    except AssertionError as problem:
        failed += 1
        print("FAILED:  %s: %s" % (row.__name__.replace("_", " "), problem))
    session.close()
    shutil.rmtree(folder)
sys.exit(1 if failed else 0)
