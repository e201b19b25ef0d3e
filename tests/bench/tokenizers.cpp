// Speed of one tokenizer over texts, one thread; tests/bench/tokenizers.py sets it beside the
// reference.
//
//   bench_tokenizers TOKENIZER TEXTS [--tokens] [--repeats N]
//
// TEXTS: a file of texts with a zero byte after each. Prints one line of JSON: bytes, tokens, the
// shortest of the runs in seconds of processor time, and a checksum of the ids. --tokens also asks
// for every token's place in the text.
#include <time.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/text/readers/open.h"
#include "engine/text/tokenizer/tokenizer.h"

namespace {

double processor_seconds() {
  timespec time = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

std::vector<std::string_view> texts_of(std::string_view bytes) {
  std::vector<std::string_view> texts;
  for (std::size_t at = 0; at < bytes.size();) {
    const std::size_t end = std::min(bytes.find('\0', at), bytes.size());
    texts.push_back(bytes.substr(at, end - at));
    at = end + 1;
  }
  return texts;
}

int run(int argc, char** argv) {
  perilune::EncodeOptions options;
  int repeats = 5;
  for (int i = 3; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--tokens") options.tokens = true;
    if (argument == "--repeats" && i + 1 < argc) repeats = std::max(1, std::atoi(argv[++i]));
  }
  std::string why_not;
  const auto tokenizer = perilune::load_tokenizer(argv[1], &why_not);
  if (tokenizer == nullptr) {
    std::cerr << argv[1] << ": " << why_not << '\n';
    return 1;
  }
  const std::string bytes = perilune::read_file(argv[2], std::uint64_t{1} << 30);
  const std::vector<std::string_view> texts = texts_of(bytes);
  double best = 1e30;
  std::uint64_t tokens = 0, checksum = 0, size = 0;
  for (int i = 0; i < repeats; ++i) {
    tokens = checksum = size = 0;
    const double start = processor_seconds();
    for (const std::string_view text : texts) {
      const perilune::Encoding encoding = tokenizer->encode(text, options);
      tokens += encoding.ids.size();
      size += text.size();
      for (const std::int32_t id : encoding.ids) {
        checksum = (checksum * 31 + static_cast<std::uint64_t>(id)) & 0xFFFFFFFF;
      }
    }
    best = std::min(best, processor_seconds() - start);
  }
  std::cout << "{\"bytes\": " << size << ", \"tokens\": " << tokens << ", \"seconds\": " << best
            << ", \"checksum\": " << checksum << "}\n";
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "usage: bench_tokenizers TOKENIZER TEXTS [--tokens] [--repeats N]\n";
    return 2;
  }
  try {
    return run(argc, argv);
  } catch (const perilune::Error& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
