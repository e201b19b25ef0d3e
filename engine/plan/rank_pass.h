// A pass as rank 0 sends it and as a follower runs it: plain data, no pointers. The rows' ids and
// facts, what other passes made, pages by number, which tokens are wanted.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/plan/execution_store.h"

namespace perilune {

/// Rank 0: what the followers need to run the plan on this binding. Call with the group locked.
void send_pass(const Plan& plan, const PassBinding& binding);

/// Rank 0: followers keep pages as this pool does, from now on until it goes.
void share_pool(const std::shared_ptr<RankGroup>& group, Cache& pool);

/// What a rank that follows keeps between passes.
class RankFollower {
 public:
  /// A model's plan by its key; asked once for each.
  using FindPlan =
      std::function<std::shared_ptr<const Plan>(std::int64_t model, const std::string& key)>;
  RankFollower(std::shared_ptr<Context> context, std::shared_ptr<RankGroup> group);
  ~RankFollower();

  /// Runs passes until a text comes (true) or the end (false). Throws what ends the group.
  bool next(std::string& text, const FindPlan& find);
  /// A model was closed: its plans go.
  void forget(std::int64_t model);

 private:
  struct Pool;
  void run_pass(std::span<const std::uint8_t> bytes, const FindPlan& find);
  void follow_pages(MessageReader& message);
  std::shared_ptr<PassBinding> read_binding(MessageReader& message, const Plan& plan);
  void read_pages(MessageReader& message, const std::shared_ptr<Device>& device,
                  PassBinding& binding);

  std::shared_ptr<Context> context_;
  std::shared_ptr<RankGroup> group_;
  ExecutionStore executions_;
  std::map<std::pair<std::int64_t, std::string>, std::shared_ptr<const Plan>> plans_;
  std::map<std::int64_t, std::unique_ptr<Pool>> pools_;
};

}  // namespace perilune
