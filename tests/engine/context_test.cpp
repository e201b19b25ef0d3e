#include "engine/device/context.h"

#include <sched.h>

#include <atomic>
#include <cstdlib>
#include <set>
#include <thread>
#include <vector>

#include "engine/base/error.h"
#include "engine/base/thread_count.h"
#include "engine/tensor/tensor.h"
#include "tests/catch.h"
#include "tests/engine/store_support.h"

using namespace perilune;
using perilune_test::caught;

namespace {

/// Runs `tasks` tasks that each count their own index once.
void count_tasks(const kernels::Parallel& parallel, std::vector<std::atomic<int>>& counts) {
  const auto task = [](void* state, std::int64_t index) {
    auto& all = *static_cast<std::vector<std::atomic<int>>*>(state);
    all[static_cast<std::size_t>(index)].fetch_add(1, std::memory_order_relaxed);
  };
  parallel.run(parallel.host, static_cast<std::int64_t>(counts.size()), task, &counts);
}

bool all_equal(const std::vector<std::atomic<int>>& counts, int expected) {
  for (const auto& count : counts) {
    if (count.load() != expected) return false;
  }
  return true;
}

}  // namespace

TEST_CASE("every task runs once, whatever the number of threads") {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    CHECK(pool.threads() == threads);
    const kernels::Parallel parallel = pool.parallel();
    CHECK(parallel.threads == threads);
    for (int round = 0; round < 300; ++round) {
      std::vector<std::atomic<int>> counts(static_cast<std::size_t>(round % 17));
      count_tasks(parallel, counts);
      REQUIRE(all_equal(counts, 1));
    }
    // Long enough apart for the workers to sleep in between.
    for (int round = 0; round < 5; ++round) {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      std::vector<std::atomic<int>> counts(1000);
      count_tasks(parallel, counts);
      REQUIRE(all_equal(counts, 1));
    }
  }
}

TEST_CASE("tasks may run tasks, and two host threads may share a pool") {
  ThreadPool pool(3);
  struct Outer {
    kernels::Parallel parallel;
    std::vector<std::atomic<int>> inner;
  };
  Outer outer{pool.parallel(), std::vector<std::atomic<int>>(10)};
  const auto task = [](void* state, std::int64_t) {
    auto& self = *static_cast<Outer*>(state);
    count_tasks(self.parallel, self.inner);
  };
  const auto run = [&] { outer.parallel.run(outer.parallel.host, 20, task, &outer); };
  std::thread other([&] {
    for (int i = 0; i < 50; ++i) run();
  });
  for (int i = 0; i < 50; ++i) run();
  other.join();
  CHECK(all_equal(outer.inner, 2 * 50 * 20));
}

TEST_CASE("the host may lend its own threads") {
  int calls = 0;
  ContextOptions options;
  options.host_parallel.host = &calls;
  options.host_parallel.threads = 5;
  options.host_parallel.run = [](void* host, std::int64_t tasks, void (*task)(void*, std::int64_t),
                                 void* state) {
    ++*static_cast<int*>(host);
    for (std::int64_t i = tasks; i-- > 0;) task(state, i);
  };
  const auto context = Context::make(options);
  CHECK(context->threads() == 5);
  std::vector<std::atomic<int>> counts(9);
  count_tasks(context->cpu().launch().parallel, counts);
  CHECK(calls == 1);
  CHECK(all_equal(counts, 1));
  CHECK(caught([&] { context->set_threads(2); }).code == ErrorCode::state);
  CHECK(caught([&] { context->pool_of(2); }).code == ErrorCode::state);
}

TEST_CASE("threads respect the processors there are") {
  const int here = ThreadPool::available();
  CHECK(here >= 1);
  cpu_set_t before, one;
  REQUIRE(sched_getaffinity(0, sizeof before, &before) == 0);
  CHECK(here <= CPU_COUNT(&before));
  CPU_ZERO(&one);
  for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++cpu) {
    if (CPU_ISSET(cpu, &before)) CPU_SET(cpu, &one);
  }
  REQUIRE(sched_setaffinity(0, sizeof one, &one) == 0);
  const int bound = ThreadPool::available();
  REQUIRE(sched_setaffinity(0, sizeof before, &before) == 0);
  CHECK(bound == 1);
  CHECK(cpu_max_limit("max 100000") == std::nullopt);
  CHECK(cpu_max_limit("150000 100000") == 2);
  CHECK(cpu_max_limit("200000 100000") == 2);
  CHECK(cpu_max_limit("1000 100000") == 1);
  CHECK(cpu_max_limit("") == std::nullopt);
  CHECK(cpu_max_limit("-5 0") == std::nullopt);
}

TEST_CASE("a context has a number of threads that can change") {
  const auto context = Context::make({.threads = 2});
  CHECK(context->threads() == 2);
  context->set_threads(1);
  CHECK(context->threads() == 1);
  CHECK(context->cpu().launch().parallel.threads == 1);
  CHECK(caught([] { Context::make({.threads = -1}); }).has("threads must be from 1 to 1024"));
  CHECK(caught([&] { context->set_threads(100000); }).code == ErrorCode::option);
}

TEST_CASE("who asks for the same number of threads shares them") {
  const auto context = Context::make({.threads = 1});
  auto three = context->pool_of(3);
  CHECK(three->threads() == 3);
  CHECK(context->pool_of(3) == three);
  CHECK(context->pool_of(2) != three);
  CHECK(context->threads() == 1);
  const std::weak_ptr<ThreadPool> gone = three;
  three.reset();
  CHECK(gone.expired());
  CHECK(caught([&] { context->pool_of(-1); }).code == ErrorCode::option);
  CHECK(caught([&] { context->pool_of(100000); }).has("threads must be from 1 to 1024"));
}

TEST_CASE("tiers are chosen by name") {
  CHECK(std::string(Context::make({.cpu_tier = "scalar"})->cpu().kernels().tier) == "scalar");
  const auto unknown = caught([] { Context::make({.cpu_tier = "mmx"}); });
  CHECK(unknown.code == ErrorCode::option);
  CHECK(unknown.has("cpu_tier=\"mmx\": there is no such tier"));
  CHECK(unknown.has("tiers are scalar"));
  for (int i = 0; const char* name = kernels::cpu_tier_name(i); ++i) {
    if (kernels::cpu_table(name) != nullptr) {
      CHECK(std::string(Context::make({.cpu_tier = name})->cpu().kernels().tier) == name);
    } else {
      CHECK(caught([&] { Context::make({.cpu_tier = name}); }).has("this processor lacks"));
    }
  }
}

TEST_CASE("devices are asked for by name") {
  const auto context = Context::make({.threads = 1});
  CHECK(context->device("cpu") == context->cpu_device());
  CHECK(context->device("auto") == context->cpu_device());
  CHECK(context->devices().size() == 1);
  const auto cuda = caught([&] { context->device("cuda:7"); });
  CHECK(cuda.code == ErrorCode::device);
  CHECK(cuda.has("\"cuda:7\" is not here: "));  // then what was looked for
  CHECK(context->device("emulator")->name() == "emulator");
  const auto unknown = caught([&] { context->device("gpu"); });
  CHECK(unknown.code == ErrorCode::option);
  CHECK(unknown.has("devices are auto, cpu, cuda"));
  CHECK(caught([&] { context->device("cuda:x"); }).code == ErrorCode::option);
}

TEST_CASE("the machine's memory is compared with all that is held") {
  const auto context = Context::make({.threads = 1});
  const std::size_t part = context->cpu().memory().total / 5 * 2;
  std::vector<void*> held;  // never touched, so that nothing is really taken
  bool refused = false;
  while (!refused && held.size() < 3) {
    try {
      held.push_back(context->cpu().allocate(part));
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::memory);
      refused = true;
    }
  }
  CHECK(refused);
  for (void* pointer : held) context->cpu().release(pointer, part);
}

TEST_CASE("tensor bytes are counted against the budget") {
  const auto context = Context::make({.threads = 1, .memory_budget = 4096});
  {
    const Tensor small = Tensor::make(context, DType::u8, Shape{{"x", 1000, 0}});
    CHECK(reinterpret_cast<std::uintptr_t>(small.data()) % 64 == 0);
    CHECK(context->cpu().memory().used == 1024);
    const auto error = caught([&] { Tensor::make(context, DType::f32, Shape{{"x", 1000, 0}}); });
    CHECK(error.code == ErrorCode::memory);
    CHECK(error.has("allocate: 4000 bytes asked, 1024 in use, budget 4096"));
    CHECK(context->cpu().memory().used == 1024);
    CHECK_NOTHROW(Tensor::make(context, DType::u8, Shape{{"x", 3072, 0}}));
  }
  CHECK(context->cpu().memory().used == 0);
  CHECK(context->cpu().memory().peak == 4096);
}

TEST_CASE("an allocation beyond the machine is an error, not the end") {
  const auto context = Context::make({.threads = 1});
  for (const std::int64_t size : {std::int64_t{1} << 50, std::int64_t{1} << 60}) {
    const auto error = caught([&] { Tensor::make(context, DType::f32, Shape{{"x", size, 0}}); });
    CHECK(error.code == ErrorCode::memory);
  }
  CHECK(caught([&] {
          Tensor::make(context, DType::f32, Shape{{"x", std::int64_t{1} << 62, 0}});
        }).code == ErrorCode::shape);
  CHECK_NOTHROW(Tensor::make(context, DType::f32, Shape{{"x", 100, 0}}));
  CHECK(context->cpu().memory().total > 0);
  CHECK(context->cpu().memory().free > 0);
}

TEST_CASE("warnings go to the sink of their own context") {
  std::vector<std::string> first, second;
  const auto a = Context::make({.threads = 1, .on_warning = [&](auto text, auto where) {
                                  first.push_back(std::string(text) + "@" + std::string(where));
                                }});
  const auto b = Context::make({.threads = 1});
  b->warn("nobody listens");
  b->set_warning_sink([&](auto text, auto) { second.emplace_back(text); });
  a->warn("one", "here");
  b->warn("two");
  CHECK(first == std::vector<std::string>{"one@here"});
  CHECK(second == std::vector<std::string>{"two"});
  CHECK(a->new_identity() != a->new_identity());
  CHECK_FALSE(a->interrupted());
  a->interrupt();
  CHECK(a->interrupted());
  CHECK_FALSE(b->interrupted());
  a->clear_interrupt();
  CHECK_FALSE(a->interrupted());
}
