#include "engine/ops/bound_call.h"

namespace perilune {

namespace {

struct Caller {
  const kernels::KernelTable& kernels;
  const kernels::Launch& launch;

  void operator()(std::monostate) const {}
  void operator()(const BoundCall::Linear& linear) const {
    kernels::LinearArguments arguments = linear.arguments;
    arguments.segments = linear.segments.data();
    kernels.linear(launch, arguments);
  }
  void operator()(const BoundCall::Norm& norm) const {
    (norm.layer ? kernels.layer_norm : kernels.rms_norm)(launch, norm.arguments);
  }
  void operator()(const kernels::RopeArguments& rope) const { kernels.rope(launch, rope); }
  void operator()(const kernels::GatedArguments& gated) const { kernels.gated(launch, gated); }
};

}  // namespace

void BoundCall::run(const kernels::KernelTable& kernels, const kernels::Launch& launch) const {
  std::visit(Caller{kernels, launch}, call);
}

}  // namespace perilune
