// What sessions remember, each alone and beside others.
#include "repl/editor/history.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include "tests/catch.h"
#include "tests/support.h"

namespace {

using perilune::repl::History;
using perilune_test::TemporaryFolder;

std::vector<std::string> texts(const History& history) {
  std::vector<std::string> found;
  for (const History::Entry& entry : history.entries()) found.push_back(entry.text);
  return found;
}

}  // namespace

TEST_CASE("blocks outlive the session as they were typed") {
  const TemporaryFolder folder;
  const std::string path = folder.path() + "/history";
  const std::vector<std::string> blocks = {"one", "for x do\n  \"a\\nb\\\\\"\nend",
                                           "日本 \\101\ttab"};
  {
    History history(path);
    for (const std::string& block : blocks) history.remember(block);
    history.remember("  \n ");
    history.remember(blocks.back());
    CHECK(texts(history) == blocks);
  }
  CHECK(texts(History(path)) == blocks);
}

TEST_CASE("no file, or one that cannot be made, is no error") {
  for (const char* path : {"", "/nowhere/at/all", "/"}) {
    History history(path);
    history.remember("kept for now");
    CHECK(texts(history) == std::vector<std::string>{"kept for now"});
  }
}

TEST_CASE("files of the earlier form are taken over") {
  const TemporaryFolder folder;
  const std::string path = folder.path() + "/history";
  std::ofstream(path) << "_HiStOrY_V2_\nx\\040=\\0401\nprint(\"a\\134nb\")\n";
  CHECK(texts(History(path)) == std::vector<std::string>{"x = 1", "print(\"a\\nb\")"});
  CHECK(texts(History(path)) == std::vector<std::string>{"x = 1", "print(\"a\\nb\")"});
}

TEST_CASE("damage is read as far as it goes") {
  const TemporaryFolder folder;
  const std::string path = folder.path() + "/history";
  std::ofstream(path) << std::string("a\0b\xFF\nc\\\n\\9\nno end", 18);
  const History history(path);
  CHECK(history.entries().size() == 3);
}

TEST_CASE("sessions beside each other lose nothing") {
  const TemporaryFolder folder;
  const std::string path = folder.path() + "/history";
  History mine(path);
  History other(path);
  other.remember("theirs");
  mine.remember("mine");
  CHECK(texts(mine) == std::vector<std::string>{"theirs", "mine"});
  CHECK(mine.entries()[0].elsewhere);
  CHECK_FALSE(mine.entries()[1].elsewhere);
  other.refresh();
  CHECK(texts(other) == std::vector<std::string>{"theirs", "mine"});
  CHECK(other.entries()[1].elsewhere);
}

TEST_CASE("processes that write at once lose nothing, also while the file is shortened") {
  const TemporaryFolder folder;
  const std::string path = folder.path() + "/history";
  {
    std::ofstream file(path);
    for (int i = 0; i < 12480; ++i) file << "old " << i << "\n";
  }
  constexpr int kProcesses = 4, kEach = 50;
  std::vector<pid_t> children;
  for (int process = 0; process < kProcesses; ++process) {
    const pid_t child = fork();
    if (child == 0) {
      for (int i = 0; i < kEach; ++i) {
        History(path).remember("new " + std::to_string(process) + " " + std::to_string(i));
      }
      _exit(0);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) waitpid(child, nullptr, 0);
  const std::vector<std::string> found = texts(History(path));
  CHECK(found.size() < 10500);
  const auto fresh = std::count_if(found.begin(), found.end(),
                                   [](const std::string& text) { return text[0] == 'n'; });
  CHECK(fresh == kProcesses * kEach);
}
