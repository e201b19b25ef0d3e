// What products do beside (LinearFusion), against the entries that do it apart.
#include "tests/kernels/linear_support.h"

using namespace kernel_test;

namespace {

/// A small block of a model: y = x W0 + residual, then rms_norm(y) by a gate and by what it gates.
struct FusedCase {
  const KernelTable& table;
  MathMode math;
  std::int64_t rows, inputs, width, outputs;
  Weight first, gate, up;
  std::vector<float> x, residual, norm_weight, bias;

  FusedCase(const KernelTable& given, MathMode mode, std::int64_t k, std::int64_t n, std::int64_t o)
      : table(given),
        math(mode),
        rows(40),
        inputs(k),
        width(n),
        outputs(o),
        first(make_weight(given, n, k, WeightFormat::bf16, mode, 3)),
        gate(make_weight(given, o, n, WeightFormat::bf16, mode, 4)),
        up(make_weight(given, o, n, WeightFormat::f32, mode, 5)),
        x(Random(6).values(rows * k)),
        residual(Random(7).values(rows * n)),
        norm_weight(Random(8).values(n)),
        bias(Random(9).values(o)) {}

  void multiply(const LinearArguments& a) const {
    Buffer scratch(table.linear_scratch(a, 1));
    table.linear(launch_of(1, &scratch), a);
  }
  LinearArguments product(const float* from, std::int64_t count, std::int64_t k,
                          const LinearSegment* segments, std::int64_t segment_count) const {
    return {from, k, count, k, math, 1.0f, segments, segment_count};
  }
  LinearSegment segment(const Weight& weight, float* out, bool biased = false,
                        Activation activation = Activation::none) const {
    return {weight.matrix, biased ? bias.data() : nullptr, activation, out, weight.outputs};
  }

  struct Results {
    std::vector<float> y, gated, one;
  };
  Results empty(std::int64_t count) const {
    const auto make = [&](std::int64_t n) {
      return std::vector<float>(static_cast<std::size_t>(count * n), NAN);
    };
    return {make(width), make(outputs), make(outputs)};
  }

  /// Each step by its own entry.
  Results apart(std::int64_t begin, std::int64_t count) const {
    Results r = empty(count), more = empty(count);
    std::vector<float> normed(r.y.size());
    const LinearSegment one = segment(first, more.y.data());
    multiply(product(x.data() + begin * inputs, count, inputs, &one, 1));
    BinaryArguments sum = {};
    sum.op = Binary::add;
    sum.rank = 1;
    sum.sizes[0] = count * width;
    sum.out = {r.y.data(), DType::f32, {1}};
    sum.a = {more.y.data(), DType::f32, {1}};
    sum.b = {const_cast<float*>(residual.data() + begin * width), DType::f32, {1}};
    table.binary(launch_of(1), sum);
    table.rms_norm(launch_of(1), {normed.data(), r.y.data(), width, width, count, width,
                                  norm_weight.data(), nullptr, 1.0f, 1e-5f, nullptr, nullptr});
    const LinearSegment both[] = {segment(gate, r.one.data(), true), segment(up, more.one.data())};
    multiply(product(normed.data(), count, width, both, 2));
    table.gated(launch_of(1),
                {r.gated.data(), r.one.data(), more.one.data(), count * outputs, Activation::silu});
    return r;
  }

  /// The same by two products, and the gate alone by a third.
  Results fused(std::int64_t begin, std::int64_t count) const {
    Results r = empty(count);
    std::vector<float> squares(static_cast<std::size_t>(count * width / kSquared), NAN);
    const LinearSegment one = segment(first, r.y.data());
    LinearArguments a = product(x.data() + begin * inputs, count, inputs, &one, 1);
    a.fusion.residual = residual.data() + begin * width;
    a.fusion.squares = squares.data();
    multiply(a);
    const LinearSegment both[] = {segment(gate, r.gated.data(), true, Activation::silu),
                                  segment(up, nullptr)};
    a = product(r.y.data(), count, width, both, 2);
    a.fusion.norm = true;
    a.fusion.norm_weight = norm_weight.data();
    a.fusion.norm_offset = 1.0f;
    a.fusion.norm_epsilon = 1e-5f;
    a.fusion.squares_of_x = squares.data();
    a.fusion.gated = true;
    multiply(a);
    const LinearSegment alone = segment(gate, r.one.data(), true);
    a.segments = &alone;
    a.segment_count = 1;
    a.fusion.gated = false;
    multiply(a);
    return r;
  }
};

}  // namespace

TEST_CASE("what a product does beside has the bits of doing it apart, for a row among any others") {
  const struct {
    std::int64_t inputs, width, outputs;
  } shapes[] = {{40, 16, 24}, {72, 336, 50}, {32, 1040, 16}};
  for (const KernelTable* table : tables_under_test()) {
    if (!table->fuses_products) continue;
    for (const MathMode math : {MathMode::f32, MathMode::bf16})
      for (const auto& shape : shapes) {
        const FusedCase c(*table, math, shape.inputs, shape.width, shape.outputs);
        const FusedCase::Results whole = c.apart(0, c.rows);
        for (const std::int64_t count : {1, 3, 8, 9, 17, 32, 33})
          for (const std::int64_t begin : {std::int64_t{0}, c.rows - count}) {
            INFO(math_name(math) << " rows " << count << " from " << begin << " width "
                                 << shape.width);
            const FusedCase::Results r = c.fused(begin, count);
            const auto rows_of = [&](const std::vector<float>& all, std::int64_t n) {
              return std::vector<float>(all.begin() + begin * n, all.begin() + (begin + count) * n);
            };
            CHECK(same_bits(r.y, rows_of(whole.y, c.width)));
            CHECK(same_bits(r.one, rows_of(whole.one, c.outputs)));
            CHECK(same_bits(r.gated, rows_of(whole.gated, c.outputs)));
          }
      }
  }
}
