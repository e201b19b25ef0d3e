// Checked reading of arguments, lists and options tables. Everything throws Error; nothing jumps.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "bindings/lua/edge/user_type.h"
#include "kernels/dtype.h"

namespace perilune::lua {

/// Largest magnitude of whole numbers that a Lua number holds exactly.
inline constexpr double kMaxWhole = 9007199254740992.0;

// One value at a stack index. Errors read "OP: NAME: expected a whole number, got \"x\"".
std::string to_text(lua_State* L, int index, const std::string& op, const std::string& name);
double to_number(lua_State* L, int index, const std::string& op, const std::string& name);
std::int64_t to_integer(lua_State* L, int index, const std::string& op, const std::string& name);
bool to_boolean(lua_State* L, int index, const std::string& op, const std::string& name);
std::int32_t to_id(lua_State* L, int index, const std::string& op, const std::string& name);
void expect_table(lua_State* L, int index, const std::string& op, const std::string& name);
DType to_dtype(lua_State* L, int index, const std::string& op, const std::string& name);
DType dtype_by_name(const std::string& name, const std::string& op);

/// The device of a name at the index; null where there is none.
const Device* optional_device(lua_State* L, int index, const std::string& op);

/// A number at the index is really a number (strings that look like one are not).
bool is_number(lua_State* L, int index);
/// Whether the value is a table with entries 1..n (n may be 0) and nothing about named keys.
bool is_list(lua_State* L, int index);
/// Entries of the list at `index`; throws Error(argument) for holes and named keys, which would
/// lose values.
std::size_t list_length(lua_State* L, int index, const std::string& op, const std::string& name);

/// A list, or one value alone as a list of one.
std::vector<std::string> to_texts(lua_State* L, int index, const std::string& op,
                                  const std::string& name);
std::vector<std::int64_t> to_integers(lua_State* L, int index, const std::string& op,
                                      const std::string& name);
std::vector<std::int32_t> to_ids(lua_State* L, int index, const std::string& op,
                                 const std::string& name);
std::vector<double> to_numbers(lua_State* L, int index, const std::string& op,
                               const std::string& name);
/// A table from names to whole numbers.
std::map<std::string, std::int64_t> to_sizes(lua_State* L, int index, const std::string& op,
                                             const std::string& name);

/// A table of named options. Nil counts as an empty one. Every key read is known; done() throws for
/// keys that nobody asked for, with the nearest known one.
class Options {
 public:
  Options(lua_State* L, int index, std::string op);
  Options(const Options&) = delete;
  Options& operator=(const Options&) = delete;

  /// Pushes the value and gives true, or pushes nothing.
  bool push(const char* key);
  bool has(const char* key);
  std::optional<std::string> text(const char* key);
  std::optional<double> number(const char* key);
  std::optional<std::int64_t> integer(const char* key);
  std::optional<bool> boolean(const char* key);
  std::optional<std::vector<std::string>> texts(const char* key);
  std::optional<std::vector<std::int64_t>> integers(const char* key);
  std::optional<std::vector<std::int32_t>> ids(const char* key);
  std::optional<std::map<std::string, std::int64_t>> sizes(const char* key);
  std::optional<DType> dtype(const char* key);
  ReferencePointer function(const char* key);
  /// One of `values`, or an error that lists them.
  std::optional<std::string> choice(const char* key, const std::vector<std::string>& values);
  template <class T>
  T* object(const char* key);

  void done();
  const std::string& op() const { return op_; }
  std::string label(const char* key) const { return std::string("option ") + key; }

 private:
  lua_State* L_;
  int index_;  // absolute; 0: no table
  std::string op_;
  std::set<std::string> known_;
};

template <class T>
T* Options::object(const char* key) {
  if (!push(key)) return nullptr;
  T* found = test_object<T>(L_, -1);
  if (found == nullptr) {
    throw Error(
        ErrorCode::option, op_,
        label(key) + ": expected a " + TypeName<T>::value + ", got " + describe_value(L_, -1));
  }
  lua_pop(L_, 1);  // the options table keeps it alive
  return found;
}

// Pushing.
void push_text(lua_State* L, std::string_view text);
void push_integer(lua_State* L, std::int64_t value);
void set_field(lua_State* L, const char* key, std::string_view text);
void set_field(lua_State* L, const char* key, const char* text);
void set_field(lua_State* L, const char* key, double value);
void set_field(lua_State* L, const char* key, std::int64_t value);
void set_field(lua_State* L, const char* key, bool value);
void push_list(lua_State* L, const std::vector<std::string>& list);
void push_list(lua_State* L, const std::vector<std::int64_t>& list);
void push_list(lua_State* L, const std::vector<std::int32_t>& list);
void push_list(lua_State* L, const std::vector<float>& list);

/// A 1-based position (negative: from the end) as 0-based; throws naming both.
std::int64_t to_position(std::int64_t position, std::int64_t size, const std::string& op,
                         const std::string& what);

int absolute(lua_State* L, int index);

}  // namespace perilune::lua
