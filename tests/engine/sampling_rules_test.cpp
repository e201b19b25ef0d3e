// Sampling rules of llama.cpp, vLLM and newer transformers against values made by their published
// definitions (tests/judges/sampling.py).
#include <cmath>
#include <vector>

#include "engine/base/error.h"
#include "engine/base/json.h"
#include "engine/sampling/logits.h"
#include "engine/sampling/sampler.h"
#include "tests/catch.h"
#include "tests/support.h"

using namespace perilune;

namespace {

std::vector<float> row_of(const Json& list) {
  std::vector<float> row;
  for (const Json& x : list.items()) {
    row.push_back(x.is_null() ? kNever : static_cast<float>(x.as_number()));
  }
  return row;
}

std::vector<std::int32_t> ids_of(const Json& of, const char* key) {
  std::vector<std::int32_t> ids;
  if (!of.has(key)) return ids;
  for (const std::int64_t id : of.integers(key)) ids.push_back(static_cast<std::int32_t>(id));
  return ids;
}

SamplingOptions options_of(const Json& json) {
  SamplingOptions o;
  o.do_sample = true;
  o.temperature = json.number("temperature", 1.0);
  o.top_n_sigma = json.number("top_n_sigma", 0.0);
  o.top_h = json.number("top_h", 1.0);
  o.xtc_threshold = json.number("xtc_threshold", 0.1);
  o.dynatemp_range = json.number("dynatemp_range", 0.0);
  o.dynatemp_exponent = json.number("dynatemp_exponent", 1.0);
  o.frequency_penalty = json.number("frequency_penalty", 0.0);
  o.presence_penalty = json.number("presence_penalty", 0.0);
  o.dry.multiplier = json.number("dry_multiplier", 0.0);
  o.dry.base = json.number("dry_base", 1.75);
  o.dry.allowed_length = json.integer("dry_allowed_length", 2);
  o.dry.last_n = json.integer("dry_penalty_last_n", -1);
  o.dry.breakers = ids_of(json, "breakers");
  o.mirostat_tau = json.number("mirostat_tau", 5.0);
  o.mirostat_eta = json.number("mirostat_eta", 0.1);
  o.seed = static_cast<std::uint64_t>(json.integer("seed", 0));
  return o;
}

void check_row(const Json& one) {
  std::vector<float> row = row_of(one.get("row"));
  const std::vector<float> want = row_of(one.get("expected"));
  const SamplingOptions options = options_of(one.get("options"));
  const std::string rule = one.string("rule");
  if (rule == "xtc") {
    Cutoffs().exclude_best(row, options.xtc_threshold);
  } else {
    Sampler sampler(options);
    const std::vector<std::int32_t> ids = ids_of(one, "ids");
    SamplingState state;
    state.ids = ids;
    state.prompt_tokens = one.integer("prompt_tokens", 0);
    Sampled sampled;
    sampler.prepare(row, state, sampled);
    sampler.filter(row);
  }
  INFO(rule << " " << write_json(one.get("options")));
  REQUIRE(row.size() == want.size());
  for (std::size_t i = 0; i < row.size(); ++i) {
    INFO("id " << i << ": " << row[i] << ", expected " << want[i]);
    if (want[i] == kNever || row[i] == kNever) {
      CHECK(row[i] == want[i]);
    } else {
      CHECK(std::abs(row[i] - want[i]) <= 2e-5f * std::max(1.0f, std::abs(want[i])));
    }
  }
}

void check_mirostat(const Json& one) {
  SamplingOptions options = options_of(one.get("options"));
  options.mirostat = 2;
  Sampler sampler(options);
  std::vector<std::int64_t> chosen;
  for (const Json& given : one.get("rows").items()) {
    std::vector<float> row = row_of(given);
    SamplingState state;
    state.position = static_cast<std::int64_t>(chosen.size());
    Sampled sampled;
    sampler.prepare(row, state, sampled);
    sampler.choose(row, state, sampled);
    chosen.push_back(sampled.id);
  }
  CHECK(chosen == one.integers("chosen"));
}

}  // namespace

TEST_CASE("the rules of other programs give their published values") {
  const Json expected = read_json("tests/engine/sampling_rules/expected.json");
  std::size_t cases = 0;
  for (const Json& one : expected.get("cases").items()) {
    if (one.string("rule") == "mirostat") {
      check_mirostat(one);
    } else {
      check_row(one);
    }
    ++cases;
  }
  CHECK(cases == 32);
}

TEST_CASE("exclude top choices by chance") {
  SamplingOptions options;
  options.do_sample = true;
  options.xtc_probability = 0.5;
  options.xtc_threshold = 0.2;
  Sampler sampler(options);
  int excluded = 0;
  for (std::int64_t position = 0; position < 400; ++position) {
    std::vector<float> row{5, 5, -20};
    SamplingState state;
    state.position = position;
    Sampled sampled;
    sampler.prepare(row, state, sampled);
    sampler.choose(row, state, sampled);
    excluded += row[0] == kNever ? 1 : 0;
    CHECK(sampled.id != 2);
  }
  CHECK(excluded > 150);
  CHECK(excluded < 250);
}

TEST_CASE("words that an answer must hold") {
  const std::vector<std::vector<std::int32_t>> words{{3, 4}, {5}};
  const auto missing = [&](std::vector<std::int32_t> ids) { return missing_words(ids, words); };
  CHECK(missing({}).ids == 3);
  CHECK(missing({1, 3}).ids == 2);
  CHECK(missing({1, 3}).next == 4);
  CHECK(missing({1, 3, 4}).next == 5);
  CHECK(missing({5, 3, 4}).next == -1);

  SamplingOptions options;
  options.force_words = words;
  Sampler sampler(options);
  std::vector<std::int32_t> ids{9};
  const std::vector<std::int32_t> stops{0};
  while (ids.size() < 7) {  // the best is an end, then 1
    std::vector<float> row{9, 5, 0, 0, 0, 0, 0};
    SamplingState state;
    state.ids = ids;
    state.prompt_tokens = 1;
    state.stop_ids = stops;
    state.max_new_tokens = 6;
    Sampled sampled;
    sampler.prepare(row, state, sampled);
    sampler.choose(row, state, sampled);
    ids.push_back(sampled.id);
  }
  CHECK(ids == std::vector<std::int32_t>{9, 1, 1, 1, 3, 4, 5});
}

TEST_CASE("values of the newer options out of their range") {
  const auto refuses = [](auto change) {
    SamplingOptions options;
    change(options);
    CHECK_THROWS_AS(check_sampling(options), Error);
  };
  refuses([](SamplingOptions& o) { o.mirostat = 1; });
  refuses([](SamplingOptions& o) { o.mirostat_tau = 0; });
  refuses([](SamplingOptions& o) { o.dry.base = 0.5; });
  refuses([](SamplingOptions& o) { o.dry.allowed_length = 0; });
  refuses([](SamplingOptions& o) { o.xtc_probability = 1.5; });
  refuses([](SamplingOptions& o) { o.top_h = 0; });
  refuses([](SamplingOptions& o) { o.top_n_sigma = -1; });
  refuses([](SamplingOptions& o) { o.dynatemp_range = -1; });
  refuses([](SamplingOptions& o) { o.frequency_penalty = std::nan(""); });
}
