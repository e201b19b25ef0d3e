// Policies and requests for tests of the scheduler, over the small Llama.
#pragma once

#include <algorithm>
#include <functional>
#include <random>

#include "engine/serving/scheduler.h"
#include "tests/engine/pass_support.h"

namespace perilune_test {

/// A processor that is a function.
class Changing final : public Processor {
 public:
  using Function = std::function<void(Tensor&, const Request&)>;
  explicit Changing(Function function) : function_(std::move(function)) {}
  bool changes() const override { return true; }
  void change(Tensor& row, const Request& request, const Sequence&) override {
    function_(row, request);
  }

 private:
  Function function_;
};

inline std::vector<std::shared_ptr<Processor>> changing(Changing::Function function) {
  return {std::make_shared<Changing>(std::move(function))};
}

/// Everybody, in order of submission.
class Fifo : public Policy {
 public:
  StepPlan plan(const QueueView& queue, const Room&) override {
    StepPlan plan;
    for (const QueueEntry& entry : queue) plan.rows.push_back({entry.id, 0});
    return plan;
  }
  std::string name() const override { return "fifo"; }
};

/// Whatever the function says.
class Scripted final : public Policy {
 public:
  using Function = std::function<StepPlan(const QueueView&, const Room&)>;
  explicit Scripted(Function function) : function_(std::move(function)) {}
  StepPlan plan(const QueueView& queue, const Room& room) override {
    return function_(queue, room);
  }
  void submitted(const QueueEntry& entry) override { heard.push_back(entry.id); }
  void finished(const QueueEntry& entry) override { gone.push_back(entry.id); }
  std::string name() const override { return "scripted"; }
  std::vector<std::uint64_t> heard, gone;

 private:
  Function function_;
};

/// Some of them, in any order, in chunks of any size, some preempted: what no answer may depend on.
class Whims final : public Policy {
 public:
  explicit Whims(unsigned seed) : random_(seed) {}
  StepPlan plan(const QueueView& queue, const Room& room) override {
    std::vector<QueueEntry> order(queue.begin(), queue.end());
    std::shuffle(order.begin(), order.end(), random_);
    StepPlan plan;
    plan.padded = random_() % 4 == 0;
    std::int64_t tokens = room.tokens;
    for (const QueueEntry& entry : order) {
      if (entry.kind == RequestKind::generate && random_() % 24 == 0) {
        plan.preempt.push_back(entry.id);
        preempted += entry.cached_tokens > 0 ? 1 : 0;
        continue;
      }
      if (!plan.rows.empty() && random_() % 3 == 0) continue;
      const auto most = std::min<std::int64_t>(entry.pending_tokens, tokens / entry.rows);
      if (most <= 0) continue;
      const bool whole = entry.kind == RequestKind::forward;
      if (whole && most < entry.pending_tokens) continue;
      const std::int64_t some =
          whole ? most : 1 + static_cast<std::int64_t>(random_() % static_cast<unsigned>(most));
      plan.rows.push_back({entry.id, random_() % 3 == 0 && !whole ? some : most});
      tokens -= plan.rows.back().tokens * entry.rows;
      chunked += plan.rows.back().tokens < entry.pending_tokens ? 1 : 0;
    }
    padded += plan.padded && plan.rows.size() > 1 ? 1 : 0;
    return plan;
  }
  std::string name() const override { return "whims"; }
  int preempted = 0, chunked = 0, padded = 0;

 private:
  std::mt19937 random_;
};

inline std::string served_folder() {
  return golden_model("llama-gqa");
}

/// The small Llama with a plan and a pool.
struct Served {
  SmallLlama model;
  std::shared_ptr<const Plan> plan;
  std::shared_ptr<Cache> cache;

  explicit Served(const std::string& folder, int threads = 1, PlanOptions options = {},
                  std::int64_t pages = 512)
      : model(folder, threads), plan(model.plan(options)) {
    const CacheLayout layout(plan->program().kv_slots, options.cache_dtype, 32);
    const std::int64_t budget = pages * layout.groups()[0].page_bytes;
    cache = std::make_shared<Cache>(model.context, nullptr, layout, budget);
  }

  RequestSpec request(std::vector<std::int32_t> ids, std::int64_t new_tokens) const {
    RequestSpec made;
    made.plan = plan;
    made.prompt = std::move(ids);
    made.options.max_new_tokens = new_tokens;
    made.max_tokens = 256;
    return made;
  }
  Scheduler scheduler(std::shared_ptr<Policy> policy, SchedulerOptions options = {}) const {
    return Scheduler(model.context, std::move(policy), options);
  }
};

/// Steps until nothing is left; false when that takes more than `most` steps.
inline bool drain(Scheduler& scheduler, double budget_ms = 0, int most = 20000) {
  for (int i = 0; i < most; ++i) {
    if (scheduler.idle()) return true;
    scheduler.step(budget_ms);
  }
  return scheduler.idle();
}

inline std::vector<std::int32_t> new_ids(const Request& request, std::size_t sequence = 0) {
  const auto& ids = request.sequences[sequence].ids;
  return {ids.begin() + request.spec.prompt_tokens, ids.end()};
}

}  // namespace perilune_test
