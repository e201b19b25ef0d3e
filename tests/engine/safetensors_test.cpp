#include <algorithm>
#include <cstring>
#include <filesystem>

#include "engine/files/safetensors.h"
#include "engine/weights/open_tensor_file.h"
#include "tests/catch.h"
#include "tests/engine/store_support.h"

using namespace perilune;
using perilune_test::caught;
using perilune_test::Caught;
using perilune_test::raw_safetensors;
using perilune_test::TemporaryFolder;

namespace {

/// What opening a file of these bytes answers.
Caught open_bytes(const std::string& bytes) {
  const TemporaryFolder folder;
  const std::string path = folder.write("x.safetensors", bytes);
  return caught([&] { open_tensor_file(path); });
}

Caught open_json(const std::string& json, std::size_t data_bytes = 8) {
  return open_bytes(raw_safetensors(json, std::string(data_bytes, '\0')));
}

std::string entry(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

}  // namespace

TEST_CASE("tensors written are the tensors read") {
  const TemporaryFolder folder;
  const auto context = Context::make({.threads = 1});
  const std::vector<float> values = {1, -2, 3.5f, 4, 5, 6};
  const std::vector<std::int64_t> whole = {-1, std::int64_t{1} << 60};
  const Tensor floats = Tensor::from(context, values, Shape{{"a", 2, 0}, {"b", 3, 0}});
  const std::vector<int> order = {1, 0};
  const std::vector<std::pair<std::string, Tensor>> tensors = {
      {"small", floats.to(DType::bf16)},
      {"turned", floats.permute(order)},
      {"whole", Tensor::from(context, whole, Shape{{"x", 2, 0}})},
      {"none", Tensor::zeros(context, DType::f32, Shape{{"x", 0, 0}, {"y", 3, 0}})},
      {"one", Tensor::from(context, std::vector<float>{7}, Shape{})},
      {"truth", floats.to(DType::boolean)},
      {"quote\"d", floats.to(DType::u8)},
  };
  const std::string path = folder.file("x.safetensors");
  write_safetensors(path, tensors, {{"format", "pt"}, {"who", "me"}});
  for (const bool map : {false, true}) {
    const auto file = open_tensor_file(path, map);
    CHECK(file->metadata().at("who") == "me");
    CHECK(file->tensors().size() == tensors.size());
    for (const auto& [name, tensor] : tensors) {
      INFO(name);
      const StoredTensor* stored = file->find(name);
      REQUIRE(stored != nullptr);
      CHECK(stored->begin % dtype_size(stored->dtype) == 0);
      const Tensor read = read_tensor(context, *file, *stored);
      CHECK(read.dtype() == tensor.dtype());
      CHECK(read.to_doubles() == tensor.to_doubles());
    }
    CHECK(file->find("absent") == nullptr);
    const Tensor turned = read_tensor(context, *file, *file->find("turned"), {"b", "a"});
    CHECK(turned.shape().text() == "[b=3, a=2]");
    CHECK(read_tensor(context, *file, *file->find("turned")).shape().text() ==
          "[axis1=3, axis2=2]");
    CHECK(caught([&] { read_tensor(context, *file, *file->find("turned"), {"a"}); }).code ==
          ErrorCode::shape);
  }
}

TEST_CASE("writing keeps the old file until the new one is whole") {
  const TemporaryFolder folder;
  const auto context = Context::make({.threads = 1});
  const Tensor one = Tensor::from(context, std::vector<float>{7}, Shape{{"x", 1, 0}});
  const std::string path = folder.file("x.safetensors");
  write_safetensors(path, {{"one", one}});
  const std::string before = perilune_test::read_bytes(path);
  CHECK(caught([&] {
          write_safetensors(path, {{"a", one}, {"a", one}});
        }).code == ErrorCode::argument);
  CHECK(caught([&] { write_safetensors(path, {{"__metadata__", one}}); }).thrown);
  CHECK(caught([&] { write_safetensors(path, {{"", one}}); }).thrown);
  Tensor freed = one.copy();
  freed.storage()->free_now();
  CHECK(caught([&] {
          write_safetensors(path, {{"one", one}, {"freed", freed}});
        }).code == ErrorCode::state);
  CHECK(perilune_test::read_bytes(path) == before);
  const auto nowhere = caught([&] { write_safetensors(folder.file("no/x"), {{"one", one}}); });
  CHECK(nowhere.code == ErrorCode::file);
  CHECK(nowhere.has("nothing was changed"));
  int files = 0;
  for (const auto& each : std::filesystem::directory_iterator(folder.path())) {
    ++files;
    CHECK(each.path().filename() == "x.safetensors");
  }
  CHECK(files == 1);
}

TEST_CASE("files that are no safetensors are refused") {
  CHECK(open_bytes("").has("an empty file"));
  CHECK(open_bytes("1234567").has("a text"));
  CHECK(open_bytes("\1\2").has("no safetensors file: it has 2 bytes"));
  CHECK(open_bytes(std::string(8, '\0')).has("a file of zeros"));
  CHECK(open_bytes(std::string(8, '\xff')).has("the header claims 18446744073709551615 bytes"));
  CHECK(open_bytes(std::string("\x10\0\0\0\0\0\0\0{}", 10)).has("cut short"));
  CHECK(open_json("[]").has("no JSON object"));
  CHECK(open_json(" {}").has("no JSON object"));
  CHECK(open_json("{", 0).code == ErrorCode::format);
  CHECK(open_json("{}}", 0).code == ErrorCode::format);
  CHECK(open_json("{\"a\xff\":1}", 0).code == ErrorCode::format);
  CHECK_FALSE(open_json("{}", 0).thrown);
  CHECK_FALSE(open_json("{}   ", 0).thrown);
  CHECK(open_json("{}", 1).has("the tensors end at byte 10, the file at 11"));
  std::string deep = "{\"a\":";
  for (int i = 0; i < 100000; ++i) deep += "[";
  CHECK(open_json(deep, 0).code == ErrorCode::format);
  const TemporaryFolder folder;
  CHECK(caught([&] { open_tensor_file(folder.path()); }).has("is a folder"));
  CHECK(caught([&] { open_tensor_file(folder.file("absent")); }).code == ErrorCode::file);
}

TEST_CASE("headers that contradict themselves are refused") {
  const auto tensor = [](const std::string& text) { return open_json("{\"t\":" + text + "}"); };
  CHECK_FALSE(tensor(entry("F32", "[2]", "[0,8]")).thrown);
  CHECK_FALSE(tensor(entry("F32", "[1,2,1]", "[0,8]")).thrown);
  CHECK(tensor(entry("F32", "[3]", "[0,8]"))
            .has("tensor \"t\" F32[3] takes 12 bytes, its data_offsets span 8"));
  CHECK(tensor(entry("F32", "[3]", "[0,12]")).has("ends at byte 12 of the data, the file has 8"));
  CHECK(tensor(entry("F31", "[2]", "[0,8]")).has("unknown type, \"F31\""));
  CHECK(tensor(entry("F32", "[-2]", "[0,8]")).has("impossible sizes, [-2]"));
  CHECK(tensor(entry("F32", "[4611686018427387904,4611686018427387904]", "[0,8]"))
            .has("impossible sizes"));
  CHECK(tensor(entry("F32", "[2.0]", "[0,8]")).code == ErrorCode::format);
  CHECK(tensor(entry("F32", "[\"2\"]", "[0,8]")).code == ErrorCode::format);
  CHECK(tensor(entry("F32", "2", "[0,8]")).code == ErrorCode::format);
  CHECK(tensor(entry("F32", "[2]", "[8,0]")).has("impossible data_offsets"));
  CHECK(tensor(entry("F32", "[2]", "[-8,0]")).has("impossible data_offsets"));
  CHECK(tensor(entry("F32", "[2]", "[0,8,8]")).has("impossible data_offsets"));
  CHECK(tensor(entry("F32", "[2]", "[0,18446744073709551615]")).thrown);
  CHECK(tensor("7").has("should be described by an object"));
  CHECK(tensor(R"({"dtype":"F32","shape":[2]})").has("data_offsets"));
  CHECK(tensor(entry("F4", "[3]", "[0,2]")).has("impossible sizes"));  // 12 bits
  CHECK(open_json(R"({"__metadata__":{"a":1}})", 0).has("\"a\" is not a string"));
  const std::string t = entry("F32", "[1]", "[0,4]");
  CHECK(open_json("{\"t\":" + t + ",\"t\":" + t + "}", 4).code == ErrorCode::format);
  CHECK(open_json("{\"" + std::string(2000, 'x') + "\":" + t + "}", 4).has("2000 bytes"));
}

TEST_CASE("byte ranges cover the file exactly") {
  const auto two = [](const std::string& a, const std::string& b, std::size_t bytes) {
    return open_json("{\"a\":" + a + ",\"b\":" + b + "}", bytes);
  };
  const std::string first = entry("F32", "[1]", "[0,4]"), second = entry("F32", "[1]", "[4,8]");
  CHECK_FALSE(two(first, second, 8).thrown);
  CHECK_FALSE(two(second, first, 8).thrown);
  CHECK_FALSE(two(first, entry("F32", "[0]", "[4,4]"), 4).thrown);
  CHECK(two(first, first, 4).has("overlaps the one before it"));
  CHECK(two(first, entry("F32", "[1]", "[2,6]"), 6).has("overlaps"));
  CHECK(two(first, entry("F32", "[1]", "[5,9]"), 9).has("leaves a hole before it"));
  CHECK(two(first, second, 9).has("the tensors end at byte"));
  CHECK(open_json("{\"a\":" + second + "}", 8).has("leaves a hole"));
}

TEST_CASE("types without a dtype open, and say so when read") {
  const TemporaryFolder folder;
  const auto context = Context::make({.threads = 1});
  const std::string path = folder.write(
      "x.safetensors", raw_safetensors("{\"a\":" + entry("F64", "[1]", "[0,8]") +
                                           ",\"b\":" + entry("F8_E4M3", "[2]", "[8,10]") +
                                           ",\"c\":" + entry("I8", "[2]", "[10,12]") + "}",
                                       std::string(12, '\1')));
  const auto file = open_tensor_file(path);
  CHECK(read_tensor(context, *file, *file->find("a")).to_floats() == std::vector<float>{0});
  const auto error = caught([&] { read_tensor(context, *file, *file->find("b")); });
  CHECK(error.code == ErrorCode::unsupported);
  CHECK(error.has("tensor \"b\" is stored as F8_E4M3, which is not supported"));
  CHECK(read_tensor(context, *file, *file->find("c")).to_integers() ==
        std::vector<std::int64_t>{1, 1});
}

TEST_CASE("a file that shrinks while it is open is an error") {
  const TemporaryFolder folder;
  const auto context = Context::make({.threads = 1});
  const std::string path = folder.write(
      "x.safetensors",
      raw_safetensors("{\"a\":" + entry("F32", "[100]", "[0,400]") + "}", std::string(400, '\1')));
  const auto file = open_tensor_file(path);
  std::filesystem::resize_file(path, 100);
  const auto error = caught([&] { read_tensor(context, *file, *file->find("a")); });
  CHECK(error.code == ErrorCode::file);
  CHECK(error.has("it ends at byte 100"));
}

TEST_CASE("no cut and no flipped bit of a header gets through unseen") {
  const TemporaryFolder folder;
  const auto context = Context::make({.threads = 1});
  const Tensor one = Tensor::from(context, std::vector<float>{7, 8}, Shape{{"x", 2, 0}});
  const std::string path = folder.file("x.safetensors");
  write_safetensors(path, {{"one", one}, {"two", one.to(DType::bf16)}});
  const std::string whole = perilune_test::read_bytes(path);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    REQUIRE(open_bytes(whole.substr(0, size)).thrown);
  }
  for (std::size_t i = 0; i < whole.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string changed = whole;
      changed[i] = static_cast<char>(changed[i] ^ (1 << bit));
      const std::string changed_path = folder.write("y.safetensors", changed);
      // Opens or throws Error; what opens can be read or throws Error.
      caught([&] {
        const auto file = open_tensor_file(changed_path);
        for (const StoredTensor& tensor : file->tensors()) read_tensor(context, *file, tensor);
      });
    }
  }
}

TEST_CASE("reference files open") {
  const std::string golden = perilune_test::golden_folder();
  if (golden.empty()) PERILUNE_SKIP("../shared/golden is not there");
  const auto context = Context::make({.threads = 1});
  int files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(golden)) {
    if (entry.path().extension() != ".safetensors") continue;
    const auto file = open_tensor_file(entry.path().string());
    for (const StoredTensor& tensor : file->tensors()) read_tensor(context, *file, tensor);
    ++files;
  }
  CHECK(files > 30);
}
