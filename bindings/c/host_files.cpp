#include "bindings/c/host_files.h"

#include "engine/base/error.h"

namespace perilune::c {

FileSource::Found HostFiles::find(const std::string& path) const {
  if (!any()) return {};
  const void* data = nullptr;
  std::size_t size = 0;
  switch (host_.open_file(host_.user, path.c_str(), &data, &size)) {
    case PL_FILE_NONE: return {};
    case PL_FILE_FOLDER: return {Kind::folder, nullptr, 0};
    case PL_FILE_BYTES: break;
    default:
      throw Error(ErrorCode::file, "open_file",
                  path + ": the host answered with a number that is none of PL_FILE_…");
  }
  if (data == nullptr) {
    throw Error(ErrorCode::file, "open_file", path + ": the host says bytes and gives NULL");
  }
  const auto close = [host = &host_](const void* bytes) {
    if (host->close_file != nullptr) host->close_file(host->user, bytes);
  };
  return {Kind::file, std::shared_ptr<const void>(data, close), size};
}

}  // namespace perilune::c
