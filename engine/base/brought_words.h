// Words that people bring from other libraries, and what they are called here.
#pragma once

#include <string_view>

namespace perilune {

struct BroughtWord {
  std::string_view word;    // lower case, underscores
  std::string_view names;   // ours, separated by spaces: the first that is known where it is asked
  std::string_view advice;  // where none of them is: a sentence without a full stop; may be empty
};

/// Null for a word that nobody is known to bring.
const BroughtWord* brought_word(std::string_view word);

}  // namespace perilune
