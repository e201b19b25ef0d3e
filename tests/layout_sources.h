// The project's sources as the layout tests read them. Run from the project's root.
#pragma once

#include <string>
#include <vector>

namespace layout {

using Strings = std::vector<std::string>;

bool starts_with(const std::string& text, const std::string& start);
bool ends_with(const std::string& text, const std::string& end);
bool contains(const Strings& list, const std::string& value);

/// The bytes of a file; "" where it cannot be read.
std::string read(const std::string& path);
/// The project's files below `folders` whose names end in one of `ends`, sorted; model data left
/// out.
Strings files(const Strings& folders, const Strings& ends);
extern const Strings kCppEnds;
std::string folder_of(const std::string& path);
/// A header and its source are one.
std::string module_of(const std::string& path);
Strings lines_of(const std::string& text);
std::string without_comment(const std::string& line, const std::string& mark);
/// The first quoted text of `line` from `at` on; "" without one. `at` moves behind it.
std::string quoted(const std::string& line, std::size_t& at);
/// Each line on a line of its own, for messages.
std::string joined(const Strings& lines);

}  // namespace layout
