// A library that no build needs, opened at run time: its functions by name.
#pragma once

#include <string>
#include <type_traits>

namespace perilune {

/// Stays open until the process ends: it may have threads.
class OpenedLibrary {
 public:
  /// `seen`: its own parts look for its symbols among everybody's.
  OpenedLibrary(const char* file, bool seen);

  /// "does not load: ...", "has no ..."; "" where it is open and has all that was asked for.
  const std::string& problem() const { return problem_; }
  /// Null, with the problem, where it is not open or has no such symbol.
  void* find(const char* name);
  template <class Function>
  void bind(Function& function, const char* name) {
    static_assert(std::is_pointer_v<Function>);
    function = reinterpret_cast<Function>(find(name));
  }

 private:
  std::string problem_;
  void* opened_ = nullptr;
};

}  // namespace perilune
