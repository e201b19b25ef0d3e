// After the first step of a shape a decode step of an execution allocates nothing.
#include "tests/allocations/counter.h"
#include "tests/catch.h"
#include "tests/engine/pass_support.h"

using namespace perilune_test;

namespace {

/// Allocations of bind, run and output in each of `steps` decode steps of `rows` rows; batches and
/// bindings are made outside.
std::vector<Allocations> counts_of_steps(std::size_t rows, std::int64_t steps) {
  const SmallLlama model(golden_model("llama-gqa"));
  const auto plan = model.plan();
  Sequences sequences(model, plan->program(), rows);
  Execution execution(plan);
  std::vector<Allocations> counts;
  for (std::int64_t step = 0; step < steps; ++step) {
    const std::vector<std::vector<std::int32_t>> ids(rows,
                                                     {static_cast<std::int32_t>(1 + step % 300)});
    const auto binding = sequences.bind(model, ids);
    const AllocationsSince before;
    execution.bind(binding);
    execution.run();
    const Tensor logits = execution.output("logits");
    counts.push_back(before.count());
    sequences.commit(ids);
    CHECK(logits.shape().size(0) == static_cast<std::int64_t>(rows));
  }
  return counts;
}

}  // namespace

TEST_CASE("the counters count") {
  const AllocationsSince before;
  const std::vector<int> list(100, 1);
  CHECK(before.count().heap > 0);
  CHECK(before.count().device == 0);
  const auto context = Context::make();
  const Tensor tensor = Tensor::make(context, DType::f32, Shape({{"x", 3}}));
  CHECK(before.count().device > 0);
  CHECK(list.size() == 100);
}

TEST_CASE("a decode step of an execution allocates nothing after the first of its shape") {
  for (const std::size_t rows : {std::size_t{1}, std::size_t{3}}) {
    const std::vector<Allocations> counts = counts_of_steps(rows, 130);  // three pages
    CHECK(counts[0].heap > 0);
    for (std::size_t step = 1; step < counts.size(); ++step) {
      CAPTURE(rows, step);
      CHECK(counts[step] == Allocations{});
    }
  }
}
