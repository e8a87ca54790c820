#pragma once
// The least arithmetic of one GAL step: multiply-adds of the matrix products, two FLOPs each. Everything else (norms,
// softmax, dropout, losses, optimiser) is counted as free, so that the floor is honest.

#include "gal/graph_encoder.h"
#include "gal/hop_batch.h"
#include "gal/options.h"

namespace galrec::gal {

struct StepFlops {
  double forward = 0;   // encoder and decoder
  double backward = 0;  // twice the forward
  double momentum = 0;  // forward of u0, u2, i0, i2
  double head = 0;      // cross-entropy: forward, dx, dw
  double total() const { return forward + backward + momentum + head; }
};

StepFlops step_flops(const HopBatch& batch, const ModelOptions& model, const GalOptions& options);

}  // namespace galrec::gal
