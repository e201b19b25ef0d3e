# A session of the program on a pseudo-terminal, and the screen that a terminal emulator (pyte) makes of it.
import fcntl, os, pty, select, shutil, signal, struct, sys, tempfile, termios, time

try:
    import pyte
except ImportError:
    print("skipped: python3 has no module pyte (Debian: python3-pyte)")
    sys.exit(77)

UP, INTERRUPT, END, CLEAR, SEARCH = "\x1b[A", "\x03", "\x04", "\x0c", "\x12"


class Session:
    """`state` is the folder of its history. Waits for the first prompt."""

    def __init__(self, program, state, columns=100, rows=30, arguments=(), **environment):
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.child, self.terminal = pty.fork()
        if self.child == 0:
            os.environ.update({"TERM": "xterm-256color", "XDG_STATE_HOME": state, **environment})
            os.execv(program, ["perilune", *arguments])
        self.resize(columns, rows)
        self.prompt()

    def resize(self, columns, rows):
        self.screen.resize(rows, columns)
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys):
        os.write(self.terminal, keys.encode())

    def text(self):
        return "\n".join(line.rstrip() for line in self.screen.display)

    def wait(self, condition, what, seconds=20):
        end = time.time() + seconds
        while not condition():
            if time.time() > end:
                raise AssertionError("%s\nis not on the screen:\n%s" % (what, self.text().rstrip()))
            if select.select([self.terminal], [], [], 0.05)[0]:
                try:
                    self.stream.feed(os.read(self.terminal, 65536))
                except OSError:
                    raise AssertionError("the program ended before %s:\n%s" % (what, self.text().rstrip()))

    def shows(self, text, seconds=20):
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

    # Only the prompt is left on the screen.
    def clear(self):
        self.type(CLEAR)
        self.wait(lambda: self.screen.cursor.y == 0, "an empty screen")
        self.prompt()

    # Seconds of the processors that the program has taken.
    def processor_time(self):
        with open("/proc/%d/stat" % self.child) as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def processor_nanoseconds(self):
        with open("/proc/%d/schedstat" % self.child) as file:
            return int(file.read().split()[0])

    # Waits for the program's end; its exit status.
    def status(self, seconds=20):
        end = time.time() + seconds
        while time.time() < end:
            if select.select([self.terminal], [], [], 0.02)[0]:
                try:
                    self.stream.feed(os.read(self.terminal, 65536))
                except OSError:
                    pass
            child, status = os.waitpid(self.child, os.WNOHANG)
            if child:
                self.child = 0
                return os.waitstatus_to_exitcode(status)
        raise AssertionError("the program does not end:\n" + self.text().rstrip())

    def close(self):
        if self.child:
            os.kill(self.child, signal.SIGKILL)
            os.waitpid(self.child, 0)
        os.close(self.terminal)


def run_cases(program, cases, session_of=None):
    """Each case is a function of a new session. How many failed."""
    failed = 0
    for case in cases:
        folder = tempfile.mkdtemp()
        session = (session_of or Session)(program, folder)
        session.folder = folder
        try:
            case(session)
            print("ok:      " + case.__name__.replace("_", " "))
        except AssertionError as problem:
            failed += 1
            print("FAILED:  %s: %s" % (case.__name__.replace("_", " "), problem))
        session.close()
        shutil.rmtree(folder)
    return failed
