#include "engine/text/decode/stop_matcher.h"

#include <algorithm>

#include "engine/base/error.h"

namespace perilune {

StopMatcher::StopMatcher(std::vector<std::string> stops) {
  stops_.reserve(stops.size());
  for (std::string& text : stops) {
    if (text.empty()) {
      throw Error(ErrorCode::argument, "stop", "a stop string is empty")
          .hint("it would stop every answer before its first character");
    }
    Stop stop;
    stop.fallback.assign(text.size(), 0);
    for (std::size_t i = 1, length = 0; i < text.size(); ++i) {
      while (length > 0 && text[i] != text[length]) length = stop.fallback[length - 1];
      if (text[i] == text[length]) ++length;
      stop.fallback[i] = length;
    }
    stop.text = std::move(text);
    stops_.push_back(std::move(stop));
  }
}

// True when a stop string ends with this byte.
bool StopMatcher::advance(char byte) {
  for (std::size_t i = 0; i < stops_.size(); ++i) {
    Stop& stop = stops_[i];
    while (stop.length > 0 && stop.text[stop.length] != byte) {
      stop.length = stop.fallback[stop.length - 1];
    }
    if (stop.text[stop.length] == byte) ++stop.length;
    if (stop.length == stop.text.size() &&
        (matched_ < 0 || stop.length > stops_[static_cast<std::size_t>(matched_)].text.size())) {
      matched_ = static_cast<int>(i);
    }
  }
  return matched_ >= 0;
}

std::string StopMatcher::push(std::string_view text) {
  if (matched()) return "";
  if (stops_.empty()) return std::string(text);
  for (const char byte : text) {
    held_ += byte;
    if (!advance(byte)) continue;
    std::string before = std::move(held_);
    held_.clear();
    before.resize(before.size() - matched_text().size());
    return before;
  }
  std::size_t keep = 0;
  for (const Stop& stop : stops_) keep = std::max(keep, stop.length);
  std::string released = held_.substr(0, held_.size() - keep);
  held_.erase(0, released.size());
  return released;
}

std::string StopMatcher::flush() {
  std::string rest = std::move(held_);
  held_.clear();
  for (Stop& stop : stops_) stop.length = 0;
  return rest;
}

const std::string& StopMatcher::matched_text() const {
  static const std::string kNone;
  return matched_ < 0 ? kNone : stops_[static_cast<std::size_t>(matched_)].text;
}

void StopMatcher::reset() {
  flush();
  matched_ = -1;
}

}  // namespace perilune
