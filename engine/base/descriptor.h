// An open file of the system, and what its errors are called.
#pragma once

#include <string>

namespace perilune {

/// A file descriptor that closes itself on every way out.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor();
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return number_; }

 private:
  int number_;
};

/// What an errno value means, in words.
std::string reason_of(int error);

}  // namespace perilune
