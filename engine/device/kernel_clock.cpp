#include "engine/device/kernel_clock.h"

#include "engine/device/context.h"

namespace perilune {

namespace {

// Entries are plain functions: the clock they count for is found by their thread.
thread_local KernelClock* running = nullptr;

}  // namespace

template <class... Arguments, void (*kernels::KernelTable::*Entry)(Arguments...)>
struct KernelClock::Timed<Entry> {
  static void call(Arguments... arguments) {
    KernelClock& clock = *running;
    const std::uint64_t begin = ticks();
    (clock.timed_.*Entry)(arguments...);
    clock.in_kernels_ += ticks() - begin;
    ++clock.calls_;
  }
};

std::uint64_t KernelClock::ticks() {
#if defined(__x86_64__)
  // Read when all before it has been done: a kernel's last products still wait for their weights
  // when its call returns, and would count as somebody else's time.
  unsigned int processor = 0;
  return __builtin_ia32_rdtscp(&processor);
#else
  return static_cast<std::uint64_t>(clock_seconds() * 1e9);
#endif
}

KernelClock::KernelClock(const kernels::KernelTable& timed) : timed_(timed), table_(timed) {
  using Table = kernels::KernelTable;
  table_.pack = Timed<&Table::pack>::call;
  table_.unpack_rows = Timed<&Table::unpack_rows>::call;
  table_.linear = Timed<&Table::linear>::call;
  table_.embedding = Timed<&Table::embedding>::call;
  table_.rms_norm = Timed<&Table::rms_norm>::call;
  table_.layer_norm = Timed<&Table::layer_norm>::call;
  table_.rope_table = Timed<&Table::rope_table>::call;
  table_.rope = Timed<&Table::rope>::call;
  table_.kv_write = Timed<&Table::kv_write>::call;
  table_.attention = Timed<&Table::attention>::call;
  table_.attention_weights = Timed<&Table::attention_weights>::call;
  table_.unary = Timed<&Table::unary>::call;
  table_.binary = Timed<&Table::binary>::call;
  table_.where = Timed<&Table::where>::call;
  table_.copy = Timed<&Table::copy>::call;
  table_.reduce = Timed<&Table::reduce>::call;
  table_.softmax = Timed<&Table::softmax>::call;
  table_.cumulative_sum = Timed<&Table::cumulative_sum>::call;
  table_.top = Timed<&Table::top>::call;
  table_.gather_rows = Timed<&Table::gather_rows>::call;
  table_.gated = Timed<&Table::gated>::call;
  table_.matmul = Timed<&Table::matmul>::call;
}

KernelClock::Running::Running(KernelClock& clock) : before_(running) {
  running = &clock;
}

KernelClock::Running::~Running() {
  running = before_;
}

}  // namespace perilune
