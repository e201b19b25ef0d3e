// GGUF files: what is read from right ones, and what is said of wrong ones.
#include "engine/files/gguf/head.h"

#include <cstring>
#include <set>

#include "engine/base/file.h"
#include "engine/weights/open_tensor_file.h"
#include "tests/catch.h"
#include "tests/engine/gguf_support.h"
#include "tests/engine/store_support.h"

using namespace perilune;
using namespace perilune_test;

namespace {

GgufBuilder small() {
  GgufBuilder file;
  file.string("general.architecture", "llama").u32("llama.block_count", 2);
  file.f32("llama.eps", 0.5f).boolean("tokenizer.ggml.add_bos_token", true);
  file.strings("names", {"a", "", "\xE2\x96\x81"})
      .i32s("types", {1, -1})
      .f32s("scores", {1, -2.5f});
  file.bytes("map", std::string("\0\xFF", 2));
  file.tensor("x.weight", {4, 2}, 0, 0).tensor("q.weight", {32}, 2, 32);
  for (int i = 0; i < 8; ++i) file.data += f32_bytes(static_cast<float>(i));
  file.data += std::string(18, 'q');
  return file;
}

Caught refused(const std::string& bytes) {
  return caught([&] { GgufFile::parse(bytes, "a.gguf"); });
}

}  // namespace

TEST_CASE("metadata of every type") {
  GgufBuilder builder = small();
  builder.raw("u8", 0, "\xC8")
      .raw("i8", 1, "\xC8")
      .raw("u16", 2, "\x01\xFF")
      .raw("i16", 3, "\x01\xFF");
  builder.raw("i32", 5, u32_bytes(0xFFFFFFFE)).raw("u64", 10, u64_bytes(std::uint64_t{1} << 40));
  builder.raw("i64", 11, u64_bytes(static_cast<std::uint64_t>(-5)));
  builder.raw("f64", 12, u64_bytes(std::bit_cast<std::uint64_t>(0.1)));
  builder.raw("beyond", 10, u64_bytes(~std::uint64_t{0}));
  const auto file = GgufFile::parse(builder.build(), "a.gguf");
  CHECK(file->version() == 3);
  CHECK(file->integer("u8") == 200);
  CHECK(file->integer("i8") == -56);
  CHECK(file->integer("u16") == 65281);
  CHECK(file->integer("i16") == -255);
  CHECK(file->integer("i32") == -2);
  CHECK(file->integer("u64") == std::int64_t{1} << 40);
  CHECK(file->integer("i64") == -5);
  CHECK(file->number("f64") == 0.1);
  CHECK(file->number("llama.block_count") == 2);
  CHECK(file->number("llama.eps") == 0.5);
  CHECK(file->boolean("tokenizer.ggml.add_bos_token"));
  CHECK(file->string("general.architecture") == "llama");
  CHECK(file->strings("names") == std::vector<std::string_view>{"a", "", "\xE2\x96\x81"});
  CHECK(file->integers("types") == std::vector<std::int64_t>{1, -1});
  CHECK(file->numbers("scores") == std::vector<float>{1, -2.5f});
  CHECK(file->numbers("types") == std::vector<float>{1, -1});
  CHECK(file->bytes("map") == std::string_view("\0\xFF", 2));
  CHECK(file->keys().front() == "general.architecture");
  CHECK(!file->find_integer("absent"));
  CHECK(file->find_integer("llama.block_count") == 2);

  struct Wrong {
    std::function<void()> ask;
    const char* part;
  };
  const std::vector<Wrong> wrongs = {
      {[&] { file->integer("absent"); }, "key \"absent\": expected an integer, got no such key"},
      {[&] { file->integer("names"); },
       "expected an integer of at most 63 bits, got array of 3 string"},
      {[&] { file->integer("beyond"); }, "got u64 beyond 2^63"},
      {[&] { file->boolean("u8"); }, "key \"u8\": expected a boolean, got u8 200"},
      {[&] { file->string("types"); }, "expected a string, got array of 2 i32"},
      {[&] { file->strings("types"); }, "expected an array of strings, got array of 2 i32"},
      {[&] { file->integers("scores"); }, "expected an array of integers, got array of 2 f32"},
      {[&] { file->numbers("names"); }, "expected an array of numbers, got array of 3 string"},
      {[&] { file->bytes("scores"); }, "expected an array of bytes"},
      {[&] { file->find_string("u8"); }, "expected a string, got u8 200"},
  };
  for (const Wrong& wrong : wrongs) {
    const Caught error = caught(wrong.ask);
    INFO(wrong.part << "; got " << error.message);
    CHECK(error.code == ErrorCode::format);
    CHECK(error.has(wrong.part));
    CHECK(error.has("a.gguf"));
  }
}

TEST_CASE("tensors, in memory and in a file") {
  const TemporaryFolder folder;
  const std::string bytes = small().build();
  for (const auto& file :
       {GgufFile::parse(bytes, "a.gguf"), GgufFile::open(folder.write("a.gguf", bytes))}) {
    REQUIRE(file->tensors().size() == 2);
    const GgufTensor* x = file->find_tensor("x.weight");
    REQUIRE(x != nullptr);
    CHECK(x->sizes == std::vector<std::int64_t>{2, 4});
    CHECK(std::string(x->type->name) == "F32");
    float values[3] = {};
    file->read(*x, 16, sizeof(values), values);
    CHECK(values[0] == 4);
    CHECK(values[2] == 6);
    const GgufTensor* q = file->find_tensor("q.weight");
    CHECK(q->end - q->begin == 18);
    char last = 0;
    file->read(*q, 17, 1, &last);
    CHECK(last == 'q');
    CHECK(caught([&] { file->read(*q, 17, 2, &last); }).thrown);
    CHECK(file->find_tensor("y") == nullptr);
    CHECK(describe(*q) == "q.weight Q4_0[32]");
  }
}

TEST_CASE("a large head is read in parts, tensors are not") {
  const TemporaryFolder folder;
  GgufBuilder builder;
  builder.strings("many", std::vector<std::string>(300000, "some token"));
  builder.tensor("x", {1 << 20}, 0, 0);
  builder.data = std::string(std::size_t{4} << 20, '\1');
  const auto file = GgufFile::open(folder.write("a.gguf", builder.build()));
  CHECK(file->strings("many").size() == 300000);
  CHECK(file->strings("many").back() == "some token");
  CHECK(file->tensors().at(0).end - file->tensors().at(0).begin == std::uint64_t{4} << 20);
}

TEST_CASE("an unknown tensor type is an error when it is read") {
  GgufBuilder builder;
  builder.tensor("x", {7}, 99, 0);
  const auto file = GgufFile::parse(builder.build(), "a.gguf");
  char byte = 0;
  const Caught error = caught([&] { file->read(file->tensors().at(0), 0, 0, &byte); });
  CHECK(error.code == ErrorCode::unsupported);
  CHECK(error.has("x type 99[7]"));
}

TEST_CASE("alignment moves the data") {
  GgufBuilder builder;
  builder.alignment = 128;
  builder.u32("general.alignment", 128).tensor("x", {1}, 24, 0).tensor("y", {1}, 24, 128);
  builder.data = "x" + std::string(127, '\0') + "y";
  const auto file = GgufFile::parse(builder.build(), "a.gguf");
  char byte = 0;
  file->read(*file->find_tensor("y"), 0, 1, &byte);
  CHECK(byte == 'y');
  CHECK(file->alignment() == 128);
}

TEST_CASE("an empty tensor lies in a file that ends before its padding") {
  GgufBuilder builder;
  builder.alignment = 1;  // none is written
  const std::string bytes = builder.tensor("x", {0}, 0, 0).build();
  const auto file = GgufFile::parse(bytes, "a.gguf");
  const GgufTensor& x = file->tensors().at(0);
  CHECK(x.begin == x.end);
  CHECK(x.end <= bytes.size());
  char byte = 0;
  CHECK_FALSE(caught([&] { file->read(x, 0, 0, &byte); }).thrown);
}

TEST_CASE("what is wrong is named") {
  const auto with = [](auto change) {
    GgufBuilder builder = small();
    change(builder);
    return builder.build();
  };
  const std::string good = small().build();
  REQUIRE_FALSE(refused(good).thrown);
  const std::uint64_t huge = std::uint64_t{1} << 62;
  struct Case {
    std::string bytes;
    const char* part;
    ErrorCode code = ErrorCode::format;
  };
  using B = GgufBuilder;
  const std::vector<Case> cases = {
      {"", "the head takes 8 bytes"},
      {"GGML1234567890123456789012", "no GGUF file: it begins with \"GGML\""},
      {with([](B& b) { b.version = 1; }), "GGUF version 1", ErrorCode::unsupported},
      {with([](B& b) { b.version = 4; }), "GGUF version 4", ErrorCode::unsupported},
      {with([](B& b) { b.version = 0x03000000; }), "big-endian", ErrorCode::unsupported},
      {with([&](B& b) { b.more_keys = huge; }), "the head claims 4611686018427387912 keys"},
      {with([&](B& b) { b.more_tensors = huge; }), "tensors, the file has"},
      {with([](B& b) { b.more_keys = 1; }), "the name of tensor 0 has"},
      {with([](B& b) { b.u32("names", 1); }), "key \"names\" is there twice"},
      {with([](B& b) { b.u32("", 1); }), "expected printed ASCII"},
      {with([](B& b) { b.u32("a b", 1); }), "key 8 is \"a b\""},
      {with([](B& b) { b.raw("t", 13, "1234"); }), "key \"t\" has value type 13"},
      {with([](B& b) { b.raw("t", 7, "\2"); }), "key \"t\" is boolean 2"},
      {with([&](B& b) { b.raw("t", 8, u64_bytes(huge)); }), "bytes"},
      {with([&](B& b) { b.array("t", 4, huge, ""); }),
       "key \"t\" claims 4611686018427387904 elements"},
      {with([&](B& b) { b.array("t", 8, 1000, ""); }), "key \"t\""},
      {with([](B& b) { b.array("t", 7, 2, "\1\5"); }), "key \"t\" is boolean 5"},
      {with([](B& b) {
         std::string nested = u32_bytes(4) + u64_bytes(0);
         for (int i = 0; i < 6; ++i) nested = u32_bytes(9) + u64_bytes(1) + nested;
         b.raw("t", 9, nested);
       }),
       "nests arrays"},
      {with([](B& b) { b.u32("general.alignment", 0); }), "general.alignment is 0"},
      {with([](B& b) { b.u32("general.alignment", 24); }), "general.alignment is 24"},
      {with([](B& b) { b.string("general.alignment", "32"); }), "expected an integer"},
      {with([](B& b) { b.tensor("x.weight", {1}, 0, 64); }), "tensor \"x.weight\" is there twice"},
      {with([](B& b) { b.tensor("", {1}, 0, 64); }), "tensor 2 has no name"},
      {with([](B& b) { b.tensor(std::string(2000, 'n'), {1}, 0, 64); }), "2000 bytes"},
      {with([](B& b) {
         b.tensor("y", {1, 1, 1, 1, 1, 1, 1, 1, 1}, 0, 64);
       }),
       "has 9 axes"},
      {with([](B& b) { b.tensor("y", {1}, 0, 60); }), "no multiple of the alignment, 32"},
      {with([](B& b) { b.tensor("y", {1}, 0, 0); }), "inside"},
      {with([](B& b) { b.tensor("y", {1}, 0, 1 << 20); }), "takes 4 bytes at byte 1048576"},
      {with([](B& b) { b.tensor("y", {1000}, 0, 64); }), "takes 4000 bytes"},
      {with([](B& b) { b.tensor("y", {33}, 2, 64); }), "no whole number of blocks of 32"},
      {with([&](B& b) {
         b.tensor("y", {huge, 8}, 0, 64);
       }),
       "impossible sizes"},
      {with([&](B& b) { b.tensor("y", {huge}, 0, 64); }), "impossible sizes"},
      {with([&](B& b) { b.tensor("y", {huge * 2 + 1}, 0, 64); }), "impossible sizes"},
      {with([&](B& b) { b.tensor("y", {1}, 0, huge); }), "of the data, which has"},
  };
  for (const Case& c : cases) {
    const Caught error = refused(c.bytes);
    INFO(c.part << "; got " << error.message);
    CHECK(error.thrown);
    CHECK(error.code == c.code);
    CHECK(error.has(c.part));
  }
}

TEST_CASE("a file cut anywhere is refused") {
  const std::string good = small().build();
  int refusals = 0;
  for (std::size_t size = 0; size < good.size(); ++size) {
    if (refused(good.substr(0, size)).thrown) ++refusals;
  }
  CHECK(refusals == static_cast<int>(good.size()));
}

TEST_CASE("nested arrays are passed over") {
  GgufBuilder builder;
  const std::string inner = u32_bytes(8) + u64_bytes(2) + gguf_string("a") + gguf_string("bc");
  builder.array("pairs", 9, 2, inner + inner).u32("after", 7);
  const auto file = GgufFile::parse(builder.build(), "a.gguf");
  CHECK(file->integer("after") == 7);
  CHECK(file->describe("pairs") == "array of 2 array");
}

TEST_CASE("no file, a folder, a device") {
  const TemporaryFolder folder;
  for (const std::string& path :
       {folder.file("none.gguf"), folder.path(), std::string("/dev/zero")}) {
    const Caught error = caught([&] { GgufFile::open(path); });
    CHECK(error.code == ErrorCode::file);
    CHECK(error.has(path));
  }
}

TEST_CASE("block sizes agree with published blocks") {
  const std::string path = golden_folder() + "/quant/gguf-blocks.safetensors";
  if (!file_exists(path)) PERILUNE_SKIP("no reference values: " + path);
  const auto blocks = open_tensor_file(path);
  std::map<std::string, const GgufTensorType*> types;
  for (std::uint32_t i = 0; i < 100; ++i) {
    if (const GgufTensorType* type = gguf_tensor_type(i)) types[type->name] = type;
  }
  int compared = 0;
  for (const StoredTensor& tensor : blocks->tensors()) {
    const std::size_t dot = tensor.name.find(".bytes");
    if (dot == std::string::npos) continue;
    const std::string name = tensor.name.substr(0, dot);
    INFO(name);
    REQUIRE(types.count(name) == 1);
    const StoredTensor* values = blocks->find(name + ".values");
    REQUIRE(values != nullptr);
    CHECK(types[name]->bytes == tensor.sizes.at(1));
    CHECK(types[name]->block == values->sizes.at(1));
    ++compared;
  }
  CHECK(compared == 21);
}
