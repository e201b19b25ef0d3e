#include "engine/plan/rank_pass.h"

#include "engine/base/error.h"
#include "engine/device/context.h"

namespace perilune {
namespace {

/// What happened to pages since the last pass.
enum class PageEvent : std::uint8_t { none, made, copied, gone };

// ---------------------------------------------------------------- pools

void put_layout(MessageWriter& to, const CacheLayout& layout) {
  to.put(layout.dtype());
  to.put(layout.page_tokens());
  to.put(static_cast<std::uint64_t>(layout.slots().size()));
  for (const KvSlotSpec& slot : layout.slots()) {
    to.put_text(slot.path);
    to.put(slot.kind);
    to.put(slot.window);
    to.put(slot.kv_heads);
    to.put(slot.head_dim);
  }
}

CacheLayout get_layout(MessageReader& from) {
  const auto dtype = from.get<DType>();
  const auto page_tokens = from.get<std::int64_t>();
  std::vector<KvSlotSpec> slots(static_cast<std::size_t>(from.get<std::uint64_t>()));
  for (KvSlotSpec& slot : slots) {
    slot.path = from.get_text();
    slot.kind = from.get<KvKind>();
    slot.window = from.get<std::int64_t>();
    slot.kv_heads = from.get<std::int64_t>();
    slot.head_dim = from.get<std::int64_t>();
  }
  return CacheLayout(std::move(slots), dtype, page_tokens);
}

/// Writes down what the next pass tells the followers.
class SharedPool final : public PageMirror {
 public:
  SharedPool(std::shared_ptr<RankGroup> group, const CacheLayout& layout)
      : group_(std::move(group)) {
    const auto turn = group_->lock();
    number_ = group_->new_number();
    MessageWriter& to = group_->outgoing();
    to.put(PageEvent::made);
    to.put(number_);
    put_layout(to, layout);
  }
  ~SharedPool() override {
    const auto turn = group_->lock();
    group_->outgoing().put(PageEvent::gone);
    group_->outgoing().put(number_);
  }
  std::int64_t number() const override { return number_; }
  void copied(int group, std::int32_t from, std::int32_t to) override {
    const auto turn = group_->lock();
    MessageWriter& out = group_->outgoing();
    out.put(PageEvent::copied);
    out.put(number_);
    out.put(static_cast<std::int32_t>(group));
    out.put(from);
    out.put(to);
  }

 private:
  std::shared_ptr<RankGroup> group_;
  std::int64_t number_ = 0;
};

// ---------------------------------------------------------------- tensors and rows

void put_tensor(MessageWriter& to, const Tensor& given) {
  const Tensor tensor = given.to(given.context()->cpu_device()).to_contiguous();
  to.put(tensor.dtype());
  to.put(static_cast<std::uint64_t>(tensor.shape().rank()));
  for (const Axis& axis : tensor.shape().axes()) {
    to.put_text(axis.name);
    to.put(axis.size);
  }
  to.put_bytes(tensor.data(), tensor.bytes());
}

Tensor get_tensor(MessageReader& from, const std::shared_ptr<Context>& context) {
  const auto dtype = from.get<DType>();
  std::vector<Axis> axes(static_cast<std::size_t>(from.get<std::uint64_t>()));
  for (Axis& axis : axes) {
    axis.name = from.get_text();
    axis.size = from.get<std::int64_t>();
  }
  Tensor tensor = Tensor::make(context, dtype, Shape(axes));
  from.get_bytes(tensor.data(), tensor.bytes());
  return tensor;
}

std::vector<std::int64_t> lengths_of(const RaggedRows& rows) {
  std::vector<std::int64_t> lengths;
  for (std::int64_t r = 0; r < rows.rows(); ++r) lengths.push_back(rows.length(r));
  return lengths;
}

/// Integers [token] of a batch, by its rows.
std::vector<std::vector<std::int64_t>> by_row(const RaggedRows& rows,
                                              const std::vector<std::int64_t>& values) {
  std::vector<std::vector<std::int64_t>> lists;
  for (std::int64_t r = 0; r < rows.rows(); ++r) {
    const auto first = values.begin() + rows.starts[static_cast<std::size_t>(r)];
    lists.emplace_back(first, first + rows.length(r));
  }
  return lists;
}

void put_batch(MessageWriter& to, const Batch& batch) {
  to.put(static_cast<std::uint8_t>(batch.has_ids()));
  if (batch.has_ids()) {
    to.put(static_cast<std::uint64_t>(batch.size()));
    for (std::int64_t r = 0; r < batch.size(); ++r) {
      const std::vector<std::int32_t> ids = batch.row_ids(r);
      to.put_list(std::span<const std::int32_t>(ids));
    }
  }
  to.put(static_cast<std::uint64_t>(batch.inputs().size()));
  for (const auto& [name, tensor] : batch.inputs()) {
    const auto [axis, rows] = batch.ragged_axis("ranks", tensor);
    const std::vector<std::int64_t> lengths = lengths_of(*rows);
    to.put_text(name);
    to.put_text(rows->axis);
    to.put_list(std::span<const std::int64_t>(lengths));
    put_tensor(to, tensor);
  }
  to.put_list(std::span<const SequenceFacts>(batch.facts()));
  for (const auto& [given, tensor] : {std::pair{batch.has_positions(), &batch.positions()},
                                      std::pair{batch.has_type_ids(), &batch.type_ids()}}) {
    to.put(static_cast<std::uint8_t>(given));
    const auto values = given ? tensor->to_integers() : std::vector<std::int64_t>{};
    to.put_list(std::span<const std::int64_t>(values));
  }
}

std::shared_ptr<const Batch> get_batch(MessageReader& from,
                                       const std::shared_ptr<Context>& context) {
  std::vector<std::vector<std::int32_t>> ids;
  if (from.get<std::uint8_t>() != 0) {
    ids.resize(static_cast<std::size_t>(from.get<std::uint64_t>()));
    for (auto& row : ids) row = from.get_list<std::int32_t>();
  }
  std::vector<BatchInput> inputs(static_cast<std::size_t>(from.get<std::uint64_t>()));
  for (BatchInput& input : inputs) {
    input.name = from.get_text();
    input.axis = from.get_text();
    input.lengths = from.get_list<std::int64_t>();
    input.tensor = get_tensor(from, context);
  }
  auto batch = Batch::make(context, ids, inputs)->with_facts(from.get_list<SequenceFacts>());
  const bool positions = from.get<std::uint8_t>() != 0;
  const auto position_list = from.get_list<std::int64_t>();
  if (positions) batch = batch->with_positions(by_row(batch->rows(), position_list));
  const bool types = from.get<std::uint8_t>() != 0;
  const auto type_list = from.get_list<std::int64_t>();
  if (types) batch = batch->with_type_ids(by_row(batch->rows(), type_list));
  return batch;
}

void put_pages(MessageWriter& to, const PassBinding& binding) {
  const std::vector<SequenceCache*>& caches = binding.caches();
  to.put(static_cast<std::uint8_t>(!caches.empty()));
  if (caches.empty()) return;
  const Cache& pool = *caches.front()->cache();
  if (pool.mirror() == nullptr) {
    throw Error(ErrorCode::internal, "ranks", "a pool of pages that the other ranks do not know");
  }
  to.put(pool.mirror()->number());
  for (std::size_t g = 0; g < pool.layout().groups().size(); ++g) {
    for (const SequenceCache* cache : caches) {
      to.put_list(std::span<const std::int32_t>(cache->page_numbers(static_cast<int>(g))));
    }
  }
  for (std::size_t r = 0; r < caches.size(); ++r) to.put(binding.cross_length(r));
}

}  // namespace

void share_pool(const std::shared_ptr<RankGroup>& group, Cache& pool) {
  pool.set_mirror(std::make_unique<SharedPool>(group, pool.layout()));
}

void send_pass(const Plan& plan, const PassBinding& binding) {
  const RankShare& share = *plan.options().ranks;
  MessageWriter& events = share.group->outgoing();
  MessageWriter to;
  to.put_bytes(events.bytes().data(), events.bytes().size());
  to.put(PageEvent::none);
  to.put(share.model);
  to.put_text(plan.options().rank_key);
  put_batch(to, binding.batch());
  to.put(static_cast<std::uint64_t>(binding.set_inputs().size()));
  for (const auto& [name, tensor] : binding.set_inputs()) {
    const std::vector<std::int64_t> lengths =
        lengths_of(binding.rows(tensor.shape().axis(0).identity));
    to.put_text(name);
    to.put_list(std::span<const std::int64_t>(lengths));
    put_tensor(to, tensor);
  }
  put_pages(to, binding);
  to.put(static_cast<std::uint8_t>(binding.wanted_identity() != 0));
  to.put(static_cast<std::uint8_t>(binding.wanted_identity() == binding.batch().batch_identity()));
  to.put_list(std::span<const std::int64_t>(binding.wanted()));
  to.put_list(std::span<const std::int64_t>(binding.wanted_per_row()));
  events.clear();
  share.group->send(RankMessage::pass, to.bytes());
}

// ---------------------------------------------------------------- following

/// Pages of one pool of rank 0, by its numbers, with this rank's heads in them.
struct RankFollower::Pool {
  CacheLayout layout;
  std::shared_ptr<Device> device;  // of the passes that use it; null before the first
  std::vector<std::unordered_map<std::int32_t, std::unique_ptr<Storage>>> pages;  // per group

  explicit Pool(CacheLayout of) : layout(std::move(of)), pages(layout.groups().size()) {}
  void* page(const std::shared_ptr<Context>& context, std::size_t group, std::int32_t number) {
    std::unique_ptr<Storage>& page = pages[group][number];
    if (page == nullptr) {
      page = std::make_unique<Storage>(context, device,
                                       static_cast<std::size_t>(layout.groups()[group].page_bytes));
    }
    return page->data();
  }
};

RankFollower::RankFollower(std::shared_ptr<Context> context, std::shared_ptr<RankGroup> group)
    : context_(std::move(context)), group_(std::move(group)) {}

RankFollower::~RankFollower() = default;

void RankFollower::forget(std::int64_t model) {
  std::erase_if(plans_, [&](const auto& entry) { return entry.first.first == model; });
}

void RankFollower::follow_pages(MessageReader& message) {
  for (;;) {
    const auto event = message.get<PageEvent>();
    if (event == PageEvent::none) return;
    const auto number = message.get<std::int64_t>();
    if (event == PageEvent::made) {
      pools_[number] = std::make_unique<Pool>(get_layout(message));
    } else if (event == PageEvent::gone) {
      pools_.erase(number);
    } else {
      const auto group = static_cast<std::size_t>(message.get<std::int32_t>());
      const auto from = message.get<std::int32_t>(), to = message.get<std::int32_t>();
      Pool& pool = *pools_.at(number);
      if (pool.device == nullptr) continue;  // nothing has been written yet
      pool.device->copy_inside(pool.page(context_, group, to), pool.page(context_, group, from),
                               static_cast<std::size_t>(pool.layout.groups().at(group).page_bytes));
    }
  }
}

void RankFollower::read_pages(MessageReader& message, const std::shared_ptr<Device>& device,
                              PassBinding& binding) {
  if (message.get<std::uint8_t>() == 0) return;
  Pool& pool = *pools_.at(message.get<std::int64_t>());
  pool.device = device;
  const auto rows = static_cast<std::size_t>(binding.batch().size());
  auto lent = std::make_shared<LentPages>();
  for (std::size_t g = 0; g < pool.layout.groups().size(); ++g) {
    auto& of_group = lent->pages.emplace_back(rows);
    for (std::vector<void*>& pages : of_group) {
      for (const std::int32_t number : message.get_list<std::int32_t>()) {
        pages.push_back(number < 0 ? nullptr : pool.page(context_, g, number));
      }
    }
  }
  for (std::size_t r = 0; r < rows; ++r) lent->cross_lengths.push_back(message.get<std::int64_t>());
  binding.lend_pages(std::move(lent), &pool.layout);
}

std::shared_ptr<PassBinding> RankFollower::read_binding(MessageReader& message, const Plan& plan) {
  auto binding = std::make_shared<PassBinding>(context_, get_batch(message, context_));
  for (auto left = message.get<std::uint64_t>(); left-- > 0;) {
    const std::string name = message.get_text();
    const auto lengths = message.get_list<std::int64_t>();
    const Tensor tensor = get_tensor(message, context_);
    binding->set_input(
        name, tensor,
        RaggedRows::from_lengths(tensor.shape().axis(0).name, context_->new_identity(), lengths));
  }
  read_pages(message, plan.devices()[0], *binding);
  const bool asks = message.get<std::uint8_t>() != 0, last = message.get<std::uint8_t>() != 0;
  const auto wanted = message.get_list<std::int64_t>();
  const auto per_row = message.get_list<std::int64_t>();
  if (asks) binding->set_wanted(wanted, per_row, last);
  return binding;
}

/// Rank 0 runs its own part meanwhile.
void RankFollower::run_pass(std::span<const std::uint8_t> bytes, const FindPlan& find) {
  MessageReader message(bytes);
  std::unique_ptr<Execution> execution;
  bool running = false;
  try {
    follow_pages(message);
    const auto model = message.get<std::int64_t>();
    const std::string key = message.get_text();
    std::shared_ptr<const Plan>& plan = plans_[{model, key}];
    if (plan == nullptr) plan = find(model, key);
    execution = executions_.take(plan);
    execution->bind(read_binding(message, *plan));
    running = true;
    execution->run();
  } catch (const std::exception& error) {
    // Everybody knows already where the run itself has failed.
    if (!running) {
      try {
        group_->together([&] { throw; });
      } catch (const std::exception&) {  // told
      }
    }
  }
  if (execution == nullptr) return;
  execution->release();
  executions_.give(std::move(execution));
}

bool RankFollower::next(std::string& text, const FindPlan& find) {
  std::vector<std::uint8_t> bytes;
  for (;;) {
    switch (group_->receive(bytes)) {
      case RankMessage::pass: run_pass(bytes, find); break;
      case RankMessage::text: text.assign(bytes.begin(), bytes.end()); return true;
      case RankMessage::end: return false;
    }
  }
}

}  // namespace perilune
