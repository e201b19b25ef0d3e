// Catch2 in whichever of its two versions is installed, and skips for both.
#pragma once

#include <string>

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;
#else
#include <catch2/catch.hpp>
#endif

namespace perilune_test {

/// Notes that the running test case is skipped, and why. Printed, and written to the file named by
/// PERILUNE_SKIP_LOG where that is set. tests/main.cpp exits with 77 when all cases were skipped.
void note_skip(const std::string& reason);

/// A generator's seed: `base`, moved by PERILUNE_SEED where that is set (tests/campaign.sh).
unsigned seeded(unsigned base);

}  // namespace perilune_test

/// Leaves the test case (or the void function) as skipped.
#define PERILUNE_SKIP(reason)         \
  do {                                \
    perilune_test::note_skip(reason); \
    return;                           \
  } while (false)
