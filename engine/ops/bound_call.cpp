#include "engine/ops/bound_call.h"

#include "engine/ops/run_tables.h"

namespace perilune {

namespace {

struct Caller {
  const BoundRun& run;

  void operator()(std::monostate) const {}
  void operator()(const BoundCall::Linear& linear) const {
    run.kernels.linear(run.launch, linear.arguments);
  }
  void operator()(const BoundCall::Norm& norm) const {
    (norm.layer ? run.kernels.layer_norm : run.kernels.rms_norm)(run.launch, norm.arguments);
  }
  void operator()(const kernels::RopeArguments& rope) const { run.kernels.rope(run.launch, rope); }
  void operator()(const kernels::GatedArguments& gated) const {
    run.kernels.gated(run.launch, gated);
  }
  void operator()(BoundCall::KvWrite& write) const {
    set_rows(write, write.arguments);
    run.kernels.kv_write(run.launch, write.arguments);
  }
  void operator()(BoundCall::Attention& attention) const {
    set_rows(attention, attention.arguments);
    run.kernels.attention(run.launch, attention.arguments);
  }

 private:
  template <class Arguments>
  void set_rows(const BoundCall::Kept& kept, Arguments& arguments) const {
    const std::vector<kernels::KvRow>& rows =
        run.kept.rows(kept.number, run.binding, run.axes, run.tables);
    arguments.rows = rows.data();
    arguments.row_count = static_cast<std::int64_t>(rows.size());
  }
};

}  // namespace

std::size_t KeptRows::number(const Key& key) {
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const Key& known = entries_[i].key;
    const bool same = known.slot.group == key.slot.group && known.kind == key.kind &&
                      known.writing == key.writing && known.axis == key.axis;
    if (same) return i;
  }
  entries_.push_back({key});
  return entries_.size() - 1;
}

void KeptRows::begin() {
  for (Entry& entry : entries_) entry.rows = nullptr;
}

const std::vector<kernels::KvRow>& KeptRows::rows(std::size_t number, const PassBinding& binding,
                                                  const AxisRows& axes, RunTables& tables) {
  Entry& entry = entries_[number];
  if (entry.rows == nullptr) {
    const Key& key = entry.key;
    entry.rows =
        &tables.kv_rows(binding, key.slot, key.kind, key.writing, axes.rows(key.axis).identity);
  }
  return *entry.rows;
}

void BoundCall::settle(KeptRows& kept) {
  if (auto* linear = std::get_if<Linear>(&call)) {
    linear->arguments.segments = linear->segments.data();
  } else if (auto* write = std::get_if<KvWrite>(&call)) {
    write->number = kept.number(write->key);
  } else if (auto* attention = std::get_if<Attention>(&call)) {
    attention->number = kept.number(attention->key);
  }
}

void BoundCall::run(const BoundRun& run) {
  std::visit(Caller{run}, call);
}

}  // namespace perilune
