#include "autograd/tape.h"

#include <algorithm>
#include <cstddef>

#include "kernels/common/elementwise.h"

namespace galrec::autograd {

template <class T>
void Tape<T>::reset(Recording recording, PhiloxKey dropout_key, const std::uint32_t* step_at) {
  GALREC_CHECK(step_at == nullptr || device_.kind() == DeviceKind::kCuda, "the CPU knows the step's number");
  recording_ = recording;
  dropout_key_ = dropout_key;
  dropout_step_at_ = step_at;
  next_stream_ = dropout_key.stream;
  nodes_.clear();
  slots_.clear();
  for (auto& [store, slots] : parameter_slots_) std::fill(slots.begin(), slots.end(), -1);
  for (auto& [size, blocks] : free_gradients_) blocks.clear();
  arena_.reset();
}

template <class T>
bool Tape<T>::wants_gradient(std::initializer_list<VariableSlot> inputs) const {
  return recording() && std::any_of(inputs.begin(), inputs.end(), [](const auto& v) { return v.requires_gradient(); });
}

template <class T>
int Tape<T>::add_slot(const Slot& slot) {
  slots_.push_back(slot);
  return static_cast<int>(slots_.size()) - 1;
}

template <class T>
Variable<T> Tape<T>::leaf(View<T, 2> value) {
  Slot slot = slot_of(value);
  slot.keep = true;
  return Variable<T>(value, recording() ? add_slot(slot) : -1);
}

template <class T>
int Tape<T>::parameter_slot(ParameterStore<T>& store, ParameterId id) {
  const auto& span = store.span(id);
  if (!recording() || span.trainable == Trainable::kNo || !store.has_gradients()) return -1;
  auto& slots = parameter_slots_[&store];
  slots.resize(static_cast<std::size_t>(store.size()), -1);
  int& slot = slots[static_cast<std::size_t>(id)];
  if (slot < 0) slot = add_slot({.rows = span.rows(), .cols = span.cols(), .stride = span.cols(), .store = &store, .parameter = id, .keep = true});
  return slot;
}

template <class T>
Accumulate Tape<T>::claim_memory(Slot& slot) {
  if (slot.store != nullptr) {
    slot.gradient = slot.store->gradient(slot.parameter).data;
    return slot.store->claim_gradient(slot.parameter);
  }
  if (slot.gradient != nullptr) return Accumulate::kAdd;
  auto& blocks = free_gradients_[slot.bytes];
  if (blocks.empty()) {
    slot.gradient = arena_.template alloc<std::byte>(slot.bytes);
  } else {
    slot.gradient = blocks.back();
    blocks.pop_back();
  }
  return Accumulate::kOverwrite;
}

template <class T>
bool Tape<T>::move_memory(int from, int to) {
  if (from < 0 || to < 0) return false;
  Slot& source = slots_[static_cast<std::size_t>(from)];
  Slot& target = slots_[static_cast<std::size_t>(to)];
  if (source.gradient == nullptr || target.gradient != nullptr || source.keep || target.keep) return false;
  GALREC_CHECK(source.rows == target.rows && source.cols == target.cols);
  target.gradient = source.gradient;
  source.gradient = nullptr;
  return true;
}

template <class T>
void Tape<T>::release(int index) {
  if (index < 0) return;
  Slot& slot = slots_[static_cast<std::size_t>(index)];
  if (slot.keep || slot.gradient == nullptr) return;
  free_gradients_[slot.bytes].push_back(slot.gradient);
  slot.gradient = nullptr;
}

template <class T>
void Tape<T>::round_values(View<double, 2> value) const {
  for (std::int64_t r = 0; r < value.rows(); ++r) {
    double* row = value.row(r);
    for (std::int64_t c = 0; c < value.cols(); ++c) {
      const auto rounded = static_cast<float>(row[c]);
      row[c] = rounding_ == Rounding::kBf16 ? static_cast<double>(bfloat16(rounded)) : static_cast<double>(rounded);
    }
  }
}

template <class T>
void Tape<T>::backward(const Variable<Acc<T>>& loss, double seed) {
  GALREC_CHECK(recording(), "the tape did not record");
  GALREC_CHECK(loss.rows() == 1 && loss.cols() == 1, "the loss is ({}, {}), not a scalar", loss.rows(), loss.cols());
  GALREC_CHECK(loss.requires_gradient(), "the loss does not depend on a trainable parameter");
  const auto target = claim(loss);
  dispatch<T>(device_, [&](auto& ctx) { fill<Acc<T>>(ctx, target.view, seed); });
  for (auto node = nodes_.rbegin(); node != nodes_.rend(); ++node) {
    // By now every reader of the output has added its part.
    round_gradient(node->first);
    round_gradient(node->second);
    if (reached(node->first) || reached(node->second)) node->backward();
    release(node->first);
    release(node->second);
  }
}

template <class T>
Dropout Tape<T>::next_dropout(double rate) {
  if (rate == 0 || !recording()) return {};
  return {.rate = rate,
          .key = {.seed = dropout_key_.seed, .step = dropout_key_.step, .stream = next_stream_++},
          .step_at = dropout_step_at_};
}

template class Tape<float>;
template class Tape<double>;
template class Tape<bfloat16>;

}  // namespace galrec::autograd
