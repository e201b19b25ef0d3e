// A session at a terminal: keys, history, completion, and that Ctrl-C stops what runs and nothing
// else.
#include <filesystem>
#include <string>

#include "tests/catch.h"
#include "tests/repl/terminal.h"
#include "tests/support.h"

namespace {

using perilune_test::TemporaryFolder;
using perilune_test::Terminal;

const std::string kInterrupt = "\x03";
const std::string kEnd = "\x04";
const std::string kUp = "\x1b[A";
const std::string kModel = "pl.load \"tests/golden/llama-gqa\"";

}  // namespace

#define NEED_PROGRAM() \
  if (perilune_test::program_path().empty()) PERILUNE_SKIP("PERILUNE does not name the program")

TEST_CASE("expressions print, lines that are not finished go on") {
  NEED_PROGRAM();
  const TemporaryFolder folder;
  Terminal session(folder.path());
  CHECK(session.shows_after("\"forty\" .. 2\r", "\"forty2\""));
  CHECK(session.shows_after("function f()\r", ">> "));
  CHECK(session.shows_after("return \"many\" .. \"lines\"\r", ">> "));
  session.type("end f()\r");
  CHECK(session.answers());
  CHECK(session.shows_after("f()\r", "\"manylines\""));
  session.type("for i = 1, 2 do\rprint(\"pass\" .. i)\rend\r");  // as when it is pasted
  CHECK(session.shows("pass2"));
  CHECK(session.shows_after("local kept = 6\rkept * 7\r", "42"));
}

TEST_CASE("an error keeps the session") {
  NEED_PROGRAM();
  const TemporaryFolder folder;
  Terminal session(folder.path());
  CHECK(session.shows_after("error(\"out\" .. \"ch\")\r", "outch"));
  CHECK(session.answers());
  CHECK(session.shows_after("undefined_thing\r", "undefined_thing is not defined"));
  CHECK(session.shows_after("x ==== 1\r", "near '=='"));
  CHECK(session.answers());
}

TEST_CASE("Ctrl-C stops a loop, also one that catches errors") {
  NEED_PROGRAM();
  const TemporaryFolder folder;
  Terminal session(folder.path());
  REQUIRE(session.shows_after("print(\"loop\" .. \"ing\") while true do end\r", "looping"));
  CHECK(session.shows_after(kInterrupt, "interrupted"));
  CHECK(session.answers());
  REQUIRE(session.shows_after(
      "print(\"stub\" .. \"born\") while true do pcall(function() while true do end end) end\r",
      "stubborn"));
  for (int i = 0; i < 50; ++i) {
    session.type(kInterrupt);
    if (session.shows("interrupted", 1)) break;
  }
  CHECK(session.answers());
}

TEST_CASE("Ctrl-C stops a long generation, and the model goes on working") {
  NEED_PROGRAM();
  const TemporaryFolder folder;
  Terminal session(folder.path());
  session.type("m = " + kModel + "\r");
  REQUIRE(session.shows_after(
      "print(\"gener\" .. \"ating\") for i = 1, 1e9 do "
      "m:generate({ ids = { 1, 2, 3 }, max_new_tokens = 200, min_new_tokens = 200 }) end\r",
      "generating"));
  CHECK_FALSE(session.shows("> ", 1));
  CHECK(session.shows_after(kInterrupt, "interrupted"));
  CHECK(session.answers());
  session.type("r = m:generate({ ids = { 1, 2, 3 }, max_new_tokens = 2 })\r");
  CHECK(session.shows_after("print(\"new\" .. #r.ids .. r.finish_reason)\r", "new2length"));
}

TEST_CASE("Ctrl-C at the prompt drops the line and what was begun") {
  NEED_PROGRAM();
  const TemporaryFolder folder;
  Terminal session(folder.path());
  session.type("print(\"drop\" .. \"ped\")" + kInterrupt);
  CHECK(session.answers());
  CHECK(session.unread().find("dropped") == std::string::npos);
  CHECK(session.shows_after("function unfinished()\r", ">> "));
  CHECK(session.shows_after(kInterrupt, "> "));
  CHECK(session.answers());
}

TEST_CASE("Tab completes names, methods and option keys") {
  NEED_PROGRAM();
  const TemporaryFolder folder;
  Terminal session(folder.path());
  CHECK(session.shows_after("print(\"is\" .. type(pl.clo\t))\r", "isfunction"));
  session.type("m = " + kModel + "\r");
  CHECK(session.answers());
  session.type("print(\"is\" .. type(m:label\x15");  // Ctrl-U
  CHECK(session.shows_after("print(\"paths\" .. type(m:path\t()))\r", "pathstable"));
  session.type("r = m:generate({ ids = { 1, 2 }, max_n\t3, do_sa\tfalse })\r");
  CHECK(session.shows_after("print(\"ids\" .. #r.ids)\r", "ids3"));
  CHECK(session.shows_after("pl.batch\t", "batch_from_padded"));
  session.type(kInterrupt);
  CHECK(session.shows_after("\tprint(\"indent\" .. \"ed\")\r", "indented"));
}

TEST_CASE("history outlives the session") {
  NEED_PROGRAM();
  const TemporaryFolder folder;
  {
    Terminal session(folder.path());
    session.type("print(\"remem\" .. \"bered\")\r");
    CHECK(session.shows("remembered"));
    session.type(kUp + "\r");
    CHECK(session.shows("remembered"));
  }  // killed: lines are kept at once
  Terminal session(folder.path());
  CHECK(session.shows_after(kUp + "\r", "remembered"));
  CHECK(std::filesystem::exists(folder.path() + "/perilune/history"));
}

TEST_CASE("a session without a home keeps nothing and runs") {
  NEED_PROGRAM();
  Terminal session("");
  CHECK(session.answers());
}

TEST_CASE("m:debug stops, its prompt sees locals and takes every command, and the pass goes on") {
  NEED_PROGRAM();
  const TemporaryFolder folder;
  Terminal session(folder.path());
  session.type("m = " + kModel + "\r");
  CHECK(session.shows_after("r = m:debug { 1, 2, 3 }\r", "embedding embed_tokens"));
  CHECK(session.shows("debug> "));
  CHECK(session.shows_after("\"rank\" .. t.rank\r", "rank2"));
  CHECK(session.shows_after(":next\r", "embeddings"));
  CHECK(session.shows_after(":break layers.0.mlp\r", "breakpoint 1"));
  CHECK(session.shows_after(":continue\r", "break layers.0.mlp"));
  CHECK(session.shows_after("print(\"layers\" .. c.layers)\r", "layers3"));
  CHECK(session.shows_after(":locals\r", "Net layers.0"));
  CHECK(session.shows_after("undefined_thing\r", "undefined_thing is not defined"));
  CHECK(session.shows_after(kInterrupt, "debug> "));
  CHECK(session.shows_after(":time 1 + 1\r", " ms"));
  CHECK(session.shows_after(":continue\r", "> "));
  CHECK(session.shows_after("print(\"logits\" .. r.logits.rank)\r", "logits2"));
  CHECK(session.shows_after(":debug { 1, 2 }, { generate = { max_new_tokens = 2 } }\r", "token 1"));
  CHECK(session.shows_after(":leave\r", "> "));
  CHECK(session.answers());
}

TEST_CASE("Ctrl-D leaves") {
  NEED_PROGRAM();
  const TemporaryFolder folder;
  Terminal session(folder.path());
  CHECK(session.shows_after("error \"earlier\"\r", "earlier"));
  CHECK(session.answers());
  session.type(kEnd);
  CHECK(session.status() == 0);
}
