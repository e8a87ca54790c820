#pragma once
// Teaching ladders (kernels/<op>/ladder/): the same contract met by several kernels, from naive to production, one idea apart.
// docs/kernel_tour.md walks them, bench/ladders/ measures them; nothing in the product calls them.

namespace galrec::ladder {

/// Which arithmetic carries the products. Tensor cores are counted by the meter; the others' work is known from the contract.
enum class Units { kOrdinary, kTensorCores };

/// One step of a ladder. `run` has the signature that the ladder's header states.
template <class Function>
struct Rung {
  const char* name;
  const char* idea;
  Units units;
  Function* run;
};

}  // namespace galrec::ladder
