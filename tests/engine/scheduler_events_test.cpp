// What requests bring and hear: processors and other hooks, texts and events.
#include "engine/serving/scheduler.h"

#include "engine/base/error.h"
#include "engine/text/readers/open.h"
#include "tests/catch.h"
#include "tests/engine/scheduler_support.h"
#include "tests/support.h"

using namespace perilune;
using namespace perilune_test;

TEST_CASE("processors steer, stop_when stops, and both see their sequence") {
  const Served served(served_folder());
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

TEST_CASE("the texts of a request's events, joined, are its text") {
  const Served served(served_folder());
  const std::shared_ptr<const Tokenizer> tokenizer = load_tokenizer(served_folder());
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
  const Served served(served_folder());
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
  const Served served(served_folder());
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
