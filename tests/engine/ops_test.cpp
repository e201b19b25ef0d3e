// What scripts do with tensors: values, names, views, and the words of every mistake.
#include "engine/program/value_math.h"

#include <cmath>
#include <limits>

#include "engine/ops/shape_op.h"
#include "tests/catch.h"
#include "tests/engine/store_support.h"

using namespace perilune;
using namespace perilune_test;
namespace ops = perilune::tensor_ops;

namespace {

struct Tensors {
  std::shared_ptr<Context> context = Context::make({});

  Tensor floats(const std::vector<float>& values, Shape shape) const {
    return Tensor::from(context, std::span<const float>(values), std::move(shape));
  }
  Tensor integers(const std::vector<std::int64_t>& values, Shape shape) const {
    return Tensor::from(context, std::span<const std::int64_t>(values), std::move(shape));
  }
  /// 0, 1, 2, ... in this shape.
  Tensor range(Shape shape) const {
    std::vector<float> values(static_cast<std::size_t>(shape.elements()));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
    return floats(values, std::move(shape));
  }
  Value value(Shape shape) const { return Value::of(range(std::move(shape))); }
};

std::vector<float> floats_of(const Value& value) {
  return value.tensor.to_floats();
}
std::string text_of(const Value& value) {
  return value.tensor.spec().text();
}

using Floats = std::vector<float>;

}  // namespace

TEST_CASE("elementwise ops align axes by name") {
  const Tensors t;
  const Value a = t.value({{"row", 2}, {"column", 3}});
  const Value b = t.value({{"column", 3}});
  CHECK(floats_of(ops::add(a, b)) == Floats{0, 2, 4, 3, 5, 7});
  CHECK(floats_of(ops::subtract(b, a)) == Floats{0, 0, 0, -3, -3, -3});
  const Value turned = ops::order(a, {"column", "row"});
  CHECK(floats_of(ops::subtract(a, turned)) == Floats(6, 0.0f));
  const Value one = t.value({{"row", 1}, {"column", 3}});
  CHECK(floats_of(ops::multiply(a, one)) == Floats{0, 1, 4, 0, 4, 10});
  CHECK(text_of(ops::binary(kernels::Binary::less, a, b)) == "bool[row=2, column=3]");
  CHECK(floats_of(ops::scalar(kernels::Binary::subtract, b, 1, true)) == Floats{1, 0, -1});
  CHECK(floats_of(ops::clamp(b, 0.5, 1.5)) == Floats{0.5f, 1.0f, 1.5f});
}

TEST_CASE("dtypes of results") {
  const Tensors t;
  const Value i = Value::of(t.integers({3, 4}, {{"x", 2}}));
  CHECK(text_of(ops::scalar(kernels::Binary::add, i, 1)) == "i64[x=2]");
  CHECK(text_of(ops::scalar(kernels::Binary::multiply, i, 0.5)) == "f32[x=2]");
  CHECK(text_of(ops::divide(i, i)) == "f32[x=2]");
  CHECK(text_of(ops::add(i, t.value({{"x", 2}}))) == "f32[x=2]");
  CHECK(text_of(ops::reduce(kernels::Reduce::sum, i, {})) == "i64[]");
  CHECK(ops::reduce(kernels::Reduce::mean, i, {}).tensor.item() == 3.5);
  const std::int64_t big = (std::int64_t{1} << 60) + 1;
  const Value wide = Value::of(t.integers({big}, {{"x", 1}}));
  CHECK(ops::scalar(kernels::Binary::add, wide, 1).tensor.to_integers()[0] == big + 1);
  CHECK(text_of(ops::convert(i, DType::boolean)) == "bool[x=2]");
  CHECK(text_of(ops::unary(kernels::Unary::exp, i)) == "f32[x=2]");
}

TEST_CASE("reductions over named axes") {
  const Tensors t;
  const Value a = t.value({{"row", 2}, {"column", 3}});
  CHECK(floats_of(ops::reduce(kernels::Reduce::sum, a, {"row"})) == Floats{3, 5, 7});
  CHECK(floats_of(ops::reduce(kernels::Reduce::mean, a, {"column"})) == Floats{1, 4});
  CHECK(ops::reduce(kernels::Reduce::maximum, a, {}).tensor.item() == 5);
  const Value best =
      ops::reduce(kernels::Reduce::argmax, ops::order(a, {"column", "row"}), {"row"});
  CHECK(best.tensor.to_integers() == std::vector<std::int64_t>{1, 1, 1});
  CHECK(ops::norm(t.value({{"x", 3}}), {}).tensor.item() == Approx(std::sqrt(5.0)));
  const Value soft = ops::softmax(a, "row");
  CHECK(text_of(soft) == "f32[row=2, column=3]");
  CHECK(floats_of(soft)[0] == Approx(1 / (1 + std::exp(3.0))));
  CHECK(floats_of(ops::cumulative_sum(a, "row")) == Floats{0, 1, 2, 3, 5, 7});
  const auto [values, offsets] = ops::top(a, "column", 2, true);
  CHECK(floats_of(values) == Floats{2, 1, 5, 4});
  CHECK(offsets.tensor.to_integers() == std::vector<std::int64_t>{2, 1, 2, 1});
  CHECK(text_of(ops::top(a, "row", 1, false).first) == "f32[row=1, column=3]");
}

TEST_CASE("products sum over a named axis and keep shared ones") {
  const Tensors t;
  const Value a = t.value({{"row", 2}, {"inner", 3}});
  const Value b = t.value({{"inner", 3}, {"column", 2}});
  const Value product = ops::matmul(a, b, "inner");
  CHECK(text_of(product) == "f32[row=2, column=2]");
  CHECK(floats_of(product) == Floats{10, 13, 28, 40});
  const Value batched = ops::matmul(t.value({{"row", 2}, {"x", 1}, {"inner", 3}}),
                                    t.value({{"row", 2}, {"inner", 3}}), "inner");
  CHECK(text_of(batched) == "f32[row=2, x=1]");
  CHECK(floats_of(batched) == Floats{5, 50});
}

TEST_CASE("views share memory and check their sizes") {
  const Tensors t;
  const Value a = t.value({{"row", 2}, {"column", 6}});
  const Value picked = ops::at(a, {{"column", 4, 1, true}});
  CHECK(floats_of(picked) == Floats{4, 10});
  const Value cut = ops::at(a, {{"column", 1, 2, false}, {"row", 1, 1, true}});
  CHECK(floats_of(cut) == Floats{7, 8});
  CHECK(cut.tensor.storage() == a.tensor.storage());
  const Value split = ops::split_axis(a, "column", {{"head", 3, 0}, {"head_dim", 0, 0}});
  CHECK(text_of(split) == "f32[row=2, head=3, head_dim=2]");
  CHECK(floats_of(ops::at(split, {{"head", 1, 1, true}})) == Floats{2, 3, 8, 9});
  const Value merged = ops::merge(split, {"head", "head_dim"}, "hidden");
  CHECK(text_of(merged) == "f32[row=2, hidden=6]");
  CHECK(merged.tensor.storage() == a.tensor.storage());
  const Value moved =
      ops::merge(ops::order(split, {"row", "head_dim", "head"}), {"head_dim", "head"}, "hidden");
  CHECK(floats_of(moved) == Floats{0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11});
  CHECK(text_of(ops::rename(a, {{"row", "token"}})) == "f32[token=2, column=6]");
  CHECK(floats_of(ops::expand(t.value({{"x", 2}}), "y", 2)) == Floats{0, 1, 0, 1});
  CHECK(text_of(ops::squeeze(t.value({{"x", 1}, {"y", 2}}))) == "f32[y=2]");
}

TEST_CASE("gather and where") {
  const Tensors t;
  const Value a = t.value({{"row", 2}, {"vocab", 3}});
  const Value ids = Value::of(t.integers({2, 0}, {{"pick", 2}}));
  const Value gathered = ops::gather(a, "vocab", ids);
  CHECK(text_of(gathered) == "f32[row=2, pick=2]");
  CHECK(floats_of(gathered) == Floats{2, 0, 5, 3});
  const Value odd = ops::scalar(kernels::Binary::greater, a, 2.5);
  CHECK(floats_of(ops::where(odd, a, ops::scalar(kernels::Binary::multiply, a, -1))) ==
        Floats{0, -1, -2, 3, 4, 5});
}

TEST_CASE("joining, cutting, writing and comparing") {
  const Tensors t;
  const Tensor a = t.range({{"row", 1}, {"x", 2}}), b = t.range({{"row", 2}, {"x", 2}});
  CHECK(ops::cat({a, b}, "row").to_floats() == Floats{0, 1, 0, 1, 2, 3});
  CHECK(ops::stack({a, a}, "batch").spec().text() == "f32[batch=2, row=1, x=2]");
  const auto [cut, lost] = ops::clamp_to_shortest({a, b}, "row");
  CHECK(cut[1].spec().text() == "f32[row=1, x=2]");
  CHECK(lost == std::vector<std::int64_t>{0, 1});
  ops::assign(b.pick(0, 1), 9.0);
  CHECK(b.to_floats() == Floats{0, 1, 9, 9});
  ops::assign(b, b.slice(0, 1, 1));
  CHECK(b.to_floats() == Floats{9, 9, 9, 9});
  CHECK(ops::equal(a, a.copy()));
  CHECK_FALSE(ops::equal(a, t.range({{"row", 1}, {"y", 2}})));
  CHECK(ops::max_difference(a, t.floats({0.5f, 1}, {{"x", 2}, {"row", 1}})) == 0.5);
  CHECK(ops::close(a, a, 0));
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Tensor holes = t.floats({nan, 1}, {{"row", 1}, {"x", 2}});
  CHECK(std::isinf(ops::max_difference(a, holes)));
  CHECK_FALSE(ops::close(a, holes, 1e9));
  CHECK(ops::statistics(holes).nan == 1);
  CHECK(ops::statistics(holes).maximum == 1);
}

TEST_CASE("empty tensors pass through") {
  const Tensors t;
  const Value none = t.value({{"row", 0}, {"x", 3}});
  CHECK(text_of(ops::add(none, t.value({{"x", 3}}))) == "f32[row=0, x=3]");
  CHECK(text_of(ops::softmax(none, "x")) == "f32[row=0, x=3]");
  CHECK(floats_of(ops::reduce(kernels::Reduce::sum, none, {"row"})) == Floats{0, 0, 0});
  CHECK(text_of(ops::matmul(none, t.value({{"y", 2}, {"x", 3}}), "x")) == "f32[row=0, y=2]");
  CHECK_THROWS_AS(ops::reduce(kernels::Reduce::maximum, none, {"row"}), Error);
}

TEST_CASE("mistakes name operation, axes, sizes, place and remedy") {
  const Tensors t;
  const auto message = [](const std::function<void()>& action) { return caught(action).message; };
  CHECK(message([&] {
          ops::split_axis(t.value({{"token", 7}, {"hidden", 257}}), "hidden",
                          {{"head", 8, 0}, {"head_dim", 0, 0}}, "mine.lua:3");
        }) ==
        "split_axis: hidden=257 is not a multiple of head=8: x f32[token=7, hidden=257]; in "
        "mine.lua:3; the parts must multiply to the axis they come from");
  CHECK(message([&] {
          ops::matmul(t.value({{"a", 2}, {"hidden", 4}}), t.value({{"b", 2}, {"hidden", 5}}),
                      "hidden", "mine.lua:4");
        }) ==
        "matmul: inner sizes differ over \"hidden\" (4 vs 5): a f32[a=2, hidden=4], b f32[b=2, "
        "hidden=5]; in mine.lua:4; a:matmul(b, { over=... }) sums over an axis that both have");
  CHECK(message([&] {
          ops::stack({t.range({{"token", 7}}), t.range({{"token", 7}}), t.range({{"token", 5}})},
                     "batch", "mine.lua:5");
        }) ==
        "stack: row 3 has token=5, rows 1-2 have 7: row 1 f32[token=7] cpu, row 3 f32[token=5] "
        "cpu; in mine.lua:5; use pl.batch(rows):padded{side=\"left\"}, cut with "
        "pl.clamp_to_shortest(rows, \"token\"), or keep it ragged with pl.batch(rows)");
  CHECK(message([&] {
          ops::cat({t.range({{"batch", 2}, {"token", 10}}), t.range({{"batch", 2}, {"token", 12}})},
                   "batch", "mine.lua:6");
        }) ==
        "cat: batch: every other axis must agree: tensor 2 has token=12, tensor 1 has token=10: "
        "tensor 1 f32[batch=2, token=10] cpu, tensor 2 f32[batch=2, token=12] cpu; in mine.lua:6; "
        "pad both with batch:pad, cut with pl.clamp_to_shortest(list, \"token\"), or keep them "
        "ragged in one pl.batch");
  CHECK(message([&] {
          ops::at(t.value({{"head", 8}}), {{"head", 8, 1, true}}, "mine.lua:7");
        }) == "at: head=9 is out of range: x f32[head=8]; in mine.lua:7; head goes from 1 to 8");
  CHECK(message([&] {
          ops::at(t.value({{"vocab", 8}}), {{"vocab", 8, 1, true}});
        }) == "at: vocab=8 is out of range: x f32[vocab=8]; vocab goes from 0 to 7");
  CHECK(message([&] {
          ops::softmax(t.value({{"hidden", 8}}), "hiden", false, "mine.lua:8");
        }) ==
        "softmax: there is no axis \"hiden\": shape [hidden=8]; in mine.lua:8; did you mean "
        "\"hidden\"?");
  CHECK(message([&] {
          ops::gather(t.value({{"row", 2}}), "row", Value::of(t.integers({2}, {{"i", 1}})));
        }) == "gather: row=3 (index 1) is out of range: x f32[row=2] cpu");
  CHECK(message([&] {
          ops::top(t.value({{"x", 2}}), "x", 3, true);
        }) == "topk: 3 of x=2 were asked for: x f32[x=2]");
  CHECK(message([&] {
          ops::order(t.value({{"a", 2}, {"b", 2}}), {"b"});
        }) == "order: names 1 of 2 axes: x f32[a=2, b=2]; name every axis once");
  CHECK(message([&] {
          ops::assign(t.range({{"x", 2}}).as_read_only(), 1.0);
        }) ==
        "set: this tensor is read-only: tensor f32[x=2] cpu; weights, caches and expanded views "
        "are never written; :copy() it first");
  CHECK(message([&] {
          ops::where(t.value({{"x", 2}}), t.value({{"x", 2}}), t.value({{"x", 2}}));
        }).find("where: the condition must be bool") == 0);
}

TEST_CASE("a product ends between its parts when it is interrupted") {
  Tensors t;
  const Value a = t.value({{"x", 2}, {"inner", 3}}), b = t.value({{"y", 2}, {"inner", 3}});
  t.context->interrupt();
  CHECK(caught([&] { ops::matmul(a, b, "inner"); }).code == ErrorCode::cancelled);
  t.context->clear_interrupt();
  CHECK(text_of(ops::matmul(a, b, "inner")) == "f32[x=2, y=2]");
}
