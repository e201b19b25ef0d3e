#include "engine/base/error.h"

#include <utility>

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

namespace {

// What comes from outside (names, texts, lists of them) may be of any length; a message may not.
constexpr std::size_t kMostName = 400, kMostText = 4000;
constexpr std::size_t kMostOperands = 32;

/// The beginning of a text that is too long, cut between two characters, and how much is missing.
std::string bounded(std::string text, std::size_t most) {
  if (text.size() <= most) return text;
  std::size_t end = most;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  const std::string missing = "... (" + std::to_string(text.size() - end) + " more bytes)";
  text.resize(end);
  return text += missing;
}

}  // namespace

Error::Error(ErrorCode code, std::string op, std::string problem)
    : std::runtime_error(""),
      code_(code),
      op_(bounded(std::move(op), kMostName)),
      problem_(bounded(std::move(problem), kMostText)) {
  compose();
}

Error& Error::operand(std::string_view name, std::string_view description) {
  std::string text(name);
  if (!description.empty()) text.append(" ").append(description);
  if (operands_.size() < kMostOperands) operands_.push_back(bounded(std::move(text), kMostName));
  compose();
  return *this;
}

Error& Error::where(std::string_view place) {
  if (place.empty() || where_.size() > kMostText) return *this;
  if (!where_.empty()) where_ += ", ";
  where_ += bounded(std::string(place), kMostName);
  compose();
  return *this;
}

Error& Error::hint(std::string_view what_to_do) {
  hint_ = bounded(std::string(what_to_do), kMostText);
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
