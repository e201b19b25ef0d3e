#include "engine/base/error.h"

#include <algorithm>
#include <numeric>

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

namespace {

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t change = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, change});
    }
  }
  return row[b.size()];
}

}  // namespace

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  const std::string_view short_word = word.substr(0, 64);  // bounds the work on hostile input
  std::size_t best = std::max<std::size_t>(2, short_word.size() / 3) + 1;
  std::string found;
  for (const std::string& candidate : candidates) {
    if (candidate.size() > 96) continue;
    const std::size_t distance = edit_distance(short_word, candidate);
    if (distance < best) {
      best = distance;
      found = candidate;
    }
  }
  return found;
}

std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates) {
  const std::string found = nearest(word, candidates);
  return found.empty() ? "" : "did you mean \"" + found + "\"?";
}

}  // namespace perilune
