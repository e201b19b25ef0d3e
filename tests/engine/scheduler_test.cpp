// The scheduler: one code path for one prompt, a list and many clients; no answer depends on who
// else runs; a bad plan or a failing callback harms nobody else.
#include "engine/serving/scheduler.h"

#include "engine/base/error.h"
#include "engine/text/readers/open.h"
#include "tests/catch.h"
#include "tests/engine/scheduler_support.h"
#include "tests/support.h"

using namespace perilune;
using namespace perilune_test;

namespace {

std::string folder() {
  return golden_model("llama-gqa");
}

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
  const Served served(folder());
  const Json expected = read_json(folder() + "/expected.json");
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
    const Served alone(folder(), 1, mode), one(folder(), 1, mode), two(folder(), 2, mode);
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
  const Served served(folder());
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

TEST_CASE("a bad plan is an error that names the policy, and changes nothing") {
  const Served served(folder());
  StepPlan next;
  const auto policy =
      std::make_shared<Scripted>([&](const QueueView&, const Room&) { return next; });
  SchedulerOptions options;
  options.max_tokens = 8;
  auto scheduler = served.scheduler(policy, options);
  const auto request =
      scheduler.submit(served.request({1, 5, 6, 7, 8, 9, 10, 11, 12, 13}, 2), served.cache);
  const auto refused = [&](StepPlan plan, const std::string& part) {
    next = std::move(plan);
    const std::string message = message_of([&] { scheduler.step(); });
    INFO(message);
    CHECK(message.find("policy scripted: ") == 0);
    CHECK(message.find(part) != std::string::npos);
    CHECK(request->progress.state == RequestState::waiting);
    CHECK(request->sequences[0].computed == 0);
    CHECK(served.cache->used_bytes() == 0);
  };
  const std::uint64_t id = request->id;
  refused({{{id + 1, 1}}}, "which is not in the queue");
  refused({{{id, 1}, {id, 1}}}, "twice");
  refused({{{id, -1}}}, "-1 tokens");
  refused({{{id, 11}}}, "11 tokens and has 10 pending");
  refused({{{id, 9}}}, "the plan has 9 tokens, the room 8");
  refused({{{id, 1}}, false, {}, {id}}, "twice");
  refused({{}, false, {id + 1}}, "which is not in the queue");
  refused({}, "the policy never runs request " + std::to_string(id));
  next = {{{id, 0}}};
  CHECK(scheduler.step().tokens == 8);
  CHECK(request->progress.state == RequestState::prefill);
  CHECK(scheduler.step().tokens == 2);
  CHECK(new_ids(*request).size() == 1);
  REQUIRE(drain(scheduler));
  CHECK(policy->heard == std::vector<std::uint64_t>{id});
  CHECK(policy->gone == std::vector<std::uint64_t>{id});
}

TEST_CASE("an empty plan is fine while more may come, and waits are passed on") {
  const Served served(folder());
  StepPlan next;
  auto scheduler = served.scheduler(
      std::make_shared<Scripted>([&](const QueueView&, const Room&) { return next; }));
  scheduler.submit(served.request({1, 5}, 2), served.cache);
  scheduler.set_more(true);
  CHECK(scheduler.step().idle);
  scheduler.set_more(false);
  next.wait_ms = 3;
  CHECK(scheduler.step().wait_ms == 3);
  next.wait_ms = 0;
  CHECK(message_of([&] { scheduler.step(); }).find("never runs") != std::string::npos);
}

TEST_CASE("a policy that throws fails the step, not the engine") {
  const Served served(folder());
  bool broken = true;
  auto scheduler =
      served.scheduler(std::make_shared<Scripted>([&](const QueueView& queue, const Room&) {
        if (broken) throw std::runtime_error("my.lua:3: oops");
        return StepPlan{{{queue[0].id, 0}}};
      }));
  const auto request = scheduler.submit(served.request({1, 5}, 2), served.cache);
  CHECK(message_of([&] { scheduler.step(); }) == "policy scripted: my.lua:3: oops");
  broken = false;
  REQUIRE(drain(scheduler));
  CHECK(new_ids(*request).size() == 2);
}

TEST_CASE("a callback that throws fails its own request only") {
  const Served served(folder());
  auto scheduler = served.scheduler(std::make_shared<Fifo>());
  const auto good = scheduler.submit(served.request({1, 5, 9}, 6), served.cache);
  const auto fails = [&](RequestHooks hooks) {
    auto request_spec = served.request({1, 7}, 6);
    request_spec.hooks = std::move(hooks);
    const auto request = scheduler.submit(request_spec, served.cache);
    return request;
  };
  RequestHooks bad_processor, bad_stop, bad_token, bad_nan;
  bad_processor.processors =
      changing([](Tensor&, const Request&) { throw std::runtime_error("one"); });
  bad_stop.stop_when = [](const Request& r) -> std::optional<std::string> {
    if (r.new_tokens() == 2) throw std::runtime_error("two");
    return std::nullopt;
  };
  bad_token.on_token = [](const Request&, std::int32_t, const std::string&) {
    throw Error(ErrorCode::argument, "on_token", "three");
  };
  bad_nan.processors =
      changing([](Tensor& row, const Request&) { row.as<float>()[3] = std::nanf(""); });
  const auto one = fails(bad_processor), two = fails(bad_stop), three = fails(bad_token),
             four = fails(bad_nan);
  REQUIRE(drain(scheduler));
  CHECK(one->progress.error == "one");
  CHECK(two->progress.error == "two");
  CHECK(new_ids(*two).size() == 2);
  CHECK(three->progress.error == "on_token: three");
  CHECK(four->progress.error.find("a processor wrote NaN") != std::string::npos);
  CHECK(one->reason() == FinishReason::error);
  CHECK(good->reason() == FinishReason::length);
  CHECK(served.cache->used_bytes() == 0);

  auto lonely = served.scheduler(std::make_shared<Fifo>());
  const auto same = lonely.submit(served.request({1, 5, 9}, 6), served.cache);
  REQUIRE(drain(lonely));
  CHECK(new_ids(*same) == new_ids(*good));
}

TEST_CASE("a request that fails inside the pass does not take the others with it") {
  const Served served(folder());
  auto scheduler = served.scheduler(std::make_shared<Fifo>());
  const auto first = scheduler.submit(served.request({1, 5, 9}, 4), served.cache);
  const auto bad = scheduler.submit(served.request({1, 5000}, 4), served.cache);
  const auto last = scheduler.submit(served.request({1, 8}, 4), served.cache);
  REQUIRE(drain(scheduler));
  CHECK(bad->reason() == FinishReason::error);
  CHECK(bad->progress.error.find("5000") != std::string::npos);
  CHECK(first->reason() == FinishReason::length);
  CHECK(last->reason() == FinishReason::length);
  CHECK(served.cache->used_bytes() == 0);
}

TEST_CASE("processors steer, stop_when stops, and both see their sequence") {
  const Served served(folder());
  auto scheduler = served.scheduler(std::make_shared<Fifo>());
  auto request_spec = served.request({1, 5}, 10);
  request_spec.hooks.processors = changing([](Tensor& row, const Request& r) {
    auto* scores = row.as<float>();
    std::fill_n(scores, row.elements(), -1.0f);
    scores[40 + r.new_tokens()] = 1.0f;
  });
  request_spec.hooks.stop_when = [](const Request& r) -> std::optional<std::string> {
    if (r.sequences[r.progress.current_sequence].ids.back() == 43) return "enough";
    return std::nullopt;
  };
  const auto request = scheduler.submit(request_spec, served.cache);
  REQUIRE(drain(scheduler));
  CHECK(new_ids(*request) == std::vector<std::int32_t>{40, 41, 42, 43});
  CHECK(request->reason() == FinishReason::stop);
  CHECK(request->sequences[0].stop == "enough");
}

TEST_CASE("cancel ends a request before, between and inside passes") {
  const Served served(folder());
  auto scheduler = served.scheduler(std::make_shared<Fifo>());
  const auto waiting = scheduler.submit(served.request({1, 5}, 50), served.cache);
  scheduler.cancel(waiting);
  scheduler.step();
  CHECK(waiting->reason() == FinishReason::cancelled);
  CHECK(new_ids(*waiting).empty());

  const auto running = scheduler.submit(served.request({1, 5}, 50), served.cache);
  scheduler.step();
  scheduler.step();
  scheduler.cancel(running);
  scheduler.step();
  CHECK(running->reason() == FinishReason::cancelled);
  CHECK(new_ids(*running).size() == 2);

  std::vector<std::int32_t> prompt(200, 9);
  const auto inside = scheduler.submit(served.request(prompt, 50), served.cache);
  const auto other = scheduler.submit(served.request({1, 5}, 3), served.cache);
  REQUIRE(scheduler.step(1e-6).pending);  // one op
  scheduler.cancel(inside);
  REQUIRE(drain(scheduler));
  CHECK(inside->reason() == FinishReason::cancelled);
  CHECK(new_ids(*inside).empty());
  CHECK(new_ids(*other).size() == 3);

  const auto last = scheduler.submit(served.request(prompt, 50), served.cache);
  REQUIRE(scheduler.step(1e-6).pending);
  scheduler.cancel(last);
  scheduler.step(1e-6);
  CHECK(last->reason() == FinishReason::cancelled);
  CHECK(scheduler.idle());
  CHECK(served.cache->used_bytes() == 0);
}

TEST_CASE("an interrupt stops the pass and loses nothing") {
  const Served served(folder());
  auto scheduler = served.scheduler(std::make_shared<Fifo>());
  const auto request = scheduler.submit(served.request({1, 5, 9}, 6), served.cache);
  scheduler.step();
  served.model.context->interrupt();
  CHECK_THROWS_AS(scheduler.step(), Error);
  served.model.context->clear_interrupt();
  CHECK(request->sequences[0].computed == 3);
  REQUIRE(drain(scheduler));
  auto lonely = served.scheduler(std::make_shared<Fifo>());
  const auto same = lonely.submit(served.request({1, 5, 9}, 6), served.cache);
  REQUIRE(drain(lonely));
  CHECK(new_ids(*same) == new_ids(*request));
}

TEST_CASE("a pool that is too small: one ends by its context, several take turns") {
  const Served served(folder(), 1, {}, 3);  // 96 positions
  CHECK(message_of([&] {
          auto scheduler = served.scheduler(std::make_shared<Fifo>());
          scheduler.submit(served.request(std::vector<std::int32_t>(97, 5), 1), served.cache);
        }).find("the cache has") != std::string::npos);
  auto scheduler = served.scheduler(std::make_shared<Fifo>());
  const auto alone =
      scheduler.submit(served.request(std::vector<std::int32_t>(60, 5), 100), served.cache);
  REQUIRE(drain(scheduler));
  CHECK(alone->reason() == FinishReason::context);
  CHECK(new_ids(*alone).size() == 37);  // the last one was chosen, and never fed

  const auto a =
      scheduler.submit(served.request(std::vector<std::int32_t>(40, 5), 40), served.cache);
  const auto b =
      scheduler.submit(served.request(std::vector<std::int32_t>(20, 7), 40), served.cache);
  REQUIRE(drain(scheduler));
  CHECK(a->reason() == FinishReason::length);
  CHECK(b->reason() == FinishReason::length);
  CHECK(served.cache->used_bytes() == 0);

  const Served roomy(folder());
  auto lonely = roomy.scheduler(std::make_shared<Fifo>());
  const auto same = lonely.submit(roomy.request(std::vector<std::int32_t>(20, 7), 40), roomy.cache);
  REQUIRE(drain(lonely));
  CHECK(new_ids(*same) == new_ids(*b));
}

TEST_CASE("lengths, contexts and options are checked when a request comes in") {
  const Served served(folder());
  auto scheduler = served.scheduler(std::make_shared<Fifo>());
  const auto submit = [&](auto change) {
    return message_of([&] {
      auto request_spec = served.request({1, 5}, 5);
      change(request_spec);
      scheduler.submit(request_spec, served.cache);
    });
  };
  CHECK(submit([](RequestSpec& r) {
          r.prompt.assign(300, 5);
        }).find("the prompt has 300 tokens, the model 256 positions") != std::string::npos);
  CHECK(submit([](RequestSpec& r) { r.prompt.clear(); }).find("no tokens") != std::string::npos);
  CHECK(submit([](RequestSpec& r) { r.options.max_new_tokens = -1; }) != "no error");
  CHECK(submit([](RequestSpec& r) { r.options.n = 0; }) != "no error");
  CHECK(submit([](RequestSpec& r) { r.options.sampling.top_p = 2; }) != "no error");
  CHECK(submit([](RequestSpec& r) { r.options.stop_strings = {"x"}; }).find("tokenizer") !=
        std::string::npos);
  CHECK(scheduler.idle());
  auto request_spec = served.request(std::vector<std::int32_t>(250, 5), 50);
  const auto request = scheduler.submit(request_spec, served.cache);
  REQUIRE(drain(scheduler));
  CHECK(request->reason() == FinishReason::context);
  CHECK(new_ids(*request).size() == 6);
}

TEST_CASE("the texts of a request's events, joined, are its text") {
  const Served served(folder());
  const std::shared_ptr<const Tokenizer> tokenizer = load_tokenizer(folder());
  REQUIRE(tokenizer);
  auto scheduler = served.scheduler(std::make_shared<Fifo>());
  std::vector<RequestPointer> requests;
  for (unsigned k = 0; k < 24; ++k) {
    auto request_spec = served.request({1, static_cast<std::int32_t>(300 + k)}, 12);
    request_spec.tokenizer = tokenizer;
    request_spec.options.sampling.do_sample = true;
    request_spec.options.sampling.seed = k;
    request_spec.options.stop_ids = {2};
    if (k % 2 == 1) request_spec.options.stop_strings = {"e", "zz", "\xef\xbf\xbd"};
    requests.push_back(scheduler.submit(request_spec, served.cache));
  }
  for (int i = 0; i < 6; ++i) scheduler.step();
  scheduler.cancel(requests[0]);
  REQUIRE(drain(scheduler));
  std::map<std::uint64_t, std::string> texts;
  std::map<std::uint64_t, std::vector<std::int32_t>> ids;
  std::map<std::uint64_t, int> done;
  Event event;
  while (scheduler.next_event(event)) {
    CHECK(done[event.request] == 0);
    if (event.kind == EventKind::token) {
      texts[event.request] += event.text;
      if (event.id >= 0) ids[event.request].push_back(event.id);
    }
    if (event.kind == EventKind::done) ++done[event.request];
  }
  bool stopped = false;
  for (const RequestPointer& request : requests) {
    const Sequence& sequence = request->sequences[0];
    CHECK(texts[request->id] == sequence.text);
    CHECK(ids[request->id] == new_ids(*request));
    CHECK(done[request->id] == 1);
    CHECK(request->mail.items.empty());
    if (request->spec.options.stop_strings.empty()) {
      DecodeOptions options;
      options.continues = true;
      auto all = new_ids(*request);
      CHECK(sequence.text == tokenizer->decode(all, options));
    } else if (!sequence.stop.empty()) {
      stopped = true;
      CHECK(request->reason() == FinishReason::stop);
      CHECK(sequence.text.find(sequence.stop) == std::string::npos);
    }
  }
  CHECK(stopped);
}

TEST_CASE("each event is delivered once, whoever asks") {
  const Served served(folder());
  auto scheduler = served.scheduler(std::make_shared<Fifo>());
  const auto a = scheduler.submit(served.request({1, 5}, 3), served.cache);
  const auto b = scheduler.submit(served.request({1, 6}, 3), served.cache);
  REQUIRE(drain(scheduler));
  Event event;
  int own = 0;
  while (a->outbox->next_of(*a, event)) ++own;
  CHECK(own == 4);
  int seen = 0;
  while (scheduler.next_event(event)) {
    CHECK(event.request == b->id);
    ++seen;
  }
  CHECK(seen == 4);
}

TEST_CASE("callbacks may submit and cancel, and may not step") {
  const Served served(folder());
  auto scheduler = served.scheduler(std::make_shared<Fifo>());
  RequestPointer child;
  auto parent_spec = served.request({1, 5}, 3);
  std::string message;
  parent_spec.hooks.on_token = [&](const Request&, std::int32_t, const std::string&) {
    if (child) return;
    child = scheduler.submit(served.request({1, 6}, 2), served.cache);
    message = message_of([&] { scheduler.step(); });
  };
  const auto parent = scheduler.submit(parent_spec, served.cache);
  REQUIRE(drain(scheduler));
  REQUIRE(child);
  CHECK(child->done());
  CHECK(message.find("called from inside a step") != std::string::npos);
}

TEST_CASE("prompt log-probabilities are the forward pass's") {
  const Served served(folder());
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
