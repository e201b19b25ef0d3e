// The `perilune` program: runs a script, a line of Lua or a verb, or talks to the engine.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "repl/program.h"

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_DFL);  // `perilune … | head` ends quietly
  return perilune::repl::run_program(argc, argv);
}
