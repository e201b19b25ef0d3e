// Beam search against every answer there is, on a made-up model small enough to list them all.
#include "engine/sampling/beam_search.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "engine/base/error.h"
#include "tests/catch.h"

using namespace perilune;

namespace {

constexpr std::int32_t kStop = 0;
constexpr std::size_t kWords = 5;

/// Log-probabilities of the next word, a fixed function of the words before.
std::vector<float> next_word(const std::vector<std::int32_t>& ids) {
  std::vector<float> row(kWords);
  double sum = 0;
  for (std::size_t w = 0; w < kWords; ++w) {
    double x = 0.7 * static_cast<double>(w);
    for (std::size_t i = 0; i < ids.size(); ++i) {
      x += std::sin(static_cast<double>((w + 1) * (i + 2)) * (ids[i] + 1.3));
    }
    row[w] = static_cast<float>(x);
    sum += std::exp(x);
  }
  for (float& x : row) x -= static_cast<float>(std::log(sum));
  return row;
}

class Ending final : public BeamSearch::Judge {
 public:
  std::vector<std::vector<std::int32_t>> beams{{}};
  std::int64_t longest = 4;
  bool ends(std::size_t, std::int32_t token) override { return token == kStop; }
  bool last(std::size_t parent) override {
    return static_cast<std::int64_t>(beams[parent].size()) + 1 >= longest;
  }
  std::vector<std::int32_t> ids(std::size_t beam) override { return beams[beam]; }
  std::span<const float> process(std::size_t, std::span<const float> row,
                                 std::span<const std::int32_t> chosen) override {
    changed.assign(row.begin(), row.end());
    for (const std::int32_t id : chosen) changed[static_cast<std::size_t>(id)] -= penalty;
    return changed;
  }
  float penalty = 0;
  std::vector<float> changed;
};

/// Runs a search to its end; returns the steps it took.
int run(BeamSearch& search, Ending& ending) {
  for (int step = 1;; ++step) {
    for (std::size_t b = search.running(); b-- > 0;) search.offer(b, next_word(ending.beams[b]));
    REQUIRE(search.complete());
    const auto next = search.advance(ending);
    if (next.empty()) return step;
    std::vector<std::vector<std::int32_t>> beams;
    for (const auto& at : next) {
      beams.push_back(ending.beams[at.parent]);
      beams.back().push_back(at.token);
    }
    ending.beams = std::move(beams);
    REQUIRE(step < 100);
  }
}

/// Every complete answer with its score, best first.
std::vector<BeamSearch::Hypothesis> all_answers(std::int64_t longest, double penalty) {
  std::vector<BeamSearch::Hypothesis> open{{{}, 0}}, done;
  while (!open.empty()) {
    const BeamSearch::Hypothesis at = open.back();
    open.pop_back();
    const std::vector<float> row = next_word(at.ids);
    for (std::size_t w = 0; w < kWords; ++w) {
      BeamSearch::Hypothesis next{at.ids, at.score + row[w]};
      next.ids.push_back(static_cast<std::int32_t>(w));
      const bool ends = w == kStop || static_cast<std::int64_t>(next.ids.size()) == longest;
      (ends ? done : open).push_back(next);
    }
  }
  for (auto& one : done) {
    one.score = static_cast<float>(static_cast<double>(one.score) /
                                   std::pow(static_cast<double>(one.ids.size()), penalty));
  }
  std::sort(done.begin(), done.end(),
            [](const auto& a, const auto& b) { return a.score > b.score; });
  return done;
}

}  // namespace

TEST_CASE("with room for every beam the search finds the best of all answers") {
  for (const double penalty : {0.0, 0.6, 1.0, 2.0}) {
    INFO("length_penalty " << penalty);
    BeamOptions options;
    options.beams = 200;
    options.length_penalty = penalty;
    options.early_stopping = EarlyStopping::never;
    BeamSearch search(options, 1, 4);
    Ending ending;
    run(search, ending);
    const auto best = all_answers(4, penalty);
    REQUIRE(search.hypotheses().size() <= best.size());
    for (std::size_t i = 0; i < std::min<std::size_t>(20, search.hypotheses().size()); ++i) {
      INFO("answer " << i);
      CHECK(search.hypotheses()[i].score == Approx(best[i].score).epsilon(1e-5));
      CHECK(search.hypotheses()[i].ids == best[i].ids);
    }
  }
}

TEST_CASE("early stopping ends as soon as every beam has an answer") {
  BeamOptions options;
  options.beams = 2;
  Ending ending;
  ending.longest = 12;
  options.early_stopping = EarlyStopping::yes;
  BeamSearch early(options, 1, 12);
  const int few = run(early, ending);
  CHECK(early.hypotheses().size() == 2);
  options.early_stopping = EarlyStopping::never;
  ending.beams = {{}};
  BeamSearch late(options, 1, 12);
  CHECK(run(late, ending) >= few);
  CHECK(late.hypotheses()[0].score >= early.hypotheses()[0].score);
}

TEST_CASE("what is masked out is never chosen") {
  BeamOptions options;
  options.beams = 3;
  BeamSearch search(options, 1, 8);
  const float never = -INFINITY;
  search.offer(0, std::vector<float>{never, never, -1.0f, never});
  Ending ending;
  const auto next = search.advance(ending);
  REQUIRE(next.size() == 1);
  CHECK(next[0].token == 2);
  CHECK(search.running() == 1);
}

TEST_CASE(
    "groups that nothing keeps apart find the same, kept apart they share no token of a step") {
  BeamOptions options;
  options.beams = 4;
  options.groups = 2;
  BeamSearch alike(options, 1, 6);
  Ending ending;
  ending.longest = 6;
  run(alike, ending);
  const auto answers = alike.hypotheses();
  REQUIRE(answers.size() == 4);
  for (std::size_t i = 0; i < 4; i += 2) {
    CHECK(answers[i].ids == answers[i + 1].ids);
    CHECK(answers[i].score == answers[i + 1].score);
  }

  options.beams = 2;
  BeamSearch apart(options, 1, 6);
  Ending other;
  other.longest = 6;
  other.penalty = 1000;
  run(apart, other);
  const auto two = apart.hypotheses();
  REQUIRE(two.size() == 2);
  for (std::size_t i = 0; i < std::min(two[0].ids.size(), two[1].ids.size()); ++i) {
    CHECK(two[0].ids[i] != two[1].ids[i]);
  }
}

TEST_CASE("options out of range") {
  BeamOptions options;
  options.beams = 0;
  CHECK_THROWS_AS(BeamSearch(options, 1, 8), Error);
  options.beams = 2;
  options.length_penalty = NAN;
  CHECK_THROWS_AS(BeamSearch(options, 1, 8), Error);
  options.length_penalty = 1;
  options.groups = 3;
  CHECK_THROWS_AS(BeamSearch(options, 1, 8), Error);
}
