// A request owns one or more sequences (n outputs, beams, drafts). The engine owns requests;
// scripts hold a counted reference.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/batch/batch.h"
#include "engine/cache/cache.h"
#include "engine/plan/plan.h"
#include "engine/sampling/beam_search.h"
#include "engine/sampling/contrastive.h"
#include "engine/sampling/sampler.h"
#include "engine/serving/companions.h"
#include "engine/serving/draft_options.h"
#include "engine/serving/outbox.h"
#include "engine/serving/processors.h"
#include "engine/text/decode/stop_matcher.h"
#include "engine/text/decode/stream_decoder.h"
#include "engine/text/tokenizer/tokenizer.h"

namespace perilune {

enum class RequestKind { generate, forward };
enum class RequestState { waiting, prefill, decode, done };
enum class FinishReason { none, stop, length, context, cancelled, error };
const char* finish_reason_name(FinishReason reason);
const char* request_state_name(RequestState state);

struct Request;
class Constraint;
class PassRun;
using RequestPointer = std::shared_ptr<Request>;

/// What scripts may do per request. Each may throw; that fails this request alone. Which sequence
/// they are called for is Progress::current_sequence.
struct RequestHooks {
  std::vector<std::shared_ptr<Processor>> processors;  // in this order
  /// True, or a text for Result.stop, ends the sequence.
  std::function<std::optional<std::string>(const Request& request)> stop_when;
  std::function<void(const Request& request, std::int32_t id, const std::string& text)> on_token;
  /// Writes the request's passes line by line, in place of the compiled ones; it runs alone then.
  std::function<void(const Request& request, PassRun& run)> write_pass;
};

struct GenerateOptions {
  SamplingOptions sampling;
  std::int64_t max_new_tokens = 0;
  std::vector<std::int32_t> stop_ids;  // eos and the caller's
  std::vector<std::string> stop_strings;
  std::int64_t n = 1;  // outputs
  BeamOptions beams;   // more than one: n best of them are the outputs
  bool prompt_logprobs = false;
  bool score_only = false;  // log-probabilities are kept for the score of several outputs alone
};

/// One sequence of a request.
struct Sequence {
  static constexpr std::int64_t kNowhere = std::numeric_limits<std::int64_t>::max();

  SequenceRole role = SequenceRole::answer;
  std::vector<std::int32_t> ids;  // prompt, then generated
  // What is left of them for the model once its context was full (slide()); empty: all.
  std::vector<std::int32_t> slid;
  const std::vector<std::int32_t>& context() const { return slid.empty() ? ids : slid; }
  std::unique_ptr<SequenceCache> cache;
  std::int64_t computed = 0;  // ids whose keys and values are committed
  // The last id and guesses of what follows it, for the next pass to check; empty: there are none.
  std::vector<std::int32_t> ahead;
  std::shared_ptr<DraftState> draft;  // null while no model guesses
  // After a preemption: which other sequence it goes on from (below 0: none), once that has
  // computed the `shared` ids that both begin with; and where it has to stop for such others.
  std::ptrdiff_t waits_for = -1;
  std::int64_t shared = 0, stop_at = kNowhere;
  bool offered = false;  // a beam whose scores of the next token are taken already
  Held held;
  std::uint64_t output_index = 0;
  bool finished = false;
  FinishReason reason = FinishReason::none;
  std::string stop;            // which stop string or text
  std::string text;            // released so far
  std::size_t emitted = 0;     // bytes of `text` that events have carried
  std::optional<float> score;  // of a beam's answer: weighed sum of log-probabilities
  std::vector<float> logprobs;
  std::vector<std::vector<TokenLogprob>> top_logprobs;
  std::vector<float> prompt_logprobs;  // of prompt tokens 2, 3, ...: one fewer than the prompt has
  std::unique_ptr<StreamDecoder> decoder;
  std::unique_ptr<StopMatcher> stops;

  /// Room in the lists of what is generated for a page of tokens, so that steps inside a page
  /// allocate nothing; where the next `tokens` begin one.
  void make_room();
  void make_room_for(std::int64_t tokens);
  /// Ids of the next passes, guesses included: up to the end, or to where others go on from it.
  std::int64_t pending() const {
    if (finished || waits_for >= 0) return 0;
    const std::int64_t guesses = ahead.empty() ? 0 : static_cast<std::int64_t>(ahead.size()) - 1;
    const std::int64_t end = static_cast<std::int64_t>(context().size()) + guesses;
    return std::max<std::int64_t>(0, std::min(end, stop_at) - computed);
  }
};

struct RequestTimes {  // clock_seconds; 0: not yet
  double submitted = 0, first_run = 0, last_run = 0, first_token = 0, finished = 0;
};

/// What is asked. Nothing changes it after submission.
struct RequestSpec {
  RequestKind kind = RequestKind::generate;
  std::vector<std::int32_t> prompt;  // kind forward: set by submit()
  std::int64_t prompt_tokens = 0;    // of `prompt`, the others count as generated; 0: all of them
  std::int64_t max_tokens = 0;       // the model's positions; 0: no limit
  GenerateOptions options;
  RequestHooks hooks;
  std::uint64_t output_index = 0;              // of the first output, for its random numbers
  std::shared_ptr<const Plan> plan;            // decode with a causal head, or the forward's
  std::shared_ptr<const Tokenizer> tokenizer;  // null: ids only, no text
  std::shared_ptr<Constraint> constraint;      // also among hooks.processors; null: any text
  std::string echo;                            // what the answer's text begins with
  // An encoder-decoder's input, one row, and what reads it before the prompt (the decoder's start)
  // runs. Null: there is no encoder.
  std::shared_ptr<const Batch> source;
  std::vector<std::int32_t> source_ids;  // of `source`, where it has ids; set by submit()
  std::shared_ptr<const Plan> encode_plan, cross_plan;
  std::int64_t encoded_tokens = 0;             // what the source becomes in length; set by submit()
  std::shared_ptr<const Batch> forward_input;  // kind forward: one row
  std::int64_t reachable = 0;                  // sampler mask
  // What the prompt begins with and goes on from, as it is now; Progress::returned is what it has
  // become at the end. Null: nothing.
  std::shared_ptr<SequenceCache> continued;
  DraftOptions drafts;
  GuidanceOptions guidance;
  ContrastiveOptions contrastive;
  std::int64_t slide_keep =
      -1;                  // where the context is full, these first ids stay; below 0: it ends
  bool recompute = false;  // every token from the whole text: keys and values are not kept
  // What a policy sees and the caller chose.
  std::int64_t priority = 0;
  double deadline_ms = 0;  // 0: none; from submission
  std::string client, tag;
  bool keep_events = true;
  bool reuse = true;  // share pages with texts that begin alike, and leave its own for others
  std::int64_t adapter = 0;  // of the model's, that its passes go through; 0: none
};

/// How an answer becomes text: a decoder-only model goes on with its prompt, an encoder-decoder
/// begins a text of its own, unless it was given words to begin with.
DecodeOptions answer_decoding(const RequestSpec& spec);
/// The new ids of a sequence.
std::span<const std::int32_t> new_ids_of(const RequestSpec& spec, const Sequence& sequence);

/// How far it is. Written by the thread that steps; `state` may be read by any, and once it is done
/// so may all else.
struct Progress {
  std::atomic<RequestState> state = RequestState::waiting;
  bool encoded = false;              // the source's cross keys and values are in the cache
  std::size_t current_sequence = 0;  // that hooks are called for
  std::shared_ptr<Sampler> sampler;
  std::unique_ptr<BeamSearch> beams;                            // null: no beam search
  std::unique_ptr<ContrastiveSearch> contrastive;               // null: no contrastive search
  std::vector<std::pair<std::string, Tensor>> forward_outputs;  // copies, this row's
  std::int64_t reused_tokens = 0;
  std::shared_ptr<SequenceCache> returned;
  std::int64_t drafted = 0, accepted = 0;  // guesses that were checked, and that came true
  RequestTimes times;
  std::string error;  // state done with reason error
  std::string why;    // a policy's reason to drop it
  ErrorCode error_code = ErrorCode::internal;
  std::uint64_t told = 0;   // the policy that heard of it
  std::uint64_t named = 0;  // the plan that lists it
};

/// What is asked, how far it is, its sequences.
struct Request : Recipient, std::enable_shared_from_this<Request> {
  explicit Request(RequestSpec asked) : spec(std::move(asked)) {}

  std::uint64_t id = 0;  // given by the inbox
  const RequestSpec spec;
  Progress progress;
  /// Answers: one until the prompt is done, then options.n or the beams that run, at last the
  /// outputs. After them their companions (SequenceRole), while it runs.
  std::vector<Sequence> sequences;
  std::atomic<bool> cancel_asked{false};

  bool done() const { return progress.state == RequestState::done; }
  bool needs_encoding() const { return spec.source != nullptr && !progress.encoded; }
  /// Of all its sources.
  std::int64_t source_tokens() const;
  const std::shared_ptr<const Batch>& source_of(const Sequence& sequence) const {
    return sequence.role == SequenceRole::without ? spec.guidance.source : spec.source;
  }
  std::int64_t encoded_tokens_of(const Sequence& sequence) const {
    return sequence.role == SequenceRole::without ? spec.guidance.encoded_tokens
                                                  : spec.encoded_tokens;
  }
  /// The sequences that sources are encoded for, and that compute what others share: the leaders of
  /// its answers and of those without the prompt (kNoSequence: there are none).
  static constexpr std::size_t kNoSequence = std::numeric_limits<std::size_t>::max();
  std::array<std::size_t, 2> leaders() const;
  /// How many of `sequences` are answers; the first ones.
  std::size_t answers() const;
  /// The companion of an answer that goes without the prompt.
  Sequence& without_of(std::size_t answer) { return sequences[answers() + answer]; }
  /// Whether its tokens are chosen when several sequences are computed.
  bool compares() const { return spec.guidance.on() || spec.contrastive.on(); }
  /// Its pending tokens run in one pass or not at all.
  bool whole() const { return spec.kind == RequestKind::forward || needs_encoding(); }
  std::int64_t new_tokens() const {
    return static_cast<std::int64_t>(sequences[0].ids.size()) - spec.prompt_tokens;
  }
  /// Tokens whose keys and values are not there yet (the source, then the prompt's rest, or 1 when
  /// decoding): of the sequence that has most of them.
  std::int64_t pending_tokens() const;
  /// Ids whose keys and values are committed: of the answer that has fewest.
  std::int64_t computed() const;
  /// Whether a text that it was given is not computed yet.
  bool reads() const;
  /// Answers that are not finished.
  std::int64_t unfinished() const;
  /// Rows that one step of this request takes: sequences that have something to run.
  std::int64_t rows() const;
  /// The first sequence that is not finished (0: all are): the one that computes what all share.
  std::size_t leader() const;
  /// How it ended: an error, or as the first sequence did.
  FinishReason reason() const {
    return progress.error.empty() ? sequences[0].reason : FinishReason::error;
  }
};

/// The text of a beam that runs, whose Sequence carries none: each step has others.
std::string beam_text(const Request& request, const Sequence& beam);
/// Whether one of the request's processors finds an answer of these new ids complete.
bool is_complete(const Request& request, std::span<const std::int32_t> new_ids);

}  // namespace perilune
