// Keys in, text out: the editor without a terminal.
#include "repl/editor/editor.h"

#include <string>
#include <vector>

#include "repl/editor/keys.h"
#include "tests/catch.h"

namespace {

using perilune::repl::Completion;
using perilune::repl::Editor;
using perilune::repl::History;
using perilune::repl::Key;
using perilune::repl::KeyReader;
using perilune::repl::Listener;
using perilune::repl::Outcome;
using perilune::repl::View;

const std::string kUp = "\x1b[A", kDown = "\x1b[B", kRight = "\x1b[C", kLeft = "\x1b[D";
const std::string kPaste = "\x1b[200~", kPasted = "\x1b[201~";

// Unfinished: what has more "(" than ")", or "do" without "end".
bool finished(const std::string& text) {
  int open = 0;
  for (const char c : text) open += c == '(' ? 1 : c == ')' ? -1 : 0;
  return open <= 0 && (text.find("do") == std::string::npos || text.find("end") != text.npos);
}

Completion complete(const std::string& before) {
  const std::size_t start = before.find_last_of(" .(") + 1;  // 0 where there is none
  const std::string typed = before.substr(start);
  Completion found{start, {}, ""};
  for (const char* word : {"shape", "show", "size_of", "größe", "größer"}) {
    if (std::string(word).compare(0, typed.size(), typed) == 0) found.words.emplace_back(word);
  }
  if (found.words.size() == 1) found.suffix = " ";
  return found;
}

struct Machine {
  History history{""};
  Editor editor{history};
  Outcome outcome = Outcome::edits;
  Machine() {
    editor.listen({complete, finished, [](const std::string& text) { return "hint of " + text; }});
    editor.start("> ");
  }
  // Types bytes, each key alone; what the text is then, with | for the cursor.
  std::string type(const std::string& bytes) {
    KeyReader keys;
    keys.feed(bytes);
    keys.flush();
    for (Key key; keys.next(key);) {
      outcome = editor.press(key, false);
      if (outcome != Outcome::line) continue;
      history.remember(editor.text());
      editor.start("> ");
    }
    const View view = editor.view(false);
    return view.text.substr(0, view.cursor) + "|" + view.text.substr(view.cursor);
  }
};

struct Case {
  std::string keys, text;
};

void check(const std::vector<Case>& cases) {
  for (const Case& one : cases) {
    INFO(one.text);
    CHECK(Machine().type(one.keys) == one.text);
  }
}

}  // namespace

TEST_CASE("keys edit the text") {
  check({
      {"abc", "abc|"},
      {"abc\x01x", "x|abc"},
      {"abc\x01\x05x", "abcx|"},
      {"abc\x02\x02x\x06y", "axby|c"},
      {"abc" + kLeft + kLeft + "x" + kRight + "y", "axby|c"},
      {"ab cd\x17", "ab |"},
      {"ab cd\x17\x19\x19", "ab cdcd|"},
      {"ab cd ef\x17\x17\x19", "ab cd ef|"},
      {"ab cd\x15", "|"},
      {"ab cd\x01\x0b", "|"},
      {"ab cd\x01\x0b\x19", "ab cd|"},
      {"ab cd\x1b"
       "bx",
       "ab x|cd"},
      {"ab cd\x01\x1b"
       "fx",
       "abx| cd"},
      {"ab cd\x01\x1b"
       "d",
       "| cd"},
      {"ab cd\x1b[1;5Dx", "ab x|cd"},
      {"ab\x14", "ba|"},
      {"abc\x01\x04", "|bc"},
      {"abc\x1b[H\x1b[3~", "|bc"},
      {"abc\x7f\x08", "a|"},
      {"ab\x1f", "|"},
      {"ab\x17\x1f", "ab|"},
      {"\x1b[99zx", "x|"},
      {"a\x1b[200~b\x1b", "ab|"},
  });
}

TEST_CASE("a character is a character, whatever its bytes") {
  check({
      {"日本\x7f", "日|"},
      {"日本" + kLeft + "x", "日x|本"},
      {"e\xCC\x81x\x02\x7f", "|x"},                               // a letter and its mark
      {"\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x9A\x80\x7f", "|"},  // a joined pair
      {"ä\x14", "ä|"},
      {"aä\x14", "äa|"},
      {"\xFFz", "\xEF\xBF\xBDz|"},
      {"größ\t", "größe|"},
  });
}

TEST_CASE("Enter runs what is finished and goes on with what is not") {
  Machine machine;
  CHECK(machine.type("for x do\r") == "for x do\n  |");
  CHECK(machine.type("f(x)\r") == "for x do\n  f(x)\n  |");
  CHECK(machine.type("end") == "for x do\n  f(x)\nend|");
  machine.type("\r");
  CHECK(machine.outcome == Outcome::line);
  CHECK(machine.type("a\x1b\rb") == "a\nb|");  // Alt-Enter
  CHECK(machine.type(kUp + "x") == "ax|\nb");
  CHECK(machine.type("\r") == "|");
  CHECK(machine.history.entries().back().text == "ax\nb");
}

TEST_CASE("keys that wait already are not indented: they bring their own blanks") {
  Machine machine;
  KeyReader keys;
  keys.feed("for x do\r  f(x)\rend");
  for (Key key; keys.next(key);) machine.editor.press(key, keys.pending());
  CHECK(machine.editor.text() == "for x do\n  f(x)\nend");
}

TEST_CASE("a paste is text, whatever is in it") {
  check({
      {kPaste + "a\r\nb\tc\x03\x1b[A" + kPasted, "a\nb\tc[A|"},
      {kPaste + "a\nb\n\n" + kPasted, "a\nb|"},
      {kPaste + "a" + kPasted + "b", "ab|"},
      {kPaste + "a\nb" + kPasted + "\x1f", "|"},
  });
}

TEST_CASE("blocks come back as blocks") {
  Machine machine;
  machine.type("one\rfor x do\rend\r");
  CHECK(machine.type(kUp) == "for x do\nend|");
  CHECK(machine.type(kUp + kUp) == "one|");
  CHECK(machine.type(kDown) == "for x do\nend|");
  CHECK(machine.type(kDown) == "|");
  CHECK(machine.type("o" + kUp) == "one|");
  CHECK(machine.type(kDown) == "o|");
  CHECK(machine.type("\x15two" + kUp) == "two|");
}

TEST_CASE("Ctrl-R searches") {
  Machine machine;
  machine.type("alpha one\rbeta two\ralpha three\r");
  CHECK(machine.type("typed\x12"
                     "alpha") == "|alpha three");
  CHECK(machine.editor.view(false).prompt == "(search) 'alpha': ");
  CHECK(machine.type("\x12") == "|alpha one");
  CHECK(machine.type("\x12") == "|alpha one");
  CHECK(machine.editor.view(false).prompt == "(not found) 'alpha': ");
  CHECK(machine.type("\x13") == "|alpha three");
  CHECK(machine.type("\x07") == "typed|");
  CHECK(machine.type("\x12"
                     "two" +
                     kRight) == "beta t|wo");
  CHECK(machine.type("\x05!\r") == "|");
  CHECK(machine.history.entries().back().text == "beta two!");
  CHECK(machine.type("\x12nowhere\x7f\x7f\x7f\x7f\x7f\x7f\x7f\r") == "|");
}

TEST_CASE("Tab completes, lists, and goes through the list") {
  Machine machine;
  CHECK(machine.type("x.s\t") == "x.s|");
  CHECK(machine.editor.view(false).words.size() == 3);
  CHECK(machine.type("\t") == "x.shape|");
  CHECK(machine.type("\t\t") == "x.size_of|");
  CHECK(machine.type("\t") == "x.shape|");
  CHECK(machine.type("\x1b[Z") == "x.size_of|");
  CHECK(machine.type("\r") == "x.size_of|");  // takes the word
  CHECK(machine.outcome == Outcome::edits);
  CHECK(machine.editor.view(false).words.empty());
  CHECK(machine.type("\r") == "|");
  CHECK(machine.type("x.si\t") == "x.size_of |");
  CHECK(machine.type("\x15\t") == "  |");
  CHECK(machine.type("nothing\t") == "  nothing|");
}

TEST_CASE("Ctrl-D leaves an empty line, drops a block, and else erases") {
  Machine machine;
  machine.type("for x do\r\x04");
  CHECK(machine.outcome == Outcome::interrupted);
  machine.editor.start("> ");
  CHECK(machine.type("ab\x04") == "ab|");
  CHECK(machine.outcome == Outcome::edits);
  machine.type("\x15\x04");
  CHECK(machine.outcome == Outcome::end);
  machine.type("\x03");
  CHECK(machine.outcome == Outcome::interrupted);
}

TEST_CASE("brackets that belong together, and hints, are seen") {
  using perilune::repl::Style;
  Machine machine;
  machine.type("f(a[1], \")\")");
  const View view = machine.editor.view(false);
  CHECK(view.styles[1] == Style::match);
  CHECK(view.styles[11] == Style::match);
  CHECK(view.styles[9] == Style::text);
  CHECK(view.hint == "hint of f(a[1], \")\")");
  machine.type(
      "\x15"
      "f(a]");
  CHECK(machine.editor.view(false).styles[3] == Style::wrong);
  machine.type(
      "\x15"
      "f(");
  CHECK(machine.editor.view(false).styles[1] == Style::plain);
}

TEST_CASE("parts of a text have their styles") {
  using perilune::repl::Style;
  const struct {
    std::string text, styles;
  } cases[] = {
      {"if x == 1.5e-3 then", "kk      nnnnnn kkkk"},
      {"\"a\\\"b\" .. 'c", "ssssss    ss"},
      {"[==[ a ]] ]==] b", "ssssssssssssss  "},
      {"a -- b\nc", "  cccc  "},
      {"--[[ a\n]] b", "ccccccccc  "},
      {":time x", "::::: "},
      {"?pl.load", "????????"},
      {"a[1]", "  n "},
  };
  for (const auto& one : cases) {
    INFO(one.text);
    const auto styles = perilune::repl::styles_of(one.text);
    for (std::size_t i = 0; i < one.styles.size(); ++i) {
      const Style wanted = one.styles[i] == 'k'   ? Style::keyword
                           : one.styles[i] == 'n' ? Style::number
                           : one.styles[i] == 's' ? Style::text
                           : one.styles[i] == 'c' ? Style::comment
                           : one.styles[i] == ' ' ? Style::plain
                                                  : Style::command;
      CHECK(styles[i] == wanted);
    }
  }
}
