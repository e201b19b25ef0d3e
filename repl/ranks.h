// Whether this process is one of several that compute models together, from its environment.
#pragma once

#include <string>

#include "bindings/lua/host/perilune_lua.h"

namespace perilune::repl {

/// What PERILUNE_RANKS (1, 2, 4, 8 or "off") and mpirun say. Without the one, as many as the other
/// started; neither: no ranks (`start.size` is 0). False with the reason in `why_not`.
bool read_ranks(lua::RankStart& start, std::string& why_not);

/// Threads for each of the ranks on this machine; 0: as many as the process may use.
int threads_of_rank();

}  // namespace perilune::repl
