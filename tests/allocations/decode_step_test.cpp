// After the first step of a shape a decode step allocates nothing. An executable of its own, since
// it replaces operator new to count.
#include <atomic>
#include <cstdlib>
#include <new>

#include "tests/catch.h"
#include "tests/engine/pass_support.h"

using namespace perilune_test;

namespace {

std::atomic<std::size_t> allocations{0};

void* counted(std::size_t bytes) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* pointer = std::malloc(bytes == 0 ? 1 : bytes)) return pointer;
  throw std::bad_alloc();
}

}  // namespace

void* operator new(std::size_t bytes) {
  return counted(bytes);
}
void* operator new[](std::size_t bytes) {
  return counted(bytes);
}
void operator delete(void* pointer) noexcept {
  std::free(pointer);
}
void operator delete[](void* pointer) noexcept {
  std::free(pointer);
}
void operator delete(void* pointer, std::size_t) noexcept {
  std::free(pointer);
}
void operator delete[](void* pointer, std::size_t) noexcept {
  std::free(pointer);
}

namespace {

/// Allocations of bind, run and output in each of `steps` decode steps of `rows` rows; batches and
/// bindings are made outside.
std::vector<std::size_t> counts_of_steps(std::size_t rows, std::int64_t steps) {
  const SmallLlama model(golden_model("llama-gqa"));
  const auto plan = model.plan();
  Sequences sequences(model, plan->program(), rows);
  Execution execution(plan);
  std::vector<std::size_t> counts;
  for (std::int64_t step = 0; step < steps; ++step) {
    const std::vector<std::vector<std::int32_t>> ids(rows,
                                                     {static_cast<std::int32_t>(1 + step % 300)});
    const auto binding = sequences.bind(model, ids);
    const std::size_t before = allocations.load();
    execution.bind(binding);
    execution.run();
    const Tensor logits = execution.output("logits");
    counts.push_back(allocations.load() - before);
    sequences.commit(ids);
    CHECK(logits.shape().size(0) == static_cast<std::int64_t>(rows));
  }
  return counts;
}

}  // namespace

TEST_CASE("the counter counts") {
  const std::size_t before = allocations.load();
  const std::vector<int> list(100, 1);
  CHECK(allocations.load() > before);
  CHECK(list.size() == 100);
}

TEST_CASE("a decode step of an execution allocates nothing after the first of its shape") {
  for (const std::size_t rows : {std::size_t{1}, std::size_t{3}}) {
    const std::vector<std::size_t> counts = counts_of_steps(rows, 130);  // three pages
    CHECK(counts[0] > 0);
    for (std::size_t step = 1; step < counts.size(); ++step) {
      CAPTURE(rows, step);
      CHECK(counts[step] == 0);
    }
  }
}
