// GBNF, the grammars of llama.cpp.
#pragma once

#include <string_view>

#include "engine/constrain/grammar.h"

namespace perilune {

/// Rules `name ::= …`, the whole text is `root`: "texts" with \n \r \t \\ \" \xHH \uHHHH
/// \UHHHHHHHH, [classes], `.`, (groups), |, * + ? {m,n}, # comments. Throws Error(argument) with
/// the position for what it is not, Error(length) where it is too large.
Grammar read_gbnf(std::string_view text);

}  // namespace perilune
