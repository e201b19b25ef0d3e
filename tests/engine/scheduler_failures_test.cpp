// What goes wrong beside a request, or in it: bad plans, hooks that throw, passes that fail,
// cancels, full pools. Nobody else is harmed.
#include "engine/serving/scheduler.h"

#include "engine/base/error.h"
#include "tests/catch.h"
#include "tests/engine/scheduler_support.h"
#include "tests/support.h"

using namespace perilune;
using namespace perilune_test;

TEST_CASE("a bad plan is an error that names the policy, and changes nothing") {
  const Served served(served_folder());
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
  const Served served(served_folder());
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
  const Served served(served_folder());
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
  const Served served(served_folder());
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
  const Served served(served_folder());
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

TEST_CASE("cancel ends a request before, between and inside passes") {
  const Served served(served_folder());
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
  const Served served(served_folder());
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
  const Served served(served_folder(), 1, {}, 3);  // 96 positions
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

  const Served roomy(served_folder());
  auto lonely = roomy.scheduler(std::make_shared<Fifo>());
  const auto same = lonely.submit(roomy.request(std::vector<std::int32_t>(20, 7), 40), roomy.cache);
  REQUIRE(drain(lonely));
  CHECK(new_ids(*same) == new_ids(*b));
}

TEST_CASE("lengths, contexts and options are checked when a request comes in") {
  const Served served(served_folder());
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
