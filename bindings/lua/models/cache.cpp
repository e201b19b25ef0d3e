// The pool of caches, and one sequence in it.
#include "bindings/lua/models/cache.h"

#include <algorithm>
#include <limits>
#include <map>

#include "bindings/lua/models/plan_object.h"
#include "bindings/lua/tensors/tensor_value.h"
#include "engine/ops/kernel_names.h"
#include "engine/plan/rank_pass.h"

namespace perilune::lua {

namespace {

/// Bytes that a device lends to pages where nobody said: a quarter of the machine's memory, or nine
/// tenths of what a device of its own has left beside a step's workspace.
std::int64_t lent_bytes(const Context& context, const Device& device, std::int64_t workspace) {
  if (device.host_visible()) return static_cast<std::int64_t>(context.cpu().memory().total / 4);
  const DeviceMemory memory = device.memory();
  auto free = static_cast<std::int64_t>(memory.free);
  if (memory.budget != 0) {
    free = std::min(free, static_cast<std::int64_t>(memory.budget - memory.used));
  }
  return std::max<std::int64_t>(0, free - workspace) / 10 * 9;
}

/// The budget of all devices together that asks none for more than it lends, where each gets the
/// share of a page set that its layers have.
std::int64_t default_budget(const Context& context, const Cache& shares,
                            const std::vector<std::shared_ptr<const Plan>>& plans,
                            const std::map<std::string, std::int64_t>& limits) {
  constexpr std::int64_t kTokens = 512, kRows = 16;  // of a step
  const std::vector<KvGroup>& groups = shares.layout().groups();
  std::map<std::shared_ptr<Device>, std::int64_t> page_bytes;
  std::int64_t all = 0;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    page_bytes[shares.device(static_cast<int>(g))] += groups[g].page_bytes;
    all += groups[g].page_bytes;
  }
  std::int64_t budget = std::numeric_limits<std::int64_t>::max();
  for (const auto& [device, bytes] : page_bytes) {
    std::size_t workspace = 0;
    for (const auto& plan : plans) {
      workspace = std::max(workspace, plan->arena_bytes(kTokens, kRows, device.get()));
    }
    std::int64_t lent = lent_bytes(context, *device, static_cast<std::int64_t>(workspace));
    if (const auto most = limits.find(device->name()); most != limits.end()) {
      lent = std::min(lent, most->second);
    }
    budget = std::min(
        budget, static_cast<std::int64_t>(static_cast<double>(lent) * static_cast<double>(all) /
                                          static_cast<double>(bytes)));
  }
  return budget;
}

std::vector<std::shared_ptr<const Plan>> plans_argument(lua_State* L) {
  expect_table(L, 1, "cache", "plans");
  std::vector<std::shared_ptr<const Plan>> plans;
  for (int i = 1; i <= static_cast<int>(lua_objlen(L, 1)); ++i) {
    lua_rawgeti(L, 1, i);
    plans.push_back(check_object<PlanObject>(L, -1, "cache", "plans").plan);
    lua_pop(L, 1);
  }
  return plans;
}

/// core.cache({ plans }, { dtype=, budget= (of all devices), limits={ device → bytes, without a
/// budget }, page_tokens= }): a pool for what they keep, each layer's on its device; nil where they
/// keep nothing.
int make_cache(lua_State* L) {
  const auto plans = plans_argument(L);
  std::vector<KvSlotSpec> slots;
  for (const auto& plan : plans) {
    for (KvSlotSpec& slot : plan->kv_slots()) slots.push_back(std::move(slot));
  }
  Options options(L, 2, "cache");
  const DType dtype = options.dtype("dtype").value_or(DType::f32);
  const std::int64_t page_tokens = options.integer("page_tokens").value_or(64);
  const std::optional<std::int64_t> budget = options.integer("budget");
  const auto limits = options.sizes("limits").value_or(std::map<std::string, std::int64_t>{});
  options.done();
  if (page_tokens < kKvBlock || page_tokens % kKvBlock != 0) {
    throw Error(ErrorCode::option, "cache",
                "option page_tokens must be a multiple of " + std::to_string(kKvBlock));
  }
  if (slots.empty()) return 0;
  const auto& context = state(L).context;
  const std::shared_ptr<Device>& device = plans.front()->options().device;
  const CacheLayout layout(std::move(slots), dtype, page_tokens);
  const auto pool = std::make_shared<Cache>(
      context, device, layout,
      budget ? *budget
             : default_budget(*context, Cache(context, device, layout, 0), plans, limits));
  const auto& ranks = plans.front()->options().ranks;
  if (ranks != nullptr && ranks->group->leads()) share_pool(ranks->group, *pool);
  push_object(L, pool);
  return 1;
}

int pool_sequence(lua_State* L) {
  push_object(L, std::make_shared<SequenceCache>(self<CachePointer>(L, "sequence")));
  return 1;
}

/// pool:used(device | nil)
int pool_used(lua_State* L) {
  push_integer(L, self<CachePointer>(L, "used")->used_bytes(optional_device(L, 2, "used")));
  return 1;
}

/// pool:kept(device | nil)
int pool_kept(lua_State* L) {
  push_integer(L, self<CachePointer>(L, "kept")->kept_bytes(optional_device(L, 2, "kept")));
  return 1;
}

int pool_forget(lua_State* L) {
  self<CachePointer>(L, "forget")->forget();
  return 0;
}

int pool_free_pages(lua_State* L) {
  push_integer(L, self<CachePointer>(L, "free_pages")->free_pages());
  return 1;
}

int pool_budget(lua_State* L) {
  push_integer(L, self<CachePointer>(L, "budget")->budget());
  return 1;
}

int pool_bytes_per_token(lua_State* L) {
  push_integer(L, self<CachePointer>(L, "bytes_per_token")->layout().bytes_per_token());
  return 1;
}

int pool_bytes_for(lua_State* L) {
  const auto& layout = self<CachePointer>(L, "bytes_for")->layout();
  push_integer(L, layout.bytes_for(to_integer(L, 2, "bytes_for", "tokens")));
  return 1;
}

int pool_page_tokens(lua_State* L) {
  push_integer(L, self<CachePointer>(L, "page_tokens")->layout().page_tokens());
  return 1;
}

int pool_dtype(lua_State* L) {
  lua_pushstring(L, dtype_name(self<CachePointer>(L, "dtype")->layout().dtype()));
  return 1;
}

int sequence_length(lua_State* L) {
  push_integer(L, self<SequencePointer>(L, "length")->length());
  return 1;
}

int sequence_cross_length(lua_State* L) {
  push_integer(L, self<SequencePointer>(L, "cross_length")->cross_length());
  return 1;
}

int sequence_fork(lua_State* L) {
  push_object(L, SequencePointer(self<SequencePointer>(L, "fork")->fork()));
  return 1;
}

int sequence_crop(lua_State* L) {
  auto& sequence = *self<SequencePointer>(L, "crop");
  const std::int64_t length = to_integer(L, 2, "crop", "length");
  if (length < 0 || length > sequence.length()) {
    throw Error(
        ErrorCode::argument, "crop",
        "length " + std::to_string(length) + " is not 0 to " + std::to_string(sequence.length()));
  }
  sequence.crop(length);
  return 0;
}

int sequence_made_for(lua_State* L) {
  push_integer(L, self<SequencePointer>(L, "made_for")->made_for());
  return 1;
}

int sequence_can_crop(lua_State* L) {
  const auto& sequence = *self<SequencePointer>(L, "can_crop");
  lua_pushboolean(L, sequence.can_crop(to_integer(L, 2, "can_crop", "length")));
  return 1;
}

int sequence_clear(lua_State* L) {
  auto& sequence = *self<SequencePointer>(L, "clear");
  sequence.expect_idle("clear");
  sequence.clear();
  return 0;
}

/// One layer's keys and values in the pages of its group.
struct SlotPages {
  int group;
  std::int64_t offset, bytes;  // of the layer in a page
};

SlotPages slot_pages(const CacheLayout& layout, const KvSlotSpec& spec) {
  const KvSlot slot = layout.slot(spec.path, spec.kind);
  const KvGroup& group = layout.groups()[static_cast<std::size_t>(slot.group)];
  return {slot.group, slot.page_offset, group.page_bytes / group.layers};
}

/// sequence:slots(): names of its layers' keys and values, which do not hang on devices.
int sequence_slots(lua_State* L) {
  std::vector<std::string> names;
  for (const KvSlotSpec& spec : self<SequencePointer>(L, "slots")->cache()->layout().slots()) {
    names.push_back(spec.path + (spec.kind == KvKind::self ? ".self" : ".cross"));
  }
  push_list(L, names);
  return 1;
}

/// sequence:pages(slot): a layer's bytes of the pages that are there as u8 [page, byte], for files.
int sequence_pages(lua_State* L) {
  const auto sequence = self<SequencePointer>(L, "pages");
  const CacheLayout& layout = sequence->cache()->layout();
  const std::int64_t slot =
      to_position(to_integer(L, 2, "pages", "slot"),
                  static_cast<std::int64_t>(layout.slots().size()), "pages", "slot");
  const SlotPages of = slot_pages(layout, layout.slots()[static_cast<std::size_t>(slot)]);
  sequence->expect_idle("save");
  const auto& pages = sequence->pages(of.group);
  const std::int64_t held = sequence->pages_held(of.group);
  const std::size_t first = pages.size() - static_cast<std::size_t>(held);
  const Shape shape{Axis{"page", held, 0}, Axis{"byte", of.bytes, 0}};
  Tensor made = Tensor::zeros(state(L).context, DType::u8, shape);
  auto* to = made.as<std::byte>();
  Device& device = *sequence->cache()->device(of.group);
  for (std::size_t i = first; i < pages.size(); ++i) {
    device.copy_out(to, static_cast<const std::byte*>(pages[i]) + of.offset,
                    static_cast<std::size_t>(of.bytes));
    to += of.bytes;
  }
  push_value(L, Value::of(std::move(made)));
  return 1;
}

Error wrong_file(const std::string& what) {
  return Error(ErrorCode::format, "cache_load", "the file does not fit: " + what);
}

/// The pages of a group that a file's sequence of `length` had given back; -1: it does not fit.
std::int64_t missing_pages(const CacheLayout& layout, const SlotPages& of, std::int64_t length,
                           const Tensor& stored) {
  const Shape& shape = stored.shape();
  const KvGroup& group = layout.groups()[static_cast<std::size_t>(of.group)];
  const std::int64_t all = group.kind == KvKind::self ? layout.pages_for(length) : 0;
  const bool good = stored.dtype() == DType::u8 && shape.rank() == 2 && shape.size(1) == of.bytes;
  const std::int64_t missing = good ? all - shape.size(0) : -1;
  return missing <= layout.first_page(of.group, length) ? missing : -1;
}

/// sequence:restore(length, { pages of every slot }, made_for): an empty sequence as it was in a
/// file.
int sequence_restore(lua_State* L) {
  const auto sequence = self<SequencePointer>(L, "restore");
  const std::int64_t length = to_integer(L, 2, "restore", "length");
  const auto stored = to_tensors(L, 3, "restore", "pages");
  const CacheLayout& layout = sequence->cache()->layout();
  if (sequence->length() != 0 || length < 0) throw wrong_file("its length");
  if (stored.size() != layout.slots().size()) throw wrong_file("the number of its layers");
  std::vector<SlotPages> slots;
  std::vector<std::int64_t> skipped(layout.groups().size(), -1);  // of each group
  for (std::size_t s = 0; s < stored.size(); ++s) {
    const SlotPages& of = slots.emplace_back(slot_pages(layout, layout.slots()[s]));
    const std::int64_t missing = missing_pages(layout, of, length, stored[s]);
    std::int64_t& known = skipped[static_cast<std::size_t>(of.group)];
    if (missing < 0 || (known >= 0 && known != missing)) throw wrong_file("the size of its pages");
    if (known < 0) sequence->skip_pages(of.group, missing);
    known = missing;
  }
  sequence->set_made_for(lua_isnoneornil(L, 4) ? length : to_integer(L, 4, "restore", "made for"));
  if (!sequence->reserve(length)) {
    throw Error(
        ErrorCode::memory, "cache_load",
        "no room for " + std::to_string(length) + " positions among the model's keys and values");
  }
  for (std::size_t s = 0; s < stored.size(); ++s) {
    const SlotPages& of = slots[s];
    Device& device = *sequence->cache()->device(of.group);
    const auto& pages = sequence->pages(of.group);
    const auto held = static_cast<std::size_t>(stored[s].shape().size(0));
    const Tensor whole = stored[s].to(state(L).context->cpu_device()).copy();
    const auto* from = whole.as<std::byte>();
    for (std::size_t i = pages.size() - held; i < pages.size(); ++i) {
      device.copy_in(static_cast<std::byte*>(pages[i]) + of.offset, from,
                     static_cast<std::size_t>(of.bytes));
      from += of.bytes;
    }
  }
  sequence->commit(length);
  return 0;
}

/// sequence:publish(plan, ids, adapter): lets prompts that begin with these ids, which it holds as
/// that adapter made them, find it.
int sequence_publish(lua_State* L) {
  const auto sequence = self<SequencePointer>(L, "publish");
  const auto& plan = check_object<PlanObject>(L, 2, "publish", "plan").plan;
  const std::vector<std::int32_t> ids = to_ids(L, 3, "publish", "ids");
  const std::int64_t adapter = lua_isnoneornil(L, 4) ? 0 : to_integer(L, 4, "publish", "adapter");
  sequence->publish(
      {plan, plan->program().key_length(sequence->made_for()), static_cast<std::uint64_t>(adapter)},
      ids, true);
  return 0;
}

int sequence_bytes(lua_State* L) {
  push_integer(L, self<SequencePointer>(L, "bytes")->bytes());
  return 1;
}

}  // namespace

void add_cache(lua_State* L) {
  constexpr Member kFunctions[] = {{"cache", guarded<make_cache>}};
  set_functions(L, kFunctions);
  constexpr Member kMethods[] = {
      {"sequence", guarded<pool_sequence>},
      {"used", guarded<pool_used>},
      {"kept", guarded<pool_kept>},
      {"forget", guarded<pool_forget>},
      {"free_pages", guarded<pool_free_pages>},
      {"bytes_for", guarded<pool_bytes_for>},
  };
  constexpr Member kGetters[] = {
      {"budget", guarded<pool_budget>},
      {"bytes_per_token", guarded<pool_bytes_per_token>},
      {"page_tokens", guarded<pool_page_tokens>},
      {"dtype", guarded<pool_dtype>},
  };
  register_type<CachePointer>(L, kMethods, kGetters);
  constexpr Member kSequenceMethods[] = {
      {"fork", guarded<sequence_fork>},
      {"crop", guarded_once<sequence_crop>},
      {"can_crop", guarded<sequence_can_crop>},
      {"clear", guarded_once<sequence_clear>},
      {"bytes", guarded<sequence_bytes>},
      {"slots", guarded<sequence_slots>},
      {"publish", guarded_once<sequence_publish>},
      {"pages", guarded<sequence_pages>},
      {"restore", guarded_once<sequence_restore>},
  };
  constexpr Member kSequenceGetters[] = {
      {"length", guarded<sequence_length>},
      {"made_for", guarded<sequence_made_for>},
      {"cross_length", guarded<sequence_cross_length>},
  };
  register_type<SequencePointer>(L, kSequenceMethods, kSequenceGetters);
}

}  // namespace perilune::lua
