#include "engine/text/cut/parts.h"

#include <algorithm>

namespace perilune {
namespace {

struct Part {
  TextSpan span;
  bool matched;
};

void merge_with_previous(const std::vector<Part>& parts, std::vector<TextSpan>& out) {
  const std::size_t begin = out.size();
  bool previous = false;
  for (const Part& part : parts) {
    if (part.matched && !previous && out.size() > begin) {
      out.back().last = part.span.last;
    } else {
      out.push_back(part.span);
    }
    previous = part.matched;
  }
}

void merge_with_next(const std::vector<Part>& parts, std::vector<TextSpan>& out) {
  const std::size_t begin = out.size();
  bool previous = false;  // the part after it, since this goes backwards
  for (std::size_t i = parts.size(); i-- > 0;) {
    if (parts[i].matched && !previous && out.size() > begin) {
      out.back().first = parts[i].span.first;
    } else {
      out.push_back(parts[i].span);
    }
    previous = parts[i].matched;
  }
  std::reverse(out.begin() + static_cast<std::ptrdiff_t>(begin), out.end());
}

void join_alike(const std::vector<Part>& parts, std::vector<TextSpan>& out) {
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i > 0 && parts[i].matched == parts[i - 1].matched) {
      out.back().last = parts[i].span.last;
    } else {
      out.push_back(parts[i].span);
    }
  }
}

}  // namespace

bool covers(TextSpan piece, const std::vector<TextSpan>& matches, std::size_t begin) {
  std::uint32_t at = piece.first;
  for (std::size_t i = begin; i < matches.size(); ++i) {
    if (matches[i].first != at || matches[i].last == at) return false;
    at = matches[i].last;
  }
  return at == piece.last;
}

void cut(TextSpan piece, const std::vector<TextSpan>& matches, SplitBehavior behavior, bool invert,
         std::vector<TextSpan>& out) {
  const bool simple = behavior == SplitBehavior::isolated || behavior == SplitBehavior::removed;
  std::vector<Part> parts;
  const auto take = [&](std::uint32_t first, std::uint32_t last, bool matched) {
    const bool counts = matched != invert;
    if (!simple) {
      parts.push_back({{first, last}, counts});
    } else if (first < last && (behavior == SplitBehavior::isolated || !counts)) {
      out.push_back({first, last});
    }
  };
  std::uint32_t at = piece.first;
  for (const TextSpan& match : matches) {
    if (at < match.first) take(at, match.first, false);
    take(match.first, match.last, true);
    at = match.last;
  }
  if (at < piece.last) take(at, piece.last, false);
  if (simple) return;
  const std::size_t begin = out.size();
  if (behavior == SplitBehavior::merged_with_previous) merge_with_previous(parts, out);
  if (behavior == SplitBehavior::merged_with_next) merge_with_next(parts, out);
  if (behavior == SplitBehavior::contiguous) join_alike(parts, out);
  const auto nothing = [](TextSpan span) { return span.first == span.last; };
  out.erase(std::remove_if(out.begin() + static_cast<std::ptrdiff_t>(begin), out.end(), nothing),
            out.end());
}

}  // namespace perilune
