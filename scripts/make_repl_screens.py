# Screens of docs/repl.md: sessions are typed at the program on a pseudo-terminal, and what a terminal emulator (pyte, Debian:
# python3-pyte) has in its cells becomes an SVG with its colours.
#   python3 scripts/make_repl_screens.py [PROGRAM]          writes docs/repl/screen-*.svg anew
#   python3 scripts/make_repl_screens.py --check [PROGRAM]  says which differ (in more than shades of colours), and ends with 1
import html, os, re, shutil, sys, tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "repl"))
from screen_session import SEARCH, UP, Session  # noqa: E402

WIDE, HIGH, MARGIN = 8, 17, 10
BACK, FRONT = "#16181d", "#d5d9e0"
NAMES = {"default": None, "black": "#3b4048", "red": "#e06c75", "green": "#98c379", "brown": "#e5c07b", "yellow": "#e5c07b",
         "blue": "#61afef", "magenta": "#c678dd", "cyan": "#56b6c2", "white": "#d5d9e0", "brightblack": "#7f848e"}


def colour(name, otherwise):
    return NAMES.get(name, "#" + name) or otherwise


def rect(x, y, wide, high, fill):
    return '<rect x="%g" y="%g" width="%g" height="%g" fill="%s"/>' % (x, y, wide, high, fill)


def place(column, row):
    return MARGIN + column * WIDE, MARGIN + row * HIGH


# Cells beside each other that look the same: (column, text, style).
def runs(cells, columns):
    found = []
    for column in range(columns):
        cell = cells[column]
        front, back = colour(cell.fg, FRONT), colour(cell.bg, None)
        if cell.reverse:
            front, back = back or BACK, front
        style = (front, back, cell.bold, cell.underscore)
        if found and found[-1][2] == style and cell.data not in "▀▄" and found[-1][1][-1:] not in "▀▄":
            found[-1][1] += cell.data
        else:
            found.append([column, cell.data, style])
    return found


def draw(screen, rows):
    width, height = 2 * MARGIN + screen.columns * WIDE, 2 * MARGIN + rows * HIGH
    parts = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d">' % (width, height, width, height),
             '<rect width="100%%" height="100%%" rx="6" fill="%s"/>' % BACK,
             '<g font-family="monospace" font-size="13" xml:space="preserve">']
    for row in range(rows):
        for column, text, (front, back, bold, underscore) in runs(screen.buffer[row], screen.columns):
            x, y = place(column, row)
            wide = len(text) * WIDE
            if back:
                parts.append(rect(x, y, wide, HIGH, back))
            if text in "▀▄" and text:
                parts.append(rect(x, y + (HIGH / 2 if text == "▄" else 0), wide, HIGH / 2, front))
            elif text.strip():
                kept = text.rstrip()
                marks = (' font-weight="bold"' if bold else "") + (' text-decoration="underline"' if underscore else "")
                parts.append('<text x="%g" y="%g" fill="%s" textLength="%g"%s>%s</text>' % (x, y + 13, front, len(kept) * WIDE, marks, html.escape(kept)))
    x, y = place(screen.cursor.x, screen.cursor.y)
    parts.append('<rect x="%g" y="%g" width="%g" height="%g" fill="none" stroke="%s"/>' % (x, y, WIDE, HIGH, FRONT))
    return "\n".join(parts + ["</g>", "</svg>"]) + "\n"


LOAD = 'm = pl.load("scripts/models/tales", { compute = "f32" })'


def heat(s):
    s.run(LOAD)
    s.clear()
    s.run('residual = m:trace("Once upon a time, a fox", "layers.2")["layers.2"]')
    s.run("residual:show { rows = 4, columns = 5 }", "each place")
    s.run(':attention 2 1 "Once upon a time, a fox"', "layer 2, head 1")


def error(s):
    s.run('a = pl.ones({ 2, 3 }, { axes = { "batch", "hidden" } }); b = pl.ones({ 4, 5 }, { axes = { "out", "hidden" } })')
    s.clear()
    s.run('a:matmul(b, { over = "hidden" })', "inner sizes differ")


def completion(s):
    s.run(LOAD)
    s.clear()
    s.type('m:trace("Once upon", "layers.0.attention.\t')
    s.shows("weights")


def hint(s):
    s.run(LOAD)
    s.clear()
    s.type('m:generate("Once upon a time", { seed = 7, max_new_tokens = ')
    s.shows("max_new_tokens:")


def block(s):
    s.clear()
    # One line after the other: keys that come at once bring their own blanks.
    for i, line in enumerate(["function loudest(t)", "local best = t:abs():max()", "return best"]):
        s.type(line + "\r")
        s.wait(lambda: s.text().count(">>") == i + 1, "the next line")
    s.type("\x7fend\r")  # one step of the indentation back
    s.wait(lambda: "\n[2]>" in s.text(), "the next prompt")
    s.type(UP)
    s.wait(lambda: s.text().count("function loudest(t)") == 2, "the block")


def search(s):
    for line in ('greeting = "Once upon a time"', "2 ^ 10", "#greeting"):
        s.run(line)
    s.clear()
    s.type(SEARCH + "upon")
    s.shows("(search) 'upon'")


SCENES = {"heat": (heat, 100), "error": (error, 88), "completion": (completion, 88), "hint": (hint, 88), "block": (block, 60),
          "search": (search, 60)}


def picture(program, scene, columns):
    folder = tempfile.mkdtemp()
    session = Session(program, folder, columns, 24, COLORTERM="truecolor")
    try:
        scene(session)
        rows = max(row for row in range(24) if session.screen.display[row].strip() or row == session.screen.cursor.y) + 1
        return draw(session.screen, rows)
    finally:
        session.close()
        shutil.rmtree(folder)


def without_shades(text):
    return re.sub("#[0-9a-f]{6}", "#", text)


def main(arguments):
    check = arguments[:1] == ["--check"]
    program = (arguments[1:] if check else arguments)[:1] or ["build/release/perilune"]
    wrong = 0
    for name, (scene, columns) in SCENES.items():
        path = "docs/repl/screen-%s.svg" % name
        drawn = picture(program[0], scene, columns)
        old = open(path).read() if os.path.exists(path) else ""
        if check and without_shades(old) != without_shades(drawn):
            wrong += 1
            print("%s differs from what the terminal shows now; python3 scripts/make_repl_screens.py writes it anew" % path)
        elif not check:
            with open(path, "w") as file:
                file.write(drawn)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
