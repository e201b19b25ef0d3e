// Splits a range of items over the launch's threads. The pieces never change a result: every item
// is computed the same way whichever piece it falls into.
#pragma once

#include <cstdint>

#include "kernels/kernel_table.h"

namespace perilune::kernels {
namespace {  // one copy per source file: files built for different processors share no code

inline constexpr std::int64_t kTasksPerThread = 4;

/// How many tasks `items` are cut into when a task is worth at least `items_per_task`.
inline std::int64_t task_count(const Launch& launch, std::int64_t items,
                               std::int64_t items_per_task) {
  if (launch.parallel.run == nullptr || launch.parallel.threads <= 1) return 1;
  const std::int64_t most = launch.parallel.threads * kTasksPerThread;
  const std::int64_t tasks = items / (items_per_task < 1 ? 1 : items_per_task);
  return tasks < 1 ? 1 : (tasks > most ? most : tasks);
}

/// Calls body(index) for every index in [0, tasks); a single task runs in place.
template <class Body>
void parallel_tasks(const Launch& launch, std::int64_t tasks, const Body& body) {
  if (tasks <= 1 || launch.parallel.run == nullptr || launch.parallel.threads <= 1) {
    for (std::int64_t index = 0; index < tasks; ++index) body(index);
    return;
  }
  launch.parallel.run(
      launch.parallel.host, tasks,
      [](void* state, std::int64_t index) { (*static_cast<const Body*>(state))(index); },
      const_cast<void*>(static_cast<const void*>(&body)));
}

/// Calls body(begin, end) for pieces that cover [0, items), each of about `items_per_task` or more.
template <class Body>
void parallel_ranges(const Launch& launch, std::int64_t items, std::int64_t items_per_task,
                     const Body& body) {
  if (items <= 0) return;
  const std::int64_t tasks = task_count(launch, items, items_per_task);
  parallel_tasks(launch, tasks, [&](std::int64_t index) {
    body(items * index / tasks, items * (index + 1) / tasks);
  });
}

}  // namespace
}  // namespace perilune::kernels
