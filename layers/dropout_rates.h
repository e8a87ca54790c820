#pragma once
// Where a transformer drops. One number in the papers, several places in the code.

namespace galrec::layers {

struct DropoutRates {
  double embedding = 0;     // on the embedded input
  double attention = 0;     // on attention probabilities
  double hidden = 0;        // on each sub-layer's output before the residual addition
  double feed_forward = 0;  // between the feed-forward's two products
  double output = 0;        // after the final norm

  static DropoutRates uniform(double rate) { return {rate, rate, rate, rate, rate}; }
  static DropoutRates none() { return {}; }
};

}  // namespace galrec::layers
