// Guesses: out of the text so far, or by a smaller model that runs ahead.
#include <algorithm>

#include "engine/base/error.h"
#include "engine/serving/scheduler_state.h"

namespace perilune {

namespace {

constexpr std::int64_t kChunk = 512;  // of the passes that read a prompt

/// How many guesses a sequence can use now.
std::int64_t most_guesses(Request& request, const Sequence& sequence) {
  const DraftOptions& drafts = request.spec.drafts;
  const auto length = static_cast<std::int64_t>(sequence.context().size());
  if (drafts.tokens <= 0 || sequence.role != SequenceRole::answer || sequence.finished ||
      sequence.waits_for >= 0 || sequence.computed != length - 1 || !sequence.ahead.empty() ||
      !sequence.cache) {
    return 0;
  }
  // Several answers part at their first token: none before it.
  if (static_cast<std::int64_t>(sequence.ids.size()) <= request.spec.prompt_tokens) return 0;
  // The last token needs no guess, and every guess a position.
  const std::int64_t left =
      request.spec.options.max_new_tokens -
      (static_cast<std::int64_t>(sequence.ids.size()) - request.spec.prompt_tokens);
  std::int64_t most = std::min({drafts.tokens, kMostGuesses, left - 1});
  if (request.spec.max_tokens > 0) most = std::min(most, request.spec.max_tokens - length);
  if (drafts.max_tokens > 0) most = std::min(most, drafts.max_tokens - length);
  const Program& program = request.spec.plan->program();
  if (most > 0 && !program.same_keys(length, length + most)) return 0;
  if (request.spec.guidance.on()) {  // the same guesses follow the other text
    const auto answer = static_cast<std::size_t>(&sequence - request.sequences.data());
    const Sequence& without = request.without_of(answer);
    const auto other = static_cast<std::int64_t>(without.ids.size());
    if (without.computed != other - 1 || without.held.there) return 0;  // one is computed again
    if (request.spec.max_tokens > 0) most = std::min(most, request.spec.max_tokens - other);
    if (most > 0 && !program.same_keys(other, other + most)) return 0;
  }
  return std::max<std::int64_t>(0, most);
}

}  // namespace

/// One sequence that a model guesses for.
struct Scheduler::State::Guessing {
  RequestPointer request;
  Sequence* sequence = nullptr;
  std::int64_t most = 0;
};

/// Sequences of a pass that was taken in get their guesses.
void Scheduler::State::guess(const ScheduledGroup& group) {
  std::vector<Guessing> by_model;
  for (const ScheduledRow& row : group.rows) {
    const RequestPointer& request = row.request;
    if (request->done() || request->spec.drafts.tokens <= 0 || request->progress.beams) continue;
    if (request->spec.contrastive.on()) continue;  // each of its candidates is a row already
    for (Sequence& sequence : request->sequences) {
      const std::int64_t most = most_guesses(*request, sequence);
      if (most == 0) continue;
      sequence.ahead.assign(1, sequence.ids.back());
      if (request->spec.drafts.plan) {
        by_model.push_back({request, &sequence, most});
      } else {
        look_up(sequence.ids, request->spec.drafts.ngram, most, sequence.ahead);
        if (sequence.ahead.size() == 1) sequence.ahead.clear();
      }
    }
  }
  while (!by_model.empty()) {  // those of one model together
    const DraftOptions& first = by_model.front().request->spec.drafts;
    const auto rest = std::partition(by_model.begin(), by_model.end(), [&](const Guessing& one) {
      return one.request->spec.drafts.plan == first.plan &&
             one.request->spec.drafts.cache == first.cache;
    });
    std::vector<Guessing> together(by_model.begin(), rest);
    by_model.erase(by_model.begin(), rest);
    guess_by_model(together);
    for (const Guessing& one : together) {
      if (one.sequence->ahead.size() <= 1) one.sequence->ahead.clear();
    }
  }
  for (const ScheduledRow& row : group.rows) {
    if (!row.request->done() && row.request->spec.guidance.on()) share_guesses(*row.request);
  }
}

/// The texts without the prompt go on with the guesses of their answers.
void Scheduler::State::share_guesses(Request& request) {
  const std::size_t answers = request.answers();
  for (std::size_t i = 0; i < answers; ++i) {
    request.without_of(i).ahead = request.sequences[i].ahead;
  }
}

/// What the model has read and the sequence still holds; the rest is dropped.
void Scheduler::State::catch_up(const Guessing& one) {
  const DraftOptions& drafts = one.request->spec.drafts;
  Sequence& sequence = *one.sequence;
  if (!sequence.draft) sequence.draft = std::make_shared<DraftState>();
  DraftState& draft = *sequence.draft;
  if (!draft.sampler) {
    SamplingOptions options = one.request->spec.options.sampling;
    options.logprobs = -1;
    draft.sampler = std::make_unique<Sampler>(std::move(options));
  }
  if (!draft.cache) draft.cache = std::make_unique<SequenceCache>(drafts.cache);
  const auto most = std::min(draft.ids.size(), sequence.context().size() - 1);
  const auto common =
      std::mismatch(draft.ids.begin(), draft.ids.begin() + static_cast<std::ptrdiff_t>(most),
                    sequence.context().begin())
          .first -
      draft.ids.begin();
  const auto whole = static_cast<std::int64_t>(sequence.context().size()) + one.most;
  const bool kept = draft.cache->can_crop(common) &&
                    drafts.plan->program().same_keys(draft.cache->made_for(), whole);
  draft.cache->crop(kept ? common : 0);
  draft.ids.resize(static_cast<std::size_t>(kept ? common : 0));
}

/// One pass of the model that guesses: each row's next `kChunk` ids at most. False: no room.
bool Scheduler::State::run_guesses(std::span<Guessing> rows, Tensor& logits) {
  std::vector<std::vector<std::int32_t>> ids(rows.size());
  std::vector<BatchMaker::Row> batch_of;
  constexpr std::int64_t kNone = -1;
  std::vector<std::int64_t> last(rows.size(), kNone);
  PassWork own;
  own.main = rows.front().request->spec.drafts.plan;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const Sequence& sequence = *rows[r].sequence;
    const auto held = static_cast<std::int64_t>(sequence.draft->ids.size());
    const std::vector<std::int32_t>& known = sequence.context();
    const auto length = static_cast<std::int64_t>(known.size());
    for (std::int64_t i = held; i < held + kChunk; ++i) {
      const auto guessed = static_cast<std::size_t>(i - length + 1);
      if (i >= length && guessed >= sequence.ahead.size()) break;
      ids[r].push_back(i < length ? known[static_cast<std::size_t>(i)] : sequence.ahead[guessed]);
    }
    last[r] = static_cast<std::int64_t>(ids[r].size()) - 1;
    BatchMaker::Row next;
    next.ids = ids[r];
    next.facts.prompt_tokens = length + rows[r].most;
    next.facts.first_position = held;
    next.wanted = std::span(&last[r], 1);
    batch_of.push_back(next);
    own.caches.push_back(sequence.draft->cache.get());
  }
  own.batch = draft_batches.make(context, batch_of);
  PassRun run(draft_executions, std::move(own));
  if (!run.reserve()) return false;
  run.run();
  logits = run.output("logits").to(context->cpu_device()).to(DType::f32).copy();
  run.commit();
  for (std::size_t r = 0; r < rows.size(); ++r) {
    auto& held = rows[r].sequence->draft->ids;
    held.insert(held.end(), ids[r].begin(), ids[r].end());
  }
  return true;
}

/// Guesses of sequences that one model guesses for: one token of each a pass, chosen by the options
/// and random numbers that the answer's own will be.
void Scheduler::State::guess_by_model(std::vector<Guessing>& together) {
  try {
    for (const Guessing& one : together) catch_up(one);
    std::vector<Guessing> left = together;
    while (!left.empty()) {
      Tensor logits;
      if (!run_guesses(left, logits)) return;
      std::vector<Guessing> next;
      for (std::size_t r = 0; r < left.size(); ++r) {
        if (take_guess(left[r], logits.pick(0, static_cast<std::int64_t>(r)))) {
          next.push_back(left[r]);
        }
      }
      left = std::move(next);
    }
  } catch (const Error& error) {
    if (error.code() == ErrorCode::cancelled) throw;
    for (const Guessing& one : together) fail(one.request, error.what(), error.code());
  }
}

/// Adds the guess that a row of the model's logits makes. False: the sequence has all it can use.
bool Scheduler::State::take_guess(const Guessing& one, const Tensor& row) {
  Sequence& sequence = *one.sequence;
  const std::size_t known = sequence.context().size() + sequence.ahead.size() - 1;
  if (sequence.draft->ids.size() < known) return true;  // it still reads the prompt
  std::vector<std::int32_t> text = sequence.ids;
  text.insert(text.end(), sequence.ahead.begin() + 1, sequence.ahead.end());
  const Sequence* first = one.request->sequences.data();
  SamplingState state = sampling_state(*one.request, static_cast<std::size_t>(&sequence - first));
  state.ids = text;
  state.position = static_cast<std::int64_t>(text.size());
  state.source = state.ids.first(static_cast<std::size_t>(one.request->spec.prompt_tokens));
  state.reachable = one.request->spec.drafts.reachable;
  const Tensor copy = row.copy();
  const std::span<float> scores(copy.as<float>(), static_cast<std::size_t>(copy.elements()));
  Sampled sampled;
  sequence.draft->sampler->prepare(scores, state, sampled);
  if (!sampled.not_finite) sequence.draft->sampler->choose(scores, state, sampled);
  if (sampled.not_finite || sampled.id < 0) return false;
  sequence.ahead.push_back(sampled.id);
  return static_cast<std::int64_t>(sequence.ahead.size()) <= one.most;
}

/// Chooses what follows each position of a row that carried guesses, as long as they come true, and
/// drops the keys and values of those that do not.
void Scheduler::State::choose_ahead(const ScheduledRow& row, const Tensor& logits,
                                    std::int64_t first) {
  const RequestPointer request = row.request;
  const std::vector<std::int32_t> ahead = std::move(row.of().ahead);
  row.of().ahead.clear();
  request->progress.drafted += row.choices - 1;
  for (std::int64_t i = 0; i < row.choices; ++i) {
    choose(request, row.sequence, logits, first + i);
    if (request->done() || row.of().finished || row.of().computed == 0) return;  // it slid
    const auto next = static_cast<std::size_t>(i) + 1;
    if (next >= ahead.size() || i + 1 == row.choices || row.of().ids.back() != ahead[next]) break;
    ++request->progress.accepted;
  }
  drop_guesses(row.of());
}

void slide(Request& request, Sequence& sequence) {
  const std::vector<std::int32_t>& all = sequence.context();
  const auto keep = static_cast<std::ptrdiff_t>(
      std::min<std::int64_t>(request.spec.slide_keep, static_cast<std::int64_t>(all.size()) - 2));
  const std::ptrdiff_t drop = (static_cast<std::ptrdiff_t>(all.size()) - keep + 1) / 2;
  std::vector<std::int32_t> left(all.begin(), all.begin() + keep);
  left.insert(left.end(), all.begin() + keep + drop, all.end());
  sequence.slid = std::move(left);
  sequence.ahead.clear();
  sequence.cache->crop(0);
  sequence.computed = 0;
  request.progress.state = RequestState::prefill;
}

/// Keys and values are those of all ids but the newest.
void drop_guesses(Sequence& sequence) {
  const auto valid = static_cast<std::int64_t>(sequence.context().size()) - 1;
  if (!sequence.cache || sequence.cache->length() <= valid) return;
  sequence.cache->crop(valid);
  sequence.computed = valid;
}

}  // namespace perilune
