// Cuts and windows on encodings made by hand: [CLS] text [SEP] pair [SEP].
#include "engine/text/tokenizer/truncation.h"

#include "engine/base/error.h"
#include "tests/catch.h"

using namespace perilune;

namespace {

/// Ids of the text are 10, 11, …, of the pair 50, 51, …; 1 and 2 are put in.
Encoding encoding(int first, int second) {
  Encoding out;
  const auto put = [&](std::int32_t id, int text) {
    out.ids.push_back(id);
    out.type_ids.push_back(text == 1 ? 1 : 0);
    Token token;
    token.id = id;
    token.text = text;
    out.tokens.push_back(token);
  };
  put(1, -1);
  for (int i = 0; i < first; ++i) put(10 + i, 0);
  put(2, -1);
  for (int i = 0; i < second; ++i) put(50 + i, 1);
  if (second > 0) put(2, -1);
  return out;
}

using Ids = std::vector<std::int32_t>;
using Strategy = Truncation::Strategy;

}  // namespace

TEST_CASE("strategies keep what they say") {
  struct Case {
    int first, second;
    std::int64_t to;
    Strategy strategy;
    bool left;
    Ids want;
    std::int64_t lost;
  };
  const Case cases[] = {
      {5, 0, 5, Strategy::longest_first, false, {1, 10, 11, 12, 2}, 2},
      {5, 0, 5, Strategy::longest_first, true, {1, 12, 13, 14, 2}, 2},
      {4, 2, 7, Strategy::longest_first, false, {1, 10, 11, 2, 50, 51, 2}, 2},
      {4, 4, 8, Strategy::longest_first, false, {1, 10, 11, 2, 50, 51, 52, 2}, 3},
      {4, 2, 7, Strategy::only_first, false, {1, 10, 11, 2, 50, 51, 2}, 2},
      {2, 4, 7, Strategy::only_second, true, {1, 10, 11, 2, 52, 53, 2}, 2},
      {2, 2, 9, Strategy::only_first, false, {1, 10, 11, 2, 50, 51, 2}, 0},
  };
  for (const Case& test : cases) {
    Truncation how;
    how.to = test.to;
    how.strategy = test.strategy;
    how.left = test.left;
    const auto rows = truncate(encoding(test.first, test.second), how, "encode");
    REQUIRE(rows.size() == 1);
    CHECK(rows[0].ids == test.want);
    CHECK(rows[0].lost == test.lost);
    CHECK(rows[0].type_ids.size() == test.want.size());
  }
}

TEST_CASE("windows cover a text, sharing a stride") {
  Truncation how;
  how.to = 5;
  how.stride = 1;
  how.windows = true;
  auto rows = truncate(encoding(7, 0), how, "encode");
  REQUIRE(rows.size() == 3);
  CHECK(rows[0].ids == Ids{1, 10, 11, 12, 2});
  CHECK(rows[1].ids == Ids{1, 12, 13, 14, 2});
  CHECK(rows[2].ids == Ids{1, 14, 15, 16, 2});
  CHECK(rows[1].lost == 0);
  CHECK(rows[1].kept == std::vector<std::uint32_t>{0, 3, 4, 5, 8});
  CHECK(rows[0].first[0] == 0);
  CHECK(rows[1].first[0] == 2);
  how.left = true;
  rows = truncate(encoding(7, 0), how, "encode");
  REQUIRE(rows.size() == 3);
  CHECK(rows[0].ids == Ids{1, 14, 15, 16, 2});
  CHECK(rows[2].ids == Ids{1, 10, 11, 12, 2});
}

TEST_CASE("where both texts are cut every window meets every other") {
  Truncation how;
  how.to = 7;
  how.windows = true;
  const auto rows = truncate(encoding(4, 4), how, "encode");
  REQUIRE(rows.size() == 4);
  CHECK(rows[0].ids == Ids{1, 10, 11, 2, 50, 51, 2});
  CHECK(rows[1].ids == Ids{1, 12, 13, 2, 50, 51, 2});
  CHECK(rows[2].ids == Ids{1, 12, 13, 2, 52, 53, 2});
  CHECK(rows[2].first[0] == 2);
  CHECK(rows[2].first[1] == 2);
  CHECK(rows[3].first[0] == 0);
  CHECK(rows[3].ids == Ids{1, 10, 11, 2, 52, 53, 2});
}

TEST_CASE("what cannot be cut is an error") {
  Truncation how;
  how.to = 2;
  CHECK_THROWS_AS(truncate(encoding(3, 0), how, "encode"), Error);
  how.to = 5;
  how.strategy = Strategy::only_second;
  CHECK_THROWS_AS(truncate(encoding(9, 1), how, "encode"), Error);
  CHECK_THROWS_AS(truncate(encoding(9, 0), how, "encode"), Error);
  how.strategy = Strategy::longest_first;
  how.stride = 3;
  CHECK_THROWS_AS(truncate(encoding(9, 0), how, "encode"), Error);
}
