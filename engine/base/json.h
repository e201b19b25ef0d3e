// JSON values from files that nobody vouches for: bounded depth and size, no duplicate keys,
// numbers of the kind that is asked for, errors that name file and place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace perilune {

/// Bounds on what parse_json accepts.
struct JsonLimits {
  std::size_t max_bytes = std::size_t{256} << 20;  // of the text
  int max_depth = 64;                              // of nested arrays and objects
  std::size_t max_values = std::size_t{16} << 20;  // in the whole text
};

/// One JSON value. Copies are cheap: arrays and objects are shared until one of the copies changes.
/// Objects keep the order of their members; names are unique.
class Json {
 public:
  enum class Kind { null, boolean, integer, number, string, array, object };
  using Member = std::pair<std::string, Json>;

  Json() = default;
  Json(std::nullptr_t) {}
  Json(bool value) : value_(value) {}
  Json(int value) : value_(static_cast<std::int64_t>(value)) {}
  Json(std::int64_t value) : value_(value) {}
  Json(std::size_t value);  // a number where it exceeds int64
  Json(double value) : value_(value) {}
  Json(std::string value) : value_(std::move(value)) {}
  Json(std::string_view value) : value_(std::string(value)) {}
  Json(const char* value) : value_(std::string(value)) {}
  static Json array();
  static Json object();

  Kind kind() const;
  bool is_null() const { return kind() == Kind::null; }
  bool is_boolean() const { return kind() == Kind::boolean; }
  bool is_integer() const { return kind() == Kind::integer; }
  /// True for integers too.
  bool is_number() const { return kind() == Kind::integer || kind() == Kind::number; }
  bool is_string() const { return kind() == Kind::string; }
  bool is_array() const { return kind() == Kind::array; }
  bool is_object() const { return kind() == Kind::object; }
  /// "an integer", "a string", ... for messages.
  static const char* kind_name(Kind kind);

  /// The value itself. Throws Error(format) "PLACE: expected an integer, got 1.5"; `place`
  /// overrides what this value knows about its place (only arrays and objects from a file know it).
  bool as_boolean(std::string_view place = {}) const;
  std::int64_t as_integer(std::string_view place = {}) const;  // 1.0 is not an integer
  double as_number(std::string_view place = {}) const;         // integers are numbers
  const std::string& as_string(std::string_view place = {}) const;

  /// Elements of an array or members of an object; 0 for anything else.
  std::size_t size() const;
  bool empty() const { return size() == 0; }
  /// The elements. Throws Error(format) where this is not an array.
  const std::vector<Json>& items() const;
  /// The members in the order of the file. Throws Error(format) where this is not an object.
  const std::vector<Member>& members() const;

  /// Array element (0-based) or Error(format).
  const Json& at(std::size_t index) const;
  /// The member `name`, or null (pointer) where it is absent or this is not an object.
  const Json* find(std::string_view name) const;
  /// As find, but a member that is JSON null counts as absent: what Python writes for None.
  const Json* find_value(std::string_view name) const;
  bool has(std::string_view name) const { return find(name) != nullptr; }
  /// The member `name` or Error(format) "config.json: no key x; did you mean y?".
  const Json& get(std::string_view name) const;

  // Checked members. The short forms throw Error(format) where the member is absent or of another
  // kind; with a fallback, an absent or null member gives the fallback and another kind throws.
  bool boolean(std::string_view name) const;
  bool boolean(std::string_view name, bool fallback) const;
  std::int64_t integer(std::string_view name) const;
  std::int64_t integer(std::string_view name, std::int64_t fallback) const;
  /// As integer, and within [low, high] or Error(format) with both bounds.
  std::int64_t integer_in(std::string_view name, std::int64_t low, std::int64_t high) const;
  double number(std::string_view name) const;
  double number(std::string_view name, double fallback) const;
  const std::string& string(std::string_view name) const;
  std::string string(std::string_view name, std::string_view fallback) const;
  std::vector<std::int64_t> integers(std::string_view name) const;
  std::vector<double> numbers(std::string_view name) const;
  std::vector<std::string> strings(std::string_view name) const;

  /// Where this array or object stands: "config.json: rope_scaling" ("" for values made by hand).
  const std::string& place() const;
  /// The place of a member or element of this value.
  std::string place_of(std::string_view name) const;
  std::string place_of(std::size_t index) const;

  /// Sets or replaces a member (null becomes an object first). Throws on other kinds.
  Json& set(std::string_view name, Json value);
  /// Appends an element (null becomes an array first). Throws on other kinds.
  Json& push(Json value);

  /// Same kind and same value, member by member; the order of members does not matter. An integer
  /// and a number of equal value are equal.
  friend bool operator==(const Json& left, const Json& right);

 private:
  friend class JsonReader;
  struct Array;
  struct Object;
  const Object* object_or_null() const;
  Array& own_array();
  Object& own_object();

  std::variant<std::monostate, bool, std::int64_t, double, std::string, std::shared_ptr<Array>,
               std::shared_ptr<Object>>
      value_;
};

/// Parses one JSON text. `file` names it in errors. Throws Error(format) with line and column for
/// text that is not JSON (NaN and Infinity are not, nor is invalid UTF-8), for duplicate keys and
/// for anything beyond `limits`.
Json parse_json(std::string_view text, std::string_view file, const JsonLimits& limits = {});

/// Reads and parses the file `path`; its base name stands in the errors.
Json read_json(const std::string& path, const JsonLimits& limits = {});

/// JSON text of `value`: on one line for indent < 0, else `indent` spaces a level. Numbers read
/// back as the same value; a NaN or infinity, which JSON cannot hold, becomes null.
std::string write_json(const Json& value, int indent = -1);

}  // namespace perilune
