// Which tokens may come next, for one grammar and one vocabulary.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/constrain/matcher.h"
#include "engine/constrain/token_bytes.h"

namespace perilune {

/// Finds a state's tokens once and keeps them. Thread-safe: every call takes a lock, and requests
/// may share one.
class TokenMasks {
 public:
  /// `lenient`: tokens without bytes, such as special ones, may come anywhere and change nothing.
  TokenMasks(std::shared_ptr<const Automaton> automaton, std::shared_ptr<const TokenBytes> bytes,
             bool lenient = false);

  /// How far a text is. Made by begin() and advance().
  struct Place {
    Matcher::State state = Matcher::kDead;
    std::uint64_t age = 0;   // of the states' numbers
    std::size_t tokens = 0;  // of the text
  };

  Place begin();
  /// Goes on to the end of `ids`, the tokens of a text, of which `place` has seen the first ones.
  /// Tokens that do not fit lead to a dead place. Throws Error(length), as Matcher::next does.
  void advance(Place& place, std::span<const std::int32_t> ids);

  /// The tokens that may come next in `mask`: bit (id mod 32) of word (id / 32). `place` may get
  /// another number of the same state: its text is `ids`.
  void allowed(Place& place, std::span<const std::int32_t> ids, std::vector<std::uint32_t>& mask);
  bool alive(const Place& place) const { return place.state != Matcher::kDead; }
  /// Whether the text may end, or can only end.
  bool accepts(Place& place, std::span<const std::int32_t> ids);
  bool complete(Place& place, std::span<const std::int32_t> ids);

  const std::shared_ptr<const TokenBytes>& bytes() const { return bytes_; }

 private:
  void walk(Place& place, std::span<const std::int32_t> ids);
  void renew(Place& place, std::span<const std::int32_t> ids);
  const std::vector<std::uint32_t>& mask_of(Matcher::State state, bool first);

  std::shared_ptr<const TokenBytes> bytes_;
  bool lenient_;
  std::mutex mutex_;
  Matcher matcher_;
  std::unordered_map<std::uint64_t, std::vector<std::uint32_t>> masks_;  // of state and first
  std::vector<Matcher::State> path_;                                     // reused
};

/// Whether a text fits a grammar, and whether one that does begins with it.
bool fits(Matcher& matcher, std::string_view text);
bool fits_so_far(Matcher& matcher, std::string_view text);

}  // namespace perilune
