// A conversation at a terminal: Ctrl-C stops an answer and nothing else.
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

// The demo model with a chat template, whose answers are long.
struct Model {
  TemporaryFolder folder;
  std::string path = folder.path();
  Model() {
    std::filesystem::copy("scripts/models/tales", path);
    folder.write("chat_template.jinja", "{% for m in messages %}{{ m.content }} {% endfor %}");
    folder.write("generation_config.json",
                 R"({"do_sample": false, "min_new_tokens": 250, "max_new_tokens": 256})");
  }
};

}  // namespace

#define NEED_MODEL()                                                                              \
  if (perilune_test::program_path().empty()) PERILUNE_SKIP("PERILUNE does not name the program"); \
  if (!std::filesystem::exists("scripts/models/tales/config.json")) {                             \
    PERILUNE_SKIP("no model scripts/models/tales");                                               \
  }

TEST_CASE("Ctrl-C stops an answer, and the conversation goes on") {
  NEED_MODEL();
  const Model model;
  Terminal chat(model.path, {"chat", model.path, "--threads", "1"});
  bool stopped = false;
  for (int i = 0; i < 30 && !stopped; ++i) {
    chat.type("/reset\r");
    REQUIRE(chat.shows("(a new conversation)"));
    REQUIRE(chat.shows("> "));
    chat.type("Once\r");
    REQUIRE(chat.shows("Once"));  // its echo
    REQUIRE(chat.shows("."));     // the answer has begun
    chat.type(kInterrupt);
    stopped = chat.shows("(stopped)", 1);
  }
  CHECK(stopped);
  chat.type("/help\r");
  CHECK(chat.shows("/system TEXT"));
  CHECK(chat.shows("> "));
  chat.type("dropped" + kInterrupt);
  CHECK(chat.shows("> "));
  chat.type(kEnd);
  CHECK(chat.status() == 0);
}

TEST_CASE("/quit leaves, and Tab completes commands") {
  NEED_MODEL();
  const Model model;
  Terminal chat(model.path, {"chat", model.path, "--raw", "--threads", "1"});
  chat.type("/hel\t\r");
  CHECK(chat.shows("/save FILE"));
  CHECK(chat.shows("> "));
  chat.type("/quit\r");
  CHECK(chat.status() == 0);
}
