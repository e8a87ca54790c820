#pragma once
// A batch where the model reads it: every list of integers that a step needs, worked out on the host and brought to the
// device in one copy. Padded to buckets, batches of about the same size are the same work to the device, so that a step
// can be captured once and replayed.

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "gal/hop_batch.h"
#include "kernels/common/dtype.h"
#include "kernels/common/memory.h"
#include "kernels/common/view.h"

namespace galrec::gal {

struct ModelOptions;

/// What the host decides about a step besides its batch.
struct StepInputs {
  std::uint32_t draw = 0;  ///< number of the step's dropout masks
  std::span<const std::int32_t>
      ring_rows;  ///< (samples) rows of the queues that its keys go to, -1: none; may be empty
};

/// Views of the device's memory. Lists end in padding: tokens that belong to segments of their own, table rows that no
/// token names, segments that nobody pools.
template <class T>
struct DeviceBatch {
  using Ints = View<const std::int32_t, 1>;
  HopSet hops = HopSet::kAll;
  std::int32_t samples = 0;
  std::int32_t without_target = -1;  ///< the first sample that has none, -1: they all have one
  std::int32_t user_without_target = -1;  ///< that sample's user, -1 if unknown
  Ints text_ids, user_ids, item_ids;  ///< rows of the batch's table, as in HopBatch
  View<const T, 2> own_users;         ///< (own, d1)
  Ints tokens, cu,
      pool_rows;  ///< all prompts; pool_rows: the first or last token of each segment, empty for mean pooling
  Ints recommend_rows, recommend_cu;  ///< rows of the u2 prompts among the tokens; empty where there are no others
  Ints start_rows, start_cu;          ///< the decoder's input for one step
  Ints target_rows, target_cu;        ///< for two; empty where a sample has no target
  Ints target_items,
      target_columns;  ///< (samples) and (2 samples): what the decoder shall say, as items and as rows of the head
  Ints user, item;     ///< (samples)
  std::array<Ints, data::kHops> hop_rows;  ///< (samples) the segments of each hop, for HopSet::kAll
  Ints key_tokens, key_cu, key_pool_rows;  ///< the prompts that the queues hold (u0, u2, i0, i2), for HopSet::kAll
  Ints ring_rows;                          ///< (samples) or empty
  const std::uint32_t* draw = nullptr;
};

/// Works out the lists of one batch.
template <class T>
class BatchLists {
 public:
  /// `bucket` tokens, a multiple of 64: token lists are padded to a multiple of it, rows of the table and
  /// recommendation tokens to an eighth and a quarter. 0: no padding. CheckError for a batch without samples.
  BatchLists(const HopBatch& batch, const ModelOptions& model, std::int64_t bucket, const StepInputs& inputs = {});

  /// Memory for all of it, in bytes.
  std::int64_t bytes() const { return static_cast<std::int64_t>(bytes_.size()); }
  /// Brings the lists to `at`, aligned to kAlignment, in one transfer. Addresses depend on extents() alone.
  DeviceBatch<T> put(MemoryResource& memory, std::byte* at) const;
  /// All that shapes the work of a step: equal extents, equal work.
  const std::vector<std::int64_t>& extents() const { return extents_; }

 private:
  struct Place {
    std::int64_t offset = 0, count = 0;
  };
  template <class V>
  Place add(std::span<const V> values);
  Place add(const std::vector<std::int32_t>& values) { return add(std::span<const std::int32_t>(values)); }
  void add_table(const HopBatch& batch, const ModelOptions& model, std::int64_t granule);
  void add_prompts(const HopBatch& batch, const ModelOptions& model, std::int64_t bucket);
  void add_keys(const HopBatch& batch, const ModelOptions& model, std::int64_t bucket);
  void add_decoder(const HopBatch& batch, const ModelOptions& model, std::int64_t padding_segments);
  void add_pool_rows(Place& rows, const std::vector<std::int32_t>& cu, const ModelOptions& model);
  std::int32_t row_of(std::int32_t row) const;

  struct Places {
    Place text_ids, user_ids, item_ids, own_users, tokens, cu, pool_rows, recommend_rows, recommend_cu, start_rows,
        start_cu, target_rows, target_cu, target_items, target_columns, user, item, key_tokens, key_cu, key_pool_rows,
        ring_rows, draw;
    std::array<Place, data::kHops> hop_rows;
  };

  HopSet hops_;
  std::int32_t samples_;
  std::int32_t without_target_ = -1, user_without_target_ = -1;  // on the host: a check of them waits for no device
  std::int64_t own_rows_ = 0, user_dim_;
  std::int32_t first_own_ = 0, first_item_ = 0;  // in the batch's table
  std::int32_t own_shift_ = 0, item_shift_ = 0;  // how much further they lie in the padded one
  Places places_;
  std::vector<std::byte> bytes_;
  std::vector<std::int64_t> extents_;
};

extern template class BatchLists<float>;
extern template class BatchLists<double>;
extern template class BatchLists<bfloat16>;

}  // namespace galrec::gal
