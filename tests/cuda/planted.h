// Kernels with one bug each, and their correct twins: what the emulator must tell apart.
#pragma once

#include <string>
#include <vector>

namespace planted {

struct Case {
  std::string name;
  std::string expected;  // part of the fault; "" where the kernel is right
};

/// All of them, by name.
const std::vector<Case>& cases();
/// Runs one; "" or the fault.
std::string run(const std::string& name);
/// Writes past the end of a heap buffer from a kernel: for a child process under AddressSanitizer.
void store_out_of_bounds();

}  // namespace planted
