// What a request to generate is asked with: its prompt, and the table of sampling options.
#include <algorithm>

#include "bindings/lua/batches/batch_input.h"
#include "bindings/lua/edge/arguments.h"
#include "bindings/lua/serving/serving.h"
#include "bindings/lua/text/tokenizer.h"
#include "engine/sampling/option_ranges.h"

namespace perilune::lua {

namespace {

std::vector<std::vector<std::int32_t>> read_sequences(lua_State* L, Options& options,
                                                      const char* key) {
  std::vector<std::vector<std::int32_t>> rows;
  if (options.push(key)) {
    rows = to_rows(L, -1, options.op().c_str(), options.label(key).c_str());
    lua_pop(L, 1);
  }
  return rows;
}

/// What the scores of some ids are changed by: { ids, … } and a number for each.
void read_bias(lua_State* L, Options& options, SamplingOptions& sampling) {
  auto rows = read_sequences(L, options, "bias_ids");
  if (!options.push("bias_values")) return;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    lua_rawgeti(L, -1, static_cast<int>(i) + 1);
    const double value = to_number(L, -1, options.op(), options.label("bias_values"));
    sampling.sequence_bias.push_back({std::move(rows[i]), static_cast<float>(value)});
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

/// timestamps={ first=, no_timestamps=, end=, most_initial=, skip= }: ids, and counts.
void read_timestamps(Options& options, SamplingOptions& sampling) {
  const auto given = options.sizes("timestamps");
  if (!given) return;
  const auto value = [&](const char* key, std::int64_t otherwise) {
    const auto found = given->find(key);
    return found == given->end() ? otherwise : found->second;
  };
  TimestampRules rules;
  const auto id = [&](const char* key) {
    constexpr std::int64_t kMostIds = std::int64_t{1} << 30;
    return static_cast<std::int32_t>(std::clamp<std::int64_t>(value(key, -1), -1, kMostIds));
  };
  rules.first = std::max(id("first"), 0);
  rules.no_timestamps = id("no_timestamps");
  rules.end = std::max(id("end"), 0);
  rules.most_initial = value("most_initial", -1);
  rules.skip = value("skip", 0);
  sampling.timestamps = rules;
}

/// What is forbidden, forced or favoured.
void read_rules(lua_State* L, Options& options, SamplingOptions& sampling) {
  const auto ids = [&](const char* key) {
    return options.ids(key).value_or(std::vector<std::int32_t>{});
  };
  sampling.encoder_repetition_penalty = options.number("encoder_repetition_penalty").value_or(1.0);
  sampling.no_repeat_ngram_size = options.integer("no_repeat_ngram_size").value_or(0);
  sampling.encoder_no_repeat_ngram_size =
      options.integer("encoder_no_repeat_ngram_size").value_or(0);
  read_bias(L, options, sampling);
  sampling.bad_words = read_sequences(L, options, "bad_words_ids");
  sampling.suppress = ids("suppress_tokens");
  sampling.begin_suppress = ids("begin_suppress_tokens");
  read_timestamps(options, sampling);
  const auto forced = ids("forced_bos_token_id");
  if (!forced.empty()) sampling.forced_bos = forced.front();
  sampling.forced_eos = ids("forced_eos_token_id");
  const auto start = options.integer("decay_start");
  const auto factor = options.number("decay_factor");
  if (start && factor) sampling.exponential_decay = ExponentialDecay{*start, *factor};
}

/// What makes repetition less likely, and cuts that other programs know.
void read_penalties(Options& options, SamplingOptions& sampling) {
  sampling.frequency_penalty = options.number("frequency_penalty").value_or(0.0);
  sampling.presence_penalty = options.number("presence_penalty").value_or(0.0);
  DryOptions& dry = sampling.dry;
  dry.multiplier = options.number("dry_multiplier").value_or(0.0);
  dry.base = options.number("dry_base").value_or(dry.base);
  dry.allowed_length = options.integer("dry_allowed_length").value_or(dry.allowed_length);
  dry.last_n = options.integer("dry_penalty_last_n").value_or(dry.last_n);
  dry.breakers = options.ids("dry_breakers").value_or(std::vector<std::int32_t>{});
}

void read_cuts(Options& options, SamplingOptions& sampling) {
  sampling.top_n_sigma = options.number("top_n_sigma").value_or(0.0);
  sampling.top_h = options.number("top_h").value_or(1.0);
  sampling.xtc_probability = options.number("xtc_probability").value_or(0.0);
  sampling.xtc_threshold = options.number("xtc_threshold").value_or(sampling.xtc_threshold);
  sampling.dynatemp_range = options.number("dynatemp_range").value_or(0.0);
  sampling.dynatemp_exponent = options.number("dynatemp_exponent").value_or(1.0);
  sampling.mirostat = options.integer("mirostat").value_or(0);
  sampling.mirostat_tau = options.number("mirostat_tau").value_or(sampling.mirostat_tau);
  sampling.mirostat_eta = options.number("mirostat_eta").value_or(sampling.mirostat_eta);
}

void read_beams(Options& options, GenerateOptions& generate) {
  BeamOptions& beams = generate.beams;
  beams.beams = options.integer("num_beams").value_or(1);
  beams.groups = options.integer("num_beam_groups").value_or(1);
  beams.pad_id = static_cast<std::int32_t>(options.integer("pad_token_id").value_or(0));
  generate.sampling.diversity_penalty = options.number("diversity_penalty").value_or(0.0);
  beams.length_penalty = options.number("length_penalty").value_or(1.0);
  beams.renormalize = options.boolean("renormalize_logits").value_or(false);
  const auto early = options.choice("early_stopping", {"no", "yes", "never"}).value_or("no");
  beams.early_stopping = early == "yes"     ? EarlyStopping::yes
                         : early == "never" ? EarlyStopping::never
                                            : EarlyStopping::no;
}

/// The table of sampling options on top of the stack.
void read_sampling(lua_State* L, GenerateOptions& generate) {
  Options options(L, lua_gettop(L), "submit");
  SamplingOptions& sampling = generate.sampling;
  sampling.typical_p = options.number("typical_p").value_or(1.0);
  sampling.epsilon_cutoff = options.number("epsilon_cutoff").value_or(0.0);
  sampling.eta_cutoff = options.number("eta_cutoff").value_or(0.0);
  read_rules(L, options, sampling);
  sampling.force_words = read_sequences(L, options, "force_words_ids");
  read_penalties(options, sampling);
  read_cuts(options, sampling);
  read_beams(options, generate);
  sampling.do_sample = options.boolean("do_sample").value_or(false);
  sampling.temperature = options.number("temperature").value_or(1.0);
  sampling.top_k = options.integer("top_k").value_or(0);
  sampling.top_p = options.number("top_p").value_or(1.0);
  sampling.min_p = options.number("min_p").value_or(0.0);
  sampling.repetition_penalty = options.number("repetition_penalty").value_or(1.0);
  sampling.seed = static_cast<std::uint64_t>(options.integer("seed").value_or(0));
  sampling.min_new_tokens = options.integer("min_new_tokens").value_or(0);
  sampling.logprobs = options.integer("logprobs").value_or(-1);
  generate.max_new_tokens = options.integer("max_new_tokens").value_or(0);
  generate.prompt_logprobs = options.boolean("prompt_logprobs").value_or(false);
  generate.n = options.integer("n").value_or(1);
  if (generate.n > 1 && sampling.logprobs < 0) {
    sampling.logprobs = 0;
    generate.score_only = true;
  }
  options.done();
}

}  // namespace

void read_generate(lua_State* L, Options& options, RequestSpec& spec) {
  spec.kind = RequestKind::generate;
  const auto ids = options.ids("ids");
  if (!ids || ids->empty()) {
    throw Error(ErrorCode::argument, "submit", "the prompt has no tokens")
        .hint("give a text or ids; models with a bos token can start from it");
  }
  spec.prompt = *ids;
  if (options.push("options")) {
    expect_table(L, -1, "submit", "option options");
    read_sampling(L, spec.options);
    lua_pop(L, 1);
  }
  spec.options.stop_ids = options.ids("stop_ids").value_or(std::vector<std::int32_t>{});
  spec.options.stop_strings = options.texts("stop_strings").value_or(std::vector<std::string>{});
  if (const auto* tokenizer = options.object<TokenizerPointer>("tokenizer")) {
    spec.tokenizer = *tokenizer;
  }
  spec.echo = options.text("echo").value_or("");
  spec.reachable = options.integer("reachable").value_or(0);
}

/// core.generation_fault(name, value) → what the option expects, a hint (or nil); nothing where the
/// value fits, and for options that have no range.
int generation_fault(lua_State* L) {
  const OptionRange* range = find_range(to_text(L, 1, "generation_fault", "name"));
  if (range == nullptr || range->fits(to_number(L, 2, "generation_fault", "value"))) return 0;
  lua_pushstring(L, range->expected);
  if (*range->hint == 0) return 1;
  lua_pushstring(L, range->hint);
  return 2;
}

}  // namespace perilune::lua
