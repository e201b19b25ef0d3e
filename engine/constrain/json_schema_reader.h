// Reads one schema into a grammar: what the files json_schema_*.cpp share.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine/base/error.h"
#include "engine/base/json.h"
#include "engine/constrain/grammar.h"
#include "engine/constrain/json_text.h"

namespace perilune {

class SchemaReader {
 public:
  using Expression = Grammar::Expression;
  static constexpr std::size_t kMostSchemas = 100000;  // read, those behind references once

  SchemaReader(Json schema, JsonSpace space) : root_(std::move(schema)), text_(grammar_, space) {}
  Grammar read();

 private:
  [[noreturn]] void fail(const std::string& place, const std::string& what) const {
    throw Error(ErrorCode::argument, "json_schema", place + ": " + what);
  }
  [[noreturn]] void refuse(const std::string& place, const std::string& what,
                           const std::string& hint = "") const {
    throw Error(ErrorCode::unsupported, "json_schema", place + ": " + what).hint(hint);
  }
  /// Names the place in what a part's own reader raises.
  template <class Read>
  auto at(const std::string& place, Read read) const {
    try {
      return read();
    } catch (Error& error) {
      error.where("in " + place);
      throw;
    }
  }
  Expression as_rule(Expression body, const std::string& name);

  // json_schema.cpp: one schema, references, branches, constants
  Expression schema(const Json& of, const std::string& place, int depth);
  void check_keywords(const Json& of, const std::string& place) const;
  const Json& target_of(const std::string& reference, const std::string& place) const;
  void check_dynamic(const Json& of, const std::string& place) const;
  Expression reference(const Json& of, const Json& target, const std::string& place, int depth);
  Json followed(const Json& of, const std::string& place, int depth) const;
  Json merged(const Json& of, const std::string& place, int depth) const;
  Json rewritten(const Json& of, const std::string& place, int depth) const;
  Expression branches(const Json& of, const char* key, const std::string& place, int depth);
  void check_apart(const std::vector<Json>& list, const std::string& place, int depth) const;
  Expression literals(const Json& of, const std::string& place);
  Expression typed(const Json& of, const std::string& type, const std::string& place, int depth);

  // json_schema_values.cpp: strings and numbers
  std::int64_t count(const Json& of, const char* key, std::int64_t fallback,
                     const std::string& place) const;
  Expression string(const Json& of, const std::string& place);
  void bound(const Json& of, const char* key, bool low, const std::string& place,
             NumberBounds& bounds) const;
  Expression number(const Json& of, const std::string& place, bool whole);

  // json_schema_arrays.cpp
  struct Items;
  Items items_of(const Json& of, const std::string& place) const;
  Expression array(const Json& of, const std::string& place, int depth);
  Expression containing(const Json& of, const Items& items, const std::string& place, int depth);
  Expression distinct(const Json& of, const Items& items, const std::string& place);

  // json_schema_objects.cpp
  struct Member;
  struct Names;
  Names names_of(const Json& of, const std::string& place) const;
  Grammar allowed_names(const Names& names, const std::string& place) const;
  bool add_members(const Json& of, const Names& names, std::vector<Member>& members,
                   const std::string& place, int depth);
  Expression others(const Names& names, const std::string& place, int depth);
  Expression object(const Json& of, const std::string& place, int depth);
  Expression listed(const std::vector<Member>& members, Expression more, std::int64_t least,
                    std::int64_t most, const std::string& place);

  Json root_;
  Grammar grammar_;
  JsonText text_;
  std::map<std::string, Grammar::Rule> references_;
  std::size_t schemas_ = 0;
  int branches_ = 0;  // that are being read: one that no value fits is no mistake
};

}  // namespace perilune
