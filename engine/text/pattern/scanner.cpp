#include "engine/text/pattern/scanner.h"

namespace perilune {

std::unique_ptr<Pattern> known_scanner(std::string_view source) {
  if (auto words = word_scanner(source)) return words;
  if (auto runs = run_scanner(source)) return runs;
  return family_scanner(source);
}

}  // namespace perilune
