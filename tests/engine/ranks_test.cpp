// Several ranks, as threads: the same bits whatever their number, and what becomes of a failure.
#include <cmath>
#include <thread>

#include "engine/plan/rank_pass.h"

#include "tests/catch.h"
#include "tests/engine/pass_support.h"

using namespace perilune;
using namespace perilune_test;

namespace {

using Rows = std::vector<std::vector<std::int32_t>>;

/// One rank with everything of its own.
struct Rank {
  SmallLlama model{golden_model("llama-gqa")};
  std::shared_ptr<RankGroup> group;
  std::shared_ptr<RankShare> share = std::make_shared<RankShare>();

  explicit Rank(const std::shared_ptr<Communicator>& end)
      : group(std::make_shared<RankGroup>(end)) {
    share->group = group;
    share->slices = std::make_shared<WeightSlices>(model.context);
    share->model = 1;
  }
  std::shared_ptr<const Plan> plan(const std::vector<std::string>& outputs) const {
    PlanOptions options;
    options.ranks = share;
    options.outputs = outputs;
    for (const std::string& path : outputs) options.rank_key += path + " ";
    return model.plan(options);
  }
  RankFollower::FindPlan finder() const {
    return [this](std::int64_t, const std::string& key) {
      std::vector<std::string> paths;
      for (std::size_t at = 0, end = 0; (end = key.find(' ', at)) != std::string::npos;
           at = end + 1) {
        paths.push_back(key.substr(at, end - at));
      }
      return plan(paths);
    };
  }
};

void follow(const std::shared_ptr<Communicator>& end) {
  Rank rank(end);
  RankFollower follower(rank.model.context, rank.group);
  std::string text;
  try {
    while (follower.next(text, rank.finder())) {
    }
  } catch (const Error&) {  // the group has ended
  }
  rank.group->finish();
}

/// Runs `lead` as rank 0 of so many.
template <class Lead>
void with_ranks(int size, const Lead& lead) {
  const auto ends = thread_communicators(size);
  std::vector<std::thread> threads;
  for (int r = 1; r < size; ++r) threads.emplace_back(follow, ends[static_cast<std::size_t>(r)]);
  {
    Rank rank(ends[0]);
    lead(rank);
    rank.group->finish();
  }
  for (std::thread& thread : threads) thread.join();
}

const std::vector<std::string> kAsked = {"layers.1.attention.weights", "layers.0.attention.query",
                                         "layers.1.mlp"};

/// Prompts, a fork whose shared page is copied, and two steps more: all that was answered.
std::vector<float> answers(const Rank& rank, const std::vector<std::string>& asked) {
  Sequences sequences(rank.model, *rank.model.trace(), 2);
  sequences.cache = std::make_shared<Cache>(rank.model.context, rank.model.context->cpu_device(),
                                            CacheLayout(rank.plan({})->kv_slots(), DType::f32),
                                            std::int64_t{64} << 20);
  share_pool(rank.group, *sequences.cache);
  for (auto& row : sequences.rows) row = std::make_unique<SequenceCache>(sequences.cache);
  std::vector<float> all;
  Execution execution(rank.plan(asked));
  const auto step = [&](const Rows& rows) {
    execution.bind(sequences.bind(rank.model, rows));
    REQUIRE(execution.run());
    for (const std::string& name : execution.output_names()) {
      const std::vector<float> values = execution.output(name).to_floats();
      all.insert(all.end(), values.begin(), values.end());
    }
    sequences.commit(rows);
  };
  step({{1, 30, 31}, {1, 40, 41, 42, 43}});
  sequences.rows.push_back(sequences.rows[0]->fork());
  step({{7}, {8, 9}, {10}});
  step({{11}, {12}, {13}});
  execution.release();
  return all;
}

}  // namespace

TEST_CASE("one, two, four and eight ranks give the same bits, and nearly those of none") {
  // 6 heads over 2 kv heads, 112 channels: 2 ranks split both, 4 and 8 the channels alone.
  for (const auto& asked : {std::vector<std::string>{}, kAsked}) {
    std::vector<float> first;
    for (const int size : {1, 2, 4, 8}) {
      with_ranks(size, [&](const Rank& rank) {
        const std::vector<float> values = answers(rank, asked);
        if (first.empty()) first = values;
        INFO(size << " ranks");
        CHECK(same_bits(values, first));
      });
    }
    const SmallLlama model(golden_model("llama-gqa"));
    PlanOptions options;
    options.outputs = asked;
    Execution plain(model.plan(options));
    Sequences sequences(model, *model.trace(), 2);
    plain.bind(sequences.bind(model, {{1, 30, 31}, {1, 40, 41, 42, 43}}));
    REQUIRE(plain.run());
    const std::vector<float> logits = plain.output("logits").to_floats();
    REQUIRE(logits.size() <= first.size());
    for (std::size_t i = 0; i < logits.size(); ++i) {
      if (std::abs(logits[i] - first[i]) > 1e-4F) FAIL(logits[i] << " and " << first[i]);
    }
  }
}

TEST_CASE("a rank holds its heads and channels alone, and as many keys") {
  std::size_t whole = 0;
  std::int64_t keys = 0;
  for (const int size : {1, 2}) {
    with_ranks(size, [&](const Rank& rank) {
      const auto plan = rank.plan({});
      const std::size_t bytes = plan->weight_bytes();
      const std::int64_t per_token = CacheLayout(plan->kv_slots(), DType::f32).bytes_per_token();
      if (size == 1) {
        whole = bytes;
        keys = per_token;
        return;
      }
      // Embedding and head stay whole: 2 x 384 x 48 numbers.
      const std::size_t tables = 2 * 384 * 48 * sizeof(float);
      CHECK(bytes < tables + (whole - tables) * 6 / 10);
      CHECK(per_token * 2 == keys);
    });
  }
}

TEST_CASE("what one rank cannot do is an error of all that names it, and they go on") {
  with_ranks(2, [&](const Rank& rank) {
    const auto plan = rank.plan({});
    // A path that the follower's model does not have.
    PlanOptions options = plan->options();
    options.rank_key = "no.such.path ";
    Execution wrong(rank.model.plan(options));
    Sequences sequences(rank.model, *rank.model.trace(), 1);
    sequences.cache =
        std::make_shared<Cache>(rank.model.context, rank.model.context->cpu_device(),
                                CacheLayout(plan->kv_slots(), DType::f32), std::int64_t{64} << 20);
    share_pool(rank.group, *sequences.cache);
    sequences.rows[0] = std::make_unique<SequenceCache>(sequences.cache);
    wrong.bind(sequences.bind(rank.model, {{1, 30, 31}}));
    std::string message;
    try {
      wrong.run();
    } catch (const Error& error) {
      message = error.what();
    }
    CHECK(message.find("rank 1 failed") != std::string::npos);
    CHECK(message.find("no.such.path") != std::string::npos);
    Execution right(plan);
    right.bind(sequences.bind(rank.model, {{1, 30, 31}}));
    CHECK(right.run());
    // And the other way round: rank 0's own pass is given up, the follower waits for the next.
    right.bind(sequences.bind(rank.model, {{1, 30, 31}}));
    rank.model.context->interrupt();
    CHECK_THROWS_AS(right.run(), Error);
    rank.model.context->clear_interrupt();
    right.bind(sequences.bind(rank.model, {{1, 30, 31}}));
    CHECK(right.run());
  });
}

TEST_CASE("a rank that goes is named to those that wait for it, at once") {
  auto ends = thread_communicators(4);
  std::vector<std::string> told(4);
  std::vector<std::thread> threads;
  const double begin = clock_seconds();
  for (const std::size_t r : {0, 1, 3}) {
    threads.emplace_back([&, r] {
      RankGroup group(ends[r]);
      std::vector<float> all(4);
      const float own = 1;
      try {
        group.together([&] { group.gather(&own, sizeof own, all.data()); });
      } catch (const Error& error) {
        told[r] = error.what();
      }
    });
  }
  ends[2].reset();  // as where its thread ends by an error
  for (std::thread& thread : threads) thread.join();
  for (const std::size_t r : {0, 1, 3})
    CHECK(told[r].find("rank 2 has ended") != std::string::npos);
  CHECK(clock_seconds() - begin < 1);
}

TEST_CASE("a number of ranks that does not divide the segments is refused") {
  CHECK_THROWS_AS(RankGroup(thread_communicators(3)[0]), Error);
}
