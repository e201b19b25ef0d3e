// A conversation at a terminal: Ctrl-C stops an answer and nothing else.
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/catch.h"
#include "tests/repl/terminal.h"

namespace {

using perilune_test::Terminal;

const std::string kInterrupt = "\x03";
const std::string kEnd = "\x04";

// The demo model with a chat template, whose answers are long.
struct Model {
  std::string path;
  Model() {
    std::string name = (std::filesystem::temp_directory_path() / "perilune_test_XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) return;
    path = name;
    std::filesystem::copy("scripts/models/tales", path);
    std::ofstream(path + "/chat_template.jinja")
        << "{% for m in messages %}{{ m.content }} {% endfor %}";
    std::ofstream(path + "/generation_config.json")
        << R"({"do_sample": false, "min_new_tokens": 250, "max_new_tokens": 256})";
  }
  ~Model() {
    std::error_code ignored;
    if (!path.empty()) std::filesystem::remove_all(path, ignored);
  }
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;
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
  REQUIRE_FALSE(model.path.empty());
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
  REQUIRE_FALSE(model.path.empty());
  Terminal chat(model.path, {"chat", model.path, "--raw", "--threads", "1"});
  chat.type("/hel\t\r");
  CHECK(chat.shows("/save FILE"));
  CHECK(chat.shows("> "));
  chat.type("/quit\r");
  CHECK(chat.status() == 0);
}
