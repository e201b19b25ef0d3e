#include "tests/kernels/kernel_test.h"

using namespace kernel_test;

namespace {

constexpr DType kTypes[] = {DType::f32, DType::f16, DType::bf16, DType::i32,
                            DType::i64, DType::u8,  DType::i8,   DType::boolean};

/// Small whole numbers, which every type holds, as that type. Values are not negative.
struct Numbers {
  std::vector<double> values;
  std::vector<char> bytes;
};

void put(std::vector<char>& bytes, std::size_t index, DType dtype, double value) {
  const auto store = [&](auto typed) {
    std::memcpy(bytes.data() + index * sizeof(typed), &typed, sizeof(typed));
  };
  switch (dtype) {
    case DType::f32: return store(static_cast<float>(value));
    case DType::f16: return store(f32_to_f16(static_cast<float>(value)));
    case DType::bf16: return store(f32_to_bf16(static_cast<float>(value)));
    case DType::i32: return store(static_cast<std::int32_t>(value));
    case DType::i64: return store(static_cast<std::int64_t>(value));
    case DType::u8: return store(static_cast<std::uint8_t>(value));
    case DType::i8: return store(static_cast<std::int8_t>(value));
    case DType::boolean: return store(static_cast<std::uint8_t>(value != 0));
  }
}

double get(const std::vector<char>& bytes, std::size_t index, DType dtype) {
  const auto load = [&](auto typed) {
    std::memcpy(&typed, bytes.data() + index * sizeof(typed), sizeof(typed));
    return typed;
  };
  switch (dtype) {
    case DType::f32: return static_cast<double>(load(float{}));
    case DType::f16: return static_cast<double>(f16_to_f32(load(std::uint16_t{})));
    case DType::bf16: return static_cast<double>(bf16_to_f32(load(std::uint16_t{})));
    case DType::i32: return load(std::int32_t{});
    case DType::i64: return static_cast<double>(load(std::int64_t{}));
    case DType::u8: return load(std::uint8_t{});
    case DType::i8: return load(std::int8_t{});
    case DType::boolean: return load(std::uint8_t{});
  }
  return 0;
}

Numbers make_numbers(std::size_t count, DType dtype, std::uint64_t seed) {
  Random random(seed);
  Numbers numbers;
  numbers.bytes.resize(count * dtype_size(dtype));
  for (std::size_t i = 0; i < count; ++i) {
    numbers.values.push_back(static_cast<double>(random.below(dtype == DType::boolean ? 2 : 9)));
    put(numbers.bytes, i, dtype, numbers.values.back());
  }
  return numbers;
}

double reference_binary(Binary op, double a, double b) {
  switch (op) {
    case Binary::add: return a + b;
    case Binary::subtract: return a - b;
    case Binary::multiply: return a * b;
    case Binary::divide: return a / b;
    case Binary::minimum: return std::min(a, b);
    case Binary::maximum: return std::max(a, b);
    case Binary::power: return std::pow(a, b);
    case Binary::less: return a < b;
    case Binary::less_equal: return a <= b;
    case Binary::greater: return a > b;
    case Binary::greater_equal: return a >= b;
    case Binary::equal: return a == b;
    case Binary::not_equal: return a != b;
    case Binary::logical_and: return a != 0 && b != 0;
    case Binary::logical_or: return a != 0 || b != 0;
  }
  return 0;
}

std::vector<float> floats(const std::vector<char>& bytes) {
  std::vector<float> result(bytes.size() / sizeof(float));
  std::memcpy(result.data(), bytes.data(), bytes.size());
  return result;
}

}  // namespace

TEST_CASE("binary operations over every pair of types, broadcast and transposed") {
  // out [3, 5, 300], a [3, 1, 300] broadcast, b stored [300, 5, 3].
  constexpr std::size_t kCount = 3 * 5 * 300;
  for (const KernelTable* table : tables_under_test())
    for (int op = 0; op <= static_cast<int>(Binary::logical_or); ++op)
      for (const DType left : kTypes)
        for (const DType right : kTypes) {
          Numbers a = make_numbers(3 * 300, left, 1), b = make_numbers(kCount, right, 2);
          std::vector<char> out(kCount * sizeof(float));
          BinaryArguments arguments = {};
          arguments.op = static_cast<Binary>(op);
          arguments.rank = 3;
          arguments.sizes[0] = 3;
          arguments.sizes[1] = 5;
          arguments.sizes[2] = 300;
          arguments.out = {out.data(), DType::f32, {1500, 300, 1}};
          arguments.a = {a.bytes.data(), left, {300, 0, 1}};
          arguments.b = {b.bytes.data(), right, {1, 3, 15}};
          table->binary(launch_of(2), arguments);
          std::vector<double> expected;
          for (std::size_t i = 0; i < 3; ++i)
            for (std::size_t j = 0; j < 5; ++j)
              for (std::size_t k = 0; k < 300; ++k)
                expected.push_back(reference_binary(arguments.op, a.values[i * 300 + k],
                                                    b.values[i + 3 * j + 15 * k]));
          if (difference(floats(out), expected) > 1e-6)
            FAIL(table->tier << " op " << op << " " << dtype_name(left) << " "
                             << dtype_name(right));
        }
}

TEST_CASE("a number beside a tensor is as a tensor of it, and nothing is read where it was") {
  std::vector<float> floats_in = Random(4).values(300);
  std::vector<std::int64_t> whole_in;
  for (std::int64_t i = 0; i < 300; ++i) whole_in.push_back(i - 150);
  for (const KernelTable* table : tables_under_test())
    for (int op = 0; op <= static_cast<int>(Binary::logical_or); ++op)
      for (const bool whole : {false, true})
        for (const bool first : {false, true})
          for (const std::int64_t count : {1, 300}) {
            float number = 2.5f;
            std::int64_t integer = (std::int64_t{1} << 40) + 3;
            const DType dtype = whole ? DType::i64 : DType::f32;
            Strided x = {floats_in.data(), dtype, {1}}, y = {&number, dtype, {0}};
            if (whole) x.data = whole_in.data(), y.data = &integer;
            std::vector<std::int64_t> out[2];
            for (const bool given : {false, true}) {
              out[given].assign(static_cast<std::size_t>(count), -1);
              BinaryArguments arguments = {};
              arguments.op = static_cast<Binary>(op);
              arguments.rank = 1;
              arguments.sizes[0] = count;
              arguments.out = {out[given].data(), dtype, {1}};
              if (given) y.data = nullptr;
              arguments.a = first ? y : x;
              arguments.b = first ? x : y;
              arguments.number = whole ? static_cast<double>(integer) : 2.5;
              table->binary(launch_of(2), arguments);
            }
            INFO(table->tier << " op " << op << " " << dtype_name(dtype) << " first " << first);
            CHECK(out[0] == out[1]);
          }
}

TEST_CASE("whole numbers stay exact in i64") {
  for (const KernelTable* table : tables_under_test()) {
    std::vector<std::int64_t> a = {(std::int64_t{1} << 53) + 1, -7}, b = {2, 3}, out(2);
    BinaryArguments arguments = {};
    arguments.op = Binary::add;
    arguments.rank = 1;
    arguments.sizes[0] = 2;
    arguments.out = {out.data(), DType::i64, {1}};
    arguments.a = {a.data(), DType::i64, {1}};
    arguments.b = {b.data(), DType::i64, {1}};
    table->binary(launch_of(1), arguments);
    CHECK(out[0] == (std::int64_t{1} << 53) + 3);
    CHECK(out[1] == -4);
    UnaryArguments unary = {};
    unary.op = Unary::negate;
    unary.rank = 1;
    unary.sizes[0] = 2;
    unary.out = arguments.out;
    unary.x = arguments.a;
    table->unary(launch_of(1), unary);
    CHECK(out[0] == -(std::int64_t{1} << 53) - 1);
    CHECK(out[1] == 7);
  }
}

TEST_CASE("minimum and maximum keep a NaN") {
  for (const KernelTable* table : tables_under_test())
    for (const Binary op : {Binary::minimum, Binary::maximum}) {
      std::vector<float> a = {NAN, 1}, b = {1, NAN}, out(2);
      BinaryArguments arguments = {};
      arguments.op = op;
      arguments.rank = 1;
      arguments.sizes[0] = 2;
      arguments.out = {out.data(), DType::f32, {1}};
      arguments.a = {a.data(), DType::f32, {1}};
      arguments.b = {b.data(), DType::f32, {1}};
      table->binary(launch_of(1), arguments);
      CHECK(std::isnan(out[0]));
      CHECK(std::isnan(out[1]));
    }
}

TEST_CASE("copies convert between all types, and where chooses") {
  constexpr std::size_t kCount = 700;
  for (const KernelTable* table : tables_under_test())
    for (const DType from : kTypes)
      for (const DType to : kTypes) {
        Numbers x = make_numbers(kCount, from, 3), other = make_numbers(kCount, from, 4);
        Numbers condition = make_numbers(kCount, DType::boolean, 5);
        std::vector<char> out(kCount * dtype_size(to)), chosen(out.size());
        CopyArguments copy = {};
        copy.rank = 2;
        copy.sizes[0] = 7;
        copy.sizes[1] = 100;
        copy.out = {out.data(), to, {100, 1}};
        copy.x = {x.bytes.data(), from, {1, 7}};
        table->copy(launch_of(2), copy);
        WhereArguments where = {};
        where.rank = 1;
        where.sizes[0] = kCount;
        where.out = {chosen.data(), to, {1}};
        where.condition = {condition.bytes.data(), DType::boolean, {1}};
        where.a = {x.bytes.data(), from, {1}};
        where.b = {other.bytes.data(), from, {1}};
        table->where(launch_of(2), where);
        const auto as = [&](double v) { return to == DType::boolean ? v != 0 : v; };
        for (std::size_t i = 0; i < kCount; ++i) {
          const double source = condition.values[i] != 0 ? x.values[i] : other.values[i];
          if (get(out, i, to) != as(x.values[i / 100 + i % 100 * 7]) ||
              get(chosen, i, to) != as(source))
            FAIL(table->tier << " " << dtype_name(from) << " to " << dtype_name(to));
        }
      }
}

TEST_CASE("floats to integers truncate toward zero and stop at the ends") {
  for (const KernelTable* table : tables_under_test()) {
    std::vector<float> x = {1.9f, -1.9f, 300.0f, -300.0f, NAN, 0.5f};
    std::vector<std::int8_t> out(6);
    std::vector<std::uint8_t> truth(6);
    CopyArguments a = {};
    a.rank = 1;
    a.sizes[0] = 6;
    a.x = {x.data(), DType::f32, {1}};
    a.out = {out.data(), DType::i8, {1}};
    table->copy(launch_of(1), a);
    CHECK(out == std::vector<std::int8_t>{1, -1, 127, -128, 0, 0});
    a.out = {truth.data(), DType::boolean, {1}};
    table->copy(launch_of(1), a);
    CHECK(truth == std::vector<std::uint8_t>{1, 1, 1, 1, 1, 1});
  }
}

TEST_CASE("unary operations in every float type") {
  for (const KernelTable* table : tables_under_test())
    for (const DType dtype : {DType::f32, DType::f16, DType::bf16})
      for (int op = 0; op <= static_cast<int>(Unary::logical_not); ++op) {
        constexpr std::size_t kCount = 600;
        Random random(9);
        std::vector<char> x(kCount * dtype_size(dtype)), out(kCount * sizeof(float));
        for (std::size_t i = 0; i < kCount; ++i)
          put(x, i, dtype, static_cast<double>(std::fabs(random.value(4.0f))) + 0.01);
        if (op == static_cast<int>(Unary::logical_not)) put(x, 5, dtype, 0);
        UnaryArguments a = {};
        a.op = static_cast<Unary>(op);
        a.rank = 1;
        a.sizes[0] = kCount;
        a.x = {x.data(), dtype, {1}};
        a.out = {out.data(), DType::f32, {1}};
        table->unary(launch_of(2), a);
        std::vector<double> expected;
        for (std::size_t i = 0; i < kCount; ++i) {
          const double v = get(x, i, dtype);
          const double results[] = {std::exp(v),
                                    std::log(v),
                                    std::sqrt(v),
                                    std::tanh(v),
                                    std::fabs(v),
                                    -v,
                                    reference_activation(Activation::gelu, v),
                                    reference_activation(Activation::gelu_tanh, v),
                                    reference_activation(Activation::quick_gelu, v),
                                    v,
                                    reference_activation(Activation::silu, v),
                                    reference_activation(Activation::sigmoid, v),
                                    std::erf(v),
                                    1 / v,
                                    std::floor(v),
                                    0,
                                    0,
                                    v == 0 ? 1.0 : 0.0};
          expected.push_back(results[op]);
        }
        INFO(table->tier << " op " << op << " " << dtype_name(dtype));
        CHECK(difference(floats(out), expected) < 1e-6);
      }
}

TEST_CASE("exp and erf over their whole range") {
  for (const KernelTable* table : tables_under_test())
    for (const Unary op : {Unary::exp, Unary::erf, Unary::tanh}) {
      std::vector<float> x, out;
      for (float v = -100.0f; v < 89.5f; v += 0.0131f) x.push_back(v);
      for (float v = -3.0f; v < 3.0f; v += 0.00037f) x.push_back(v);
      x.insert(x.end(), {0.0f, INFINITY, -INFINITY, NAN});
      out.resize(x.size());
      UnaryArguments a = {};
      a.op = op;
      a.rank = 1;
      a.sizes[0] = static_cast<std::int64_t>(x.size());
      a.x = {x.data(), DType::f32, {1}};
      a.out = {out.data(), DType::f32, {1}};
      table->unary(launch_of(1), a);
      double worst = 0;
      for (std::size_t i = 0; i < x.size() - 4; ++i) {
        const double v = static_cast<double>(x[i]);
        const double expected = op == Unary::exp   ? std::exp(v)
                                : op == Unary::erf ? std::erf(v)
                                                   : std::tanh(v);
        if (static_cast<float>(expected) == out[i]) continue;
        // Below 2^-125 or so, zero is as good.
        worst = std::max(worst, std::fabs(static_cast<double>(out[i]) - expected) /
                                    std::max(std::fabs(expected), 1e-30));
      }
      INFO(table->tier << " op " << static_cast<int>(op));
      CHECK(worst < 5e-7);
      const std::size_t at = x.size() - 4;
      CHECK(out[at] == (op == Unary::exp ? 1.0f : 0.0f));
      CHECK(out[at + 1] == (op == Unary::exp ? INFINITY : 1.0f));
      CHECK(out[at + 2] == (op == Unary::exp ? 0.0f : -1.0f));
      CHECK(std::isnan(out[at + 3]));
    }
}

TEST_CASE("slices are copied at every alignment, and nothing beside them") {
  constexpr std::int64_t kRows = 3, kPitch = 70;
  for (const KernelTable* table : tables_under_test())
    for (const DType dtype : kTypes)
      for (const std::int64_t from : {0, 1, 2, 4, 5, 8})
        for (const std::int64_t to : {0, 1, 4, 16})
          for (const std::int64_t width : {0, 1, 7, 16, 48}) {
            const Numbers x = make_numbers(kRows * kPitch, dtype, 6);
            Numbers out = make_numbers(kRows * kPitch, dtype, 7);
            std::vector<char> expected = out.bytes;
            const auto size = static_cast<std::int64_t>(dtype_size(dtype));
            for (std::int64_t r = 0; r < kRows; ++r)
              std::copy_n(x.bytes.begin() + (r * kPitch + from) * size, width * size,
                          expected.begin() + (r * kPitch + to) * size);
            CopyArguments a = {};
            a.rank = 2;
            a.sizes[0] = kRows;
            a.sizes[1] = width;
            a.out = {out.bytes.data() + to * size, dtype, {kPitch, 1}};
            a.x = {const_cast<char*>(x.bytes.data()) + from * size, dtype, {kPitch, 1}};
            table->copy(launch_of(1), a);
            if (out.bytes != expected)
              FAIL(table->tier << " " << dtype_name(dtype) << " from " << from << " to " << to
                               << " width " << width);
          }
}
