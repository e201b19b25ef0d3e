#include "engine/base/error.h"

namespace perilune {

const char* error_code_name(ErrorCode code) {
  switch (code) {
    case ErrorCode::argument: return "argument";
    case ErrorCode::option: return "option";
    case ErrorCode::shape: return "shape";
    case ErrorCode::dtype: return "dtype";
    case ErrorCode::device: return "device";
    case ErrorCode::file: return "file";
    case ErrorCode::format: return "format";
    case ErrorCode::pairing: return "pairing";
    case ErrorCode::unsupported: return "unsupported";
    case ErrorCode::memory: return "memory";
    case ErrorCode::length: return "length";
    case ErrorCode::state: return "state";
    case ErrorCode::policy: return "policy";
    case ErrorCode::cancelled: return "cancelled";
    case ErrorCode::internal: return "internal";
  }
  return "?";
}

Error::Error(ErrorCode code, std::string op, std::string problem)
    : std::runtime_error(""), code_(code), op_(std::move(op)), problem_(std::move(problem)) {
  compose();
}

Error& Error::operand(std::string_view name, std::string_view description) {
  std::string text(name);
  if (!description.empty()) text.append(" ").append(description);
  operands_.push_back(std::move(text));
  compose();
  return *this;
}

Error& Error::where(std::string_view place) {
  if (place.empty()) return *this;
  if (!where_.empty()) where_ += ", ";
  where_ += place;
  compose();
  return *this;
}

Error& Error::hint(std::string_view what_to_do) {
  hint_ = what_to_do;
  compose();
  return *this;
}

void Error::compose() {
  message_ = op_ + ": " + problem_;
  for (std::size_t i = 0; i < operands_.size(); ++i) {
    message_ += (i == 0 ? ": " : ", ") + operands_[i];
  }
  if (!where_.empty()) message_ += "; in " + where_;
  if (!hint_.empty()) message_ += "; " + hint_;
}

}  // namespace perilune
