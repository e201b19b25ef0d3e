#include "tests/layout_sources.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

namespace layout {

namespace fs = std::filesystem;

bool starts_with(const std::string& text, const std::string& start) {
  return text.compare(0, start.size(), start) == 0;
}

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

bool contains(const Strings& list, const std::string& value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
}

/// The project's files below `folders` whose names end in one of `ends`; model data left out.
Strings files(const Strings& folders, const Strings& ends) {
  Strings found;
  for (const std::string& folder : folders) {
    if (!fs::is_directory(folder)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
      const std::string path = entry.path().generic_string();
      if (starts_with(path, "tests/golden/") || starts_with(path, "scripts/models/")) continue;
      const auto is_end = [&](const std::string& end) { return ends_with(path, end); };
      if (entry.is_regular_file() && std::any_of(ends.begin(), ends.end(), is_end))
        found.push_back(path);
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

const Strings kCppEnds = {".cpp", ".h", ".cu", ".cuh"};

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

std::string module_of(const std::string& path) {
  return path.substr(0, path.rfind('.'));
}

std::string without_comment(const std::string& line, const std::string& mark) {
  return line.substr(0, line.find(mark));
}

Strings lines_of(const std::string& text) {
  Strings lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::string quoted(const std::string& line, std::size_t& at) {
  const std::size_t first = line.find_first_of("\"'", at);
  if (first == std::string::npos) return at = line.size(), "";
  const std::size_t last = line.find(line[first], first + 1);
  if (last == std::string::npos) return at = line.size(), "";
  at = last + 1;
  return line.substr(first + 1, last - first - 1);
}

std::string joined(const Strings& lines) {
  std::string text;
  for (const std::string& line : lines) text += "\n  " + line;
  return text;
}

}  // namespace layout
