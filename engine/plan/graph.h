// A plan's steps and values, as fusions see and change them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/program/program.h"

namespace perilune {

/// One op of a plan, after fusion.
struct PlanStep {
  OpPointer op;
  std::vector<int> inputs, outputs;  // plan values
  std::string where;
  std::string module;  // by canonical path; "" between modules
  std::shared_ptr<Device> device = nullptr;
  std::size_t place = 0;  // of the device among Plan::devices()
};

/// Where a value lives. Views share their source's buffer.
struct PlanValue {
  TensorSpec spec;
  int buffer = -1;   // index of a lifetime-shared buffer; -1: input, constant or no storage
  int view_of = -1;  // value it is a view of
  int first_step = -1, last_step = -1;
  std::string input;
  Tensor constant;
  std::size_t place = 0;  // of its device among Plan::devices()
};

/// A plan while it is made.
struct PlanGraph {
  std::vector<PlanStep> steps;
  std::vector<PlanValue> values;
  std::vector<bool> asked;  // per value: an output or an asked path

  /// How many step inputs read each value, asked ones counted once more.
  std::vector<int> uses() const;
  /// The step that makes each value, or -1.
  std::vector<int> producers() const;
  /// Drops steps without an op (left by a rewrite).
  void sweep();
};

}  // namespace perilune
