// The scheduler's answers: one code path for one prompt, a list and many clients; none depends on
// who else runs.
#include "engine/serving/scheduler.h"

#include "engine/base/error.h"
#include "engine/text/readers/open.h"
#include "tests/catch.h"
#include "tests/engine/scheduler_support.h"
#include "tests/support.h"

using namespace perilune;
using namespace perilune_test;

namespace {

/// What must be the same to the bit.
struct Answer {
  std::vector<std::int32_t> ids;
  std::vector<float> logprobs, prompt_logprobs, hidden;
};

Answer answer_of(const Request& request) {
  Answer answer;
  REQUIRE(request.done());
  INFO(request.progress.error);
  REQUIRE(request.progress.error.empty());
  if (request.spec.kind == RequestKind::forward) {
    for (const auto& [name, tensor] : request.progress.forward_outputs) {
      if (name == "logits") answer.hidden = tensor.to_floats();
    }
    return answer;
  }
  for (std::size_t s = 0; s < request.sequences.size(); ++s) {
    const Sequence& sequence = request.sequences[s];
    const auto ids = new_ids(request, s);
    answer.ids.insert(answer.ids.end(), ids.begin(), ids.end());
    answer.logprobs.insert(answer.logprobs.end(), sequence.logprobs.begin(),
                           sequence.logprobs.end());
  }
  answer.prompt_logprobs = request.sequences[0].prompt_logprobs;
  return answer;
}

void check_same(const Answer& a, const Answer& b) {
  REQUIRE(a.ids == b.ids);
  REQUIRE(same_bits(a.logprobs, b.logprobs));
  REQUIRE(same_bits(a.prompt_logprobs, b.prompt_logprobs));
  REQUIRE(same_bits(a.hidden, b.hidden));
}

/// The k-th of a set of requests that differ in everything an answer may depend on.
RequestSpec varied(const Served& served, unsigned k) {
  std::mt19937 random(seeded(k + 1));
  std::vector<std::int32_t> ids{1};
  const unsigned length = 1 + random() % 70;
  while (ids.size() < length) ids.push_back(static_cast<std::int32_t>(random() % 384));
  auto request_spec = served.request(ids, 1 + random() % 12);
  SamplingOptions& sampling = request_spec.options.sampling;
  sampling.do_sample = k % 3 != 0;
  sampling.temperature = 0.9;
  sampling.top_k = k % 4 == 0 ? 20 : 0;
  sampling.top_p = k % 2 == 0 ? 0.9 : 1.0;
  sampling.seed = k;
  sampling.logprobs = 2;
  sampling.repetition_penalty = k % 5 == 0 ? 1.2 : 1.0;
  request_spec.options.n = k % 4 == 1 ? 3 : 1;
  request_spec.options.prompt_logprobs = k % 3 == 1;
  if (k % 6 == 5) {
    request_spec.kind = RequestKind::forward;
    request_spec.forward_input =
        Batch::make(served.model.context, {ids})->with_rows(RowSelection::all);
  }
  return request_spec;
}

}  // namespace

TEST_CASE("greedy generation is the reference's") {
  const Served served(served_folder());
  const Json expected = read_json(served_folder() + "/expected.json");
  auto scheduler = served.scheduler(std::make_shared<Fifo>());
  std::vector<RequestPointer> requests;
  for (const Json& prompt : expected.get("prompts").items()) {
    std::vector<std::int32_t> ids;
    for (const std::int64_t id : prompt.integers("ids"))
      ids.push_back(static_cast<std::int32_t>(id));
    auto request_spec = served.request(ids, 20);
    request_spec.options.stop_ids = {2};
    requests.push_back(scheduler.submit(request_spec, served.cache));
  }
  REQUIRE(drain(scheduler));
  const Json& results = expected.get("generate").at(0).get("results");
  REQUIRE(results.size() == requests.size());
  for (std::size_t r = 0; r < requests.size(); ++r) {
    std::vector<std::int32_t> want;
    for (const std::int64_t id : results.at(r).integers("new_ids")) {
      want.push_back(static_cast<std::int32_t>(id));
    }
    CHECK(new_ids(*requests[r]) == want);
    CHECK(requests[r]->reason() == (want.size() < 20 ? FinishReason::stop : FinishReason::length));
  }
  CHECK(served.cache->used_bytes() == 0);
}

TEST_CASE("no answer depends on batch, chunks, budgets, preemption, padding or threads") {
  const PlanOptions modes[] = {{}, [] {
                                 PlanOptions bf16;
                                 bf16.math = kernels::MathMode::bf16;
                                 bf16.cache_dtype = DType::bf16;
                                 return bf16;
                               }()};
  constexpr unsigned kRequests = 12;
  for (const PlanOptions& mode : modes) {
    const Served alone(served_folder(), 1, mode), one(served_folder(), 1, mode),
        two(served_folder(), 2, mode);
    std::vector<Answer> answers;
    for (unsigned k = 0; k < kRequests; ++k) {
      auto scheduler = alone.scheduler(std::make_shared<Fifo>());
      const auto request = scheduler.submit(varied(alone, k), alone.cache);
      REQUIRE(drain(scheduler));
      answers.push_back(answer_of(*request));
    }
    int preempted = 0, chunked = 0, padded = 0, stopped = 0;  // that it was tried at all
    for (unsigned round = 0; round < 60; ++round) {
      INFO("round " << round);
      const Served& served = round % 2 == 0 ? one : two;
      SchedulerOptions options;
      options.max_tokens = round % 3 == 0 ? 40 : 200;
      const auto whims = std::make_shared<Whims>(round);
      auto scheduler = served.scheduler(whims, options);
      std::mt19937 random(seeded(round));
      std::vector<std::pair<unsigned, RequestPointer>> requests;
      for (int i = 0; i < 2000; ++i) {
        if (requests.size() < 8 && random() % 3 == 0) {
          const unsigned k = random() % kRequests;
          requests.emplace_back(k, scheduler.submit(varied(served, k), served.cache));
        } else if (requests.size() == 8 && scheduler.idle()) {
          break;
        }
        if (scheduler.idle()) continue;
        stopped += scheduler.step(round % 4 == 1 ? 0.05 : 0).pending ? 1 : 0;
      }
      preempted += whims->preempted;
      chunked += whims->chunked;
      padded += whims->padded;
      for (const auto& [k, request] : requests) {
        INFO("request " << k);
        check_same(answer_of(*request), answers[k]);
      }
    }
    CHECK(preempted > 0);
    CHECK(chunked > 0);
    CHECK(padded > 0);
    CHECK(stopped > 0);
  }
}

TEST_CASE("n outputs are what their output indices give alone") {
  const Served served(served_folder());
  const std::vector<std::int32_t> ids{1, 306, 353, 299};
  const auto make = [&] {
    auto request_spec = served.request(ids, 10);
    request_spec.options.sampling.do_sample = true;
    request_spec.options.sampling.seed = 5;
    return request_spec;
  };
  auto scheduler = served.scheduler(std::make_shared<Fifo>());
  auto together_spec = make();
  together_spec.options.n = 3;
  const auto together = scheduler.submit(together_spec, served.cache);
  REQUIRE(drain(scheduler));
  REQUIRE(together->sequences.size() == 3);
  for (std::size_t k = 0; k < 3; ++k) {
    auto single_spec = make();
    single_spec.output_index = k;
    const auto single = scheduler.submit(single_spec, served.cache);
    REQUIRE(drain(scheduler));
    CHECK(new_ids(*single) == new_ids(*together, k));
  }
  CHECK(new_ids(*together, 0) != new_ids(*together, 1));
  CHECK(served.cache->used_bytes() == 0);
}

TEST_CASE("prompt log-probabilities are the forward pass's") {
  const Served served(served_folder());
  const std::vector<std::int32_t> ids{1, 306, 353, 299, 283};
  SchedulerOptions options;
  options.max_tokens = 2;  // in chunks
  auto scheduler = served.scheduler(std::make_shared<Fifo>(), options);
  auto request_spec = served.request(ids, 0);
  request_spec.options.prompt_logprobs = true;
  const auto request = scheduler.submit(request_spec, served.cache);
  REQUIRE(drain(scheduler));
  CHECK(request->reason() == FinishReason::length);
  CHECK(new_ids(*request).empty());
  auto forward_spec = served.request(ids, 0);
  forward_spec.kind = RequestKind::forward;
  forward_spec.forward_input =
      Batch::make(served.model.context, {ids})->with_rows(RowSelection::all);
  const auto forward = scheduler.submit(forward_spec, served.cache);
  REQUIRE(drain(scheduler));
  REQUIRE(forward->progress.forward_outputs.size() == 1);
  const std::vector<float> logits = forward->progress.forward_outputs[0].second.to_floats();
  REQUIRE(request->sequences[0].prompt_logprobs.size() == 4);
  for (std::size_t i = 0; i < 4; ++i) {
    double sum = 0;
    for (std::size_t v = 0; v < 384; ++v) sum += std::exp(static_cast<double>(logits[i * 384 + v]));
    const double want =
        static_cast<double>(logits[i * 384 + static_cast<std::size_t>(ids[i + 1])]) - std::log(sum);
    CHECK(request->sequences[0].prompt_logprobs[i] == Approx(want).margin(1e-5));
  }
}
