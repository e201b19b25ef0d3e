// engine/base/long_work.h: who is told of what goes on for long, and when.
#include "engine/base/long_work.h"

#include <string>
#include <vector>

#include "engine/base/interrupt.h"
#include "tests/catch.h"

using namespace perilune;

namespace {

struct Heard {
  std::vector<std::string> words;
  LongWork work;

  explicit Heard(double after = 0) {
    work.of = this;
    work.after = after;
    work.tell = [](void* of, const char* op, std::size_t done, std::size_t total, double) {
      auto& words = static_cast<Heard*>(of)->words;
      words.push_back(
          op == nullptr ? "over" : op + (" " + std::to_string(done) + "/" + std::to_string(total)));
    };
  }
};

using Words = std::vector<std::string>;

}  // namespace

TEST_CASE("a call that goes on is told of, and that it is over") {
  Heard heard;
  tell_long_work("nobody's", 1, 2);
  {
    LongWorkScope scope(&heard.work);
    tell_long_work("copy", 1, 2);
    tell_long_work("copy", 2, 2);  // too soon after the first
  }
  CHECK(heard.words == Words{"copy 1/2", "over"});
}

TEST_CASE("loops that look for an interrupt tell") {
  Heard heard;
  {
    LongWorkScope scope(&heard.work);
    throw_if_interrupted("encode");
  }
  CHECK(heard.words == Words{"encode 0/0", "over"});
}

TEST_CASE("a quick call is not told of") {
  Heard heard(1e9);
  {
    LongWorkScope scope(&heard.work);
    tell_long_work("copy", 1, 2);
  }
  CHECK(heard.words.empty());
}

TEST_CASE("who is called within may print: the word is taken back first") {
  Heard heard;
  LongWorkScope scope(&heard.work);
  tell_long_work("pass");
  quiet_long_work();
  quiet_long_work();
  CHECK(heard.words == Words{"pass 0/0", "over"});
}

TEST_CASE("calls of one pass count as one") {
  Heard heard;
  heard.work.begin();
  for (int i = 0; i < 3; ++i) {
    LongWorkScope scope(&heard.work);
    tell_long_work("pass");
  }
  CHECK(heard.words == Words{"pass 0/0"});
  heard.work.end();
  CHECK(heard.words == Words{"pass 0/0", "over"});
}

TEST_CASE("a quick call within a long one takes nothing back") {
  Heard heard;
  LongWorkScope scope(&heard.work);
  tell_long_work("decode", 1, 2);
  { const LongWorkScope clock(&heard.work); }
  CHECK(heard.words == Words{"decode 1/2"});
}

TEST_CASE("nobody listens") {
  LongWork work;
  LongWorkScope scope(&work);
  LongWorkScope inner(nullptr);
  tell_long_work("copy", 1, 2);
  quiet_long_work();
}
