// Which keys attention sees, and how it scores them.
#pragma once

#include "engine/ops/op.h"
#include "engine/ops/relative_bias.h"
#include "engine/ops/run_tables.h"

namespace perilune {

/// What attention, its weights and what is made of changed weights share.
struct AttentionSetting {
  bool cached = false;
  KvKind kind = KvKind::self;
  std::string path;  // of the slot, when cached
  std::int64_t kv_heads = 0, head_dim = 0, window = 0;
  kernels::Mask mask = kernels::Mask::none;
  double scale = 1.0, softcap = 0;
  std::shared_ptr<const RelativeBias> bias;

  std::optional<KvUse> kv_use() const {
    return cached ? std::optional<KvUse>(KvUse{path, kind}) : std::nullopt;
  }
};

}  // namespace perilune
