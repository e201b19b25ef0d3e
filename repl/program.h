// What the command line asks for.
#pragma once

namespace perilune::repl {

/// Runs what the arguments ask for; the exit status: 0, 1 (it failed, the reason on stderr), 2
/// (wrong usage).
int run_program(int argc, char** argv);

}  // namespace perilune::repl
