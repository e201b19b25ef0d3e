// Weights under another storage: parts of a file that is made while it is read, and files of
// blocks.
#include "engine/weights/converted_file.h"

#include <cmath>
#include <cstring>

#include "engine/base/file.h"
#include "engine/files/gguf/writer.h"
#include "engine/files/own_blocks.h"
#include "engine/files/safetensors.h"
#include "engine/weights/open_tensor_file.h"
#include "engine/weights/tensor_in_memory.h"
#include "tests/catch.h"
#include "tests/engine/store_support.h"

using namespace perilune;
using namespace perilune_test;

namespace {

constexpr std::int64_t kOutputs = 7, kInputs = 72;  // no block divides the rows

float value_at(std::int64_t row, std::int64_t input) {
  return std::sin(static_cast<float>(row * kInputs + input)) * static_cast<float>(row + 1);
}

/// A view of a matrix in memory: as it is, or stored the other way round.
StoredView view_of(const std::shared_ptr<Context>& context, DType dtype, bool transposed) {
  const std::int64_t rows = transposed ? kInputs : kOutputs;
  const std::int64_t columns = transposed ? kOutputs : kInputs;
  Tensor stored =
      Tensor::make(context, DType::f32, Shape{{"row", rows, 0}, {"column", columns, 0}});
  for (std::int64_t i = 0; i < rows * columns; ++i) {
    const std::int64_t row = i / columns, column = i % columns;
    stored.as<float>()[i] = transposed ? value_at(column, row) : value_at(row, column);
  }
  StoredView view;
  view.file = std::make_shared<TensorInMemory>("w", stored.to(dtype));
  view.stored_name = "w";
  view.dtype = dtype;
  view.sizes = {kOutputs, kInputs};
  view.strides =
      transposed ? std::vector<std::int64_t>{1, kOutputs} : std::vector<std::int64_t>{kInputs, 1};
  return view;
}

std::vector<std::uint8_t> read(const TensorFile& file, std::uint64_t begin, std::size_t size) {
  std::vector<std::uint8_t> bytes(size);
  file.read(file.tensors()[0], begin, size, bytes.data());
  return bytes;
}

}  // namespace

TEST_CASE("any part of a converted file is that part of the whole") {
  const auto context = Context::make();
  for (const char* type : {"nf4", "int8_row", "int4_128", "q4_0", "q4_k", "f16", "bf16", "f32"}) {
    INFO(type);
    const RowStorage storage = row_storage(type, "quantize");
    const auto file = converted_file("w", view_of(context, DType::f32, false), storage);
    const StoredTensor& stored = file->tensors()[0];
    const auto size = static_cast<std::size_t>(stored.end);
    REQUIRE(size == static_cast<std::size_t>(kOutputs * kInputs) * dtype_size(storage.dtype));
    const auto all = read(*file, 0, size);
    for (const std::size_t begin : {std::size_t{0}, std::size_t{1}, size / 3, size - 5}) {
      for (const std::size_t count : {std::size_t{1}, std::size_t{300}, size}) {
        const std::size_t held = std::min(count, size - begin);
        const auto part = read(*file, begin, held);
        CHECK(std::equal(part.begin(), part.end(), all.begin() + static_cast<long>(begin)));
      }
    }
    if (storage.blocks == nullptr) continue;
    const auto blocks = static_cast<std::size_t>(storage.blocks->row_blocks(kInputs) * kOutputs);
    const auto bytes = static_cast<std::size_t>(storage.blocks->bytes);
    std::vector<std::uint8_t> whole(blocks * bytes), some(2 * bytes);
    file->read_blocks(stored, 0, blocks, whole.data());
    file->read_blocks(stored, 3, 2, some.data());
    CHECK(std::equal(some.begin(), some.end(), whole.begin() + static_cast<long>(3 * bytes)));
    const auto kept = blocks_in_memory("w", kOutputs, kInputs, storage, whole);
    CHECK(read(*kept, 0, size) == all);
  }
}

TEST_CASE("how a weight lies in its file does not change what it becomes") {
  const auto context = Context::make();
  const RowStorage storage = row_storage("q8_0", "quantize");
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    const auto size = static_cast<std::size_t>(kOutputs * kInputs) * sizeof(float);
    const auto straight = converted_file("w", view_of(context, dtype, false), storage);
    const auto turned = converted_file("w", view_of(context, dtype, true), storage);
    CHECK(read(*straight, 0, size) == read(*turned, 0, size));
  }
}

TEST_CASE("what cannot be stored is refused by name") {
  const auto context = Context::make();
  for (const float number : {INFINITY, NAN, 70000.0f}) {
    Tensor values = Tensor::make(context, DType::f32, Shape{{"row", 1, 0}, {"column", 32, 0}});
    std::fill_n(values.as<float>(), 32, 1.0f);
    values.as<float>()[9] = number;
    const auto source = std::make_shared<TensorInMemory>("the.weight", values);
    StoredView view;
    view.file = source;
    view.stored_name = "the.weight";
    view.sizes = {1, 32};
    view.strides = {32, 1};
    const auto message = [&](const char* type) {
      const auto file = converted_file("w", view, row_storage(type, "quantize"));
      return message_of([&] { read(*file, 0, 128); });
    };
    CHECK(message("q4_0").find("the.weight") != std::string::npos);
    CHECK((message("nf4") == "no error") == std::isfinite(number));
  }
  CHECK(message_of([] { row_storage("q4_2", "quantize"); }).find("q4_0") != std::string::npos);
  CHECK(message_of([] { row_storage("int8_absmax", "quantize"); }) != "no error");
}

TEST_CASE("a GGUF file is read back as it was written") {
  const TemporaryFolder folder;
  const std::string path = folder.file("a.gguf");
  const std::vector<GgufPair> keys = {
      GgufPair::text("general.architecture", "llama"),
      GgufPair::number("n", GgufType::u32, 4000000000.0),
      GgufPair::number("x", GgufType::f32, 1e-5),
      GgufPair::number("yes", GgufType::boolean, 1),
      GgufPair::texts("names", {"a", "", "\xE2\x96\x81"}),
      GgufPair::numbers("types", GgufType::i32, {1, -1}),
      GgufPair::numbers("scores", GgufType::f32, {-2.5}),
  };
  const auto writes = [](std::string bytes) {
    return [bytes](const ByteSink& sink) {
      sink(bytes.data(), bytes.size() / 2);
      sink(bytes.data() + bytes.size() / 2, bytes.size() - bytes.size() / 2);
    };
  };
  write_gguf(
      path, keys,
      {{"a.weight", find_gguf_tensor_type("F32"), {3, 1}, 12, writes(std::string(12, 'a'))},
       {"q.weight", find_gguf_tensor_type("Q4_0"), {2, 32}, 36, writes(std::string(36, 'q'))}});
  const auto file = GgufFile::open(path);
  CHECK(file->string("general.architecture") == "llama");
  CHECK(file->integer("n") == 4000000000);
  CHECK(file->number("x") == static_cast<double>(1e-5f));
  CHECK(file->boolean("yes"));
  CHECK(file->strings("names") == std::vector<std::string_view>{"a", "", "\xE2\x96\x81"});
  CHECK(file->integers("types") == std::vector<std::int64_t>{1, -1});
  CHECK(file->numbers("scores") == std::vector<float>{-2.5f});
  for (const GgufPair& pair : keys) CHECK(file->value_bytes(pair.key) == pair.bytes);
  const GgufTensor& blocks = *file->find_tensor("q.weight");
  CHECK(blocks.begin % 32 == 0);
  CHECK(blocks.sizes == std::vector<std::int64_t>{2, 32});
  std::string read(36, '\0');
  file->read(blocks, 0, 36, read.data());
  CHECK(read == std::string(36, 'q'));
  CHECK(message_of([&] {
          write_gguf(path, keys, {{"a", find_gguf_tensor_type("F32"), {2}, 8, writes("short")}});
        }) != "no error");
  CHECK(GgufFile::open(path)->keys().size() == keys.size());  // the old file stays
}
