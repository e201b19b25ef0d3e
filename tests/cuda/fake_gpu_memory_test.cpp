// What the seam allocates, caches, gives back and copies: plugin.cpp and the engine over a backend
// that fails on demand.
#include <algorithm>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "engine/cache/cache.h"
#include "tests/cuda/fake/gpus.h"

using namespace perilune;
using perilune_test::Failure;
using perilune_test::failure_of;
using perilune_test::Gpus;
using perilune_test::stream_of;
using perilune_test::three;

TEST_CASE("what is cached is given up before memory runs out") {
  const Gpus gpus;
  const auto context = Context::make();
  const auto device = context->device("cuda");
  constexpr std::size_t kMega = 1 << 20;
  std::vector<void*> blocks;
  for (int i = 0; i < 3; ++i) blocks.push_back(device->allocate(16 * kMega));
  for (void* block : blocks) device->release(block, 16 * kMega);
  CHECK(gpus->allocated == 48 * kMega);
  void* large = device->allocate(60 * kMega);
  CHECK(device->memory().used == 60 * kMega);

  const Failure failure = failure_of([&] { device->allocate(32 * kMega); });
  CHECK(failure.code == ErrorCode::memory);
  CHECK(failure.says(std::to_string(32 * kMega) + " bytes asked"));
  CHECK(failure.says(std::to_string(4 * kMega) + " free of " + std::to_string(64 * kMega)));
  CHECK_FALSE(failure.says("budget"));
  CHECK(device->health().empty());
  device->release(device->allocate(2 * kMega), 2 * kMega);
  device->release(large, 60 * kMega);

  // A kernel that finds no memory for its code: no block goes back while work may still use it.
  gpus->log.clear();
  kernels::cuda::Stream& stream = stream_of(*device);
  gpus->selected = 0;  // as where a kernel is started
  stream.make_room(stream.owner);
  CHECK(gpus->allocated == 0);
  CHECK(gpus->log == std::vector<std::string>{"synchronize 0", "release 0", "release 0"});
}

TEST_CASE("a block has at most an eighth of slack") {
  const Gpus gpus;
  const auto context = Context::make();
  const auto device = context->device("cuda");
  const std::size_t mega = 1 << 20;
  for (const std::size_t bytes : {std::size_t{1}, std::size_t{700}, mega - 1, mega, mega + 1,
                                  mega + 10000, 3 * mega + 1, 5 * mega - 7, 17 * mega + 1}) {
    void* block = device->allocate(bytes);
    CAPTURE(bytes);
    CHECK(device->memory().used >= bytes);
    CHECK(device->memory().used <=
          std::max<std::size_t>(bytes + bytes / 8, (bytes + 511) / 512 * 512));
    device->release(block, bytes);
  }
}

TEST_CASE("an exact allocator rounds nothing and keeps nothing") {
  setenv("PERILUNE_CUDA_ALLOCATOR", "exact", 1);
  const Gpus gpus;
  const auto context = Context::make();
  const auto device = context->device("cuda:1");
  unsetenv("PERILUNE_CUDA_ALLOCATOR");
  gpus->selected = 0;
  for (const std::size_t bytes : {1, 700, 1 << 20, (1 << 20) + 1}) {
    gpus->log.clear();
    void* block = device->allocate(bytes);
    CHECK(gpus->allocated == bytes);
    CHECK(device->memory().used == bytes);
    device->release(block, bytes);
    CHECK(gpus->allocated == 0);
    CHECK(gpus->log == std::vector<std::string>{"allocate 1", "release 1"});
    CHECK(gpus->selected == 0);
  }
}

TEST_CASE("copies inside a device stay there") {
  const Gpus gpus;
  const auto context = Context::make();
  const auto device = context->device("cuda");
  const CacheLayout layout({{"a", KvKind::self, 0, 1, 8}}, DType::f32, 32);
  const auto pool = std::make_shared<Cache>(context, device, layout, 1 << 20);
  SequenceCache first(pool);
  REQUIRE(first.reserve(8));
  const std::vector<unsigned char> bytes(static_cast<std::size_t>(layout.groups()[0].page_bytes),
                                         7);
  device->copy_in(first.pages(0)[0], bytes.data(), bytes.size());
  first.commit(8);
  const auto fork = first.fork();
  const Tensor x = three(context).to(device);
  gpus->log.clear();
  REQUIRE(fork->reserve(1));
  REQUIRE(fork->pages(0)[0] != first.pages(0)[0]);
  CHECK(gpus->log == std::vector<std::string>{"copy_device 0"});
  std::vector<unsigned char> copied(bytes.size());
  device->copy_out(copied.data(), fork->pages(0)[0], copied.size());
  CHECK(copied == bytes);
}

TEST_CASE("no copy to a device reads what its caller has given up") {
  Gpus gpus;
  gpus->late_copies = true;  // a copy from pinned memory happens when the stream is waited for
  const auto context = Context::make();
  const auto device = context->device("cuda");
  constexpr std::size_t kBytes = 7 << 20;  // more than the ring: it goes round
  auto* to = static_cast<unsigned char*>(device->allocate(kBytes));
  std::mt19937 random(perilune_test::seeded(1));
  std::vector<unsigned char> sent(kBytes), back(kBytes);
  for (std::size_t at = 0; at < kBytes;) {
    const std::size_t most = random() % 8 == 0 ? 3 << 20 : 5000;
    std::vector<unsigned char> piece(std::min<std::size_t>(kBytes - at, 1 + random() % most));
    for (unsigned char& byte : piece) byte = static_cast<unsigned char>(random());
    std::copy(piece.begin(), piece.end(), sent.begin() + static_cast<std::ptrdiff_t>(at));
    device->copy_in(to + at, piece.data(), piece.size());
    std::fill(piece.begin(), piece.end(), static_cast<unsigned char>(0));
    at += piece.size();
  }
  device->copy_out(back.data(), to, kBytes);
  CHECK(back == sent);
  CHECK(gpus->pinned == 1);
  device->release(to, kBytes);
}
