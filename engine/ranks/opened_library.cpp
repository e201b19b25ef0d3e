#include "engine/ranks/opened_library.h"

#include <dlfcn.h>

namespace perilune {

OpenedLibrary::OpenedLibrary(const char* file, bool seen) {
  opened_ = dlopen(file, RTLD_NOW | RTLD_NODELETE | (seen ? RTLD_GLOBAL : RTLD_LOCAL));
  if (opened_ != nullptr) return;
  const char* why = dlerror();
  problem_ = std::string("does not load: ") + (why == nullptr ? "no reason given" : why);
}

void* OpenedLibrary::find(const char* name) {
  void* const found = opened_ == nullptr ? nullptr : dlsym(opened_, name);
  if (found == nullptr && problem_.empty()) problem_ = std::string("has no ") + name;
  return found;
}

}  // namespace perilune
