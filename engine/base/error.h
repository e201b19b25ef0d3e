// The one error type. Messages read `op: what is wrong: the operands; where; what to do`.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace perilune {

enum class ErrorCode {
  argument,     // a value of the wrong kind or out of its range
  option,       // an unknown or contradictory option
  shape,        // axes or sizes that do not fit
  dtype,        // an element type that does not fit
  device,       // a device that is missing, differs, or failed
  file,         // cannot be read or written
  format,       // read, but damaged or not understood
  pairing,      // model and tokenizer do not belong together
  unsupported,  // understood, and not supported
  memory,       // a budget or an allocation
  length,       // longer than the model's positions
  state,        // used after close, or while something else runs
  policy,       // a batching policy's plan
  cancelled,    // interrupted by the caller
  internal      // our bug
};

const char* error_code_name(ErrorCode code);

/// Thrown everywhere in the engine, caught at every binding.
///
///   throw Error(ErrorCode::shape, "linear", "inner sizes differ")
///       .operand("x", describe(spec)).operand("weight", "f32[ffn=8, hidden=4]")
///       .where("layers.3.mlp").hint("...");
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, std::string op, std::string problem);

  Error& operand(std::string_view name, std::string_view description);
  /// Adds a place; the innermost is added first ("in layers.3.mlp, gpt2.lua:41").
  Error& where(std::string_view place);
  Error& hint(std::string_view what_to_do);

  ErrorCode code() const { return code_; }
  const std::string& op() const { return op_; }
  /// Operands as "name description", for the `shapes` field of the Lua error.
  const std::vector<std::string>& operands() const { return operands_; }
  const std::string& place() const { return where_; }
  const std::string& hint() const { return hint_; }
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  void compose();

  ErrorCode code_;
  std::string op_, problem_, where_, hint_, message_;
  std::vector<std::string> operands_;
};

/// The nearest of `candidates` to `word` by edit distance, or "" when none is near.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

/// "; did you mean \"x\"?" or "".
std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace perilune
