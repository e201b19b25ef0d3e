// What grammars cost: compiling a schema of 50 properties, the first and the later masks of its
// answers' states, with a vocabulary from a file.
//   bench_constrained TOKENIZER_FOLDER
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "engine/constrain/json_schema.h"
#include "engine/constrain/token_masks.h"
#include "engine/text/readers/open.h"

using namespace perilune;

namespace {

double now_us() {
  using Clock = std::chrono::steady_clock;
  return std::chrono::duration<double, std::micro>(Clock::now().time_since_epoch()).count();
}

std::string schema_of(int properties) {
  const char* kKinds[] = {R"({"type":"string"})", R"({"type":"integer","minimum":0})",
                          R"({"type":"array","items":{"type":"number"}})",
                          R"({"enum":["red","green","blue"]})",
                          R"({"type":"string","maxLength":200})"};
  std::string text = R"({"type":"object","properties":{)";
  for (int i = 0; i < properties; ++i) {
    text += (i > 0 ? ",\"property_" : "\"property_") + std::to_string(i) + "\":" + kKinds[i % 5];
  }
  return text + R"(},"required":["property_0"]})";
}

std::string answer(int properties) {
  const char* kValues[] = {"\"some words, and more\"", "1234", "[1.5, -2, 3e10]", "\"green\"",
                           "\"a text of some length\""};
  std::string text = "{";
  for (int i = 0; i < properties; ++i) {
    text += (i > 0 ? ", \"property_" : "\"property_") + std::to_string(i) + "\": " + kValues[i % 5];
  }
  return text + "}";
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: bench_constrained TOKENIZER_FOLDER\n");
    return 2;
  }
  const auto tokenizer = load_tokenizer(argv[1]);
  if (!tokenizer) return 2;
  double from = now_us();
  const auto bytes = std::make_shared<TokenBytes>(*tokenizer, true);
  std::printf("vocabulary of %zu tokens as a tree: %.0f ms\n", bytes->size(),
              (now_us() - from) / 1e3);
  from = now_us();
  const auto automaton =
      std::make_shared<Automaton>(json_schema_grammar(schema_of(50), JsonSpace::some));
  std::printf("schema of 50 properties: %.1f ms, %zu states\n", (now_us() - from) / 1e3,
              automaton->states());
  TokenMasks masks(automaton, bytes);
  EncodeOptions plain;
  plain.special = false;
  const std::vector<std::int32_t> ids = tokenizer->encode(answer(50), plain).ids;
  for (const char* round : {"first time", "again"}) {
    double worst = 0, total = 0;
    TokenMasks::Place place = masks.begin();
    std::vector<std::uint32_t> mask;
    for (std::size_t i = 0; i <= ids.size(); ++i) {
      const std::span<const std::int32_t> so_far(ids.data(), i);
      from = now_us();
      masks.advance(place, so_far);
      masks.allowed(place, so_far, mask);
      const double took = now_us() - from;
      worst = std::max(worst, took);
      total += took;
      if (!masks.alive(place)) std::printf("the answer does not fit at token %zu\n", i);
    }
    std::printf("masks %s: %.1f us a token, %.1f us at most, %zu tokens\n", round,
                total / static_cast<double>(ids.size() + 1), worst, ids.size());
  }
  return 0;
}
