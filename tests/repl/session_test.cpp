// A session at a terminal: keys, history, completion, and that Ctrl-C stops what runs and nothing
// else.
#include <stdlib.h>

#include <filesystem>
#include <string>

#include "tests/catch.h"
#include "tests/repl/terminal.h"

namespace {

using perilune_test::Terminal;

const std::string kInterrupt = "\x03";
const std::string kEnd = "\x04";
const std::string kUp = "\x1b[A";
const std::string kModel = "pl.load \"tests/golden/llama-gqa\"";

struct Folder {
  std::string path;
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "perilune_test_XXXXXX").string();
    if (mkdtemp(name.data()) != nullptr) path = name;
  }
  ~Folder() {
    std::error_code ignored;
    if (!path.empty()) std::filesystem::remove_all(path, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
};

}  // namespace

#define NEED_PROGRAM() \
  if (perilune_test::program_path().empty()) PERILUNE_SKIP("PERILUNE does not name the program")

TEST_CASE("expressions print, lines that are not finished go on") {
  NEED_PROGRAM();
  const Folder folder;
  Terminal session(folder.path);
  session.type("\"forty\" .. 2\r");
  CHECK(session.shows("\"forty2\""));
  session.type("function f()\r");
  CHECK(session.shows(">> "));
  session.type("return \"many\" .. \"lines\"\r");
  CHECK(session.shows(">> "));
  session.type("end f()\r");
  CHECK(session.answers());
  session.type("f()\r");
  CHECK(session.shows("\"manylines\""));
  session.type("for i = 1, 2 do\rprint(\"pass\" .. i)\rend\r");  // as when it is pasted
  CHECK(session.shows("pass2"));
  session.type("local kept = 6\rkept * 7\r");
  CHECK(session.shows("42"));
}

TEST_CASE("an error keeps the session") {
  NEED_PROGRAM();
  const Folder folder;
  Terminal session(folder.path);
  session.type("error(\"out\" .. \"ch\")\r");
  CHECK(session.shows("outch"));
  CHECK(session.answers());
  session.type("undefined_thing\r");
  CHECK(session.shows("undefined_thing is not defined"));
  session.type("x ==== 1\r");
  CHECK(session.shows("near '=='"));
  CHECK(session.answers());
}

TEST_CASE("Ctrl-C stops a loop, also one that catches errors") {
  NEED_PROGRAM();
  const Folder folder;
  Terminal session(folder.path);
  session.type("print(\"loop\" .. \"ing\") while true do end\r");
  REQUIRE(session.shows("looping"));
  session.type(kInterrupt);
  CHECK(session.shows("interrupted"));
  CHECK(session.answers());
  session.type(
      "print(\"stub\" .. \"born\") while true do pcall(function() while true do end end) end\r");
  REQUIRE(session.shows("stubborn"));
  for (int i = 0; i < 50; ++i) {
    session.type(kInterrupt);
    if (session.shows("interrupted", 1)) break;
  }
  CHECK(session.answers());
}

TEST_CASE("Ctrl-C stops a long generation, and the model goes on working") {
  NEED_PROGRAM();
  const Folder folder;
  Terminal session(folder.path);
  session.type("m = " + kModel + "\r");
  session.type(
      "print(\"gener\" .. \"ating\") for i = 1, 1e9 do "
      "m:generate({ ids = { 1, 2, 3 }, max_new_tokens = 200, min_new_tokens = 200 }) end\r");
  REQUIRE(session.shows("generating"));
  CHECK_FALSE(session.shows("> ", 1));
  session.type(kInterrupt);
  CHECK(session.shows("interrupted"));
  CHECK(session.answers());
  session.type("r = m:generate({ ids = { 1, 2, 3 }, max_new_tokens = 2 })\r");
  session.type("print(\"new\" .. #r.ids .. r.finish_reason)\r");
  CHECK(session.shows("new2length"));
}

TEST_CASE("Ctrl-C at the prompt drops the line and what was begun") {
  NEED_PROGRAM();
  const Folder folder;
  Terminal session(folder.path);
  session.type("print(\"drop\" .. \"ped\")" + kInterrupt);
  CHECK(session.answers());
  CHECK(session.unread().find("dropped") == std::string::npos);
  session.type("function unfinished()\r");
  CHECK(session.shows(">> "));
  session.type(kInterrupt);
  CHECK(session.shows("> "));
  CHECK(session.answers());
}

TEST_CASE("Tab completes names, methods and option keys") {
  NEED_PROGRAM();
  const Folder folder;
  Terminal session(folder.path);
  session.type("print(\"is\" .. type(pl.clo\t))\r");
  CHECK(session.shows("isfunction"));
  session.type("m = " + kModel + "\r");
  CHECK(session.answers());
  session.type("print(\"is\" .. type(m:label\x15");  // Ctrl-U
  session.type("print(\"paths\" .. type(m:pat\t()))\r");
  CHECK(session.shows("pathstable"));
  session.type("r = m:generate({ ids = { 1, 2 }, max_n\t3, do_sa\tfalse })\r");
  session.type("print(\"ids\" .. #r.ids)\r");
  CHECK(session.shows("ids3"));
  session.type("pl.batch\t");
  CHECK(session.shows("batch_from_padded"));
  session.type(kInterrupt);
  session.type("\tprint(\"indent\" .. \"ed\")\r");
  CHECK(session.shows("indented"));
}

TEST_CASE("history outlives the session") {
  NEED_PROGRAM();
  const Folder folder;
  {
    Terminal session(folder.path);
    session.type("print(\"remem\" .. \"bered\")\r");
    CHECK(session.shows("remembered"));
    session.type(kUp + "\r");
    CHECK(session.shows("remembered"));
  }  // killed: lines are kept at once
  Terminal session(folder.path);
  session.type(kUp + "\r");
  CHECK(session.shows("remembered"));
  CHECK(std::filesystem::exists(folder.path + "/perilune/history"));
}

TEST_CASE("a session without a home keeps nothing and runs") {
  NEED_PROGRAM();
  Terminal session("");
  CHECK(session.answers());
}

TEST_CASE("m:debug stops at every tensor") {
  NEED_PROGRAM();
  const Folder folder;
  Terminal session(folder.path);
  session.type("m = " + kModel + "\r");
  session.type("r = m:debug { 1, 2, 3 }\r");
  CHECK(session.shows("embeddings"));
  CHECK(session.shows("debug> "));
  session.type("\"rank\" .. t.rank\r");
  CHECK(session.shows("rank2"));
  session.type("\r");
  CHECK(session.shows("layers.0"));
  session.type("c\r");
  session.type("print(\"logits\" .. r.logits.rank)\r");
  CHECK(session.shows("logits2"));
}

TEST_CASE("Ctrl-D leaves") {
  NEED_PROGRAM();
  const Folder folder;
  Terminal session(folder.path);
  session.type("error \"earlier\"\r");
  CHECK(session.shows("earlier"));
  CHECK(session.answers());
  session.type(kEnd);
  CHECK(session.status() == 0);
}
