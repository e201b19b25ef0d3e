#include "engine/serving/constraint.h"
#include "engine/serving/scheduler.h"

#include <algorithm>

#include "engine/base/error.h"
#include "engine/device/context.h"
#include "engine/sampling/option_ranges.h"
#include "engine/serving/memory.h"
#include "engine/serving/prefixes.h"
#include "engine/serving/scheduler_state.h"

namespace perilune {

namespace {

// Each is a row of every step, which runs them all together.

std::string number(std::int64_t value) {
  return std::to_string(value);
}

void check_prompt(const RequestSpec& spec) {
  const auto tokens = static_cast<std::int64_t>(spec.prompt.size());
  if (tokens == 0) {
    throw Error(ErrorCode::argument, "generate", "the prompt has no tokens")
        .hint("begin it with the model's start token");
  }
  if (spec.max_tokens > 0 && tokens > spec.max_tokens) {
    throw Error(ErrorCode::length, spec.kind == RequestKind::forward ? "forward" : "generate",
                "the prompt has " + number(tokens) + " tokens, the model " +
                    number(spec.max_tokens) + " positions")
        .hint("encode it with truncate = { to = " + number(spec.max_tokens) +
              " }, or cut it into parts");
  }
  if (spec.prompt_tokens > tokens) {
    throw Error(ErrorCode::argument, "generate",
                number(spec.prompt_tokens) + " prompt tokens of " + number(tokens));
  }
}

void check_options(const RequestSpec& spec) {
  const GenerateOptions& options = spec.options;
  check_range("max_new_tokens", static_cast<double>(options.max_new_tokens));
  check_range("n", static_cast<double>(options.n));
  check_range("num_beams", static_cast<double>(options.beams.beams));
  if (!options.stop_strings.empty() && !spec.tokenizer) {
    throw Error(ErrorCode::option, "generate",
                "option stop: texts need a tokenizer, and this model has none")
        .hint("stop by ids: eos_token_id");
  }
}

/// Throws where keys and values of a prompt and its source do not fit an empty cache.
void check_memory(const RequestSpec& spec, const Cache& cache) {
  const auto tokens = static_cast<std::int64_t>(spec.prompt.size());
  const std::int64_t bytes = bytes_alone(spec, tokens, cache.layout());
  if (bytes <= cache.budget()) return;
  throw Error(ErrorCode::memory, "submit",
              "keys and values of " + number(tokens + spec.encoded_tokens) + " tokens take " +
                  number(bytes) + " bytes, the cache has " + number(cache.budget()))
      .hint("give the engine more memory, or shorten the prompt");
}

/// Throws for what does not go with a beam search, where one is asked for.
void check_beams(const RequestSpec& spec) {
  const GenerateOptions& options = spec.options;
  if (options.beams.beams == 1) return;
  const auto refuse = [](const std::string& what) {
    throw Error(ErrorCode::option, "generate", what + " does not go with num_beams above 1");
  };
  if (options.n > options.beams.beams) {
    throw Error(ErrorCode::option, "generate",
                number(options.n) + " outputs of " + number(options.beams.beams) + " beams")
        .hint("num_return_sequences is at most num_beams");
  }
  if (options.sampling.do_sample) refuse("do_sample");
  if (options.sampling.logprobs >= 0 && !options.score_only) refuse("logprobs");
  if (options.prompt_logprobs) refuse("prompt_logprobs");
  if (spec.hooks.stop_when) refuse("stop_when");
  if (spec.hooks.on_token) refuse("on_token");
}

/// Throws for what does not go with guidance or a contrastive search, where they are asked for.
void check_compared(const RequestSpec& spec) {
  if (!spec.guidance.on() && !spec.contrastive.on()) return;
  const bool several = spec.options.n > 1 || spec.options.beams.beams > 1;
  if (spec.slide_keep >= 0 || (spec.contrastive.on() && several)) {
    throw Error(ErrorCode::option, "generate",
                "guidance_scale and penalty_alpha do not go with a context that slides, nor the "
                "latter with several outputs or beams");
  }
  if (spec.contrastive.on() && (!spec.contrastive.plan || spec.contrastive.top_k < 1)) {
    throw Error(ErrorCode::argument, "submit", "a contrastive search wants its plan and top_k");
  }
  if (!spec.guidance.on()) return;
  const auto tokens = static_cast<std::int64_t>(spec.guidance.ids.size());
  if (tokens == 0 || !spec.source != !spec.guidance.source) {
    throw Error(ErrorCode::argument, "submit", "guidance wants a text in the prompt's place");
  }
  if (spec.max_tokens > 0 && tokens > spec.max_tokens) {
    throw Error(ErrorCode::length, "generate",
                "the negative prompt has " + number(tokens) + " tokens, the model " +
                    number(spec.max_tokens) + " positions")
        .hint("cut it into parts");
  }
}

void check_source(RequestSpec& spec) {
  if (!spec.source) return;
  if (spec.source->size() != 1 || !spec.encode_plan || !spec.cross_plan) {
    throw Error(ErrorCode::argument, "submit",
                "a source is one row, with the plans that encode it");
  }
  spec.encoded_tokens = output_rows(*spec.encode_plan, spec.source).length(0);
  if (!spec.guidance.source) return;
  spec.guidance.encoded_tokens = output_rows(*spec.encode_plan, spec.guidance.source).length(0);
}

/// Whether its passes keep keys and values, of their own or of a source.
bool keeps_values(const RequestSpec& spec) {
  return !spec.plan->program().kv_slots.empty() || spec.cross_plan;
}

/// Throws for keys and values that cannot be kept.
void check_cache(const RequestSpec& spec, const std::shared_ptr<Cache>& cache) {
  const bool keeps = keeps_values(spec);
  if (!keeps && spec.kind == RequestKind::generate) {
    throw Error(ErrorCode::unsupported, "generate", "this model's pass keeps no keys and values")
        .hint("use forward");
  }
  if (!keeps) return;
  if (!cache) throw Error(ErrorCode::argument, "submit", "this model's pass needs a cache");
  check_memory(spec, *cache);
}

/// Checks what is asked and fills in what follows from it.
void complete_spec(RequestSpec& spec, const std::shared_ptr<Cache>& cache) {
  if (!spec.plan) throw Error(ErrorCode::argument, "submit", "the request has no plan");
  if (spec.kind == RequestKind::forward) {
    if (!spec.forward_input || spec.forward_input->size() != 1) {
      throw Error(ErrorCode::argument, "submit", "a forward request takes one row");
    }
    if (spec.forward_input->has_ids()) {
      spec.prompt = spec.forward_input->row_ids(0);
    } else {
      spec.prompt.assign(static_cast<std::size_t>(spec.forward_input->tokens()), 0);
    }
  }
  check_prompt(spec);
  check_options(spec);
  check_compared(spec);
  check_source(spec);
  if (spec.source && spec.source->has_ids()) spec.source_ids = spec.source->row_ids(0);
  check_beams(spec);
  check_cache(spec, cache);
  if (spec.prompt_tokens == 0) spec.prompt_tokens = static_cast<std::int64_t>(spec.prompt.size());
}

/// The one sequence that a request begins with.
Sequence first_sequence(const RequestSpec& spec, const std::shared_ptr<Cache>& cache) {
  Sequence sequence;
  sequence.ids = spec.prompt;
  sequence.output_index = spec.output_index;
  sequence.text = spec.echo;
  if (keeps_values(spec)) {
    sequence.cache = std::make_unique<SequenceCache>(cache);
  }
  if (spec.kind == RequestKind::generate && spec.tokenizer && spec.options.beams.beams == 1) {
    sequence.decoder = answer_decoder(spec);
    sequence.stops = std::make_unique<StopMatcher>(spec.options.stop_strings);
  }
  return sequence;
}

/// What an answer is held against from its beginning.
Sequence without_prompt(const RequestSpec& spec, const std::shared_ptr<Cache>& cache) {
  Sequence sequence;
  sequence.role = SequenceRole::without;
  sequence.ids = spec.guidance.ids;
  sequence.output_index = spec.output_index;
  sequence.cache = std::make_unique<SequenceCache>(cache);
  return sequence;
}

}  // namespace

Scheduler::State::State(std::shared_ptr<Context> its_context, std::shared_ptr<Policy> its_policy,
                        SchedulerOptions its_options)
    : context(std::move(its_context)),
      policy(std::move(its_policy)),
      options(its_options),
      outbox(std::make_shared<Outbox>(its_options.keep_all_events)),
      queue(its_options.dry ? DryClock::kStart : clock_seconds()) {
  if (options.dry) dry.emplace().cost = *options.dry;
}

double Scheduler::State::now() const {
  return dry ? dry->seconds() : clock_seconds();
}

Scheduler::Scheduler(std::shared_ptr<Context> context, std::shared_ptr<Policy> policy,
                     SchedulerOptions options)
    : state_(std::make_unique<State>(std::move(context), std::move(policy), options)) {}

Scheduler::~Scheduler() {
  if (!state_) return;
  state_->rollback_all();
  state_->outbox->close();  // requests that scripts hold go on giving theirs
}

RequestPointer Scheduler::submit(RequestSpec spec, const std::shared_ptr<Cache>& cache) {
  complete_spec(spec, cache);
  auto request = std::make_shared<Request>(std::move(spec));
  const GenerateOptions& options = request->spec.options;
  request->sequences.push_back(first_sequence(request->spec, cache));
  if (request->spec.guidance.on()) {
    request->sequences.push_back(without_prompt(request->spec, cache));
  }
  if (const ContrastiveOptions& contrastive = request->spec.contrastive; contrastive.on()) {
    request->progress.contrastive =
        std::make_unique<ContrastiveSearch>(contrastive.alpha, contrastive.top_k);
  }
  continue_cache(*request);
  request->progress.sampler = std::make_shared<Sampler>(options.sampling);
  if (options.beams.beams > 1) {
    request->progress.beams = std::make_unique<BeamSearch>(options.beams, options.stop_ids.size(),
                                                           options.max_new_tokens);
  }
  request->outbox = state_->outbox;
  request->progress.times.submitted = state_->now();
  state_->inbox.submit(request);
  return request;
}

void Scheduler::set_policy(std::shared_ptr<Policy> policy) {
  state_->policy = std::move(policy);
  ++state_->policy_number;
}

void Scheduler::post_policy(std::shared_ptr<Policy> policy) {
  state_->inbox.set_policy(std::move(policy));
}

bool Scheduler::idle() const {
  return !state_->working && state_->inbox.open() == 0;
}

std::size_t Scheduler::open() const {
  return state_->inbox.open();
}

void Scheduler::cancel(const RequestPointer& request) {
  state_->inbox.cancel(request);
}

void Scheduler::cancel_all() {
  state_->inbox.cancel_all();
}

bool Scheduler::next_event(RequestPointer& request, Event& event) {
  RecipientPointer from;
  if (!state_->outbox->next(from, event)) return false;
  request = std::static_pointer_cast<Request>(from);
  return true;
}

bool Scheduler::next_event(Event& event) {
  RequestPointer request;
  return next_event(request, event);
}

SchedulerStats Scheduler::stats() const {
  SchedulerStats stats;
  {
    const std::lock_guard lock(state_->told_mutex);
    stats = state_->published;
  }
  // What came since the last step waits.
  stats.waiting = static_cast<std::int64_t>(open()) - stats.running;
  return stats;
}

void Scheduler::take_finished(std::vector<RequestPointer>& into) {
  into.clear();
  const std::lock_guard lock(state_->told_mutex);
  into.reserve(state_->finished.capacity());
  std::swap(into, state_->finished);
}

void Scheduler::set_more(bool more) {
  if (state_->more.exchange(more) != more) wake();  // a policy that waits is asked again
}

bool Scheduler::more() const {
  return state_->more;
}

bool Scheduler::wait(double seconds) {
  return state_->inbox.wait(seconds);
}

DryClock* Scheduler::dry_clock() {
  return state_->dry ? &*state_->dry : nullptr;
}

void Scheduler::wake() {
  state_->inbox.wake();
}

}  // namespace perilune
