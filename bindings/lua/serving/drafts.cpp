// What guesses tokens ahead for a request, as core's engine takes it.
#include "bindings/lua/models/cache.h"
#include "bindings/lua/models/plan_object.h"
#include "bindings/lua/serving/serving.h"

namespace perilune::lua {

void read_drafts(Options& options, RequestSpec& spec) {
  DraftOptions& drafts = spec.drafts;
  drafts.tokens = options.integer("draft_tokens").value_or(0);
  drafts.ngram = options.integer("draft_ngram").value_or(drafts.ngram);
  if (const auto* plan = options.object<PlanObject>("draft_plan")) drafts.plan = plan->plan;
  if (const auto* cache = options.object<CachePointer>("draft_cache")) drafts.cache = *cache;
  drafts.max_tokens = options.integer("draft_max_tokens").value_or(0);
  drafts.reachable = options.integer("draft_reachable").value_or(0);
  if ((drafts.plan == nullptr) == (drafts.cache == nullptr)) return;
  throw Error(ErrorCode::argument, "submit", "a draft model needs its plan and a cache");
}

}  // namespace perilune::lua
