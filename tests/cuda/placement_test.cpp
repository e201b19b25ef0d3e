// A plan over two devices: half the layers on the CPU, half on the emulator.
#include "tests/catch.h"
#include "tests/engine/pass_support.h"

using namespace perilune_test;

namespace {

/// Logits of the rows, then of a few decode steps, end to end.
std::vector<float> logits_of(const SmallLlama& model, const std::shared_ptr<const Plan>& plan,
                             const std::shared_ptr<Device>& device) {
  const std::vector<std::vector<std::int32_t>> prompt{{1, 7, 12, 9}, {3, 4}};
  Sequences sequences(model, plan->program(), prompt.size());
  sequences.cache = std::make_shared<Cache>(
      model.context, device, CacheLayout(plan->kv_slots(), DType::f32), std::int64_t{64} << 20);
  for (auto& row : sequences.rows) row = std::make_unique<SequenceCache>(sequences.cache);
  Execution execution(plan);
  std::vector<float> all;
  std::vector<std::vector<std::int32_t>> rows = prompt;
  for (int step = 0; step < 4; ++step) {
    execution.bind(sequences.bind(model, rows));
    execution.run();
    sequences.commit(rows);
    const std::vector<float> logits = execution.output("logits").to_floats();
    all.insert(all.end(), logits.begin(), logits.end());
    rows = {{5 + step}, {11 + step}};
  }
  return all;
}

float largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  float most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(a[i] - b[i]));
  return most;
}

}  // namespace

TEST_CASE("a plan over the CPU and the emulator: transfers where values cross, the same answers") {
  const SmallLlama model(golden_model("llama-gqa"));
  const auto cpu = model.context->cpu_device(), emulator = model.context->device("emulator");
  PlanOptions on_emulator;
  on_emulator.device = emulator;
  const auto expected = logits_of(model, model.plan(), cpu);
  const auto alone = logits_of(model, model.plan(on_emulator), emulator);
  for (const char* moved : {"layers.0", "layers.1", "layers.2"}) {
    CAPTURE(moved);
    PlanOptions options;
    options.devices = {{moved, emulator}, {"layers.1.mlp", emulator}};
    const auto plan = model.plan(options);
    REQUIRE(plan->devices().size() == 2);
    CHECK(plan->text().find("transfer") != std::string::npos);
    const auto split = logits_of(model, plan, cpu);
    CHECK(largest_difference(split, expected) <= 1e-4f);
    CHECK(largest_difference(split, alone) <= 1e-4f);
    if (same_bits(expected, alone)) CHECK(same_bits(split, expected));
    for (const KvSlotSpec& slot : plan->kv_slots()) {
      CHECK(slot.device == (slot.path == moved ? emulator : cpu));
    }
  }
}

TEST_CASE("the parts of a program: by layer, and by what is marked before and after the layers") {
  const SmallLlama model(golden_model("llama-gqa"));
  std::vector<std::string> paths;
  std::size_t modules = 0;
  for (const ProgramPart& part : parts_of(*model.trace())) {
    paths.push_back(part.path);
    modules += part.modules.size();
  }
  CHECK(paths == std::vector<std::string>{"embeddings", "layers.0", "layers.1", "layers.2", "norm",
                                          "logits"});
  // A layer: two norms, seven products, attention, and what belongs to its scope (rope, the write).
  CHECK(modules == 3 * 11 + 3);
}

namespace {

/// The CPU without one of its kernels.
class Lacking final : public Device {
 public:
  explicit Lacking(const std::shared_ptr<Device>& cpu) : cpu_(cpu), table_(cpu->kernels()) {
    table_.rope = nullptr;
  }
  const std::string& name() const override { return name_; }
  DeviceKind kind() const override { return DeviceKind::cpu; }
  const kernels::KernelTable& kernels() const override { return table_; }
  kernels::Launch launch() const override { return cpu_->launch(); }
  bool host_visible() const override { return true; }
  void* allocate(std::size_t bytes) override { return cpu_->allocate(bytes); }
  void release(void* pointer, std::size_t bytes) noexcept override {
    cpu_->release(pointer, bytes);
  }
  void copy_in(void* to, const void* from, std::size_t n) override { cpu_->copy_in(to, from, n); }
  void copy_out(void* to, const void* from, std::size_t n) override { cpu_->copy_out(to, from, n); }
  void copy_inside(void* to, const void* from, std::size_t n) override {
    cpu_->copy_inside(to, from, n);
  }
  void fill(void* to, unsigned char byte, std::size_t n) override { cpu_->fill(to, byte, n); }
  DeviceMemory memory() const override { return cpu_->memory(); }

 private:
  std::shared_ptr<Device> cpu_;
  kernels::KernelTable table_;
  const std::string name_ = "lacking";
};

}  // namespace

TEST_CASE("an op that a device lacks is an error of the plan, with op, device, layer and remedy") {
  const SmallLlama model(golden_model("llama-gqa"));
  const auto lacking = std::make_shared<Lacking>(model.context->cpu_device());
  PlanOptions options;
  options.devices = {{"layers.1", lacking}};
  try {
    model.plan(options);
    FAIL("no error");
  } catch (const Error& error) {
    const std::string text = error.what();
    CHECK(error.code() == ErrorCode::unsupported);
    for (const char* part : {"lacking cannot run it", "no kernel \"rope\"", "layers.1", "cpu"}) {
      CAPTURE(text, part);
      CHECK(text.find(part) != std::string::npos);
    }
  }
  options.devices = {{"layers.1.mlp", lacking}};  // needs no rope
  CHECK(model.plan(options)->devices().size() == 2);
}

TEST_CASE("a map that names one device everywhere changes nothing") {
  const SmallLlama model(golden_model("llama-gqa"));
  const auto cpu = model.context->cpu_device();
  PlanOptions options;
  options.devices = {{"layers", cpu}};
  const auto plan = model.plan(options);
  CHECK(plan->devices().size() == 1);
  CHECK(plan->text().find("transfer") == std::string::npos);
  CHECK(same_bits(logits_of(model, plan, cpu), logits_of(model, model.plan(), cpu)));
}
