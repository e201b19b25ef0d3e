// Tells the host of a call that goes on for long: what it does, how far it is.
#pragma once

#include <cstddef>

namespace perilune {

class LongWorkScope;

/// Who is told of a thread's calls that take long.
struct LongWork {
  /// `done` of `total` steps, both 0 where nobody knows, `seconds` after the call began. `op` null:
  /// what was told of is over. Is called from within any loop: must not throw, nor use the engine.
  using Tell = void (*)(void* of, const char* op, std::size_t done, std::size_t total,
                        double seconds);
  Tell tell = nullptr;  // null: nobody
  void* of = nullptr;
  double after = 2;  // seconds that a call takes before the first word of it

  /// Until end(), the host's calls count as one: a pass that a script writes line by line.
  void begin();
  void end();
  /// Says that it is over, where a word of it stands.
  void quiet();

  // The rest is LongWorkScope's.
  double began = 0;  // seconds; 0: every call is one by itself
  double told_at = 0;
  const LongWorkScope* told_by = nullptr;  // whose word stands
};

/// A call of the host, from its beginning to its end. Within another one it is told of by itself.
class LongWorkScope {
 public:
  /// `work` outlives the scope; null: nobody is told.
  explicit LongWorkScope(LongWork* work);
  ~LongWorkScope();
  LongWorkScope(const LongWorkScope&) = delete;
  LongWorkScope& operator=(const LongWorkScope&) = delete;

 private:
  friend void tell_long_work(const char* op, std::size_t done, std::size_t total);
  friend void quiet_long_work();

  LongWorkScope* outer_;
  LongWork* work_;
  double started_ = 0;
};

/// Between parts of work, of any length: tells of the innermost call on this thread, ten times a
/// second at most.
void tell_long_work(const char* op, std::size_t done = 0, std::size_t total = 0);

/// Before somebody else is called, who may print.
void quiet_long_work();

}  // namespace perilune
