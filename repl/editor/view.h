// What is to be seen of a block that is edited.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "repl/editor/highlight.h"

namespace perilune::repl {

struct View {
  std::string prompt;                      ///< before the first line
  std::string text;                        ///< UTF-8, with newlines
  std::vector<Style> styles;               ///< of every byte of the text
  std::size_t cursor = 0;                  ///< byte of the text
  std::string hint;                        ///< below it: what the open call takes
  std::vector<std::string> words;          ///< below it: what could stand at the cursor
  std::size_t chosen = std::string::npos;  ///< of the words
};

}  // namespace perilune::repl
