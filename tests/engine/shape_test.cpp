#include "engine/base/shape.h"

#include <limits>

#include "engine/base/error.h"
#include "tests/catch.h"
#include "tests/engine/store_support.h"

using namespace perilune;
using perilune_test::caught;

TEST_CASE("a shape names and counts its axes") {
  const Shape shape{{"token", 7, 0}, {"hidden", 768, 0}};
  CHECK(shape.text() == "[token=7, hidden=768]");
  CHECK(shape.elements() == 7 * 768);
  CHECK(shape.find("hidden") == 1);
  CHECK(shape.find("head") == -1);
  CHECK(Shape().elements() == 1);
  CHECK(Shape().text() == "[]");
  CHECK(shape.without_axis(0).text() == "[hidden=768]");
  CHECK(shape.append({"x", 2, 0}).text() == "[token=7, hidden=768, x=2]");
  CHECK(shape.with_axis(1, {"ffn", 4, 0}).text() == "[token=7, ffn=4]");
  CHECK((TensorSpec{DType::bf16, shape, false}.text()) == "bf16[token=7, hidden=768]");
}

TEST_CASE("a shape refuses what is no shape") {
  const auto repeated = caught([] { Shape({{"a", 1, 0}, {"a", 2, 0}}); });
  CHECK(repeated.code == ErrorCode::shape);
  CHECK(repeated.message ==
        "shape: two axes are called \"a\": shape [a=1, a=2]; rename one of them");
  CHECK(caught([] { Shape({{"", 1, 0}}); }).has("axis 1 has no name"));
  CHECK(caught([] { Shape({{"a", -2, 0}}); }).has("negative size, -2"));
  CHECK(caught([] {
          Shape({{"a", 1, 0},
                 {"b", 1, 0},
                 {"c", 1, 0},
                 {"d", 1, 0},
                 {"e", 1, 0},
                 {"f", 1, 0},
                 {"g", 1, 0}});
        }).has("7 axes, at most 6"));
}

TEST_CASE("an unknown axis is answered with the nearest") {
  const Shape shape{{"token", 7, 0}, {"hidden", 768, 0}};
  const auto error = caught([&] { shape.index("sum", "hiden"); });
  CHECK(error.code == ErrorCode::shape);
  CHECK(error.message ==
        "sum: there is no axis \"hiden\": shape [token=7, hidden=768]; did you mean \"hidden\"?");
  CHECK(shape.index("sum", "hidden") == 1);
}

TEST_CASE("sizes are multiplied with care") {
  const std::int64_t large = std::numeric_limits<std::int64_t>::max();
  CHECK(checked_multiply(6, 7) == 42);
  CHECK_FALSE(checked_multiply(large, 2).has_value());
  CHECK_FALSE(checked_multiply(-1, 2).has_value());
  CHECK(checked_add(large - 1, 1) == large);
  CHECK_FALSE(checked_add(large, 1).has_value());
  CHECK_FALSE(checked_add(-1, 1).has_value());
  const Shape huge{{"a", large, 0}, {"b", 2, 0}};
  CHECK(caught([&] { huge.elements(); }).has("more elements than can be counted"));
  CHECK(Shape{{"a", large, 0}, {"b", large, 0}, {"c", 0, 0}}.elements() == 0);
  CHECK(caught([] { Shape{{"token", kSymbolicSize, 1}}.elements(); }).code == ErrorCode::internal);
  CHECK(Shape{{"token", kSymbolicSize, 1}}.text() == "[token=*]");
}

TEST_CASE("elementwise shapes align by name") {
  const Shape a{{"token", 7, 3}, {"hidden", 8, 0}};
  CHECK(align("add", a, Shape{{"hidden", 8, 0}}) == a);
  CHECK(align("add", Shape{{"hidden", 8, 0}}, a) == a);
  CHECK(align("add", a, Shape{{"hidden", 8, 0}, {"token", 7, 3}}) == a);  // any order
  CHECK(align("add", a, Shape{}) == a);
  CHECK(align("add", a, Shape{{"hidden", 1, 0}}) == a);
  // An axis made by hand has no identity, and takes the batch's.
  CHECK(align("add", Shape{{"token", 7, 0}}, Shape{{"token", 7, 3}}) == Shape{{"token", 7, 3}});
  CHECK(align("add", Shape{{"token", 1, 0}}, Shape{{"token", 7, 3}}) == Shape{{"token", 7, 3}});
  const Shape symbolic{{"token", kSymbolicSize, 2}, {"hidden", 8, 0}};
  CHECK(align("add", symbolic, symbolic) == symbolic);
  CHECK(align("add", symbolic, Shape{{"hidden", 8, 0}}) == symbolic);
}

TEST_CASE("identity is checked before size") {
  const TensorSpec a{DType::f32, Shape{{"token", 10, 5}, {"hidden", 8, 0}}, false};
  const TensorSpec b{DType::f32, Shape{{"token", 12, 6}, {"hidden", 8, 0}}, false};
  const TensorSpec c{DType::f32, Shape{{"token", 10, 6}, {"hidden", 8, 0}}, false};
  const auto differ = caught([&] { align("add", a, b); });
  CHECK(differ.code == ErrorCode::shape);
  CHECK(differ.message ==
        "add: axis \"token\" belongs to different batches (10 vs 12): a f32[token=10, hidden=8], b "
        "f32[token=12, hidden=8]; select rows with batch:select, pad both with batch:pad, or "
        "t:detach() where whose rows they are does not matter");
  const auto same_count = caught([&] { align("add", a, c); });
  CHECK(same_count.has("different batches (both have 10, but they are not the same rows)"));
  // A batch of one token does not broadcast over another batch's tokens.
  CHECK(caught([] {
          align("add", Shape{{"token", 1, 5}}, Shape{{"token", 12, 6}});
        }).has("different batches"));
  CHECK(axes_agree({"t", 3, 1}, {"t", 4, 1}));
  CHECK_FALSE(axes_agree({"t", 3, 1}, {"t", 3, 2}));
  CHECK(axes_agree({"t", 3, 0}, {"t", 3, 2}));
}

TEST_CASE("sizes and axes that do not meet are named") {
  const Shape a{{"token", 7, 0}, {"hidden", 64, 0}};
  const auto sizes = caught([&] { align("multiply", a, Shape{{"hidden", 128, 0}}); });
  CHECK(sizes.message ==
        "multiply: axis \"hidden\" has two sizes (64 vs 128): a [token=7, hidden=64], b "
        "[hidden=128]; make the sizes equal, or cut the longer with at{ hidden={1, 64} }");
  // The order of a and b in the words is the caller's.
  CHECK(caught([&] { align("multiply", Shape{{"hidden", 128, 0}}, a); }).has("(128 vs 64)"));
  const auto axes = caught([&] { align("add", a, Shape{{"query", 7, 0}, {"hidden", 64, 0}}); });
  CHECK(axes.has("b has axis \"query\" that a lacks, and a has axis \"token\" that b lacks"));
  CHECK(axes.has("rename{ query=\"token\" }"));
}
