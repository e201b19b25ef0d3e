#include "engine/serving/dry_run.h"

#include <algorithm>

#include "engine/device/context.h"

namespace perilune {

namespace {

/// Lends pages that nobody may read or write.
class DryDevice final : public Device {
 public:
  explicit DryDevice(std::shared_ptr<Context> context) : context_(std::move(context)) {}
  const std::string& name() const override { return name_; }
  DeviceKind kind() const override { return DeviceKind::cpu; }
  const kernels::KernelTable& kernels() const override { return context_->cpu().kernels(); }
  kernels::Launch launch() const override { return context_->cpu().launch(); }
  bool host_visible() const override { return false; }
  void* allocate(std::size_t) override { return &nothing_; }
  void release(void*, std::size_t) noexcept override {}
  void copy_in(void*, const void*, std::size_t) override {}
  void copy_out(void*, const void*, std::size_t) override {}
  void copy_inside(void*, const void*, std::size_t) override {}
  void fill(void*, unsigned char, std::size_t) override {}
  DeviceMemory memory() const override { return {}; }

 private:
  std::shared_ptr<Context> context_;
  const std::string name_ = "dry";
  unsigned char nothing_ = 0;
};

}  // namespace

std::shared_ptr<const Plan> make_dry_plan(const std::shared_ptr<Context>& context,
                                          std::int64_t bytes_per_token) {
  constexpr std::int64_t kLeast = 2 * sizeof(float);  // a key and a value
  auto program = std::make_shared<Program>();
  program->entry = "decode";
  program->default_rows = RowSelection::last;
  program->kv_slots.push_back({"layers.0", KvKind::self, 0, 1,
                               std::max<std::int64_t>(1, (bytes_per_token + kLeast - 1) / kLeast)});
  return Plan::make(context, program, {});
}

std::shared_ptr<Cache> make_dry_cache(const std::shared_ptr<Context>& context,
                                      const std::vector<std::shared_ptr<const Plan>>& plans,
                                      DType dtype, std::int64_t page_tokens, std::int64_t budget) {
  std::vector<KvSlotSpec> slots;
  for (const auto& plan : plans) {
    // The programs' own slots name no device, so that all pages are this one's.
    for (const KvSlotSpec& slot : plan->program().kv_slots) slots.push_back(slot);
  }
  if (slots.empty()) return nullptr;
  const CacheLayout layout(std::move(slots), dtype, page_tokens);
  return std::make_shared<Cache>(context, std::make_shared<DryDevice>(context), layout, budget);
}

}  // namespace perilune
