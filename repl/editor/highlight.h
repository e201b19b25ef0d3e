// The parts of a Lua text, for their colours and for brackets that belong together.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace perilune::repl {

enum class Style : unsigned char {
  plain,
  keyword,
  text,  ///< a string
  number,
  comment,
  command,  ///< :time, ?name
  match,    ///< a bracket at the cursor and the one that belongs to it; what a search found
  wrong,    ///< a bracket at the cursor that nothing belongs to
  dim,
  chosen,  ///< of a list
};

/// A style for every byte. Texts that are not finished are read as far as they go.
std::vector<Style> styles_of(const std::string& text);

/// The bracket before or else under the cursor, and its partner: npos where there is none.
std::pair<std::size_t, std::size_t> matching_brackets(const std::string& text,
                                                      const std::vector<Style>& styles,
                                                      std::size_t cursor);

}  // namespace perilune::repl
