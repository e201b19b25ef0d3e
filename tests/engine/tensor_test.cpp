#include "engine/tensor/tensor.h"

#include <numeric>

#include "tests/catch.h"
#include "tests/engine/store_support.h"

using namespace perilune;
using perilune_test::caught;

namespace {

std::shared_ptr<Context> context() {
  return Context::make({.threads = 1});
}

/// 0, 1, 2, ... over the axes a, b, c.
Tensor counting(const std::shared_ptr<Context>& owner, std::int64_t a, std::int64_t b,
                std::int64_t c) {
  std::vector<float> values(static_cast<std::size_t>(a * b * c));
  std::iota(values.begin(), values.end(), 0.0f);
  return Tensor::from(owner, values, Shape{{"a", a, 0}, {"b", b, 0}, {"c", c, 0}});
}

using Floats = std::vector<float>;

}  // namespace

TEST_CASE("a tensor holds what it was made from") {
  const auto owner = context();
  const Tensor t = counting(owner, 2, 3, 4);
  CHECK(t.describe() == "f32[a=2, b=3, c=4] cpu");
  CHECK(t.contiguous());
  CHECK(t.bytes() == 96);
  CHECK(t.to_floats()[23] == 23.0f);
  const std::vector<std::int64_t> big = {std::int64_t{1} << 53, -1};
  CHECK(Tensor::from(owner, big, Shape{{"x", 2, 0}}).to_integers() == big);
  CHECK(Tensor::zeros(owner, DType::i32, Shape{{"x", 3, 0}}).to_integers() ==
        std::vector<std::int64_t>{0, 0, 0});
  const auto wrong = caught([&] { Tensor::from(owner, Floats{1, 2, 3}, Shape{{"x", 4, 0}}); });
  CHECK(wrong.message == "tensor: 3 values do not fill [x=4]; it holds 4");
  CHECK(Tensor().describe() == "nothing");
  CHECK(caught([] { Tensor().data(); }).code == ErrorCode::internal);
}

TEST_CASE("views alias the tensor's bytes") {
  const auto owner = context();
  const Tensor t = counting(owner, 2, 3, 4);
  const Tensor row = t.pick(0, 1).pick(0, 2);
  CHECK(row.shape().text() == "[c=4]");
  CHECK(row.to_floats() == Floats{20, 21, 22, 23});
  const Tensor middle = t.slice(1, 1, 1);
  CHECK(middle.shape().text() == "[a=2, b=1, c=4]");
  CHECK_FALSE(middle.contiguous());
  CHECK(middle.to_floats() == Floats{4, 5, 6, 7, 16, 17, 18, 19});
  row.as<float>()[0] = 99;
  CHECK(t.to_floats()[20] == 99);
  CHECK(t.pick(2, 0).to_floats() == Floats{0, 4, 8, 12, 16, 99});
  CHECK(caught([&] { t.slice(1, 2, 2); }).code == ErrorCode::argument);
  CHECK(caught([&] { t.slice(1, -1, 2); }).code == ErrorCode::argument);
  CHECK(caught([&] { t.slice(1, 1, INT64_MAX); }).code == ErrorCode::argument);
  CHECK(caught([&] { t.pick(0, 2); }).has("element 2 of axis \"a\" does not exist"));
}

TEST_CASE("axes can be permuted") {
  const auto owner = context();
  const Tensor t = counting(owner, 2, 3, 4);
  const std::vector<int> order = {2, 0, 1};
  const Tensor p = t.permute(order);
  CHECK(p.shape().text() == "[c=4, a=2, b=3]");
  CHECK(p.to_floats()[1] == 4);   // c=0, a=0, b=1
  CHECK(p.to_floats()[3] == 12);  // c=0, a=1, b=0
  CHECK(p.to_contiguous().contiguous());
  CHECK(p.to_contiguous().to_floats() == p.to_floats());
  const std::vector<int> repeated = {0, 0, 1}, few = {0, 1};
  CHECK(caught([&] { t.permute(repeated); }).code == ErrorCode::argument);
  CHECK(caught([&] { t.permute(few); }).code == ErrorCode::argument);
}

TEST_CASE("axes split and merge without a copy where strides allow") {
  const auto owner = context();
  const Tensor t = counting(owner, 2, 3, 4);
  CHECK(t.with_shape(Shape{{"a", 6, 0}, {"c", 4, 0}}).pick(0, 5).to_floats() ==
        Floats{20, 21, 22, 23});
  const std::vector<int> order = {1, 0, 2};
  const Tensor p = t.permute(order);  // [b, a, c]: c can split, b and a cannot merge
  const Tensor split =
      p.with_shape(Shape{{"b", 3, 0}, {"a", 2, 0}, {"d", 2, 0}, {"one", 1, 0}, {"e", 2, 0}});
  CHECK(split.data() == p.data());
  CHECK(split.to_floats() == p.to_floats());
  CHECK(caught([&] { p.with_shape(Shape{{"x", 6, 0}, {"c", 4, 0}}); }).has("copy() it first"));
  CHECK(caught([&] { t.with_shape(Shape{{"x", 5, 0}}); }).has("24 elements do not fill [x=5]"));
  const Tensor part = t.slice(2, 0, 2);  // a and b merge, c does not join them
  const Tensor merged = part.with_shape(Shape{{"ab", 6, 0}, {"c", 2, 0}});
  CHECK(merged.data() == t.data());
  CHECK(merged.to_floats() == part.to_floats());
  CHECK(caught([&] { part.with_shape(Shape{{"x", 12, 0}}); }).code == ErrorCode::shape);
  const Tensor named = p.with_shape(Shape{{"x", 3, 0}, {"y", 2, 0}, {"z", 4, 0}});
  CHECK(named.to_floats() == p.to_floats());
}

TEST_CASE("a part of a batch's rows is not the batch's axis") {
  const auto owner = context();
  const Tensor t = counting(owner, 2, 3, 4).with_shape(Shape{{"token", 6, 77}, {"c", 4, 0}});
  CHECK(t.slice(0, 0, 6).shape().axis(0).identity == 77);
  CHECK(t.slice(0, 0, 5).shape().axis(0).identity == 0);
  CHECK(t.slice(1, 0, 2).shape().axis(0).identity == 77);
}

TEST_CASE("dtypes convert") {
  const auto owner = context();
  const Tensor t = Tensor::from(owner, Floats{0.0f, 1.0f, -2.75f, 1e30f}, Shape{{"x", 4, 0}});
  CHECK(t.to(DType::f32).data() == t.data());
  CHECK(t.to(DType::bf16).dtype() == DType::bf16);
  CHECK(t.to(DType::bf16).slice(0, 0, 3).to_floats() == Floats{0.0f, 1.0f, -2.75f});
  CHECK(t.slice(0, 0, 3).to_integers() == std::vector<std::int64_t>{0, 1, -2});
  CHECK(t.to(DType::boolean).to_integers() == std::vector<std::int64_t>{0, 1, 1, 1});
  CHECK(t.slice(0, 2, 1).item() == -2.75);
  CHECK(t.to_doubles()[2] == -2.75);
  CHECK(caught([&] { t.item(); }).has("one element is needed, there are 4"));
}

TEST_CASE("freed bytes are gone, and said to be") {
  const auto owner = context();
  const Tensor t = counting(owner, 2, 3, 4);
  const Tensor view = t.slice(0, 0, 1);
  CHECK(owner->cpu().memory().used == 128);
  t.storage()->free_now();
  CHECK(owner->cpu().memory().used == 0);
  const auto error = caught([&] { view.to_floats(); });
  CHECK(error.code == ErrorCode::state);
  CHECK(error.has("tensor: used after free()"));
  CHECK(view.describe() == "f32[a=1, b=3, c=4] cpu");
  t.storage()->free_now();  // twice is harmless
  CHECK(owner->cpu().memory().used == 0);
}

TEST_CASE("tensors keep their context alive") {
  Tensor t;
  {
    const auto owner = context();
    t = counting(owner, 1, 1, 2);
  }
  CHECK(t.to_floats() == Floats{0, 1});
}

TEST_CASE("tensors without elements work") {
  const auto owner = context();
  const Tensor t = counting(owner, 0, 3, 4);
  CHECK(t.contiguous());
  CHECK(t.to_floats().empty());
  CHECK(t.copy().to(DType::bf16).to_integers().empty());
  CHECK(t.with_shape(Shape{{"x", 0, 0}}).elements() == 0);
  CHECK_FALSE(t.read_only());
  CHECK(t.as_read_only().read_only());
}

TEST_CASE("storage can belong to somebody else") {
  const auto owner = context();
  auto bytes = std::make_shared<std::vector<float>>(Floats{1, 2, 3});
  const std::weak_ptr<std::vector<float>> watch = bytes;
  auto storage = std::make_shared<Storage>(owner, owner->cpu_device(), bytes->data(), 12, bytes);
  bytes.reset();
  {
    const Tensor t(storage, DType::f32, Shape{{"x", 2, 0}}, Tensor::Strides{1}, 1);
    CHECK(t.to_floats() == Floats{2, 3});
    CHECK(owner->cpu().memory().used == 0);
  }
  CHECK_FALSE(watch.expired());
  storage.reset();
  CHECK(watch.expired());
}
