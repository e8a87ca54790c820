#pragma once
// What instructions return on fixed inputs. The executor claims the same bits as the hardware for some and a documented
// error for others; a dump of both shows where they differ.

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/common/context.h"

namespace galrec::conformance {

/// How two results of one probe may differ.
enum class Claim {
  kExact,     // not at all
  kUlps,      // by `bound` units in the last place
  kRelative,  // by `bound` times the result
  kNearOne,   // by `bound` in all, or `bound` times the result where that is larger (log2)
  kScaled,    // by `bound` times the scale of the element: the sum of magnitudes that a product adds up
  kObserved,  // as they like: what hardware does is not documented, the dump shows it
};

/// One instruction on a list of inputs. Words are bits: of floats for every claim but kExact and kObserved, where they
/// may be anything.
struct Probe {
  std::string name;
  Claim claim = Claim::kExact;
  double bound = 0;
  std::vector<std::uint32_t> in;  // what distinguishes the results, for the reader; not compared when empty
  std::vector<std::uint32_t> out;
  std::vector<float> scale;  // kScaled: one for each element of out
};

/// mma.sync, ldmatrix, cp.async.
std::vector<Probe> matrix_probes(CudaContext& ctx);
/// Approximate functions, conversions, shuffles.
std::vector<Probe> scalar_probes(CudaContext& ctx);

}  // namespace galrec::conformance
