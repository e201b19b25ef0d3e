// What Whisper's times between its words go by (openai/whisper, decoding.py, ApplyTimestampRules).
#pragma once

#include <cstdint>
#include <span>

namespace perilune {

struct TimestampRules {
  std::int32_t first = 0;           // the id of 0.00 s; all ids from here on are times
  std::int32_t no_timestamps = -1;  // the id that says there are none; never chosen
  std::int32_t end = 0;             // the id of the end; text has lower ones
  std::int64_t most_initial = -1;   // the first time is at most this many steps; below 0: any
  std::int64_t skip = 0;            // new ids before the text: language and task
};

/// An answer begins with a time; times come in pairs but for the last, and never go back; where
/// all times together are likelier than any text, a time comes. `made`: the new ids so far.
void apply_timestamp_rules(std::span<float> logits, std::span<const std::int32_t> made,
                           const TimestampRules& rules);

}  // namespace perilune
