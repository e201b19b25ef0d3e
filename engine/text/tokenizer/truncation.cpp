#include "engine/text/tokenizer/truncation.h"

#include <algorithm>

#include "engine/base/error.h"

namespace perilune {

namespace {

/// Tokens [first, last) of one text.
struct Part {
  std::int64_t first = 0, last = 0;
};

struct Lengths {
  std::int64_t first = 0, second = 0;
};

std::int64_t count_of(const Encoding& encoding, int text) {
  return std::count_if(encoding.tokens.begin(), encoding.tokens.end(),
                       [text](const Token& token) { return token.text == text; });
}

/// The published shares of a pair: only the longer is cut until both are as long.
Lengths share_longest_first(Lengths lengths, std::int64_t room) {
  std::int64_t shorter = std::min(lengths.first, lengths.second);
  std::int64_t longer = shorter > room ? shorter : std::max(shorter, room - shorter);
  if (shorter + longer > room) {
    shorter = room / 2;
    longer = shorter + room % 2;
  }
  const bool swapped = lengths.first > lengths.second;
  return swapped ? Lengths{longer, shorter} : Lengths{shorter, longer};
}

Lengths share(Lengths lengths, std::int64_t room, Truncation::Strategy strategy, bool pair,
              const std::string& op) {
  using Strategy = Truncation::Strategy;
  const std::int64_t excess = lengths.first + lengths.second - room;
  if (excess <= 0) return lengths;
  Lengths kept = lengths;
  const bool second = strategy == Strategy::only_second;
  if (second) kept.second -= excess;
  if (!second && (strategy == Strategy::only_first || !pair)) kept.first -= excess;
  if (strategy == Strategy::longest_first && pair) {
    kept = share_longest_first(lengths, std::max<std::int64_t>(0, room));
  }
  const bool empty = kept.second < 0 || kept.first + kept.second <= 0 ||
                     (lengths.first > 0 && kept.first <= 0) ||
                     (lengths.second > 0 && kept.second <= 0);
  if (empty) {
    throw Error(ErrorCode::length, op,
                "nothing of a text would be left: its texts have " + std::to_string(lengths.first) +
                    " and " + std::to_string(lengths.second) + " tokens, there is room for " +
                    std::to_string(std::max<std::int64_t>(0, room)))
        .hint("a larger length, or another strategy");
  }
  return kept;
}

/// Windows of `width` over `length` tokens, the kept one first.
std::vector<Part> windows_of(std::int64_t length, std::int64_t width, const Truncation& how,
                             const std::string& op) {
  if (width >= length) return {{0, length}};
  if (how.stride >= width) {
    throw Error(ErrorCode::option, op,
                "stride " + std::to_string(how.stride) + " must be less than the " +
                    std::to_string(width) + " tokens of a window");
  }
  std::vector<Part> parts;
  const std::int64_t step = width - how.stride;
  for (std::int64_t at = 0;; at += step) {
    Part part{at, std::min(length, at + width)};
    if (how.left) part = {std::max<std::int64_t>(0, length - at - width), length - at};
    parts.push_back(part);
    if (!how.windows || (how.left ? part.first == 0 : part.last == length)) return parts;
  }
}

/// The row that keeps these parts of the two texts.
EncodedRow row_of(const Encoding& encoding, const Part& first, const Part& second) {
  EncodedRow row;
  const Part parts[2] = {first, second};
  row.first[0] = first.first;
  row.first[1] = second.first;
  std::int64_t seen[2] = {0, 0};
  for (std::size_t i = 0; i < encoding.ids.size(); ++i) {
    const int text = encoding.tokens[i].text;
    if (text >= 0) {
      const std::int64_t position = seen[text]++;
      if (position < parts[text].first || position >= parts[text].last) {
        ++row.lost;
        continue;
      }
    }
    row.ids.push_back(encoding.ids[i]);
    row.kept.push_back(static_cast<std::uint32_t>(i));
    if (!encoding.type_ids.empty()) row.type_ids.push_back(encoding.type_ids[i]);
  }
  return row;
}

}  // namespace

EncodedRow whole_row(const Encoding& encoding) {
  EncodedRow row;
  row.ids = encoding.ids;
  row.type_ids.assign(encoding.type_ids.begin(), encoding.type_ids.end());
  return row;
}

std::vector<EncodedRow> truncate(const Encoding& encoding, const Truncation& how,
                                 const std::string& op) {
  const auto total = static_cast<std::int64_t>(encoding.ids.size());
  if (total <= how.to) return {whole_row(encoding)};
  const Lengths lengths{count_of(encoding, 0), count_of(encoding, 1)};
  const std::int64_t room = how.to - (total - lengths.first - lengths.second);
  const Lengths kept = share(lengths, room, how.strategy, lengths.second > 0, op);
  const std::vector<Part> first = windows_of(lengths.first, kept.first, how, op);
  const std::vector<Part> second = windows_of(lengths.second, kept.second, how, op);
  std::vector<EncodedRow> rows{row_of(encoding, first[0], second[0])};
  if (!how.windows) return rows;
  for (std::size_t i = 1; i < first.size(); ++i) {
    for (const Part& other : second) rows.push_back(row_of(encoding, first[i], other));
  }
  for (std::size_t j = 1; j < second.size(); ++j) {
    rows.push_back(row_of(encoding, first[0], second[j]));
  }
  for (EncodedRow& row : rows) row.lost = 0;  // other windows hold the rest
  return rows;
}

}  // namespace perilune
