// Whisper's rules of times: which ids stay possible after which.
#include "engine/sampling/timestamps.h"

#include <cmath>
#include <string>
#include <vector>

#include "engine/sampling/logits.h"
#include "engine/sampling/sampler.h"
#include "tests/catch.h"

using namespace perilune;

namespace {

// Text 0-3, the end 4, no times 5, times 6-11.
constexpr TimestampRules kRules{6, 5, 4, 2, 1};

/// Ids that stay possible after `made`, which begins with one id before the text.
std::string possible(const std::vector<std::int32_t>& made, std::vector<float> scores = {}) {
  if (scores.empty()) scores.assign(12, 0.0F);
  if (made.size() > 1) scores[0] = scores[4] = 10;  // text and the end are likelier than all times
  apply_timestamp_rules(scores, made, kRules);
  std::string text;
  for (std::size_t id = 0; id < scores.size(); ++id) {
    if (scores[id] > kNever) text += (text.empty() ? "" : " ") + std::to_string(id);
  }
  return text;
}

}  // namespace

TEST_CASE("Times: what may come next") {
  const std::vector<float> times_likely = {1, 1, 1, 1, 1, 1, 3, 3, 3, 3, 3, 3};
  CHECK(possible({}) == "0 1 2 3 4 5 6 7 8 9 10 11");        // the text has not begun
  CHECK(possible({9}) == "6 7 8");                           // a time first, at most two steps in
  CHECK(possible({9, 7}) == "0 1 2 3 4");                    // text or the end after the first time
  CHECK(possible({9, 7, 1}) == "0 1 2 3 4 8 9 10 11");       // times go on, later ones
  CHECK(possible({9, 7, 1, 9}) == "4 9 10 11");              // a pair's second, or the end
  CHECK(possible({9, 7, 1, 9, 9}) == "0 1 2 3 4");           // after a pair, text
  CHECK(possible({9, 7, 1, 9, 9, 2}) == "0 1 2 3 4 10 11");  // never back
  std::vector<float> scores = times_likely;
  apply_timestamp_rules(scores, std::vector<std::int32_t>{9, 7, 1}, kRules);
  CHECK(scores[0] == kNever);  // all times together are likelier than any text
  CHECK(scores[8] == 3);
}

TEST_CASE("Times: a vocabulary that ends before them is left alone") {
  std::vector<float> scores(5, 1.0F);
  apply_timestamp_rules(scores, std::vector<std::int32_t>{1, 2}, kRules);
  CHECK(scores == std::vector<float>(5, 1.0F));
}

TEST_CASE("Times: what was chosen counts among what they leave") {
  SamplingOptions options;
  options.logprobs = 1;
  options.timestamps = TimestampRules{6, 5, 4, 2, 0};
  Sampler sampler(options);
  std::vector<float> scores(12, 1.0F);
  SamplingState state;
  Sampled chosen;
  sampler.prepare(scores, state, chosen);  // three times may begin
  sampler.choose(scores, state, chosen);
  CHECK(chosen.id == 6);
  CHECK(chosen.logprob == Approx(std::log(1.0 / 3)));
  CHECK(chosen.top[0].logprob == Approx(std::log(1.0 / 12)));
}
