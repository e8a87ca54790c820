#pragma once
// The slowly moving copy of the encoder that fills the queues (paper eq. 17): shared, encoder and g; h is shared with
// the query encoder. Its parameters are averaged by the optimiser in the pass that updates the query's.

#include "autograd/parameter_store.h"
#include "autograd/tape.h"
#include "gal/graph_encoder.h"
#include "gal/model.h"
#include "gal/negative_queue.h"

namespace galrec::gal {

template <class T>
class MomentumEncoder {
 public:
  /// Starts as a copy of `model`, which must outlive it, in the same memory.
  explicit MomentumEncoder(const GalModel<T>& model);

  autograd::ParameterStore<T>& parameters() { return store_; }
  const autograd::ParameterStore<T>& parameters() const { return store_; }
  /// Takes over the model's current values.
  void copy_from(const GalModel<T>& model);

  /// Keys of the hops u0, u2, i0 and i2 of a HopSet::kAll batch: unit rows (as they are for Similarity::kDot) that live
  /// until the tape is reset. The caller resets the tape: Recording::kOff, or kOn with a key where `rates` drop.
  Keys<T> encode(autograd::Tape<T>& tape, const HopBatch& batch,
                 const layers::DropoutRates& rates = layers::DropoutRates::none(),
                 Similarity similarity = Similarity::kCosine);
  /// The same of a batch that lies on the device.
  Keys<T> encode(autograd::Tape<T>& tape, const DeviceBatch<T>& batch, const layers::DropoutRates& rates, Similarity similarity);

 private:
  ModelOptions options_;
  autograd::ParameterStore<T> store_;
  GraphEncoder<T> encoder_;
};

extern template class MomentumEncoder<float>;
extern template class MomentumEncoder<double>;
extern template class MomentumEncoder<bfloat16>;

}  // namespace galrec::gal
