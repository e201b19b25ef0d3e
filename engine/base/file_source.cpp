#include "engine/base/file_source.h"

#include <utility>

namespace perilune {
namespace {

thread_local const FileSource* t_source = nullptr;

}  // namespace

FileSourceScope::FileSourceScope(const FileSource* source)
    : before_(std::exchange(t_source, source)) {}

FileSourceScope::~FileSourceScope() {
  t_source = before_;
}

FileSource::Found find_in_source(const std::string& path) {
  return t_source == nullptr ? FileSource::Found{} : t_source->find(path);
}

}  // namespace perilune
