// After the first step of a shape a whole step of the scheduler allocates nothing while its
// requests decode: queue, policy, plan, batch, pass, choice, text, events. What may allocate: a
// step in which a sequence begins a page of its keys and values (its lists get room for that page
// then, and the full one before it is kept for others), one that ends a request, texts that no
// std::string holds in place, events that nobody takes, and the log-probabilities of answers.
#include <map>

#include "engine/serving/policies/shipped.h"
#include "engine/serving/scheduler.h"
#include "engine/text/readers/open.h"
#include "tests/allocations/counter.h"
#include "tests/catch.h"
#include "tests/engine/pass_support.h"

using namespace perilune_test;

namespace {

/// The golden model gpt2-plain: learned positions, biases, layer norms, a plain activation.
std::shared_ptr<const Program> trace_gpt2(const std::shared_ptr<Context>& context) {
  const std::string folder = golden_model("gpt2-plain");
  CheckpointOptions options;
  options.prefixes = {"transformer."};
  options.views = {{"h.*.attn.c_attn", "", true, {{"q", {}}, {"k", {}}, {"v", {}}}, ""},
                   {"h.*.attn.c_proj", "", true, {}, ""},
                   {"h.*.mlp.c_fc", "", true, {}, ""},
                   {"h.*.mlp.c_proj", "", true, {}, ""}};
  auto state = std::make_shared<NetState>();
  const auto pass = std::make_shared<TracePass>(context, "decode");
  state->pass = pass;
  state->checkpoint = Checkpoint::open(context, folder, options);
  pass->axis_sizes = {{"hidden", 60}, {"ffn", 240},     {"head", 4},
                      {"kv_head", 4}, {"head_dim", 15}, {"vocab", 420}};
  const Net net(state);
  Value x = tensor_ops::add(net.embedding(pass->input("ids"), "wte", {}),
                            net.embedding(pass->input("positions"), "wpe", {}));
  for (int i = 0; i < 3; ++i) {
    const Net layer = net.scope("h." + std::to_string(i), "layers." + std::to_string(i));
    Value h = layer.layer_norm(x, "ln_1", 1e-5);
    const Value q = layer.linear(h, "attn.c_attn.q", {"head", "head_dim"}, {{}, true});
    const Value k = layer.linear(h, "attn.c_attn.k", {"kv_head", "head_dim"}, {{}, true});
    const Value v = layer.linear(h, "attn.c_attn.v", {"kv_head", "head_dim"}, {{}, true});
    Net::AttentionOptions causal;
    causal.mask = kernels::Mask::causal;
    const Value a = layer.attention(q, layer.cached(k, v, 0, KvKind::self), causal);
    x = tensor_ops::add(x,
                        layer.linear(a, "attn.c_proj", {"hidden"}, {{"head", "head_dim"}, true}));
    h = layer.linear(layer.layer_norm(x, "ln_2", 1e-5), "mlp.c_fc", {"ffn"}, {{}, true});
    h = layer.activation(h, "gelu_new");
    x = tensor_ops::add(x, layer.linear(h, "mlp.c_proj", {"hidden"}, {{}, true}));
  }
  x = wanted_rows(pass, net.layer_norm(x, "ln_f", 1e-5));
  Net::HeadOptions head;
  head.tied = "wte";
  pass->output("logits", net.head(x, "lm_head", "vocab", head));
  return pass->finish("causal");
}

/// A plan with a pool of pages and a tokenizer.
struct Served {
  std::shared_ptr<Context> context;
  std::shared_ptr<const Plan> plan;
  std::shared_ptr<const Tokenizer> tokenizer;

  explicit Served(const std::string& name) {
    if (name == "gpt2-plain") {
      ContextOptions options;
      options.threads = 1;
      context = Context::make(options);
      plan = Plan::make(context, trace_gpt2(context), {});
    } else {
      const SmallLlama model(golden_model(name));
      context = model.context;
      plan = model.plan();
    }
    tokenizer = load_tokenizer(golden_model(name));
  }

  /// Knows no text: where an earlier run's page takes the place of a new one, their number tells
  /// nothing of when a page began.
  std::shared_ptr<Cache> cache() const {
    return std::make_shared<Cache>(context, nullptr,
                                   CacheLayout(plan->program().kv_slots, DType::f32, 32),
                                   std::int64_t{64} << 20);
  }

  RequestSpec request(std::size_t prompt, std::int64_t new_tokens) const {
    RequestSpec made;
    made.plan = plan;
    made.tokenizer = tokenizer;
    for (std::size_t i = 0; i < prompt; ++i) {
      made.prompt.push_back(static_cast<std::int32_t>(5 + i * 7));
    }
    made.options.max_new_tokens = new_tokens;
    made.max_tokens = 128;
    return made;
  }
};

using Adjust = void (*)(GenerateOptions& options);

void leave_greedy(GenerateOptions&) {}

void sample(GenerateOptions& options) {
  options.sampling.do_sample = true;
  options.sampling.seed = 7;
  options.sampling.temperature = 1.3;
  options.sampling.top_k = 100;
  options.sampling.top_p = 0.95;
  options.sampling.min_p = 0.001;
}

void sample_with_all_rules(GenerateOptions& options) {
  sample(options);
  options.sampling.typical_p = 0.9;
  options.sampling.epsilon_cutoff = 1e-4;
  options.sampling.eta_cutoff = 1e-4;
  options.sampling.repetition_penalty = 1.1;
  options.sampling.no_repeat_ngram_size = 3;
  options.sampling.min_new_tokens = 4;
  options.stop_strings = {"a long text that never comes"};
}

void several_outputs(GenerateOptions& options) {
  sample(options);
  options.n = 3;
}

/// What the steps of a run came to: how many were counted, and how many of them allocated.
struct Steps {
  int counted = 0, grew = 0, allocating = 0;
  Allocations most;
};

/// Steps until all is done. A step counts when it has the shape of the one before, reads no prompt,
/// begins no page, ends no request and releases no long text.
Steps run(Scheduler& scheduler, const Cache& cache) {
  Steps steps;
  StepResult last;
  Event event;
  while (!scheduler.idle()) {
    const std::int64_t pages = cache.used_bytes(), finished = scheduler.stats().finished;
    const AllocationsSince before;
    const StepResult result = scheduler.step();
    const Allocations count = before.count();
    bool long_text = false;
    while (scheduler.next_event(event)) {
      long_text = long_text || event.text.size() > std::string().capacity();
    }
    const bool same = result.rows == last.rows && result.tokens == last.tokens;
    const bool decodes = result.tokens == result.rows;
    const bool ended = scheduler.stats().finished != finished;
    const bool grew = cache.used_bytes() != pages;
    last = result;
    steps.grew += grew && !ended ? 1 : 0;
    if (!same || !decodes || ended || grew || long_text) continue;
    ++steps.counted;
    steps.allocating += count == Allocations{} ? 0 : 1;
    steps.most.heap = std::max(steps.most.heap, count.heap);
    steps.most.device = std::max(steps.most.device, count.device);
  }
  return steps;
}

}  // namespace

TEST_CASE("a step of the scheduler allocates nothing while requests decode") {
  struct Case {
    const char* name;
    Adjust adjust;
    std::vector<std::size_t> prompts;
  };
  const std::vector<Case> cases = {
      {"greedy, one row", leave_greedy, {5}},
      {"greedy, rows that end one after the other", leave_greedy, {5, 1, 20}},
      {"sampled, one row", sample, {5}},
      {"sampled, several rows", sample, {4, 9, 2, 30}},
      {"sampled, under every rule", sample_with_all_rules, {6, 3}},
      {"several outputs of one prompt", several_outputs, {8}},
  };
  for (const char* model : {"llama-gqa", "gpt2-plain"}) {
    const Served served(model);
    for (const char* policy : {"fifo", "fill", "buckets"}) {
      for (const Case& each : cases) {
        const std::shared_ptr<Cache> cache = served.cache();
        Scheduler scheduler(served.context, make_policy(policy, {8, 16}), {});
        for (std::size_t i = 0; i < each.prompts.size(); ++i) {
          RequestSpec spec = served.request(each.prompts[i], 70 + 8 * static_cast<std::int64_t>(i));
          each.adjust(spec.options);
          scheduler.submit(std::move(spec), cache);
        }
        const Steps steps = run(scheduler, *cache);
        CAPTURE(model, policy, each.name, steps.counted, steps.grew, steps.most.heap,
                steps.most.device);
        CHECK(steps.counted > 50);
        CHECK(steps.grew > 0);
        CHECK(steps.allocating == 0);
      }
    }
  }
}
