// Lets the host stop a thread's long loops in which no pass runs: over texts, lists, JSON.
#pragma once

namespace perilune {

/// While it lives, such loops on its thread end once `asked(of)` is true.
class InterruptScope {
 public:
  using Asked = bool (*)(const void* of);
  /// Null: the loops run to their end.
  InterruptScope(Asked asked, const void* of);
  ~InterruptScope();
  InterruptScope(const InterruptScope&) = delete;
  InterruptScope& operator=(const InterruptScope&) = delete;

 private:
  Asked outer_asked_;
  const void* outer_of_;
};

/// For such a loop's every turn, of a microsecond or less: throws Error(cancelled) naming `op` once
/// the host has asked. Looks only now and then, and tells of long work then.
void stop_if_interrupted(const char* op);

/// The same, looking at once: between parts of some milliseconds.
void throw_if_interrupted(const char* op);

}  // namespace perilune
