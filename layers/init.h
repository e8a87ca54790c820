#pragma once
// Random initial weights: a pure function of (seed, parameter name, element), so that neither the order of registration
// nor other parameters matter.

#include <cstdint>
#include <string_view>

#include "autograd/parameter_store.h"
#include "kernels/common/philox.h"

namespace galrec::layers {

/// The Philox sequence of a parameter; element e is drawn from block e.
PhiloxKey parameter_key(std::uint64_t seed, std::string_view name);

/// N(0, deviation^2).
template <class T>
void init_normal(autograd::ParameterStore<T>& store, autograd::ParameterId id, double deviation, std::uint64_t seed);

template <class T>
void init_constant(autograd::ParameterStore<T>& store, autograd::ParameterId id, double value);

}  // namespace galrec::layers
