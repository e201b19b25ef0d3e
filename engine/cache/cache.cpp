#include "engine/cache/cache.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "engine/base/error.h"
#include "engine/device/context.h"

namespace perilune {

// ---------------------------------------------------------------- layout

namespace {

const char* kind_name(KvKind kind) {
  return kind == KvKind::self ? "self" : "cross";
}

void check_slot(const KvSlotSpec& spec) {
  if (spec.kv_heads <= 0 || spec.head_dim <= 0 || spec.window < 0) {
    throw Error(ErrorCode::shape, "cache", "keys and values without a size")
        .operand(spec.path, std::to_string(spec.kv_heads) + " kv heads of " +
                                std::to_string(spec.head_dim) + ", window " +
                                std::to_string(spec.window));
  }
}

}  // namespace

CacheLayout::CacheLayout(std::vector<KvSlotSpec> slots, DType dtype, std::int64_t page_tokens) {
  if (page_tokens <= 0 || page_tokens % kernels::kKvBlock != 0) {
    throw Error(ErrorCode::argument, "cache",
                "page_tokens is " + std::to_string(page_tokens) + ", not a multiple of " +
                    std::to_string(kernels::kKvBlock));
  }
  if (!is_float(dtype) && dtype != DType::i8) {
    throw Error(ErrorCode::dtype, "cache",
                "keys and values cannot be " + std::string(dtype_name(dtype)))
        .hint("use f32, f16, bf16 or i8");
  }
  auto data = std::make_shared<Data>();
  data->dtype = dtype;
  data->page_tokens = page_tokens;
  std::vector<KvSlotSpec>& specs = data->specs;
  std::vector<KvGroup>& groups = data->groups;
  for (KvSlotSpec& spec : slots) {
    check_slot(spec);
    const auto same = std::find_if(specs.begin(), specs.end(), [&](const KvSlotSpec& other) {
      return other.path == spec.path && other.kind == spec.kind;
    });
    if (same != specs.end()) {  // two passes of one model share the slot
      if (*same == spec) continue;
      throw Error(ErrorCode::shape, "cache",
                  "two passes disagree about the " + std::string(kind_name(spec.kind)) +
                      " keys of " + spec.path);
    }
    auto group = std::find_if(groups.begin(), groups.end(), [&](const KvGroup& other) {
      return other.kind == spec.kind && other.window == spec.window &&
             other.layout.kv_heads == spec.kv_heads && other.layout.head_dim == spec.head_dim &&
             other.device == spec.device;
    });
    if (group == groups.end()) {
      groups.push_back(KvGroup{
          spec.kind, spec.window, {dtype, spec.kv_heads, spec.head_dim, page_tokens}, spec.device});
      group = groups.end() - 1;
    }
    data->slots.push_back(KvSlot{static_cast<int>(group - groups.begin()), group->page_bytes});
    group->page_bytes += kernels::kv_layer_bytes(group->layout);
    ++group->layers;
    specs.push_back(std::move(spec));
  }
  data_ = std::move(data);
}

KvSlot CacheLayout::slot(const std::string& path, KvKind kind) const {
  const std::vector<KvSlotSpec>& specs = data_->specs;
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (specs[i].kind == kind && specs[i].path == path) return data_->slots[i];
  }
  throw Error(ErrorCode::state, "attention",
              path + " keeps no " + kind_name(kind) + " keys and values in this model's cache")
      .hint("each pass of a family declares what it keeps: net:cached(k, v)");
}

std::int64_t CacheLayout::bytes_per_token() const {
  std::int64_t bytes = 0;
  for (const KvGroup& group : groups()) {
    if (group.kind == KvKind::self) bytes += group.page_bytes / page_tokens();
  }
  return bytes;
}

// ---------------------------------------------------------------- pool

/// Pages of one group. Page numbers are never used twice for different memory, so that a slab can
/// be given back to the device when another group needs its bytes.
struct Cache::GroupPages {
  struct Slab {
    std::shared_ptr<Storage> storage;  // null once given back
    std::int32_t first = 0, count = 0, taken = 0;
  };
  std::int64_t page_bytes = 0;
  std::vector<Slab> slabs;
  std::vector<std::int32_t> references, slab_of;  // per page
  std::vector<std::int32_t> free;

  std::int64_t slab_bytes() const {
    std::int64_t bytes = 0;
    for (const Slab& slab : slabs) {
      if (slab.storage) bytes += slab.count * page_bytes;
    }
    return bytes;
  }
  std::int64_t taken() const {
    std::int64_t pages = 0;
    for (const Slab& slab : slabs) pages += slab.taken;
    return pages;
  }
  void release_idle_slabs() {
    for (Slab& slab : slabs) {
      if (!slab.storage || slab.taken != 0) continue;
      slab.storage.reset();
      std::erase_if(free, [&](std::int32_t page) {
        return page >= slab.first && page < slab.first + slab.count;
      });
    }
  }
  void add_slab(std::shared_ptr<Storage> storage, std::int32_t count) {
    const auto first = static_cast<std::int32_t>(references.size());
    // All memory first, also for the pages that come back: a failure changes nothing.
    const std::size_t pages = references.size() + static_cast<std::size_t>(count);
    slabs.reserve(slabs.size() + 1);
    references.reserve(pages);
    slab_of.reserve(pages);
    free.reserve(pages);
    slabs.push_back(Slab{std::move(storage), first, count, 0});
    references.resize(pages, 0);
    slab_of.resize(references.size(), static_cast<std::int32_t>(slabs.size()) - 1);
    for (std::int32_t i = count; i-- > 0;) free.push_back(first + i);
  }
};

Cache::Cache(std::shared_ptr<Context> context, std::shared_ptr<Device> device, CacheLayout layout,
             std::int64_t budget)
    : context_(std::move(context)),
      device_(std::move(device)),
      layout_(std::move(layout)),
      budget_(budget),
      limit_(budget),
      kept_(layout_.groups().size(), layout_.page_tokens()) {
  if (!device_) device_ = context_->cpu_device();
  if (budget < 0) {
    throw Error(ErrorCode::argument, "cache", "a budget of " + std::to_string(budget) + " bytes");
  }
  for (const KvGroup& group : layout_.groups()) {
    groups_.push_back(std::make_unique<GroupPages>());
    groups_.back()->page_bytes = group.page_bytes;
  }
}

Cache::~Cache() = default;

std::int64_t Cache::used_bytes(const Device* on) const {
  std::int64_t bytes = 0;
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    if (on != nullptr && device(static_cast<int>(g)).get() != on) continue;
    bytes += (groups_[g]->taken() - kept_.cold(static_cast<int>(g))) * groups_[g]->page_bytes;
  }
  return bytes;
}

std::int64_t Cache::kept_bytes(const Device* on) const {
  std::int64_t bytes = 0;
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    if (on != nullptr && device(static_cast<int>(g)).get() != on) continue;
    bytes += kept_.cold(static_cast<int>(g)) * groups_[g]->page_bytes;
  }
  return bytes;
}

std::int64_t Cache::taken_bytes() const {
  std::int64_t bytes = 0;
  for (const auto& group : groups_) bytes += group->taken() * group->page_bytes;
  return bytes;
}

std::string Cache::free_text() const {
  std::string text =
      std::to_string(free_bytes()) + " of " + std::to_string(budget_) + " bytes are free";
  if (!refusal_.empty()) text += "; the device has no more: " + refusal_;
  return text;
}

std::int64_t Cache::free_pages() const {
  std::int64_t bytes = 0;
  for (const KvGroup& group : layout_.groups()) {
    if (group.kind == KvKind::self) bytes += group.page_bytes;
  }
  if (bytes == 0) return std::numeric_limits<std::int32_t>::max();
  return free_bytes() / bytes;
}

std::int64_t Cache::slab_bytes() const {
  std::int64_t bytes = 0;
  for (const auto& group : groups_) bytes += group->slab_bytes();
  return bytes;
}

/// Asks the device for more pages of a group: many, or one where it has no more.
void Cache::add_slab(int group) {
  GroupPages& pages = *groups_[static_cast<std::size_t>(group)];
  const auto release_idle = [&] {
    for (const auto& other : groups_) other->release_idle_slabs();
  };
  if (slab_bytes() + pages.page_bytes > budget_) release_idle();
  // Slabs grow with the pool: few allocations for a large one, little waste for a small one.
  // Pages of other groups that lie idle in busy slabs do not keep this one from its last pages.
  const std::int64_t grow = std::max<std::int64_t>(4, pages.slab_bytes() / pages.page_bytes / 2);
  const std::int64_t room = std::max<std::int64_t>(1, (budget_ - slab_bytes()) / pages.page_bytes);
  const std::int64_t most = std::max<std::int64_t>(1, (std::int64_t{256} << 20) / pages.page_bytes);
  const auto add = [&](std::int64_t count) {
    pages.add_slab(std::make_shared<Storage>(context_, device(group),
                                             static_cast<std::size_t>(count * pages.page_bytes)),
                   static_cast<std::int32_t>(count));
  };
  try {
    add(std::min({grow, room, most}));
  } catch (const Error& error) {
    if (error.code() != ErrorCode::memory) throw;
    release_idle();
    add(1);
  }
}

/// False where the device has no more.
bool Cache::add_slab_or_refuse(int group) {
  try {
    add_slab(group);
    return true;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::memory) throw;
    if (kept_.oldest().page != KeptPages::kNone) return false;
    refusal_ = error.what();
    limit_ = used_bytes();
    return false;
  }
}

/// Takes the page back that has been cold for longest.
bool Cache::drop_oldest() {
  const KeptPages::PageRef oldest = kept_.oldest();
  if (oldest.page == KeptPages::kNone) return false;
  kept_.remove(oldest);
  give(oldest.group, oldest.page);
  return true;
}

void Cache::forget() {
  for (auto page = kept_.any(); page.page != KeptPages::kNone; page = kept_.any()) {
    kept_.remove(page);
    give(page.group, page.page);
  }
}

std::optional<std::int32_t> Cache::take(int group) {
  GroupPages& pages = *groups_[static_cast<std::size_t>(group)];
  if (free_bytes() < pages.page_bytes) return std::nullopt;
  while (limit_ - taken_bytes() < pages.page_bytes) {
    if (!drop_oldest()) return std::nullopt;
  }
  while (pages.free.empty() && !add_slab_or_refuse(group)) {
    if (!drop_oldest()) return std::nullopt;
  }
  const std::int32_t page = pages.free.back();
  pages.free.pop_back();
  pages.references[static_cast<std::size_t>(page)] = 1;
  ++pages.slabs[static_cast<std::size_t>(pages.slab_of[static_cast<std::size_t>(page)])].taken;
  return page;
}

void Cache::share(int group, std::int32_t page) {
  if (kept_.kept({group, page})) kept_.warm({group, page});
  ++groups_[static_cast<std::size_t>(group)]->references[static_cast<std::size_t>(page)];
}

void Cache::give(int group, std::int32_t page) {
  GroupPages& pages = *groups_[static_cast<std::size_t>(group)];
  const auto index = static_cast<std::size_t>(page);
  if (--pages.references[index] != 0) {
    if (pages.references[index] == 1 && kept_.kept({group, page})) kept_.cool({group, page});
    return;
  }
  --pages.slabs[static_cast<std::size_t>(pages.slab_of[index])].taken;
  pages.free.push_back(page);
  if (refusal_.empty() || used_bytes() != 0) return;
  refusal_.clear();  // the device is asked again
  limit_ = budget_;
}

std::int32_t Cache::references(int group, std::int32_t page) const {
  return groups_[static_cast<std::size_t>(group)]->references[static_cast<std::size_t>(page)];
}

std::int32_t Cache::holders(int group, std::int32_t page) const {
  return references(group, page) - (kept_.kept({group, page}) ? 1 : 0);
}

void* Cache::pointer(int group, std::int32_t page) const {
  const GroupPages& pages = *groups_[static_cast<std::size_t>(group)];
  const auto& slab =
      pages.slabs[static_cast<std::size_t>(pages.slab_of[static_cast<std::size_t>(page)])];
  return static_cast<unsigned char*>(slab.storage->data()) + (page - slab.first) * pages.page_bytes;
}

}  // namespace perilune
