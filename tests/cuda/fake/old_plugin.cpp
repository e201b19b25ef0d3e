// A plug-in "cuda" as an older engine built it: it knows its own version of the table alone.
#include "kernels/plugin.h"

using namespace perilune::kernels;

extern "C" __attribute__((visibility("default"))) const PluginTable* perilune_plugin(
    std::uint32_t) {
  static const PluginTable table = {.version = kPluginVersion - 1,
                                    .table_bytes = sizeof(PluginTable),
                                    .kernel_table_bytes = sizeof(KernelTable)};
  return &table;
}
