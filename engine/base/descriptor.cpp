#include "engine/base/descriptor.h"

#include <unistd.h>

#include <system_error>

namespace perilune {

Descriptor::~Descriptor() {
  if (number_ >= 0) ::close(number_);
}

std::string reason_of(int error) {
  return std::generic_category().message(error);
}

}  // namespace perilune
