// Keys and values of generated sequences: pages with reference counts, one page table per layer
// group. A page covers page_tokens positions of all layers of its group. Page tables go by absolute
// positions; layers with a sliding window give a page back when no query will see it again, and its
// entry is null from then on.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/cache/kept_pages.h"
#include "engine/tensor/tensor.h"

namespace perilune {

enum class KvKind : std::uint8_t { self, cross };

/// One layer's keys and values, as a pass declared them (net:cached). Passes of one model that name
/// the same scope and kind share a slot (an encoder-decoder's cross and decode).
struct KvSlotSpec {
  std::string path;  // canonical scope, "layers.3"
  KvKind kind = KvKind::self;
  std::int64_t window = 0;  // 0: none
  std::int64_t kv_heads = 0, head_dim = 0;
  std::shared_ptr<Device> device = nullptr;  // where the layer runs; null: the cache's own
  bool operator==(const KvSlotSpec&) const = default;
};

/// Layers equal in kind, window, kv heads, head size, dtype and device share a group and so a page
/// table.
struct KvGroup {
  KvKind kind;
  std::int64_t window;
  kernels::KvLayout layout;
  std::shared_ptr<Device> device;  // of its pages; null: the cache's own
  std::int64_t layers = 0;
  std::int64_t page_bytes = 0;  // all layers
};

struct KvSlot {
  int group = 0;
  std::int64_t page_offset = 0;  // bytes of this layer inside a page
};

/// Which slots a model has and how they lie in pages. A handle: copies are the same layout.
class CacheLayout {
 public:
  CacheLayout(std::vector<KvSlotSpec> slots, DType dtype, std::int64_t page_tokens = 64);
  const std::vector<KvSlotSpec>& slots() const { return data_->specs; }
  const std::vector<KvGroup>& groups() const { return data_->groups; }
  /// Whether slots found in the one are those of the other.
  bool same(const CacheLayout& other) const { return data_ == other.data_; }
  /// The slot of a scope and kind; throws when the pass was not part of the layout.
  KvSlot slot(const std::string& path, KvKind kind) const;
  DType dtype() const { return data_->dtype; }
  std::int64_t page_tokens() const { return data_->page_tokens; }
  /// Pages that hold so many positions.
  std::int64_t pages_for(std::int64_t positions) const {
    return (positions + data_->page_tokens - 1) / data_->page_tokens;
  }
  /// Bytes one more token takes in the self groups, on average, while no window is full.
  std::int64_t bytes_per_token() const;
  /// Bytes that a sequence of its own takes when its positions are added a few at a time: `tokens`
  /// of them (windows hold what they see and no more), and a source of `cross`.
  std::int64_t bytes_for(std::int64_t tokens, std::int64_t cross = 0) const;
  /// Bytes that the pages of every group are whole multiples of: what pages are counted in where
  /// groups differ.
  std::int64_t page_unit() const;
  /// The page that holds the first position which a group needs when `length` positions are
  /// committed: 0, but for a full window.
  std::int64_t first_page(int group, std::int64_t length) const;

 private:
  struct Data {
    std::vector<KvSlotSpec> specs;
    std::vector<KvSlot> slots;
    std::vector<KvGroup> groups;
    DType dtype;
    std::int64_t page_tokens;
  };
  std::shared_ptr<const Data> data_;
};

/// So many of the last positions can be cropped although a window has passed: a last token that is
/// computed again, drafts that were refused.
inline constexpr std::int64_t kKeptBehind = 16;

class Cache;
class SequenceCache;

/// Follows what happens to a pool's pages, for pools of other processes that are to be like it.
class PageMirror {
 public:
  virtual ~PageMirror() = default;
  /// The number that the other pools know this one by.
  virtual std::int64_t number() const = 0;
  /// The content of page `from` of a group was copied to page `to`.
  virtual void copied(int group, std::int32_t from, std::int32_t to) = 0;
};

/// What a sequence is to get room for: `tokens` more positions, and a source of `cross`.
struct CacheGrowth {
  const SequenceCache* cache = nullptr;
  std::int64_t tokens = 0, cross = 0;
};

/// The pages of one sequence. Tokens become part of it at commit() only. Not thread-safe.
class SequenceCache {
 public:
  explicit SequenceCache(std::shared_ptr<Cache> cache);
  ~SequenceCache();
  SequenceCache(const SequenceCache&) = delete;
  SequenceCache& operator=(const SequenceCache&) = delete;

  /// Committed positions of the self groups; of the cross groups.
  std::int64_t length() const { return length_; }
  std::int64_t cross_length() const { return cross_length_; }
  /// How long the text was that its keys were made for, where rotary tables depend on that.
  std::int64_t made_for() const { return made_for_; }
  void set_made_for(std::int64_t tokens) { made_for_ = tokens; }
  /// Makes room for positions [length, length + tokens) of the self groups; a shared last page is
  /// copied first (copy-on-write). False (and nothing changed) when the pool has too few pages.
  bool reserve(std::int64_t tokens);
  bool reserve_cross(std::int64_t tokens);
  /// Bytes that reserve() and reserve_cross() of all of these, one after the other, take from their
  /// common pool: pages that are not there yet, and shared ones that are written to.
  static std::int64_t bytes_needed(std::span<const CacheGrowth> growths);
  std::int64_t bytes_needed(std::int64_t tokens, std::int64_t cross = 0) const {
    const CacheGrowth growth{this, tokens, cross};
    return bytes_needed({&growth, 1});
  }
  /// Ends what reserve() began; pages that left their window go back to the pool.
  void commit(std::int64_t tokens);
  void commit_cross(std::int64_t tokens);
  /// Bytes that would be free if all of these, of one pool, were cleared.
  static std::int64_t bytes_released(std::span<const SequenceCache* const> caches);
  /// Drops reserved but uncommitted pages.
  void rollback();
  /// Whether a pass has reserved room and has neither committed nor rolled back. Until then the
  /// sequence cannot be changed, and reserve(), crop(), fork() throw Error(state).
  bool in_pass() const { return open_self_ || open_cross_; }
  /// Throws Error(state) naming `op` while in_pass().
  void expect_idle(const char* op) const;
  /// Whether what a window sees before position `length` is still there: always so for the last
  /// kKeptBehind positions, and for 0.
  bool can_crop(std::int64_t length) const;
  /// Keeps the first `length` positions. Throws Error(state) where can_crop() is false.
  void crop(std::int64_t length);
  /// Another sequence with the same content; pages are shared until written.
  std::unique_ptr<SequenceCache> fork() const;
  /// For an empty sequence: shares the longest front of `ids` whose pages the pool has kept, each
  /// window's included, and gives its length. Part of a page is shared, too, until it is written
  /// to.
  std::int64_t attach(const PrefixKey& key, std::span<const std::int32_t> ids);
  /// Lets the pool find this sequence's pages by the ids they were computed for, `ids` of at least
  /// length(): full ones, and with `tail` a begun one. Pages whose content the pool has already are
  /// exchanged for those. No pass may be under way.
  void publish(const PrefixKey& key, std::span<const std::int32_t> ids, bool tail);
  /// Whether full pages are there that publish() has not seen.
  bool has_unpublished() const;
  /// Gives every page back; length becomes 0. Ends a pass, as rollback() does.
  void clear();
  /// For an empty sequence that is restored: the first `pages` pages of a window's group are not
  /// there, and reserve() takes none for them.
  void skip_pages(int group, std::int64_t pages);
  /// Pages of a group that are there now.
  std::int64_t pages_held(int group) const;
  std::int64_t bytes() const;
  /// Page pointers of a group by position, for kernels; null for pages that left their window.
  const std::vector<void*>& pages(int group) const;
  /// Their numbers in the pool; -1 for pages that left their window.
  const std::vector<std::int32_t>& page_numbers(int group) const {
    return page_ids_[static_cast<std::size_t>(group)];
  }
  const std::shared_ptr<Cache>& cache() const { return cache_; }

 private:
  class TakenPages;
  /// Room for positions [from, to) of the groups of one kind; pages written to are this sequence's
  /// alone afterwards. All or nothing.
  bool grow(KvKind kind, std::int64_t from, std::int64_t to);
  /// Gives back the pages after the first `positions`.
  void shrink(KvKind kind, std::int64_t positions);
  struct PageRange {
    std::size_t first = 0, last = 0;
  };
  PageRange written(const CacheGrowth& growth, std::size_t group) const;
  void publish_page(KeptPages::Node& node, std::size_t page);
  void drop_front(std::size_t group, std::size_t pages);

  std::shared_ptr<Cache> cache_;
  std::int64_t length_ = 0, cross_length_ = 0, made_for_ = 0;
  bool open_self_ = false, open_cross_ = false;      // reserved, not committed
  std::vector<std::vector<std::int32_t>> page_ids_;  // per group; kNoPage where dropped
  std::vector<std::vector<void*>> pointers_;         // per group; null where dropped
  std::vector<std::size_t> held_from_;               // per group: the first page not dropped
  std::size_t published_ = 0;                        // so many pages are known to the pool
};

/// The pool of pages. Grows in slabs up to a budget; pages are reused.
class Cache : public std::enable_shared_from_this<Cache> {
 public:
  /// `budget` bytes for all pages.
  Cache(std::shared_ptr<Context> context, std::shared_ptr<Device> device, CacheLayout layout,
        std::int64_t budget);
  ~Cache();
  const CacheLayout& layout() const { return layout_; }
  const std::shared_ptr<Context>& context() const { return context_; }
  const std::shared_ptr<Device>& device() const { return device_; }
  /// Where the pages of a group are.
  const std::shared_ptr<Device>& device(int group) const {
    const auto& own = layout_.groups()[static_cast<std::size_t>(group)].device;
    return own != nullptr ? own : device_;
  }
  std::int64_t budget() const { return budget_; }
  /// Null: nobody follows it.
  void set_mirror(std::unique_ptr<PageMirror> mirror) { mirror_ = std::move(mirror); }
  const PageMirror* mirror() const { return mirror_.get(); }
  /// Of pages that sequences hold; `on`: of those on one device.
  std::int64_t used_bytes(const Device* on = nullptr) const;
  /// Of cold pages: kept for texts that begin alike until room is needed, and counted as free.
  std::int64_t kept_bytes(const Device* on = nullptr) const;
  /// How many first positions of `ids` attach() would share now.
  std::int64_t shareable(const PrefixKey& key, std::span<const std::int32_t> ids) const {
    return usable(kept_.find(key, ids));
  }
  /// Lets all kept pages go.
  void forget();
  /// Bytes that can still be taken: of the budget, or of what the device gave before it refused.
  std::int64_t free_bytes() const { return std::max<std::int64_t>(0, limit_ - used_bytes()); }
  /// What the device said when it refused pages that the budget allows; "" while it has not. Until
  /// all pages are back nothing more is asked of it.
  const std::string& refusal() const { return refusal_; }
  /// "12 of 300 bytes are free", and the device's own words where it refused.
  std::string free_text() const;
  /// Pages of all self groups that could still be taken, counted in page_tokens positions.
  std::int64_t free_pages() const;

 private:
  friend class SequenceCache;
  struct GroupPages;
  std::optional<std::int32_t> take(int group);
  void share(int group, std::int32_t page);
  void give(int group, std::int32_t page);
  std::int32_t references(int group, std::int32_t page) const;
  /// The same without the pool's own.
  std::int32_t holders(int group, std::int32_t page) const;
  std::int64_t usable(const KeptPages::Found& found) const;
  std::int64_t taken_bytes() const;
  bool drop_oldest();
  bool add_slab_or_refuse(int group);
  void* pointer(int group, std::int32_t page) const;
  std::int64_t slab_bytes() const;
  void add_slab(int group);

  std::shared_ptr<Context> context_;
  std::shared_ptr<Device> device_;
  CacheLayout layout_;
  std::int64_t budget_, limit_;
  std::string refusal_;
  std::vector<std::unique_ptr<GroupPages>> groups_;
  KeptPages kept_;
  std::unique_ptr<PageMirror> mirror_;
};

}  // namespace perilune
