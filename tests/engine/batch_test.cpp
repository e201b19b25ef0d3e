// Ragged batches, their padded views, and what they refuse.
#include "engine/batch/batch.h"

#include "engine/base/error.h"
#include "engine/device/context.h"
#include "engine/ops/pass_binding.h"
#include "tests/catch.h"
#include "tests/support.h"

using namespace perilune;
using perilune_test::message_of;

namespace {

std::shared_ptr<Context> one_thread() {
  ContextOptions options;
  options.threads = 1;
  return Context::make(options);
}

std::vector<std::int64_t> integers(const Tensor& tensor) {
  return tensor.to_integers();
}

}  // namespace

TEST_CASE("a batch holds its rows end to end") {
  const auto context = one_thread();
  const auto batch = Batch::make(context, {{5, 6, 7}, {8}, {9, 10}});
  CHECK(batch->size() == 3);
  CHECK(batch->tokens() == 6);
  CHECK(batch->rows().starts == std::vector<std::int64_t>{0, 3, 4, 6});
  CHECK(batch->rows().longest() == 3);
  CHECK(integers(batch->ids()) == std::vector<std::int64_t>{5, 6, 7, 8, 9, 10});
  CHECK(integers(batch->positions()) == std::vector<std::int64_t>{0, 1, 2, 0, 0, 1});
  CHECK(integers(batch->type_ids()) == std::vector<std::int64_t>(6, 0));
  CHECK(batch->ids().shape().axis(0).identity == batch->rows().identity);
  CHECK(batch->rows().identity != 0);
  CHECK(batch->batch_identity() != batch->rows().identity);
  CHECK(batch->row_ids(2) == std::vector<std::int32_t>{9, 10});
  CHECK(batch->facts()[2].source == 2);
  CHECK(Batch::make(context, {{1}})->rows().identity != batch->rows().identity);
}

TEST_CASE("a batch refuses rows without tokens, by their number") {
  const auto context = one_thread();
  CHECK(message_of([&] {
          Batch::make(context, {{1}, {}, {2}});
        }).find("batch: row 2 of 3 has no tokens") == 0);
  CHECK(message_of([&] { Batch::make(context, {}); }) != "no error");
}

TEST_CASE("facts move positions, given positions stay") {
  const auto context = one_thread();
  const auto batch = Batch::make(context, {{5, 6}, {7, 8}});
  std::vector<SequenceFacts> facts(2);
  facts[1].first_position = 10;
  CHECK(integers(batch->with_facts(facts)->positions()) == std::vector<std::int64_t>{0, 1, 10, 11});
  CHECK(integers(batch->with_positions({{4, 5}, {6, 7}})->with_facts(facts)->positions()) ==
        std::vector<std::int64_t>{4, 5, 6, 7});
  CHECK(integers(batch->with_type_ids({{0, 1}, {1, 0}})->type_ids()) ==
        std::vector<std::int64_t>{0, 1, 1, 0});
  CHECK(message_of([&] {
          batch->with_positions({{1, 2}, {3}});
        }).find("positions of row 2: 1 values for 2 tokens") != std::string::npos);
  CHECK(message_of([&] { batch->with_positions({{1, -2}, {3, 4}}); }) != "no error");
  CHECK(message_of([&] { batch->with_facts({}); }) != "no error");
}

TEST_CASE("listed rows are checked") {
  const auto context = one_thread();
  const auto batch = Batch::make(context, {{5, 6}, {7}});
  CHECK(batch->with_rows(RowSelection::listed, {{0, 1}, {}})->wanted()[0].size() == 2);
  CHECK(message_of([&] {
          batch->with_rows(RowSelection::listed, {{0}, {1}});
        }).find("token 2 of row 2, which has 1 tokens") != std::string::npos);
  CHECK(message_of([&] { batch->with_rows(RowSelection::listed, {{1, 0}, {}}); }) != "no error");
  CHECK(message_of([&] { batch->with_rows(RowSelection::listed, {{0}}); }) != "no error");
}

TEST_CASE("select and concat make new batches") {
  const auto context = one_thread();
  const auto batch = Batch::make(context, {{5, 6, 7}, {8}})->with_type_ids({{0, 0, 1}, {1}});
  const auto picked = batch->select({1, 0, 1});
  CHECK(integers(picked->ids()) == std::vector<std::int64_t>{8, 5, 6, 7, 8});
  CHECK(integers(picked->type_ids()) == std::vector<std::int64_t>{1, 0, 0, 1, 1});
  CHECK(picked->rows().identity != batch->rows().identity);
  CHECK(picked->facts()[0].source == 1);
  const auto joined = batch->concat(*Batch::make(context, {{9, 9}}));
  CHECK(integers(joined->ids()) == std::vector<std::int64_t>{5, 6, 7, 8, 9, 9});
  CHECK(integers(joined->type_ids()) == std::vector<std::int64_t>{0, 0, 1, 1, 0, 0});
  CHECK(joined->size() == 3);
  CHECK(joined->facts()[2].source == 2);  // another input than this batch's two
  CHECK(message_of([&] { batch->select({2}); }).find("row 3 of a batch of 2") != std::string::npos);
}

TEST_CASE("a batch has several ragged axes, each with rows of its own") {
  const auto context = one_thread();
  const auto frames = [&](std::int64_t count) {
    std::vector<float> values(static_cast<std::size_t>(count * 2));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
    return Tensor::from(context, values, Shape{{"frame", count}, {"mel", 2}});
  };
  const std::vector<std::vector<std::int32_t>> ids{{5, 6}, {7}};
  const auto batch = Batch::make(context, ids, {{"features", frames(4), {1, 3}, "frame"}});
  REQUIRE(batch->other_rows().size() == 1);
  const RaggedRows& rows = batch->other_rows()[0];
  CHECK(rows.total() == 4);
  CHECK(rows.identity != batch->rows().identity);
  CHECK(batch->input("features").shape().axis(0).identity == rows.identity);
  CHECK(batch->input("ids").shape().axis(0).identity == batch->rows().identity);
  CHECK(!batch->input("pixels").defined());
  const auto parts = batch->split(batch->input("features"));
  CHECK(parts[1].to_floats() == std::vector<float>{2, 3, 4, 5, 6, 7});
  const auto swapped = batch->select({1, 0});
  CHECK(swapped->input("features").to_floats() == std::vector<float>{2, 3, 4, 5, 6, 7, 0, 1});
  CHECK(swapped->other_rows()[0].identity != rows.identity);
  CHECK(swapped->other_rows()[0].length(0) == 3);
  const auto joined = batch->concat(*swapped);
  CHECK(joined->other_rows()[0].starts == std::vector<std::int64_t>{0, 1, 4, 7, 8});
  CHECK(joined->input("features").shape().size(0) == 8);
  const auto refused = [&](const std::vector<BatchInput>& inputs) {
    return message_of([&] { Batch::make(context, ids, inputs); });
  };
  CHECK(refused({{"features", frames(4), {4}, "frame"}}).find("the batch has 2") !=
        std::string::npos);
  CHECK(refused({{"features", frames(4), {1, 2}, "frame"}}).find("add up to 3") !=
        std::string::npos);
  CHECK(refused({{"features", frames(3), {0, 3}, "frame"}}).find("row 1 of 2") !=
        std::string::npos);
  CHECK(refused({{"a", frames(4), {1, 3}, "frame"}, {"b", frames(4), {2, 2}, "frame"}})
            .find("row 1 of input b has 2 frames, the batch 1") != std::string::npos);
}

TEST_CASE("padded views pad on the side asked for") {
  const auto context = one_thread();
  const auto batch = Batch::make(context, {{5, 6, 7}, {8}});
  Batch::Padding padding;
  padding.pad_id = 99;
  const auto right = batch->padded(padding);
  CHECK(integers(right.ids) == std::vector<std::int64_t>{5, 6, 7, 8, 99, 99});
  CHECK(integers(right.mask) == std::vector<std::int64_t>{1, 1, 1, 1, 0, 0});
  CHECK(right.waste == Approx(2.0 / 6.0));
  padding.left = true;
  padding.multiple_of = 4;
  const auto left = batch->padded(padding);
  CHECK(integers(left.ids) == std::vector<std::int64_t>{99, 5, 6, 7, 99, 99, 99, 8});
  CHECK(integers(left.positions) == std::vector<std::int64_t>{0, 0, 1, 2, 0, 0, 0, 0});
  padding.multiple_of = 1;
  padding.to = 2;
  CHECK(message_of([&] {
          batch->padded(padding);
        }).find("padded: row 1 has 3 tokens, more than to=2") == 0);
  padding.multiple_of = 0;
  CHECK(message_of([&] { batch->padded(padding); }) != "no error");
}

TEST_CASE("a padded pair is packed, whatever its sides") {
  const auto context = one_thread();
  const auto batch = Batch::from_padded(context, {{0, 0, 5, 6}, {7, 8, 9, 0}, {1, 0, 0, 0}},
                                        {{0, 0, 1, 1}, {1, 1, 1, 0}, {0, 1, 0, 0}});
  CHECK(integers(batch->ids()) == std::vector<std::int64_t>{5, 6, 7, 8, 9, 0});
  REQUIRE(batch->padded_layout());
  CHECK(batch->padded_layout()->first == std::vector<std::int64_t>{2, 0, 1});
  const Tensor back = batch->pad(batch->ids(), *batch->padded_layout());
  CHECK(integers(back) == std::vector<std::int64_t>{0, 0, 5, 6, 7, 8, 9, 0, 0, 0, 0, 0});
  CHECK(message_of([&] {
          Batch::from_padded(context, {{1, 2, 3, 4, 5}}, {{1, 1, 0, 0, 1}});
        }).find("the mask of row 1 has a hole at position 3") != std::string::npos);
  CHECK(message_of([&] {
          Batch::from_padded(context, {{1}, {1}}, {{1}, {0}});
        }).find("the mask of row 2 has no token") != std::string::npos);
  CHECK(message_of([&] { Batch::from_padded(context, {{1, 2}}, {{1, 2}}); }) != "no error");
  CHECK(message_of([&] { Batch::from_padded(context, {{1, 2}}, {{1}}); }) != "no error");
  CHECK(message_of([&] {
          Batch::from_padded(context, {{1, 2}, {1}}, {{1, 1}, {1}});
        }) != "no error");
}

TEST_CASE("ragged tensors split and pad by their batch, and no other") {
  const auto context = one_thread();
  const auto batch = Batch::make(context, {{5, 6}, {7}});
  const std::vector<float> values{1, 2, 3, 4, 5, 6};
  const Tensor ragged = Tensor::from(
      context, values, Shape{Axis{"token", 3, batch->rows().identity}, Axis{"hidden", 2, 0}});
  const auto parts = batch->split(ragged);
  REQUIRE(parts.size() == 2);
  CHECK(parts[0].to_floats() == std::vector<float>{1, 2, 3, 4});
  CHECK(parts[1].to_floats() == std::vector<float>{5, 6});
  CHECK(parts[0].shape().axis(0).identity == 0);
  Batch::Padding left;
  left.left = true;
  const Tensor padded = batch->pad(ragged, batch->layout(left));
  CHECK(padded.shape().text() == "[batch=2, seq=2, hidden=2]");
  CHECK(padded.to_floats() == std::vector<float>{1, 2, 3, 4, 0, 0, 5, 6});
  const auto same = Batch::make(context, {{5, 6}, {7}});
  CHECK(same->rows().identity == batch->rows().identity);  // equal ids are equal rows
  CHECK(same->batch_identity() != same->rows().identity);
  CHECK(same->split(ragged).size() == 2);
  const auto other = Batch::make(context, {{5}, {6, 7}});
  const std::string message = message_of([&] { other->split(ragged); });
  CHECK(message.find("belongs to another batch") != std::string::npos);
  CHECK(message.find("of 2 rows: 5 6; 7, batch 3 tokens of 2 rows: 5; 6 7") != std::string::npos);
  const Tensor plain = Tensor::from(context, values, Shape{Axis{"token", 6, 0}});
  CHECK(message_of([&] { batch->split(plain); }).find("axis token has 6, the batch has 3") !=
        std::string::npos);
}

TEST_CASE("a binding knows rows, wanted tokens and rope lengths") {
  const auto context = one_thread();
  auto batch = Batch::make(context, {{5, 6, 7}, {8, 9}});
  std::vector<SequenceFacts> facts(2);
  facts[1].prompt_tokens = 4;
  facts[1].first_position = 3;
  batch = batch->with_facts(facts);
  PassBinding binding(context, batch);
  CHECK(binding.rope_lengths(batch->rows().identity) == std::vector<std::int64_t>{3, 3, 3, 4, 5});
  binding.set_wanted({2, 4}, {1, 1});
  CHECK(binding.rows(binding.wanted_identity()).total() == 2);
  binding.set_wanted({}, {0, 0});
  CHECK(binding.rows(binding.wanted_identity()).total() == 0);
  CHECK_THROWS_AS(binding.set_wanted({4, 2}, {1, 1}), Error);
  CHECK_THROWS_AS(binding.set_wanted({5}, {1, 0}), Error);
  CHECK_THROWS_AS(binding.rows(1), Error);
  std::vector<kernels::KvRow> rows;
  CHECK_THROWS_AS(binding.kv_rows(KvSlot{}, KvKind::self, false, 0, rows), Error);
}
