#include "engine/weights/adapter_set.h"

#include "engine/base/error.h"

namespace perilune {

void AdapterSet::add(const std::string& path, ModuleAdapter change) {
  const std::lock_guard lock(mutex_);
  Module& module = modules_[path];
  if (module.changes == nullptr) module.changes = std::make_shared<ModuleAdapters>();
  if (!module.changes->empty() && module.changes->back().adapter >= change.adapter) {
    throw Error(ErrorCode::format, "load", "an adapter changes \"" + path + "\" twice");
  }
  module.changes->push_back(std::move(change));
}

std::shared_ptr<const ModuleAdapters> AdapterSet::of(std::string_view path) {
  const std::lock_guard lock(mutex_);
  const auto found = modules_.find(path);
  if (found == modules_.end()) return nullptr;
  found->second.read = true;
  return found->second.changes;
}

std::vector<std::string> AdapterSet::unread() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> paths;
  for (const auto& [path, module] : modules_) {
    if (!module.read) paths.push_back(path);
  }
  return paths;
}

std::size_t AdapterSet::packed_bytes(const Device* on) const {
  const std::lock_guard lock(mutex_);
  std::size_t bytes = 0;
  for (const auto& [path, module] : modules_) {
    for (const ModuleAdapter& change : *module.changes) {
      for (const auto& weight : {change.down, change.up, change.whole}) {
        if (weight != nullptr) bytes += weight->packed_bytes(on);
      }
    }
  }
  return bytes;
}

bool AdapterSet::empty() const {
  const std::lock_guard lock(mutex_);
  return modules_.empty();
}

}  // namespace perilune
