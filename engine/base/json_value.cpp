#include "engine/base/json_value.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/base/error.h"

namespace perilune {
namespace {

// A value as it stands in a message: short, and strings in quotes.
std::string shown(const Json& value) {
  if (value.is_array()) return "a list of " + std::to_string(value.size());
  if (value.is_object()) return "an object";
  std::string text = write_json(value);
  constexpr std::size_t kLongest = 60;
  if (text.size() > kLongest) {
    std::size_t cut = kLongest;
    while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xC0) == 0x80) --cut;
    text = text.substr(0, cut) + "…";
  }
  return text;
}

[[noreturn]] void wrong_kind(std::string_view place, const char* expected, const Json& value) {
  std::string problem(place);
  if (!problem.empty()) problem += ": ";
  throw Error(ErrorCode::format, "load",
              problem + "expected " + expected + ", got " + shown(value));
}

}  // namespace

const Json::Member* Json::Object::index() {
  order.clear();
  const auto by_name = [this](std::uint32_t a, std::uint32_t b) {
    return members[a].first < members[b].first;
  };
  if (members.size() <= kSmall) {
    for (std::size_t i = 0; i < members.size(); ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        if (members[i].first == members[j].first) return &members[i];
      }
    }
    return nullptr;
  }
  order.resize(members.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::uint32_t>(i);
  std::sort(order.begin(), order.end(), by_name);
  for (std::size_t i = 1; i < order.size(); ++i) {
    if (members[order[i]].first == members[order[i - 1]].first) return &members[order[i]];
  }
  return nullptr;
}

std::size_t Json::Object::position(std::string_view name) const {
  if (order.size() != members.size()) {
    std::size_t i = 0;
    while (i < members.size() && members[i].first != name) ++i;
    return i;
  }
  const auto found = std::lower_bound(
      order.begin(), order.end(), name,
      [this](std::uint32_t a, std::string_view wanted) { return members[a].first < wanted; });
  if (found == order.end() || members[*found].first != name) return members.size();
  return *found;
}

Json::Json(std::size_t value) {
  if (value <= static_cast<std::size_t>(std::numeric_limits<std::int64_t>::max())) {
    value_ = static_cast<std::int64_t>(value);
  } else {
    value_ = static_cast<double>(value);
  }
}

Json Json::array() {
  Json value;
  value.value_ = std::make_shared<Array>();
  return value;
}

Json Json::object() {
  Json value;
  value.value_ = std::make_shared<Object>();
  return value;
}

Json::Kind Json::kind() const {
  return static_cast<Kind>(value_.index());
}

const char* Json::kind_name(Kind kind) {
  switch (kind) {
    case Kind::null: return "null";
    case Kind::boolean: return "true or false";
    case Kind::integer: return "an integer";
    case Kind::number: return "a number";
    case Kind::string: return "a string";
    case Kind::array: return "a list";
    case Kind::object: return "an object";
  }
  return "?";
}

bool Json::as_boolean(std::string_view place) const {
  if (!is_boolean()) wrong_kind(place.empty() ? this->place() : place, "true or false", *this);
  return std::get<bool>(value_);
}

std::int64_t Json::as_integer(std::string_view place) const {
  if (!is_integer()) wrong_kind(place.empty() ? this->place() : place, "an integer", *this);
  return std::get<std::int64_t>(value_);
}

double Json::as_number(std::string_view place) const {
  if (is_integer()) return static_cast<double>(std::get<std::int64_t>(value_));
  if (!is_number()) wrong_kind(place.empty() ? this->place() : place, "a number", *this);
  return std::get<double>(value_);
}

const std::string& Json::as_string(std::string_view place) const {
  if (!is_string()) wrong_kind(place.empty() ? this->place() : place, "a string", *this);
  return std::get<std::string>(value_);
}

const Json::Object* Json::object_or_null() const {
  const auto* held = std::get_if<std::shared_ptr<Object>>(&value_);
  return held == nullptr ? nullptr : held->get();
}

std::size_t Json::size() const {
  if (const auto* held = std::get_if<std::shared_ptr<Array>>(&value_)) return (*held)->items.size();
  const Object* object = object_or_null();
  return object == nullptr ? 0 : object->members.size();
}

const std::vector<Json>& Json::items() const {
  if (!is_array()) wrong_kind(place(), "a list", *this);
  return std::get<std::shared_ptr<Array>>(value_)->items;
}

const std::vector<Json::Member>& Json::members() const {
  if (!is_object()) wrong_kind(place(), "an object", *this);
  return object_or_null()->members;
}

const Json& Json::at(std::size_t index) const {
  const std::vector<Json>& elements = items();
  if (index >= elements.size()) {
    throw Error(ErrorCode::format, "load",
                place_of(index) + ": the list ends after " + std::to_string(elements.size()));
  }
  return elements[index];
}

const Json* Json::find(std::string_view name) const {
  const Object* object = object_or_null();
  if (object == nullptr) return nullptr;
  const std::size_t position = object->position(name);
  return position < object->members.size() ? &object->members[position].second : nullptr;
}

const Json* Json::find_value(std::string_view name) const {
  const Json* value = find(name);
  return value == nullptr || value->is_null() ? nullptr : value;
}

const Json& Json::get(std::string_view name) const {
  if (!is_object()) wrong_kind(place(), "an object", *this);
  if (const Json* value = find(name)) return *value;
  std::vector<std::string> names;
  for (const Member& member : members()) {
    if (names.size() == 256) break;
    names.push_back(member.first);
  }
  const std::string where = place().empty() ? "" : place() + ": ";
  Error error(ErrorCode::format, "load", where + "no key \"" + std::string(name) + "\"");
  const std::string guess = did_you_mean(name, names);
  if (!guess.empty()) error.hint(guess);
  throw error;
}

bool Json::boolean(std::string_view name) const {
  return get(name).as_boolean(place_of(name));
}

bool Json::boolean(std::string_view name, bool fallback) const {
  const Json* value = find_value(name);
  return value == nullptr ? fallback : value->as_boolean(place_of(name));
}

std::int64_t Json::integer(std::string_view name) const {
  return get(name).as_integer(place_of(name));
}

std::int64_t Json::integer(std::string_view name, std::int64_t fallback) const {
  const Json* value = find_value(name);
  return value == nullptr ? fallback : value->as_integer(place_of(name));
}

std::int64_t Json::integer_in(std::string_view name, std::int64_t low, std::int64_t high) const {
  const std::int64_t value = integer(name);
  if (value < low || value > high) {
    throw Error(ErrorCode::format, "load",
                place_of(name) + ": " + std::to_string(value) + " is not within " +
                    std::to_string(low) + " to " + std::to_string(high));
  }
  return value;
}

double Json::number(std::string_view name) const {
  return get(name).as_number(place_of(name));
}

double Json::number(std::string_view name, double fallback) const {
  const Json* value = find_value(name);
  return value == nullptr ? fallback : value->as_number(place_of(name));
}

const std::string& Json::string(std::string_view name) const {
  return get(name).as_string(place_of(name));
}

std::string Json::string(std::string_view name, std::string_view fallback) const {
  const Json* value = find_value(name);
  return value == nullptr ? std::string(fallback) : value->as_string(place_of(name));
}

std::vector<std::int64_t> Json::integers(std::string_view name) const {
  const Json& list = get(name);
  if (!list.is_array()) wrong_kind(place_of(name), "a list of integers", list);
  std::vector<std::int64_t> values;
  for (std::size_t i = 0; i < list.size(); ++i) {
    values.push_back(list.items()[i].as_integer(list.place_of(i)));
  }
  return values;
}

std::vector<double> Json::numbers(std::string_view name) const {
  const Json& list = get(name);
  if (!list.is_array()) wrong_kind(place_of(name), "a list of numbers", list);
  std::vector<double> values;
  for (std::size_t i = 0; i < list.size(); ++i) {
    values.push_back(list.items()[i].as_number(list.place_of(i)));
  }
  return values;
}

std::vector<std::string> Json::strings(std::string_view name) const {
  const Json& list = get(name);
  if (!list.is_array()) wrong_kind(place_of(name), "a list of strings", list);
  std::vector<std::string> values;
  for (std::size_t i = 0; i < list.size(); ++i) {
    values.push_back(list.items()[i].as_string(list.place_of(i)));
  }
  return values;
}

const std::string& Json::place() const {
  static const std::string kNowhere;
  if (const auto* held = std::get_if<std::shared_ptr<Array>>(&value_)) return (*held)->place;
  const Object* object = object_or_null();
  return object == nullptr ? kNowhere : object->place;
}

std::string Json::place_of(std::string_view name) const {
  const Object* object = object_or_null();
  if (object == nullptr || object->place.empty()) return std::string(name);
  return object->place + (object->is_root ? ": " : ".") + std::string(name);
}

std::string Json::place_of(std::size_t index) const {
  const auto* held = std::get_if<std::shared_ptr<Array>>(&value_);
  const std::string element = "[" + std::to_string(index) + "]";
  if (held == nullptr || (*held)->place.empty()) return element;
  return (*held)->place + ((*held)->is_root ? ": " : "") + element;
}

Json::Array& Json::own_array() {
  if (is_null()) *this = array();
  if (!is_array()) wrong_kind(place(), "a list", *this);
  auto& held = std::get<std::shared_ptr<Array>>(value_);
  if (held.use_count() > 1) held = std::make_shared<Array>(*held);
  return *held;
}

Json::Object& Json::own_object() {
  if (is_null()) *this = object();
  if (!is_object()) wrong_kind(place(), "an object", *this);
  auto& held = std::get<std::shared_ptr<Object>>(value_);
  if (held.use_count() > 1) held = std::make_shared<Object>(*held);
  return *held;
}

Json& Json::set(std::string_view name, Json value) {
  Object& object = own_object();
  const std::size_t position = object.position(name);
  if (position < object.members.size()) {
    object.members[position].second = std::move(value);
  } else {
    object.members.emplace_back(std::string(name), std::move(value));
    object.order.clear();
  }
  return *this;
}

Json& Json::push(Json value) {
  own_array().items.push_back(std::move(value));
  return *this;
}

bool operator==(const Json& left, const Json& right) {
  if (left.is_number() && right.is_number()) {
    if (left.is_integer() && right.is_integer()) return left.as_integer() == right.as_integer();
    return left.as_number() == right.as_number();
  }
  if (left.kind() != right.kind()) return false;
  switch (left.kind()) {
    case Json::Kind::boolean: return left.as_boolean() == right.as_boolean();
    case Json::Kind::string: return left.as_string() == right.as_string();
    case Json::Kind::array: return left.items() == right.items();
    case Json::Kind::object: {
      if (left.size() != right.size()) return false;
      return std::all_of(left.members().begin(), left.members().end(), [&](const auto& member) {
        const Json* other = right.find(member.first);
        return other != nullptr && member.second == *other;
      });
    }
    default: return true;
  }
}

}  // namespace perilune
