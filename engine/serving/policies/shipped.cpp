#include "engine/serving/policies/shipped.h"

#include <algorithm>

#include "engine/base/error.h"

namespace perilune {

namespace {

/// What the shipped policies share: answers under way first, since they need one token each and
/// someone is reading them, then prompts in order. `Runs` says which prompts are let through.
class Filling : public Policy {
 public:
  Filling(std::string name, bool overtakes) : name_(std::move(name)), overtakes_(overtakes) {}

  StepPlan plan(const QueueView& queue, const Room& room) override {
    StepPlan plan;
    plan_into(queue, room, plan);
    return plan;
  }

  void plan_into(const QueueView& queue, const Room& room, StepPlan& plan) override {
    std::int64_t tokens = room.tokens, rows = room.rows;
    // Tokens that a request gets; 0: it does not fit.
    const auto place = [&](const QueueEntry& entry) {
      if (entry.rows < 1 || entry.rows > rows) return false;
      const std::int64_t own = std::min(entry.pending_tokens, tokens / entry.rows);
      const bool whole = entry.kind == RequestKind::forward;
      if (own < 1 || (whole && own < entry.pending_tokens)) return false;
      plan.rows.push_back({entry.id, 0});
      tokens -= own * entry.rows;
      rows -= entry.rows;
      return true;
    };
    for (const QueueEntry* entry : queue.decoding()) place(*entry);
    begin(queue);
    for (const QueueEntry& entry : queue) {
      if (tokens < 1 || rows < 1) break;
      if (entry.state == RequestState::decode || !runs(entry)) continue;
      if (!place(entry) && !overtakes_) break;
    }
  }
  std::string name() const override { return name_; }

 protected:
  virtual void begin(const QueueView&) {}
  virtual bool runs(const QueueEntry&) const { return true; }

 private:
  std::string name_;
  bool overtakes_;
};

class Buckets final : public Filling {
 public:
  explicit Buckets(std::vector<std::int64_t> bounds)
      : Filling("buckets", false), bounds_(std::move(bounds)) {}

 protected:
  void begin(const QueueView& queue) override {
    for (const QueueEntry& entry : queue) {
      if (entry.state == RequestState::decode) continue;
      turn_ = bucket_of(entry);  // the prompt that came first
      break;
    }
  }
  bool runs(const QueueEntry& entry) const override { return bucket_of(entry) == turn_; }

 private:
  std::ptrdiff_t bucket_of(const QueueEntry& entry) const {
    return std::lower_bound(bounds_.begin(), bounds_.end(), entry.prompt_tokens) - bounds_.begin();
  }
  std::vector<std::int64_t> bounds_;
  std::ptrdiff_t turn_ = 0;
};

}  // namespace

std::shared_ptr<Policy> make_fifo_policy() {
  return std::make_shared<Filling>("fifo", false);
}

std::shared_ptr<Policy> make_fill_policy() {
  return std::make_shared<Filling>("fill", true);
}

std::shared_ptr<Policy> make_bucket_policy(std::vector<std::int64_t> bounds) {
  for (std::size_t i = 0; i < bounds.size(); ++i) {
    if (bounds[i] > (i == 0 ? 0 : bounds[i - 1])) continue;
    throw Error(ErrorCode::policy, "buckets",
                "length " + std::to_string(i + 1) + " is " + std::to_string(bounds[i]))
        .hint("list them in ascending order, from 1");
  }
  if (bounds.empty()) throw Error(ErrorCode::policy, "buckets", "no lengths");
  return std::make_shared<Buckets>(std::move(bounds));
}

std::shared_ptr<Policy> make_policy(const std::string& name, std::vector<std::int64_t> bounds) {
  if (name == "fifo") return make_fifo_policy();
  if (name == "fill") return make_fill_policy();
  if (name == "buckets") return make_bucket_policy(std::move(bounds));
  throw Error(ErrorCode::policy, "policy", "there is no policy \"" + name + "\"")
      .hint(did_you_mean(name, {"fifo", "fill", "buckets"}));
}

}  // namespace perilune
