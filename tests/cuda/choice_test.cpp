// Tokens chosen on a device are those that the host's sampler chooses of the same logits: ids,
// log-probabilities and the best to the bit. On the emulator.
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <string>

#include "engine/device/context.h"
#include "engine/sampling/logits.h"
#include "engine/serving/device_choice.h"
#include "engine/serving/processors.h"
#include "tests/catch.h"

using namespace perilune;

namespace {

__extension__ using Wide = unsigned __int128;
constexpr float kInfinity = std::numeric_limits<float>::infinity();
const std::vector<std::int32_t> kIds{3, 5, 3, 9, 2, 3, 5};  // three of the prompt
const std::vector<std::int32_t> kStops{2, 7};

struct Case {
  const char* name;
  std::function<void(SamplingOptions&)> set;
};

/// What may be chosen, as a grammar says it: every third id.
std::vector<std::uint32_t> mask_of(std::int64_t width) {
  std::vector<std::uint32_t> words(static_cast<std::size_t>(width + 31) / 32, 0);
  for (std::size_t id = 0; id < static_cast<std::size_t>(width); id += 3) {
    words[id / 32] |= 1u << (id % 32);
  }
  if (words.size() > 1) words.pop_back();  // ids beyond the last word are not allowed
  return words;
}

const std::vector<Case>& cases() {
  static const std::vector<Case> kCases = {
      {"greedy", [](auto& o) { o.do_sample = false; }},
      {"plain draw", [](auto&) {}},
      {"temperature", [](auto& o) { o.temperature = 0.7; }},
      {"cold", [](auto& o) { o.temperature = 1e-3; }},
      {"hot", [](auto& o) { o.temperature = 50; }},
      {"top_k 1", [](auto& o) { o.top_k = 1; }},
      {"top_k 5", [](auto& o) { o.top_k = 5; }},
      {"top_k more than there are", [](auto& o) { o.top_k = 100000; }},
      {"top_p", [](auto& o) { o.top_p = 0.8; }},
      {"top_p of one token", [](auto& o) { o.top_p = 1e-9; }},
      {"top_p nearly all", [](auto& o) { o.top_p = 0.999999; }},
      {"min_p", [](auto& o) { o.min_p = 0.05; }},
      {"min_p 1", [](auto& o) { o.min_p = 1.0; }},
      {"all cuts",
       [](auto& o) {
         o.temperature = 1.5;
         o.top_k = 20;
         o.top_p = 0.9;
         o.min_p = 0.02;
       }},
      {"penalties",
       [](auto& o) {
         o.repetition_penalty = 1.3;
         o.encoder_repetition_penalty = 1.1;
         o.frequency_penalty = 0.4;
         o.presence_penalty = 0.3;
       }},
      {"bans",
       [](auto& o) {
         o.bad_words = {{4}, {5, 6}};
         o.suppress = {0, 1, 99999};
         o.no_repeat_ngram_size = 2;
         o.min_new_tokens = 20;
         o.sequence_bias = {{{8}, 2.5f}, {{5, 11}, -4.0f}};
       }},
      {"forced",
       [](auto& o) {
         o.forced_eos = {2, 4, 12};
       }},
      {"dry and decay",
       [](auto& o) {
         o.dry.multiplier = 0.8;
         o.dry.allowed_length = 1;
         o.exponential_decay = ExponentialDecay{1, 1.2};
       }},
      {"logprobs", [](auto& o) { o.logprobs = 4; }},
      {"logprobs of a greedy one",
       [](auto& o) {
         o.do_sample = false;
         o.logprobs = 0;
       }},
  };
  return kCases;
}

/// Rows of each kind that matters.
std::vector<std::vector<float>> rows_of(std::int64_t width) {
  std::mt19937 random(static_cast<unsigned>(width));
  std::normal_distribution<float> normal(0, 3);
  std::vector<std::vector<float>> rows(7, std::vector<float>(static_cast<std::size_t>(width)));
  for (std::size_t i = 0; i < rows[0].size(); ++i) {
    rows[0][i] = normal(random);
    rows[1][i] = std::round(normal(random));  // ties
    rows[2][i] = random() % 3 == 0 ? -kInfinity : normal(random);
    rows[3][i] = i % 2 == 0 ? 0.0f : -0.0f;  // all alike
    rows[4][i] = normal(random) * 30;
    rows[5][i] = normal(random);
    rows[6][i] = -kInfinity;
  }
  rows[4][rows[4].size() / 2] = kInfinity;
  rows[5].back() = std::numeric_limits<float>::quiet_NaN();
  return rows;
}

struct Chosen {
  Sampled sampled;
  bool from_model = false;
};

Chosen on_host(Sampler& sampler, const SamplingState& state, std::vector<float> row,
               const std::vector<std::uint32_t>& allowed) {
  Chosen chosen;
  sampler.prepare(row, state, chosen.sampled);
  chosen.from_model = chosen.sampled.not_finite;
  if (!chosen.from_model && !allowed.empty()) apply_mask(row, allowed);
  sampler.choose(row, state, chosen.sampled);
  return chosen;
}

/// Bits, so that a NaN is one (the log-probability beside an infinite logit).
bool same(float a, float b) {
  return std::memcmp(&a, &b, sizeof a) == 0;
}

void check_same(const Chosen& device, const Chosen& host) {
  CHECK(device.sampled.id == host.sampled.id);
  CHECK(device.sampled.not_finite == host.sampled.not_finite);
  if (host.sampled.not_finite) CHECK(device.from_model == host.from_model);
  if (host.sampled.id < 0) return;
  CHECK(same(device.sampled.logprob, host.sampled.logprob));
  REQUIRE(device.sampled.top.size() == host.sampled.top.size());
  for (std::size_t i = 0; i < host.sampled.top.size(); ++i) {
    CHECK(device.sampled.top[i].id == host.sampled.top[i].id);
    CHECK(same(device.sampled.top[i].logprob, host.sampled.top[i].logprob));
  }
}

SamplingState state_of(std::int64_t position, std::int64_t reachable) {
  SamplingState state;
  state.ids = kIds;
  state.prompt_tokens = 3;
  state.position = position;
  state.output_index = static_cast<std::uint64_t>(position % 3);
  state.stop_ids = kStops;
  state.source = state.ids.first(3);
  state.max_new_tokens = 5;
  state.reachable = reachable;
  return state;
}

/// All rows in one call, each at a position of its own.
void compare(const std::shared_ptr<Context>& context, const Case& one, std::int64_t width,
             bool masked, std::int64_t reachable) {
  const std::vector<std::vector<float>> rows = rows_of(width);
  std::vector<float> all;
  for (const std::vector<float>& row : rows) all.insert(all.end(), row.begin(), row.end());
  const Shape shape({{"row", static_cast<std::int64_t>(rows.size()), 0}, {"vocab", width, 0}});
  const Tensor logits = Tensor::from(context, all, shape).to(context->device("emulator"));
  SamplingOptions options;
  options.do_sample = true;
  options.seed = 17;
  one.set(options);
  Sampler sampler(options);
  REQUIRE(sampler.needs_host() == nullptr);
  const std::vector<std::uint32_t> allowed = masked ? mask_of(width) : std::vector<std::uint32_t>();
  DeviceChoice choice;
  choice.begin();
  const auto each = [&](const auto& visit) {
    for (std::size_t r = 0; r < rows.size(); ++r) visit(r, static_cast<std::int64_t>(7 + r));
  };
  each([&](std::size_t r, std::int64_t position) {
    const SamplingState state = state_of(position, reachable);
    choice.add({nullptr, static_cast<std::size_t>(position), static_cast<std::int64_t>(r)}, sampler,
               state, sampler.rules(static_cast<std::size_t>(width), state), allowed);
  });
  const DeviceTraffic before = context->device("emulator")->traffic();
  const std::uint64_t launches = context->device("emulator")->launches();
  choice.run(logits);
  const DeviceTraffic after = context->device("emulator")->traffic();
  CHECK(after.copies_out == before.copies_out + 1);
  CHECK(after.copies_in == before.copies_in + 1);
  CHECK(context->device("emulator")->launches() == launches + 1);
  each([&](std::size_t r, std::int64_t position) {
    INFO(one.name << ", width " << width << ", row " << r << ", position " << position
                  << (masked ? ", masked" : "") << ", reachable " << reachable);
    Chosen device;
    const bool there =
        choice.take({nullptr, static_cast<std::size_t>(position), static_cast<std::int64_t>(r)},
                    device.sampled, device.from_model);
    REQUIRE(there);
    check_same(device, on_host(sampler, state_of(position, reachable), rows[r], allowed));
  });
}

}  // namespace

TEST_CASE("what a device chooses is what the host's sampler chooses") {
  const auto context = Context::make();
  bool masks = false;
  for (const Case& one : cases()) {
    compare(context, one, 551, false, 0);
    compare(context, one, masks ? 331 : 13, masks, masks ? 300 : 0);
    masks = !masks;
  }
}

TEST_CASE("a vocabulary of a usual size") {
  const auto context = Context::make();
  for (const Case& one : cases()) {
    if (std::string(one.name) == "all cuts") compare(context, one, 32003, false, 0);
  }
}

TEST_CASE("options that only the host knows say their name") {
  const std::vector<std::pair<const char*, std::function<void(SamplingOptions&)>>> given = {
      {"mirostat", [](auto& o) { o.mirostat = 2; }},
      {"typical_p", [](auto& o) { o.typical_p = 0.5; }},
      {"epsilon_cutoff", [](auto& o) { o.epsilon_cutoff = 0.1; }},
      {"eta_cutoff", [](auto& o) { o.eta_cutoff = 0.1; }},
      {"top_n_sigma", [](auto& o) { o.top_n_sigma = 1; }},
      {"top_h", [](auto& o) { o.top_h = 0.5; }},
      {"xtc_probability", [](auto& o) { o.xtc_probability = 0.5; }},
      {"dynatemp_range", [](auto& o) { o.dynatemp_range = 0.5; }},
      {"timestamps", [](auto& o) { o.timestamps = TimestampRules{}; }},
      {"logprobs", [](auto& o) { o.logprobs = kMostDeviceLogprobs + 1; }},
  };
  for (const auto& [name, set] : given) {
    SamplingOptions options;
    options.do_sample = true;
    set(options);
    const char* said = Sampler(options).needs_host();
    REQUIRE(said != nullptr);
    CHECK(std::string(said) == name);
  }
}

TEST_CASE("weights are those of the exponential function") {
  const int bits = kernels::weight_bits(128256);
  CHECK(bits == 46);
  CHECK(kernels::token_weight(-3, -3, bits) == std::uint64_t{1} << bits);
  CHECK(kernels::token_weight(-kInfinity, 5, bits) == 0);
  CHECK(kernels::token_weight(kInfinity, kInfinity, bits) == std::uint64_t{1} << bits);
  for (float apart = 0; apart < 60; apart += 0.0137f) {
    const double weight = static_cast<double>(kernels::token_weight(2 - apart, 2, bits));
    const double exact = std::ldexp(std::exp(static_cast<double>(2 - apart) - 2.0), bits);
    CHECK(std::abs(weight - exact) <= 0.5 + exact * 1e-15);
  }
  // floor(total * bits / 2^53), against 128 bits.
  std::mt19937_64 random(3);
  for (int i = 0; i < 1000; ++i) {
    const std::uint64_t total = random() >> (1 + i % 40), drawn = random() >> 11;
    const auto exact = static_cast<Wide>(total) * drawn >> 53;
    CHECK(kernels::draw_target(total, drawn) == static_cast<std::uint64_t>(exact));
  }
}
