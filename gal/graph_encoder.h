#pragma once
// Prompts to embeddings: the batch's embedding table (text from `shared`, ids through g), one packed pass of the T5
// encoder, pooling. The query encoder and the momentum encoder are two of these over two parameter stores.

#include <cstdint>
#include <memory>
#include <span>

#include "autograd/parameter_store.h"
#include "autograd/tape.h"
#include "gal/device_batch.h"
#include "gal/options.h"
#include "layers/t5/config.h"
#include "layers/t5/encoder.h"

namespace galrec::gal {

/// Sizes of a model.
struct ModelOptions {
  layers::T5Config t5;  ///< its vocab_size is text_rows
  std::int32_t text_rows = 0;
  std::int32_t users = 0;
  std::int32_t items = 0;
  std::int64_t user_dim = 0;  ///< d1 of the external vectors
  std::int64_t item_dim = 0;
  MappingOptions mapping;
};

/// The external vectors that an encoder reads, in its own storage and on its device; shared by query and momentum encoder.
template <class T>
struct ExternalTables {
  Buffer<T> user, item;  // (U, user_dim), (I, item_dim); empty where the rows are parameters
};

template <class T>
class GraphEncoder {
 public:
  /// Registers shared.weight, encoder.*, g_user.*, g_item.* and, for trainable rows, h_user and h_item.
  GraphEncoder(autograd::ParameterStore<T>& store, const ModelOptions& options, const ExternalTables<T>& external);

  /// The batch's table (table_rows, d), in the precision of the residual stream that its rows begin.
  autograd::Variable<Acc<T>> table(autograd::Tape<T>& tape, const DeviceBatch<T>& batch) const;
  /// Final encoder states (N, d) of packed rows of the table.
  autograd::Variable<T> states(autograd::Tape<T>& tape, autograd::Variable<Acc<T>> table, View<const std::int32_t, 1> tokens,
                               View<const std::int32_t, 1> cu, const layers::DropoutRates& rates) const;
  /// One vector a segment: (S, d). `rows` (S) are those that first or last pooling takes.
  autograd::Variable<T> pool(autograd::Tape<T>& tape, autograd::Variable<T> states, View<const std::int32_t, 1> cu,
                             View<const std::int32_t, 1> rows) const;
  /// g of all users and items, (rows, d) each, into host memory, a block at a time.
  void map_all(const Device& device, View<Acc<T>, 2> users, View<Acc<T>, 2> items) const;

 private:
  struct MappingIds {
    autograd::ParameterId weight = -1, bias = -1, hidden_weight = -1, hidden_bias = -1;
  };
  MappingIds register_mapping(const char* name, std::int64_t dim);
  autograd::Variable<T> map(autograd::Tape<T>& tape, autograd::Variable<T> h, const MappingIds& g) const;
  template <class H>
  void map_rows(const Device& device, View<Acc<T>, 2> out, View<const H, 2> h, const MappingIds& g) const;

  autograd::ParameterStore<T>& store_;
  const ModelOptions& options_;
  const ExternalTables<T>& external_;
  autograd::ParameterId shared_ = -1, h_user_ = -1, h_item_ = -1;
  MappingIds g_user_, g_item_;
  layers::T5Encoder<T> encoder_;
};

}  // namespace galrec::gal
