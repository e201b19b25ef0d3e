// Kernel tests through a plug-in, on a GPU: PERILUNE_KERNELS=cuda, or plugin-emulator, which shows
// without a GPU that this way works.
#pragma once

#include <cstddef>
#include <string>

#include "kernels/kernel_table.h"

namespace kernel_test {

/// Opens device 0 of libperilune_<kind>.so, which lies in PERILUNE_PLUGINS or one folder above the
/// tests, and lets every later `new` of this program take memory that host and device read at the
/// same address. The table's entries return when the device is done. Throws where it is not there.
const perilune::kernels::KernelTable& open_plugin(const std::string& kind);

/// 64-byte aligned memory of that kind; null where no plug-in was opened.
void* device_memory(std::size_t bytes);
/// False where it is not of that kind.
bool release_device_memory(void* pointer);

/// What goes into Launch::stream; null where no plug-in was opened.
void* plugin_stream();

/// What failed on the device since the last call; empty: nothing.
std::string plugin_failure();

}  // namespace kernel_test
