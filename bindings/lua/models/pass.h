// Passes being written, and the programs they become.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bindings/lua/edge/user_type.h"
#include "engine/program/net.h"

namespace perilune::lua {

struct BoundPass;

/// A pass that records (trace) or runs (eager). Its environment table holds `config`.
struct PassObject {
  std::shared_ptr<TracePass> trace;
  std::shared_ptr<EagerPass> eager;
  std::shared_ptr<NetState> net;
  std::shared_ptr<BoundPass> bound;  // eager: the run that it is a part of
  std::vector<std::pair<std::string, Value>> outputs;
  bool finished = false;

  std::shared_ptr<Pass> pass() const;
};
template <>
struct TypeName<PassObject> {
  static constexpr const char* value = "Pass";
};

void add_pass(lua_State* L);

}  // namespace perilune::lua
