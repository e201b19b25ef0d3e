#include "engine/plan/cut_call.h"

#include <algorithm>

#include "engine/device/context.h"
#include "engine/ops/run_tables.h"

namespace perilune {

namespace {

// A product or a part of one is a fused multiply-add. One thread makes this many in a second where
// a single row meets weights that come from memory; a guess that is too low only looks at the clock
// more often.
constexpr double kProductsPerSecond = 1e9;
constexpr double kLongProducts = 1 << 20;
constexpr double kPartSeconds = 250e-6;      // that are aimed at between two looks at the clock
constexpr double kTokensPart = 1 << 20;      // products
constexpr std::int64_t kTasksPerThread = 4;  // as kernels cut their loops

double products_of(const kernels::LinearArguments& linear, const kernels::LinearSegment* segments) {
  double outputs = 0;
  for (std::int64_t s = 0; s < linear.segment_count; ++s) {
    outputs += static_cast<double>(segments[s].weight.outputs);
  }
  return outputs * static_cast<double>(linear.inputs) * static_cast<double>(linear.rows);
}

const std::vector<kernels::KvRow>& rows_of(const BoundCall::Kept& kept, const BoundRun& run) {
  return run.kept.rows(kept.number, run.binding, run.axes, run.tables);
}

double products_of_token(const kernels::AttentionArguments& attention, const kernels::KvRow& row) {
  return 2.0 * static_cast<double>(row.key_count * attention.heads * attention.layout.head_dim);
}

// Not products, but pages of memory that may be touched for the first time: a millisecond for each
// of two megabytes.
double products_of_token(const kernels::KvWriteArguments& write, const kernels::KvRow&) {
  return 128.0 * static_cast<double>(write.layout.kv_heads * write.layout.head_dim);
}

template <class Arguments>
double products_of(const Arguments& arguments, const std::vector<kernels::KvRow>& rows) {
  double products = 0;
  for (const kernels::KvRow& row : rows) {
    products += products_of_token(arguments, row) * static_cast<double>(row.tokens);
  }
  return products;
}

}  // namespace

void CutCall::reset() {
  begun_ = false;
  done_ = loop_ = 0;
}

bool CutCall::wanted(const BoundCall& call, const BoundRun& run, double deadline) const {
  if (begun_) return true;
  if (deadline >= 1e300) return false;
  double products = 0;
  if (const auto* linear = std::get_if<BoundCall::Linear>(&call.call)) {
    products = products_of(linear->arguments, linear->segments.data());
  } else if (const auto* attention = std::get_if<BoundCall::Attention>(&call.call)) {
    products = products_of(attention->arguments, rows_of(*attention, run));
  } else if (const auto* write = std::get_if<BoundCall::KvWrite>(&call.call)) {
    products = products_of(write->arguments, rows_of(*write, run));
  }
  return products >= kLongProducts && clock_seconds() + products / kProductsPerSecond > deadline;
}

bool CutCall::run(const BoundCall& call, const BoundRun& run, double deadline) {
  begun_ = true;
  bool done = false;
  if (const auto* linear = std::get_if<BoundCall::Linear>(&call.call)) {
    done = run_linear(*linear, run, deadline);
  } else if (const auto* attention = std::get_if<BoundCall::Attention>(&call.call)) {
    done = run_tokens(attention->arguments, rows_of(*attention, run), run, deadline,
                      run.kernels.attention);
  } else {
    const auto& write = std::get<BoundCall::KvWrite>(call.call);
    done = run_tokens(write.arguments, rows_of(write, run), run, deadline, run.kernels.kv_write);
  }
  if (done) reset();
  return done;
}

/// The kernel cuts its loops into tasks as for many threads. Those that are done are passed over
/// when it is called again, with the scratch that they filled.
bool CutCall::run_linear(const BoundCall::Linear& linear, const BoundRun& run, double deadline) {
  constexpr double kTask = 1 << 18, kTaskOfRows = 1 << 21;  // products; rows share a panel
  const kernels::LinearArguments& arguments = linear.arguments;
  const double tasks =
      products_of(arguments, arguments.segments) / (arguments.rows > 8 ? kTaskOfRows : kTask);
  kernels::Launch launch = run.launch;
  threads_ = launch.parallel;
  deadline_ = deadline;
  seen_ = 0;
  ran_ = stopped_ = false;
  wave_ = std::max(threads_.threads, 1);
  launch.parallel.threads =
      static_cast<int>(std::clamp<double>(tasks / static_cast<double>(kTasksPerThread), 2, 1024));
  launch.parallel.host = this;
  launch.parallel.run = [](void* host, std::int64_t count,
                           void (*task)(void* state, std::int64_t index), void* state) {
    static_cast<CutCall*>(host)->run_tasks(count, task, state);
  };
  run.kernels.linear(launch, arguments);
  return !stopped_;
}

/// One parallel loop of the kernel.
void CutCall::run_tasks(std::int64_t tasks, void (*task)(void* state, std::int64_t index),
                        void* state) {
  const std::int64_t loop = seen_++;
  if (stopped_ || loop < loop_) return;
  struct Wave {
    void (*task)(void* state, std::int64_t index);
    void* state;
    std::int64_t first;
  };
  double begin = clock_seconds();
  for (std::int64_t first = done_; first < tasks; first = done_) {
    if (ran_ && begin >= deadline_) {
      stopped_ = true;
      return;
    }
    const std::int64_t count = std::min(wave_, tasks - first);
    Wave wave{task, state, first};
    const auto one = [](void* data, std::int64_t index) {
      const auto& of = *static_cast<Wave*>(data);
      of.task(of.state, of.first + index);
    };
    if (threads_.run != nullptr && threads_.threads > 1 && count > 1) {
      threads_.run(threads_.host, count, one, &wave);
    } else {
      for (std::int64_t i = 0; i < count; ++i) one(&wave, i);
    }
    ran_ = true;
    done_ = first + count;
    const double end = clock_seconds();
    if (end - begin < kPartSeconds / 2) wave_ *= 2;
    if (end - begin > kPartSeconds * 2) wave_ = std::max<std::int64_t>(wave_ / 2, 1);
    begin = end;
  }
  loop_ = loop + 1;
  done_ = 0;
}

/// Some of the tokens at a time, counted through all rows.
template <class Arguments, class Kernel>
bool CutCall::run_tokens(Arguments arguments, const std::vector<kernels::KvRow>& rows,
                         const BoundRun& run, double deadline, Kernel* kernel) {
  std::int64_t all = 0;
  for (const kernels::KvRow& row : rows) all += row.tokens;
  double wanted = kTokensPart * std::max(run.launch.parallel.threads, 1);
  double begin = clock_seconds();
  while (done_ < all) {
    take_part(
        rows, [&](const kernels::KvRow& row) { return products_of_token(arguments, row); }, wanted);
    arguments.rows = part_.data();
    arguments.row_count = static_cast<std::int64_t>(part_.size());
    kernel(run.launch, arguments);
    const double end = clock_seconds();
    if (end - begin < kPartSeconds / 2) wanted *= 2;
    if (end - begin > kPartSeconds * 2) wanted /= 2;
    if (end >= deadline) break;
    begin = end;
  }
  return done_ >= all;
}

/// The next tokens that make so many products together, one at least.
template <class Each>
void CutCall::take_part(const std::vector<kernels::KvRow>& rows, const Each& products_of_one,
                        double wanted) {
  part_.clear();
  std::int64_t before = 0;  // tokens of the rows passed
  for (const kernels::KvRow& row : rows) {
    const std::int64_t from = std::max<std::int64_t>(done_ - before, 0);
    before += row.tokens;
    if (from >= row.tokens) continue;
    const double each = std::max(products_of_one(row), 1.0);
    const auto count = std::clamp<std::int64_t>(static_cast<std::int64_t>(wanted / each),
                                                part_.empty() ? 1 : 0, row.tokens - from);
    if (count == 0) return;
    part_.push_back(
        {row.pages, row.first_token + from, count, row.first_position + from, row.key_count});
    done_ += count;
    wanted -= each * static_cast<double>(count);
    if (from + count < row.tokens) return;
  }
}

}  // namespace perilune
