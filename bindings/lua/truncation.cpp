#include "bindings/lua/truncation.h"

#include <algorithm>

#include "engine/error.h"

namespace perilune::lua {

namespace {

/// How many tokens each text may keep.
struct Kept {
  std::int64_t first = 0, second = 0;
};

std::int64_t count_of(const Encoding& encoding, int text) {
  return std::count_if(encoding.tokens.begin(), encoding.tokens.end(),
                       [text](const Token& token) { return token.text == text; });
}

Kept share(Kept lengths, std::int64_t room, Truncation::Strategy strategy, const std::string& op) {
  using Strategy = Truncation::Strategy;
  const std::int64_t excess = lengths.first + lengths.second - room;
  if (excess <= 0) return lengths;
  Kept kept = lengths;
  if (strategy == Strategy::only_first) kept.first -= excess;
  if (strategy == Strategy::only_second) kept.second -= excess;
  if (strategy == Strategy::longest_first) {
    for (std::int64_t i = 0; i < excess; ++i) {
      (kept.first > kept.second ? kept.first : kept.second) -= 1;
    }
  }
  const bool empty =
      (lengths.first > 0 && kept.first <= 0) || (lengths.second > 0 && kept.second <= 0);
  if (empty) {
    throw Error(ErrorCode::length, op,
                "nothing of a text would be left: its texts have " + std::to_string(lengths.first) +
                    " and " + std::to_string(lengths.second) + " tokens, there is room for " +
                    std::to_string(std::max<std::int64_t>(0, room)));
  }
  return kept;
}

/// The row that keeps tokens [begin, end) of each text.
EncodedRow part_of(const Encoding& encoding, const std::int64_t (&begin)[2],
                   const std::int64_t (&end)[2]) {
  EncodedRow row;
  std::int64_t seen[2] = {0, 0};
  for (std::size_t i = 0; i < encoding.ids.size(); ++i) {
    const int text = encoding.tokens[i].text;
    if (text >= 0) {
      const std::int64_t position = seen[text]++;
      if (position < begin[text] || position >= end[text]) {
        ++row.lost;
        continue;
      }
    }
    row.ids.push_back(encoding.ids[i]);
    if (!encoding.type_ids.empty()) row.type_ids.push_back(encoding.type_ids[i]);
  }
  return row;
}

}  // namespace

EncodedRow whole_row(const Encoding& encoding) {
  return {encoding.ids, {encoding.type_ids.begin(), encoding.type_ids.end()}, 0};
}

std::vector<EncodedRow> truncate(const Encoding& encoding, const Truncation& how,
                                 const std::string& op) {
  const auto total = static_cast<std::int64_t>(encoding.ids.size());
  if (total <= how.to) return {whole_row(encoding)};
  const Kept lengths{count_of(encoding, 0), count_of(encoding, 1)};
  const std::int64_t room = how.to - (total - lengths.first - lengths.second);
  const Kept kept = share(lengths, room, how.strategy, op);
  std::int64_t begin[2] = {0, 0}, end[2] = {kept.first, kept.second};
  if (how.left) {
    begin[0] = lengths.first - kept.first;
    begin[1] = lengths.second - kept.second;
    end[0] = lengths.first;
    end[1] = lengths.second;
  }
  if (!how.windows) return {part_of(encoding, begin, end)};
  const bool cuts_first = kept.first < lengths.first, cuts_second = kept.second < lengths.second;
  if (cuts_first && cuts_second) {
    throw Error(ErrorCode::option, op, "windows slide over one text of a pair")
        .hint("truncate={ strategy=\"only_first\" or \"only_second\" }");
  }
  const int text = cuts_first ? 0 : 1;
  const std::int64_t length = text == 0 ? lengths.first : lengths.second;
  const std::int64_t width = text == 0 ? kept.first : kept.second;
  if (how.stride >= width) {
    throw Error(ErrorCode::option, op,
                "stride " + std::to_string(how.stride) + " must be less than the " +
                    std::to_string(width) + " tokens of a window");
  }
  std::vector<EncodedRow> rows;
  for (std::int64_t at = 0;; at += width - how.stride) {
    begin[text] = at;
    end[text] = std::min(length, at + width);
    rows.push_back(part_of(encoding, begin, end));
    rows.back().lost = 0;  // other windows hold the rest
    if (end[text] == length) return rows;
  }
}

}  // namespace perilune::lua
