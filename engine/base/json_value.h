// The insides of Json's arrays and objects, and its members; for json_*.cpp only.
#pragma once

#include <string>
#include <vector>

#include "engine/base/json.h"

namespace perilune {

struct Json::Array {
  std::vector<Json> items;
  std::string place;     // "config.json: layers[3]"
  bool is_root = false;  // `place` is the file alone
};

struct Json::Object {
  std::vector<Member> members;
  std::vector<std::uint32_t> order;  // indices of members by name; empty for small objects
  std::string place;
  bool is_root = false;

  static constexpr std::size_t kSmall = 8;

  /// Sorts `order`; returns a member whose name is there twice, or null.
  const Member* index();
  /// The index of `name`, or members.size().
  std::size_t position(std::string_view name) const;
};

}  // namespace perilune
