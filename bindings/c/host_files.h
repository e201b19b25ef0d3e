// Files of models that the host brings: pl_options.open_file.
#pragma once

#include "bindings/c/perilune.h"
#include "engine/base/file_source.h"

namespace perilune::c {

class HostFiles final : public FileSource {
 public:
  /// `host` outlives this and whatever is found.
  explicit HostFiles(const pl_options& host) : host_(host) {}
  bool any() const { return host_.open_file != nullptr; }
  Found find(const std::string& path) const override;

 private:
  const pl_options& host_;
};

}  // namespace perilune::c
