#include "autograd/tape.h"

#include <algorithm>
#include <utility>

#include "kernels/common/elementwise.h"

namespace galrec::autograd {

template <class T>
void Tape<T>::reset(Recording recording, PhiloxKey dropout_key) {
  recording_ = recording;
  dropout_key_ = dropout_key;
  next_stream_ = dropout_key.stream;
  nodes_.clear();
  slots_.clear();
  for (auto& [store, slots] : parameter_slots_) std::fill(slots.begin(), slots.end(), -1);
  for (auto& [size, blocks] : free_gradients_) blocks.clear();
  arena_.reset();
}

template <class T>
Variable<T> Tape<T>::output(std::int64_t rows, std::int64_t cols, std::initializer_list<Variable<T>> inputs) {
  return output_in(arena_.template matrix<T>(rows, cols), inputs);
}

template <class T>
Variable<T> Tape<T>::output_in(View<T, 2> memory, std::initializer_list<Variable<T>> inputs) {
  const bool wanted = recording() && std::any_of(inputs.begin(), inputs.end(), [](const auto& v) { return v.requires_gradient(); });
  if (!wanted) return Variable<T>(memory, -1);
  slots_.push_back({.gradient = {}, .rows = memory.rows(), .cols = memory.cols()});
  return Variable<T>(memory, static_cast<int>(slots_.size()) - 1);
}

template <class T>
Variable<T> Tape<T>::leaf(View<T, 2> value) {
  if (!recording()) return Variable<T>(value, -1);
  slots_.push_back({.gradient = {}, .rows = value.rows(), .cols = value.cols(), .keep = true});
  return Variable<T>(value, static_cast<int>(slots_.size()) - 1);
}

template <class T>
Variable<T> Tape<T>::parameter(ParameterStore<T>& store, ParameterId id) {
  const auto& span = store.span(id);
  if (!recording() || span.trainable == Trainable::kNo || !store.has_gradients()) return Variable<T>(store.value(id), -1);
  auto& slots = parameter_slots_[&store];
  slots.resize(static_cast<std::size_t>(store.size()), -1);
  int& slot = slots[static_cast<std::size_t>(id)];
  if (slot < 0) {
    slots_.push_back({.gradient = {}, .rows = span.rows(), .cols = span.cols(), .store = &store, .parameter = id, .keep = true});
    slot = static_cast<int>(slots_.size()) - 1;
  }
  return Variable<T>(store.value(id), slot);
}

template <class T>
void Tape<T>::record(std::string_view name, Variable<T> output, std::function<void()> backward) {
  if (output.slot_ < 0) return;
  nodes_.push_back({name, output.slot_, -1, std::move(backward)});
}

template <class T>
void Tape<T>::record(std::string_view name, Variable<T> first, Variable<T> second, std::function<void()> backward) {
  if (first.slot_ < 0 && second.slot_ < 0) return;
  nodes_.push_back({name, first.slot_, second.slot_, std::move(backward)});
}

template <class T>
View<T, 2> Tape<T>::gradient(const Variable<T>& v) const {
  return v.slot_ < 0 ? View<T, 2>{} : slots_[static_cast<std::size_t>(v.slot_)].gradient;
}

template <class T>
View<T, 2> Tape<T>::take_gradient_memory(std::int64_t rows, std::int64_t cols) {
  auto& blocks = free_gradients_[rows * cols];
  if (blocks.empty()) return arena_.template matrix<T>(rows, cols);
  T* block = blocks.back();
  blocks.pop_back();
  return View<T, 2>(block, {rows, cols});
}

template <class T>
GradientTarget<T> Tape<T>::claim(const Variable<T>& v) {
  if (v.slot_ < 0) return {};
  Slot& slot = slots_[static_cast<std::size_t>(v.slot_)];
  if (slot.store != nullptr) {
    slot.gradient = slot.store->gradient(slot.parameter);
    return {slot.gradient, slot.store->claim_gradient(slot.parameter)};
  }
  if (slot.gradient) return {slot.gradient, Accumulate::kAdd};
  slot.gradient = take_gradient_memory(slot.rows, slot.cols);
  return {slot.gradient, Accumulate::kOverwrite};
}

template <class T>
bool Tape<T>::hand_over(const Variable<T>& from, const Variable<T>& to) {
  if (from.slot_ < 0 || to.slot_ < 0) return false;
  Slot& source = slots_[static_cast<std::size_t>(from.slot_)];
  Slot& target = slots_[static_cast<std::size_t>(to.slot_)];
  if (!source.gradient || target.gradient || source.keep || target.keep) return false;
  GALREC_CHECK(source.rows == target.rows && source.cols == target.cols);
  target.gradient = source.gradient;
  source.gradient = {};
  return true;
}

template <class T>
void Tape<T>::release(int index) {
  if (index < 0) return;
  Slot& slot = slots_[static_cast<std::size_t>(index)];
  if (slot.keep || !slot.gradient) return;
  free_gradients_[slot.rows * slot.cols].push_back(slot.gradient.data);
  slot.gradient = {};
}

template <class T>
void Tape<T>::backward(const Variable<T>& loss, double seed) {
  GALREC_CHECK(recording(), "the tape did not record");
  GALREC_CHECK(loss.rows() == 1 && loss.cols() == 1, "the loss is ({}, {}), not a scalar", loss.rows(), loss.cols());
  GALREC_CHECK(loss.requires_gradient(), "the loss does not depend on a trainable parameter");
  const auto target = claim(loss);
  dispatch<T>(device_, [&](auto& ctx) { fill<T>(ctx, target.view, seed); });
  for (auto node = nodes_.rbegin(); node != nodes_.rend(); ++node) {
    if (reached(node->first) || reached(node->second)) node->backward();
    release(node->first);
    release(node->second);
  }
}

template <class T>
Dropout Tape<T>::next_dropout(double rate) {
  if (rate == 0 || !recording()) return {};
  return {.rate = rate, .key = {.seed = dropout_key_.seed, .step = dropout_key_.step, .stream = next_stream_++}};
}

template class Tape<float>;
template class Tape<double>;

}  // namespace galrec::autograd
