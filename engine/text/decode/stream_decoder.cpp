#include "engine/text/decode/stream_decoder.h"

#include <algorithm>
#include <array>

#include "engine/text/decode/growth.h"

namespace perilune {

void StreamReplace::push(std::string_view text, std::string& out) {
  held_ += text;
  std::size_t done = 0;
  for (;;) {
    const std::size_t found = held_.find(pattern_, done);
    if (found == std::string::npos) break;
    out.append(held_, done, found - done);
    out += replacement_;
    check_growth(out.size(), held_.size());
    done = found + pattern_.size();
  }
  std::size_t keep = std::min(held_.size() - done, pattern_.size() - 1);
  while (held_.compare(held_.size() - keep, keep, pattern_, 0, keep) != 0) --keep;
  out.append(held_, done, held_.size() - keep - done);
  held_.erase(0, held_.size() - keep);
}

void StreamReplace::flush(std::string& out) {
  out += held_;
  held_.clear();
}

StreamCleanUp::StreamCleanUp() {
  // In this order, each on the result of the one before it, as published.
  const std::array<std::array<const char*, 2>, 10> rules = {{{" .", "."},
                                                             {" ?", "?"},
                                                             {" !", "!"},
                                                             {" ,", ","},
                                                             {" ' ", "'"},
                                                             {" n't", "n't"},
                                                             {" 'm", "'m"},
                                                             {" 's", "'s"},
                                                             {" 've", "'ve"},
                                                             {" 're", "'re"}}};
  for (const auto& [pattern, replacement] : rules) steps_.emplace_back(pattern, replacement);
}

void StreamCleanUp::push(std::string_view text, std::string& out) {
  std::string current(text), next;
  for (StreamReplace& step : steps_) {
    next.clear();
    step.push(current, next);
    current.swap(next);
  }
  out += current;
}

void StreamCleanUp::flush(std::string& out) {
  std::string current, next;
  for (StreamReplace& step : steps_) {
    next.clear();
    step.push(current, next);
    step.flush(next);
    current.swap(next);
  }
  out += current;
}

}  // namespace perilune
