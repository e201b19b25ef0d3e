// The sampler against the published processors, and its own properties.
#include "engine/sampling/sampler.h"
#include "engine/sampling/option_ranges.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/base/json.h"
#include "engine/device/context.h"
#include "engine/sampling/logits.h"
#include "engine/weights/open_tensor_file.h"
#include "tests/catch.h"

using namespace perilune;

namespace {

const std::string kGolden = "tests/engine/logits_processors";

std::int32_t pick(const SamplingOptions& options, std::vector<float> logits,
                  std::int64_t position = 0, std::uint64_t output = 0) {
  Sampler sampler(options);
  SamplingState state;
  state.position = position;
  state.output_index = output;
  Sampled result;
  sampler.prepare(logits, state, result);
  sampler.choose(logits, state, result);
  return result.id;
}

constexpr std::int64_t kDecayPrompt = 4;

std::vector<std::int32_t> ids_of(const Json& list) {
  std::vector<std::int32_t> ids;
  for (const Json& id : list.items()) ids.push_back(static_cast<std::int32_t>(id.as_integer()));
  return ids;
}

/// What our sampler makes of one row under a golden case's options; false: not one of ours.
bool process(const std::string& name, const Json& options, const std::vector<std::int32_t>& ids,
             std::vector<float>& row) {
  SamplingOptions ours;
  SamplingState state;
  state.ids = ids;
  const std::vector<std::int32_t> stop{1};  // the golden case's end of sequence
  if (name == "temperature") {
    ours.temperature = options.get("temperature").as_number();
  } else if (name == "top_k") {
    ours.top_k = options.get("top_k").as_integer();
  } else if (name == "top_p") {
    ours.top_p = options.get("top_p").as_number();
  } else if (name == "min_p") {
    ours.min_p = options.get("min_p").as_number();
  } else if (name == "repetition_penalty") {
    ours.repetition_penalty = options.get("penalty").as_number();
  } else if (name == "typical_p") {
    ours.typical_p = options.get("mass").as_number();
  } else if (name == "epsilon_cutoff") {
    ours.epsilon_cutoff = options.get("epsilon").as_number();
  } else if (name == "eta_cutoff") {
    ours.eta_cutoff = options.get("epsilon").as_number();
  } else if (name == "no_repeat_ngram_size") {
    ours.no_repeat_ngram_size = options.get("ngram_size").as_integer();
  } else if (name == "bad_words_ids") {
    for (const Json& word : options.get("bad_words_ids").items())
      ours.bad_words.push_back(ids_of(word));
  } else if (name == "sequence_bias") {
    for (const Json& pair : options.get("sequence_bias").items()) {
      ours.sequence_bias.push_back(
          {ids_of(pair.at(0)), static_cast<float>(pair.at(1).as_number())});
    }
  } else if (name == "exponential_decay_length_penalty") {
    const Json& decay = options.get("exponential_decay_length_penalty");
    ours.exponential_decay = ExponentialDecay{decay.at(0).as_integer(), decay.at(1).as_number()};
    state.prompt_tokens = kDecayPrompt;
    state.stop_ids = stop;
  } else if (name == "forced_bos_token_id") {
    ours.forced_bos = static_cast<std::int32_t>(options.get("bos_token_id").as_integer());
  } else if (name == "suppress_tokens") {
    ours.suppress = ids_of(options.get("suppress_tokens"));
  } else if (name == "min_new_tokens") {
    ours.min_new_tokens = options.get("min_new_tokens").as_integer();
    state.prompt_tokens = options.get("prompt_length_to_skip").as_integer();
    state.stop_ids = stop;
  } else {
    return false;
  }
  Sampler sampler(ours);
  Sampled result;
  sampler.prepare(row, state, result);
  sampler.filter(row);
  return true;
}

}  // namespace

TEST_CASE("processors equal the published ones") {
  const Json expected = parse_json(read_file(kGolden + "/expected.json", 1 << 24), "expected.json");
  ContextOptions context_options;
  context_options.threads = 1;
  const auto context = Context::make(context_options);
  const auto file = open_tensor_file(kGolden + "/expected.safetensors");
  std::size_t compared = 0;
  for (const Json& test : expected.get("cases").items()) {
    const std::string name = test.get("name").as_string();
    const auto load = [&](const char* key) {
      const StoredTensor* stored = file->find(test.get(key).as_string());
      REQUIRE(stored != nullptr);
      return read_tensor(context, *file, *stored).to_floats();
    };
    const std::vector<float> scores = load("scores"), out = load("out");
    const std::size_t rows = test.get("ids").size(), width = scores.size() / rows;
    for (std::size_t r = 0; r < rows; ++r) {
      std::vector<std::int32_t> ids;
      for (const Json& id : test.get("ids").at(r).items()) {
        ids.push_back(static_cast<std::int32_t>(id.as_integer()));
      }
      const auto begin = scores.begin() + static_cast<std::ptrdiff_t>(r * width);
      std::vector<float> row(begin, begin + static_cast<std::ptrdiff_t>(width));
      if (!process(name, test.get("options"), ids, row)) break;
      ++compared;
      for (std::size_t i = 0; i < width; ++i) {
        INFO(name << " row " << r << " id " << i);
        const float want = out[r * width + i];
        if (std::isinf(want)) {
          CHECK(row[i] == want);
        } else {
          CHECK(row[i] == Approx(want).epsilon(1e-6));
        }
      }
    }
  }
  CHECK(compared == 45);
}

TEST_CASE("greedy takes the best, of equal ones the lowest id") {
  SamplingOptions options;
  CHECK(pick(options, {1, 3, 2, 3}) == 1);
  options.temperature = 0.1;  // no processor of a draw touches a greedy choice
  options.top_k = 1;
  CHECK(pick(options, {1, 3, 2, 3}) == 1);
  CHECK(pick(options, {kNever, kNever}) == -1);
}

TEST_CASE("the best of a row is the first of equals, and a NaN is found wherever it is") {
  std::mt19937 random(3);
  for (std::size_t size = 1; size < 70; ++size) {
    std::vector<float> row(size);
    for (float& x : row) x = static_cast<float>(static_cast<int>(random() % 9)) - 4.0f;
    CAPTURE(size);
    const auto first = std::max_element(row.begin(), row.end()) - row.begin();
    CHECK(best_of(row) == static_cast<std::size_t>(first));
    CHECK(find_best(row).logit == row[static_cast<std::size_t>(first)]);
    CHECK_FALSE(holds_nan(row));
    const std::vector<float> never(size, kNever);
    CHECK(best_of(never) == 0);
    for (std::size_t i = 0; i < size; ++i) {
      std::vector<float> with = row;
      with[i] = NAN;
      CHECK(holds_nan(with));
      const Best best = find_best(with);
      float most = kNever;
      for (const float x : with) most = x > most ? x : most;
      CHECK(best.nan);
      CHECK(best.logit == most);
      CHECK(best.index < size);
    }
  }
}

TEST_CASE("ties at the edge of top-k stay, of top-p the lowest ids") {
  SamplingOptions options;
  options.do_sample = true;
  options.top_k = 2;
  std::vector<float> row{5, 1, 4, 4, 4};
  Sampler(options).filter(row);
  CHECK(row == std::vector<float>{5, kNever, 4, 4, 4});
  options.top_k = 0;
  options.top_p = 0.5;
  row = {0, 0, 0, 0};
  Sampler(options).filter(row);
  CHECK(row == std::vector<float>{0, 0, kNever, kNever});
  options.top_p = 1e-9;
  row = {0, 1, 0};
  Sampler(options).filter(row);
  CHECK(row == std::vector<float>{kNever, 1, kNever});
}

TEST_CASE("top-p over many tokens keeps the fewest that reach it") {
  SamplingOptions options;
  options.top_p = 0.9;
  std::vector<float> row(5000);
  for (std::size_t i = 0; i < row.size(); ++i) {
    row[i] = static_cast<float>(hash_uniform(1, 2, 3, i)) * 3.0f;
  }
  const std::vector<float> before = row;
  Sampler(options).filter(row);
  double total = 0, kept = 0, least = 1e9, best_dropped = -1e9;
  for (std::size_t i = 0; i < row.size(); ++i) {
    const double weight = std::exp(static_cast<double>(before[i]));
    total += weight;
    if (row[i] == kNever) {
      best_dropped = std::max(best_dropped, static_cast<double>(before[i]));
    } else {
      kept += weight;
      least = std::min(least, static_cast<double>(before[i]));
    }
  }
  CHECK(least >= best_dropped);
  CHECK(kept >= 0.9 * total);
  CHECK(kept - std::exp(least) < 0.9 * total);
}

TEST_CASE("draws follow the distribution and depend on all four numbers") {
  SamplingOptions options;
  options.do_sample = true;
  const std::vector<float> row{0.0f, std::log(2.0f), kNever, std::log(5.0f)};
  std::map<std::int32_t, int> counts;
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) ++counts[pick(options, row, i)];
  CHECK(counts[2] == 0);
  CHECK(counts[0] / double(kDraws) == Approx(1.0 / 8).margin(0.01));
  CHECK(counts[1] / double(kDraws) == Approx(2.0 / 8).margin(0.015));
  CHECK(counts[3] / double(kDraws) == Approx(5.0 / 8).margin(0.015));
  CHECK(pick(options, row, 5) == pick(options, row, 5));
  const double base = hash_uniform(1, 2, 3, 4);
  CHECK(base != hash_uniform(2, 2, 3, 4));
  CHECK(base != hash_uniform(1, 3, 3, 4));
  CHECK(base != hash_uniform(1, 2, 4, 4));
  CHECK(base != hash_uniform(1, 2, 3, 5));
  CHECK(hash_uniform(1, 2, 3, 4) != hash_uniform(2, 1, 3, 4));
}

TEST_CASE("infinite and missing scores") {
  SamplingOptions options;
  options.do_sample = true;
  options.top_p = 0.5;
  CHECK(pick(options, {1, std::numeric_limits<float>::infinity(), 2}) == 1);
  Sampler sampler(options);
  std::vector<float> row{1, std::nanf(""), 2};
  Sampled result;
  sampler.prepare(row, SamplingState{}, result);
  sampler.choose(row, SamplingState{}, result);
  CHECK(result.not_finite);
  CHECK(result.id == -1);
}

TEST_CASE("rows of the vocabulary that no token has are never chosen or listed") {
  SamplingOptions options;
  options.logprobs = 5;
  Sampler sampler(options);
  std::vector<float> row{1, 2, 0, 9};
  SamplingState state;
  state.reachable = 3;
  Sampled result;
  sampler.prepare(row, state, result);
  sampler.choose(row, state, result);
  CHECK(result.id == 1);
  REQUIRE(result.top.size() == 3);
  CHECK(result.top[0].id == 1);
  CHECK(result.top[1].id == 0);
}

TEST_CASE("log-probabilities are of the untouched row") {
  SamplingOptions options;
  options.do_sample = true;
  options.temperature = 0.3;
  options.repetition_penalty = 2.0;
  options.top_k = 1;
  options.logprobs = 2;
  Sampler sampler(options);
  std::vector<float> row{1, 2, 3};
  const std::vector<std::int32_t> ids{2, 2};
  SamplingState state;
  state.ids = ids;
  state.prompt_tokens = 2;
  Sampled result;
  sampler.prepare(row, state, result);
  CHECK(row[2] == 1.5f);  // once, though it occurs twice
  sampler.choose(row, state, result);
  CHECK(result.id == 1);
  const double sum = std::exp(1.0) + std::exp(2.0) + std::exp(3.0);
  CHECK(result.logprob == Approx(2.0 - std::log(sum)));
  REQUIRE(result.top.size() == 2);
  CHECK(result.top[0].id == 2);
  CHECK(result.top[0].logprob == Approx(3.0 - std::log(sum)));
}

TEST_CASE("options out of range are refused by name") {
  const auto refused = [](auto change, const std::string& name) {
    SamplingOptions options;
    change(options);
    try {
      check_sampling(options);
    } catch (const Error& error) {
      return error.code() == ErrorCode::option &&
             std::string(error.what()).find(name) != std::string::npos;
    }
    return false;
  };
  CHECK(refused([](auto& o) { o.temperature = 0; }, "temperature"));
  CHECK(refused([](auto& o) { o.temperature = std::nan(""); }, "temperature"));
  CHECK(refused([](auto& o) { o.top_k = -1; }, "top_k"));
  CHECK(refused([](auto& o) { o.top_p = 1.5; }, "top_p"));
  CHECK(refused([](auto& o) { o.top_p = 0; }, "top_p"));
  CHECK(refused([](auto& o) { o.min_p = -0.1; }, "min_p"));
  CHECK(refused([](auto& o) { o.repetition_penalty = 0; }, "repetition_penalty"));
  CHECK(refused([](auto& o) { o.min_new_tokens = -1; }, "min_new_tokens"));
  CHECK(refused([](auto& o) { o.logprobs = -2; }, "logprobs"));
}

TEST_CASE("a range holds its ends as it says, and neither infinity nor NaN") {
  for (const OptionRange& range : option_ranges()) {
    CAPTURE(range.name);
    CHECK(find_range(range.name) == &range);
    CHECK(range.fits(range.low) == !range.low_open);
    CHECK(range.fits(range.high) == !range.high_open);
    CHECK_FALSE(range.fits(range.low - 0.001 - std::abs(range.low)));
    for (const double outside : {HUGE_VAL, -HUGE_VAL, std::nan("")}) {
      CHECK_FALSE(range.fits(outside));
      CHECK_THROWS_AS(check_range(range.name, outside), Error);
    }
  }
  CHECK(find_range("seed") == nullptr);
}
