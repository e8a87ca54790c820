#include "layers/init.h"

#include <algorithm>

namespace galrec::layers {

PhiloxKey parameter_key(std::uint64_t seed, std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325u;  // FNV-1a, 64 bits
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return {.seed = seed, .step = static_cast<std::uint32_t>(hash >> 32), .stream = static_cast<std::uint32_t>(hash)};
}

template <class T>
void init_normal(autograd::ParameterStore<T>& store, autograd::ParameterId id, double deviation, std::uint64_t seed) {
  const auto& span = store.span(id);
  PhiloxStream stream(parameter_key(seed, span.name));
  store.edit(id, [&](View<Acc<T>, 2> values) {
    for (std::int64_t i = 0; i < span.size; ++i) values.data[i] = static_cast<Acc<T>>(deviation * stream.normal());
  });
}

template <class T>
void init_constant(autograd::ParameterStore<T>& store, autograd::ParameterId id, double value) {
  store.edit(id, [&](View<Acc<T>, 2> values) { std::fill_n(values.data, values.size(), static_cast<Acc<T>>(value)); });
}

#define INSTANTIATE(T)                                                                                   \
  template void init_normal(autograd::ParameterStore<T>&, autograd::ParameterId, double, std::uint64_t); \
  template void init_constant(autograd::ParameterStore<T>&, autograd::ParameterId, double);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(bfloat16)
#undef INSTANTIATE

}  // namespace galrec::layers
