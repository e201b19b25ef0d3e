#include "engine/ranks/standing.h"

#include <array>
#include <cstdio>

namespace perilune {

FailedRank find_failed(Communicator& ranks, const std::string& own) {
  using Told = std::array<char, 256>;
  Told told{};
  std::snprintf(told.data(), told.size(), "%s", own.c_str());
  std::vector<Told> all(static_cast<std::size_t>(ranks.size()));
  ranks.all_gather(told.data(), sizeof told, all.data());
  for (std::size_t r = 0; r < all.size(); ++r) {
    if (all[r][0] != '\0') return {static_cast<int>(r), all[r].data()};
  }
  return {};
}

}  // namespace perilune
