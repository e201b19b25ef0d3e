// perilune.hpp: what closes itself, what moves, what errors say.
#include "perilune.hpp"

#include <cmath>
#include <cstdio>

using perilune_host::Error;
using perilune_host::Instance;
using perilune_host::Model;

namespace {

int failures = 0;

void check(bool fine, const char* what) {
  if (fine) return;
  std::printf("FAILED: %s\n", what);
  ++failures;
}

}  // namespace

int main() {
  pl_options one_thread{};
  one_thread.threads = 1;
  Instance instance(one_thread);
  {
    const Model reviews(instance, "scripts/models/reviews");
    const std::vector<std::string> texts = {"A great place.", "An awful place."};
    const auto best = reviews.classify(texts);
    check(reviews.label(best[0].id) == "POSITIVE", "the first is good");
    check(reviews.label(best[1].id) == "NEGATIVE", "the second is not");
    std::size_t width = 0;
    const auto vectors = reviews.embed(texts, width);
    check(vectors.size() == 2 * width && std::isfinite(vectors[0]), "two vectors");
    try {
      (void)reviews.classify({});
      check(false, "no texts raise");
    } catch (const Error& error) {
      check(error.status() == PL_ERROR_ARGUMENT, "no texts are an argument's error");
    }
  }
  const Model tales(instance, "scripts/models/tales");
  const Instance moved = std::move(instance);
  check(
      tales.generate("Once upon a time", R"({"max_new_tokens": 4, "do_sample": false})").size() > 4,
      "it writes");
  moved.run("x = 1");
  try {
    Model(moved, "/no/such/model");
    check(false, "no model raises");
  } catch (const Error& error) {
    check(error.status() == PL_ERROR_FILE &&
              std::string(error.what()).find("/no/such") != std::string::npos,
          "the error names the path");
  }
  try {
    pl_options bad{};
    bad.threads = -1;
    const Instance none(bad);
    check(false, "bad options raise");
  } catch (const Error& error) {
    check(std::string(error.what()).find("threads") != std::string::npos, "the error says which");
  }
  std::printf("interface: %d failed\n", failures);
  return failures != 0 ? 1 : 0;
}
