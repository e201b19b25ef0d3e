// Submitting, cancelling and reading events from other threads than the one that steps, with and
// without a Worker. Run under ThreadSanitizer this is what finds a missing lock.
#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <thread>

#include "engine/serving/policies/shipped.h"
#include "engine/serving/worker.h"
#include "tests/catch.h"
#include "tests/engine/scheduler_support.h"
#include "tests/support.h"

using namespace perilune;
using namespace perilune_test;

namespace {

constexpr int kClients = 3, kEach = 12;

std::string folder() {
  return golden_model("llama-gqa");
}

RequestSpec asked(const Served& served, int client, int k) {
  auto request_spec = served.request({1, static_cast<std::int32_t>(300 + 10 * client + k % 4)}, 6);
  request_spec.client = std::to_string(client);
  return request_spec;
}

/// What every request must give, by client and k.
std::map<std::pair<int, int>, std::vector<std::int32_t>> expected() {
  const Served served(folder());
  std::map<std::pair<int, int>, std::vector<std::int32_t>> ids;
  for (int client = 0; client < kClients; ++client) {
    for (int k = 0; k < 4; ++k) {
      auto scheduler = served.scheduler(make_fifo_policy());
      const auto request = scheduler.submit(asked(served, client, k), served.cache);
      REQUIRE(drain(scheduler));
      ids[{client, k}] = new_ids(*request);
    }
  }
  return ids;
}

/// A client's life: submits, cancels every fifth, reads what comes until all of its own are done.
struct Client {
  std::vector<std::pair<int, RequestPointer>> requests;
  int done = 0, cancelled = 0, wrong = 0;

  void live(Scheduler& scheduler, const Served& served, int number) {
    for (int k = 0; k < kEach; ++k) {
      requests.emplace_back(k, scheduler.submit(asked(served, number, k), served.cache));
      if (k % 5 == 4) {
        scheduler.cancel(requests.back().second);
      }
      (void)scheduler.stats();
    }
    while (done < kEach) {
      for (const auto& [k, request] : requests) {
        Event event;
        while (request->outbox->next_of(*request, event)) {
          if (event.kind == EventKind::done) ++done;
          if (event.request != request->id) ++wrong;
        }
      }
      (void)scheduler.stats();  // beside requests that end
      std::this_thread::yield();
    }
  }
};

void check(const std::vector<Client>& clients) {
  const auto want = expected();
  for (int c = 0; c < kClients; ++c) {
    const Client& client = clients[static_cast<std::size_t>(c)];
    CHECK(client.wrong == 0);
    for (const auto& [k, request] : client.requests) {
      REQUIRE(request->done());
      if (request->reason() == FinishReason::cancelled) continue;
      CHECK(new_ids(*request) == want.at({c, k % 4}));
    }
  }
}

}  // namespace

TEST_CASE("any thread submits, cancels, reads events; one steps") {
  const Served served(folder());
  auto scheduler = served.scheduler(make_fifo_policy());
  std::vector<Client> clients(kClients);
  std::atomic<int> left{kClients};
  std::vector<std::thread> threads;
  for (int c = 0; c < kClients; ++c) {
    threads.emplace_back([&, c] {
      clients[static_cast<std::size_t>(c)].live(scheduler, served, c);
      --left;
    });
  }
  while (left > 0) scheduler.step();
  for (std::thread& thread : threads) thread.join();
  check(clients);
  CHECK(scheduler.idle());
  CHECK(served.cache->used_bytes() == 0);
}

TEST_CASE("a worker steps while others submit, cancel, read, change the policy and wait") {
  const Served served(folder());
  auto scheduler = served.scheduler(make_fifo_policy());
  std::vector<Client> clients(kClients);
  {
    Worker worker(scheduler);
    std::vector<std::thread> threads;
    for (int c = 0; c < kClients; ++c) {
      threads.emplace_back(
          [&, c] { clients[static_cast<std::size_t>(c)].live(scheduler, served, c); });
    }
    for (int i = 0; i < 20; ++i) {
      scheduler.post_policy(i % 2 == 0 ? make_fill_policy() : make_bucket_policy({2, 8}));
      (void)worker.wait(0.002, true);
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(worker.wait(60));
    check(clients);
  }
  CHECK(served.cache->used_bytes() == 0);
}

TEST_CASE("a worker that goes ends what is left, and says what stopped a step") {
  const Served served(folder());
  {
    auto scheduler = served.scheduler(make_fifo_policy());
    RequestPointer request;
    {
      Worker worker(scheduler);
      request = scheduler.submit(served.request({1, 5}, 200), served.cache);
    }
    CHECK(request->done());
  }
  auto scheduler = served.scheduler(std::make_shared<Scripted>(
      [](const QueueView&, const Room&) -> StepPlan { throw std::runtime_error("oops"); }));
  Worker worker(scheduler);
  const auto request = scheduler.submit(served.request({1, 5}, 2), served.cache);
  const std::string message = message_of([&] {
    for (int i = 0; i < 1000; ++i) (void)worker.wait(1);
  });
  CHECK(message.find("oops") != std::string::npos);
  while (!worker.wait(1)) {
  }
  CHECK(request->reason() == FinishReason::cancelled);
}

TEST_CASE("a policy that waits is asked again as soon as a request arrives, or no more will") {
  const Served served(folder());
  // Waits a minute for a second request while one may come.
  const auto pairs = std::make_shared<Scripted>([](const QueueView& queue, const Room& room) {
    StepPlan plan;
    if (queue.size() == 1 && queue[0].state == RequestState::waiting && room.more) {
      plan.wait_ms = 60000;
      return plan;
    }
    for (const QueueEntry& entry : queue) plan.rows.push_back({entry.id, 0});
    return plan;
  });
  const bool own_thread = GENERATE(true, false);
  auto scheduler = served.scheduler(pairs);
  scheduler.set_more(true);
  std::atomic<bool> over{false};
  std::unique_ptr<Worker> worker;
  std::thread stepping;
  if (own_thread) {
    worker = std::make_unique<Worker>(scheduler);
  } else {
    stepping = std::thread([&] {
      while (!over) {
        const StepResult result = scheduler.step();
        if (result.idle) (void)scheduler.wait(scheduler.idle() ? 0.01 : result.wait_ms / 1e3);
      }
    });
  }
  const double begin = clock_seconds();
  const auto submit = [&](std::int32_t id) {
    const auto request = scheduler.submit(served.request({1, id}, 2), served.cache);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // it waits by now
    return request;
  };
  const auto first = submit(5), second = submit(6), third = submit(7);
  scheduler.set_more(false);
  while (!third->done() && clock_seconds() < begin + 30) std::this_thread::yield();
  CHECK((first->done() && second->done() && third->done()));
  over = true;
  if (stepping.joinable()) stepping.join();
}

TEST_CASE("the oldest events make room; a request that is forgotten is let go") {
  const auto request = std::make_shared<Request>(RequestSpec{});
  Outbox outbox(true, 3);
  for (int i = 0; i < 5; ++i) {
    Event event;
    event.id = i;
    outbox.put(request, std::move(event));
  }
  CHECK(outbox.size() == 3);
  RecipientPointer from;
  Event event;
  REQUIRE(outbox.next(from, event));
  CHECK((event.id == 2 && from == request));
  from.reset();
  const long before = request.use_count();
  outbox.forget(*request);
  CHECK(request.use_count() < before);
  CHECK_FALSE(outbox.next(from, event));
  REQUIRE(outbox.next_of(*request, event));
  CHECK(event.id == 3);
}

TEST_CASE("4000 that wait cost a step nothing: entries are made when their requests change") {
  const Served served(folder());
  SchedulerOptions options;
  options.max_rows = 4;
  std::vector<std::uint64_t> versions;
  std::size_t seen = 0;
  const auto fifo = make_fifo_policy();
  auto scheduler =
      served.scheduler(std::make_shared<Scripted>([&](const QueueView& queue, const Room& room) {
                         seen = queue.size();
                         versions.clear();
                         for (std::size_t i = 0; i < queue.size(); i += 100)
                           versions.push_back(queue[i].version);
                         return fifo->plan(queue, room);
                       }),
                       options);
  std::vector<RequestPointer> requests;
  for (int i = 0; i < 4000; ++i) {
    requests.push_back(scheduler.submit(served.request({1, 5, 9}, 3), served.cache));
  }
  for (int i = 0; i < 3; ++i) scheduler.step();
  const auto before = versions;
  scheduler.step();
  CHECK(seen >= 3990);
  CHECK(std::vector(before.begin() + 1, before.end()) ==
        std::vector(versions.begin() + 1, versions.end()));
  scheduler.cancel_all();
  REQUIRE(drain(scheduler));
  for (const RequestPointer& request : requests) CHECK(request->done());
}
