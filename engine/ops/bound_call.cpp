#include "engine/ops/bound_call.h"

#include "engine/ops/run_tables.h"

namespace perilune {

namespace {

struct Caller {
  const BoundRun& run;

  void operator()(std::monostate) const {}
  void operator()(const BoundCall::Linear& linear) const {
    kernels::LinearArguments arguments = linear.arguments;
    arguments.segments = linear.segments.data();
    run.kernels.linear(run.launch, arguments);
  }
  void operator()(const BoundCall::Norm& norm) const {
    (norm.layer ? run.kernels.layer_norm : run.kernels.rms_norm)(run.launch, norm.arguments);
  }
  void operator()(const kernels::RopeArguments& rope) const { run.kernels.rope(run.launch, rope); }
  void operator()(const kernels::GatedArguments& gated) const {
    run.kernels.gated(run.launch, gated);
  }
  void operator()(const BoundCall::KvWrite& write) const {
    kernels::KvWriteArguments arguments = write.arguments;
    set_rows(write, true, arguments);
    run.kernels.kv_write(run.launch, arguments);
  }
  void operator()(const BoundCall::Attention& attention) const {
    kernels::AttentionArguments arguments = attention.arguments;
    set_rows(attention, false, arguments);
    run.kernels.attention(run.launch, arguments);
  }

 private:
  template <class Arguments>
  void set_rows(const BoundCall::Kept& kept, bool writing, Arguments& arguments) const {
    const AxisIdentity identity = run.axes.rows(kept.axis).identity;
    const std::vector<kernels::KvRow>& rows =
        run.tables.kv_rows(run.binding, kept.slot, kept.kind, writing, identity);
    arguments.rows = rows.data();
    arguments.row_count = static_cast<std::int64_t>(rows.size());
  }
};

}  // namespace

void BoundCall::run(const BoundRun& run) const {
  std::visit(Caller{run}, call);
}

}  // namespace perilune
