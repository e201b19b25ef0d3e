// What changes or forbids choices of one request, beside its sampling options: grammars, masks,
// functions of scripts.
#pragma once

#include <cstdint>
#include <span>

#include "engine/tensor/tensor.h"

namespace perilune {

struct Request;
struct Sequence;

/// One object serves all sequences of a request, and may be shared by requests that one thread
/// steps. Called by that thread; what it throws fails the request alone.
class Processor {
 public:
  virtual ~Processor() = default;
  /// The tokens that may come next: bit (id mod 32) of word (id / 32), and no id beyond the last
  /// word. Empty: all may. Valid until the next call.
  virtual std::span<const std::uint32_t> allowed(const Request&, const Sequence&) { return {}; }
  /// Whether change() does anything; else it is not called.
  virtual bool changes() const { return false; }
  /// `row`: f32 [vocab] of scores, writable, that it may keep.
  virtual void change(Tensor& /*row*/, const Request&, const Sequence&) {}
  /// The ids that a sequence has just got and goes on from, in order (drafts bring several at
  /// once). Not told of beams, which come and go: look at the sequence's ids in allowed().
  virtual void accept(std::span<const std::int32_t> /*ids*/, const Request&, const Sequence&) {}
  /// Whether an answer of these new ids is whole and nothing may follow: it ends, without a stop
  /// id.
  virtual bool complete(const Request&, std::span<const std::int32_t> /*new_ids*/) { return false; }
};

/// Sets the scores of ids that are not allowed to -infinity.
void apply_mask(std::span<float> scores, std::span<const std::uint32_t> allowed);

}  // namespace perilune
