#include "engine/base/interrupt.h"

#include "engine/base/error.h"
#include "engine/base/long_work.h"

namespace perilune {

namespace {

constexpr unsigned kTurns = 1024;  // between two looks

struct Watch {
  InterruptScope::Asked asked = nullptr;
  const void* of = nullptr;
  unsigned turns = 0;
};
thread_local Watch t_watch;

}  // namespace

InterruptScope::InterruptScope(Asked asked, const void* of)
    : outer_asked_(t_watch.asked), outer_of_(t_watch.of) {
  t_watch.asked = asked;
  t_watch.of = of;
}

InterruptScope::~InterruptScope() {
  t_watch.asked = outer_asked_;
  t_watch.of = outer_of_;
}

void stop_if_interrupted(const char* op) {
  if (++t_watch.turns % kTurns == 0) throw_if_interrupted(op);
}

void throw_if_interrupted(const char* op) {
  tell_long_work(op);
  if (t_watch.asked == nullptr) return;
  if (t_watch.asked(t_watch.of)) throw Error(ErrorCode::cancelled, op, "interrupted");
}

}  // namespace perilune
