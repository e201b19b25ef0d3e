// Calls into the SentencePiece library; for tokenizer_sentencepiece*.cpp only.
#pragma once

#include <sentencepiece_processor.h>

#include <new>
#include <string>

#include "engine/base/error.h"

namespace perilune {

/// Runs a call into the library; what it throws or reports becomes our error.
template <typename Function>
void call_library(ErrorCode code, const char* op, const std::string& path, Function function) {
  std::string problem;
  try {
    const sentencepiece::util::Status status = function();
    if (status.ok()) return;
    problem = status.error_message();
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::memory, op, path + ": out of memory");
  } catch (const std::exception& error) {
    problem = error.what();
  }
  throw Error(code, op, path + ": the SentencePiece library refuses it: " + problem);
}

}  // namespace perilune
