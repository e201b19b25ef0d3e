#include "engine/sampling/sampler.h"

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"
#include "engine/sampling/logits.h"
#include "engine/sampling/option_ranges.h"

namespace perilune {

namespace {

/// Best first; of equal ones the lowest id first.
bool better(const TokenLogprob& a, const TokenLogprob& b) {
  return a.logprob != b.logprob ? a.logprob > b.logprob : a.id < b.id;
}

/// The `count` best logits, best first, as if they were log-probabilities.
void find_top(std::span<const float> logits, std::size_t count,
              std::vector<TokenLogprob>& candidates) {
  constexpr std::size_t kFew = 32;  // are put where they belong one by one
  candidates.clear();
  if (count > kFew) {
    candidates.reserve(logits.size());
    for (const float x : logits) {
      candidates.push_back({static_cast<std::int32_t>(candidates.size()), x});
    }
    const auto end = candidates.begin() + static_cast<std::ptrdiff_t>(count);
    std::nth_element(candidates.begin(), end - 1, candidates.end(), better);
    std::sort(candidates.begin(), end, better);
    candidates.resize(count);
    return;
  }
  float least = kNever;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (candidates.size() == count && !(logits[i] > least)) continue;
    if (candidates.size() == count) candidates.pop_back();
    const TokenLogprob one{static_cast<std::int32_t>(i), logits[i]};
    candidates.insert(std::upper_bound(candidates.begin(), candidates.end(), one, better), one);
    least = candidates.back().logprob;
  }
}

/// The best logit, and the sum of all weights.
struct Total {
  float best;
  std::uint64_t weights;
};

Total total_of(std::span<const float> logits) {
  const float best = logits[best_of(logits)];
  const int bits = kernels::weight_bits(static_cast<std::int64_t>(logits.size()));
  std::uint64_t sum = 0;
  for (const float x : logits) sum += kernels::token_weight(x, best, bits);
  return {best, sum};
}

}  // namespace

void check_sampling(const SamplingOptions& options) {
  const auto whole = [](std::int64_t value) { return static_cast<double>(value); };
  const std::pair<const char*, double> given[] = {
      {"temperature", options.temperature},
      {"top_k", whole(options.top_k)},
      {"top_p", options.top_p},
      {"min_p", options.min_p},
      {"typical_p", options.typical_p},
      {"epsilon_cutoff", options.epsilon_cutoff},
      {"eta_cutoff", options.eta_cutoff},
      {"diversity_penalty", options.diversity_penalty},
      {"repetition_penalty", options.repetition_penalty},
      {"encoder_repetition_penalty", options.encoder_repetition_penalty},
      {"no_repeat_ngram_size", whole(options.no_repeat_ngram_size)},
      {"encoder_no_repeat_ngram_size", whole(options.encoder_no_repeat_ngram_size)},
      {"min_new_tokens", whole(options.min_new_tokens)},
      {"frequency_penalty", options.frequency_penalty},
      {"presence_penalty", options.presence_penalty},
      {"dry_multiplier", options.dry.multiplier},
      {"dry_base", options.dry.base},
      {"dry_allowed_length", whole(options.dry.allowed_length)},
      {"top_n_sigma", options.top_n_sigma},
      {"top_h", options.top_h},
      {"xtc_probability", options.xtc_probability},
      {"xtc_threshold", options.xtc_threshold},
      {"dynatemp_range", options.dynatemp_range},
      {"dynatemp_exponent", options.dynatemp_exponent},
      {"mirostat_tau", options.mirostat_tau},
      {"mirostat_eta", options.mirostat_eta}};
  for (const auto& [name, value] : given) check_range(name, value);
  if (options.mirostat != 0) check_range("mirostat", whole(options.mirostat));
  if (options.logprobs != -1) check_range("logprobs", whole(options.logprobs));
  if (options.exponential_decay) {
    check_range("exponential_decay_length_penalty", options.exponential_decay->factor);
  }
}

double hash_uniform(std::uint64_t seed, std::uint64_t output_index, std::uint64_t position,
                    std::uint64_t draw) {
  return static_cast<double>(kernels::draw_bits(seed, output_index, position, draw)) * 0x1p-53;
}

double log_sum_of(float best, std::uint64_t weights, std::int64_t width) {
  const double sum = std::ldexp(static_cast<double>(weights), -kernels::weight_bits(width));
  return static_cast<double>(best) + std::log(sum);
}

Sampler::Sampler(SamplingOptions options) : options_(std::move(options)) {
  check_sampling(options_);
}

void Sampler::log_probabilities(std::span<const float> logits, const SamplingState& state,
                                Sampled& result) {
  raw_.assign(logits.begin(), logits.end());
  // Among timestamps choose() sums what their rules leave.
  if (options_.timestamps && options_.logprobs == 0) return;
  const Total total = total_of(logits);
  log_sum_ = log_sum_of(total.best, total.weights, static_cast<std::int64_t>(logits.size()));

  const auto reachable =
      state.reachable > 0
          ? std::min<std::size_t>(static_cast<std::size_t>(state.reachable), logits.size())
          : logits.size();
  const auto count = std::min<std::size_t>(static_cast<std::size_t>(options_.logprobs), reachable);
  result.top.clear();
  if (count == 0) return;
  find_top(logits.first(reachable), count, candidates_);
  for (const TokenLogprob& one : candidates_) {
    const double logprob = static_cast<double>(one.logprob) - log_sum_;
    result.top.push_back({one.id, static_cast<float>(logprob)});
  }
}

void Sampler::prepare(std::span<float> logits, const SamplingState& state, Sampled& result) {
  observe(logits, state, result);
  if (!result.not_finite) restrict(logits, state);
}

void Sampler::observe(std::span<const float> logits, const SamplingState& state, Sampled& result) {
  result = Sampled{};
  if (logits.empty()) throw Error(ErrorCode::internal, "sample", "a row without logits");
  if (holds_nan(logits)) {
    result.not_finite = true;
    return;
  }
  if (options_.logprobs >= 0) log_probabilities(logits, state, result);
}

void Sampler::restrict(std::span<float> logits, const SamplingState& state) {
  apply_rules(logits, state);
  const auto size = static_cast<std::int64_t>(logits.size());
  if (state.reachable > 0) {
    for (std::int64_t id = state.reachable; id < size; ++id) {
      logits[static_cast<std::size_t>(id)] = kNever;
    }
  }
}

void Sampler::keep_top_k(std::span<float> logits) {
  const auto count = static_cast<std::size_t>(options_.top_k);
  if (options_.top_k == 0 || count >= logits.size()) return;
  scratch_.assign(logits.begin(), logits.end());
  const auto kth = scratch_.begin() + static_cast<std::ptrdiff_t>(count - 1);
  std::nth_element(scratch_.begin(), kth, scratch_.end(), std::greater<float>());
  const float least = *kth;
  for (float& x : logits) {
    if (x < least) x = kNever;
  }
}

void Sampler::keep_top_p(std::span<float> logits) {
  if (options_.top_p >= 1.0) return;
  const Total total = total_of(logits);
  const int bits = kernels::weight_bits(static_cast<std::int64_t>(logits.size()));
  candidates_.clear();
  candidates_.reserve(logits.size());
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] != kNever) candidates_.push_back({static_cast<std::int32_t>(i), logits[i]});
  }
  if (candidates_.empty()) return;
  // A token stays while what is better than it falls short of top_p. Few usually do, so only the
  // best are sorted, and more of them when those do not reach.
  const std::uint64_t enough = kernels::enough_weight(options_.top_p, total.weights);
  std::uint64_t above = 0;
  std::size_t kept = 0, sorted = 0, part = 128;
  while (kept == 0 || (kept < candidates_.size() && above < enough)) {
    if (kept == sorted) {
      const auto from = candidates_.begin() + static_cast<std::ptrdiff_t>(sorted);
      sorted = std::min(candidates_.size(), sorted + part);
      part *= 8;
      const auto to = candidates_.begin() + static_cast<std::ptrdiff_t>(sorted);
      if (to != candidates_.end()) std::nth_element(from, to, candidates_.end(), better);
      std::sort(from, to, better);
    }
    above += kernels::token_weight(candidates_[kept].logprob, total.best, bits);
    ++kept;
  }
  for (std::size_t i = kept; i < candidates_.size(); ++i) {
    logits[static_cast<std::size_t>(candidates_[i].id)] = kNever;
  }
}

void Sampler::keep_min_p(std::span<float> logits) const {
  if (options_.min_p <= 0) return;
  const float best = logits[best_of(logits)];
  const int bits = kernels::weight_bits(static_cast<std::int64_t>(logits.size()));
  const std::uint64_t least = kernels::least_weight(options_.min_p, bits);
  for (float& x : logits) {
    if (kernels::token_weight(x, best, bits) < least) x = kNever;
  }
}

void Sampler::apply_temperature(std::span<float> logits) {
  double temperature = options_.temperature;
  if (options_.dynatemp_range > 0) {
    const double low = std::max(0.0, temperature - options_.dynatemp_range);
    temperature = cutoffs_.dynamic_temperature(logits, low, temperature + options_.dynatemp_range,
                                               options_.dynatemp_exponent);
    if (temperature <= 0) {  // nothing but the best is likely
      const std::size_t best = best_of(logits);
      for (std::size_t i = 0; i < logits.size(); ++i) {
        if (i != best) logits[i] = kNever;
      }
      return;
    }
  }
  if (temperature == 1.0) return;
  const auto divisor = static_cast<float>(temperature);
  for (float& x : logits) x /= divisor;
}

void Sampler::filter(std::span<float> logits) {
  apply_temperature(logits);
  if (options_.top_n_sigma > 0) cutoffs_.keep_near_best(logits, options_.top_n_sigma);
  keep_top_k(logits);
  keep_top_p(logits);
  keep_min_p(logits);
  if (options_.top_h < 1.0) cutoffs_.keep_top_h(logits, options_.top_h);
  if (options_.typical_p < 1.0) cutoffs_.keep_typical(logits, options_.typical_p);
  if (options_.epsilon_cutoff > 0) cutoffs_.keep_above(logits, options_.epsilon_cutoff, false);
  if (options_.eta_cutoff > 0) cutoffs_.keep_above(logits, options_.eta_cutoff, true);
}

double Sampler::uniform(const SamplingState& state, std::uint64_t number) const {
  return hash_uniform(options_.seed, state.output_index, static_cast<std::uint64_t>(state.position),
                      number);
}

void Sampler::draw(std::span<float> logits, const SamplingState& state, Sampled& result) const {
  const Total total = total_of(logits);
  const int bits = kernels::weight_bits(static_cast<std::int64_t>(logits.size()));
  const std::uint64_t drawn = kernels::draw_bits(options_.seed, state.output_index,
                                                 static_cast<std::uint64_t>(state.position), 0);
  const std::uint64_t target = kernels::draw_target(total.weights, drawn);
  std::uint64_t sum = 0;
  for (std::size_t i = 0; sum <= target; ++i) {  // the sum of all is greater
    sum += kernels::token_weight(logits[i], total.best, bits);
    result.id = static_cast<std::int32_t>(i);
  }
}

/// Basu et al. 2020, version 2 of the published programs: what surprises more than a bound is cut,
/// and the bound moves by how far the choice was from tau.
void Sampler::draw_mirostat(std::span<float> logits, const SamplingState& state, Sampled& result) {
  apply_temperature(logits);
  double& bound =
      surprise_.try_emplace(state.output_index, 2 * options_.mirostat_tau).first->second;
  (void)cutoffs_.keep_unsurprising(logits, bound);
  draw(logits, state, result);
  const double bits = -log_probability(logits, result.id) / std::log(2.0);
  bound -= options_.mirostat_eta * (bits - options_.mirostat_tau);
}

void Sampler::choose(std::span<float> logits, const SamplingState& state, Sampled& result) {
  result.id = -1;
  if (result.not_finite) return;
  const Best best = find_best(logits);
  if (best.nan) {  // a processor may have written one
    result.not_finite = true;
    return;
  }
  if (best.logit == kNever) return;  // everything is masked out
  if (options_.timestamps && options_.logprobs >= 0) log_sum_ = log_sum_exp(logits);
  if (!options_.do_sample) {
    result.id = static_cast<std::int32_t>(best.index);
  } else if (options_.mirostat != 0) {
    draw_mirostat(logits, state, result);
  } else {
    filter(logits);
    if (options_.xtc_probability > 0 && uniform(state, 1) < options_.xtc_probability) {
      cutoffs_.exclude_best(logits, options_.xtc_threshold);
    }
    draw(logits, state, result);
  }
  if (options_.logprobs >= 0 && !raw_.empty()) {
    const double raw = raw_[static_cast<std::size_t>(result.id)];
    result.logprob = static_cast<float>(raw - log_sum_);
  }
}

}  // namespace perilune
