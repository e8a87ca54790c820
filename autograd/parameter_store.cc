#include "autograd/parameter_store.h"

#include <algorithm>

namespace galrec::autograd {

namespace {
// Spans start at cache lines, so that views into the arena are aligned like allocations of their own.
constexpr std::int64_t kSpanAlignment = 16;
}  // namespace

template <class T>
ParameterId ParameterStore<T>::add(std::string name, std::vector<std::int64_t> shape, Trainable trainable) {
  GALREC_CHECK(values_.size() == 0, "parameter {} is added after allocate()", name);
  GALREC_CHECK(!by_name_.contains(name), "parameter {} is registered twice", name);
  GALREC_CHECK(!shape.empty(), "parameter {} has no shape", name);
  ParameterSpan span;
  span.size = 1;
  for (auto extent : shape) {
    GALREC_CHECK(extent > 0, "parameter {} has an extent of {}", name, extent);
    span.size *= extent;
  }
  span.decay = shape.size() > 1 ? WeightDecay::kApply : WeightDecay::kNone;
  span.trainable = trainable;
  span.offset = total_;
  span.shape = std::move(shape);
  span.name = name;
  total_ += (span.size + kSpanAlignment - 1) / kSpanAlignment * kSpanAlignment;
  const auto id = static_cast<ParameterId>(spans_.size());
  by_name_.emplace(std::move(name), id);
  spans_.push_back(std::move(span));
  return id;
}

template <class T>
void ParameterStore<T>::allocate(Trainable gradients, MemoryResource& memory) {
  GALREC_CHECK(values_.size() == 0, "allocate() is called twice");
  values_ = Buffer<Value>::zeros(total_, memory);
  if (gradients == Trainable::kYes) gradients_ = Buffer<Value>::zeros(total_, memory);
  if constexpr (kRounds) operands_ = Buffer<T>::zeros(total_, memory);
  written_.assign(spans_.size(), false);
}

template <class T>
ParameterId ParameterStore<T>::find(std::string_view name) const {
  const auto it = by_name_.find(std::string(name));
  return it == by_name_.end() ? -1 : it->second;
}

template <class T>
ParameterId ParameterStore<T>::require(std::string_view name) const {
  const ParameterId id = find(name);
  GALREC_CHECK(id >= 0, "there is no parameter {}", name);
  return id;
}

template <class T>
View<Acc<T>, 2> ParameterStore<T>::value(ParameterId id) const {
  const auto& s = span(id);
  GALREC_CHECK(values_.size() > 0, "allocate() comes first");
  return View<Value, 2>(values_.data() + s.offset, {s.rows(), s.cols()});
}

template <class T>
View<T, 1> ParameterStore<T>::operands() const {
  if constexpr (kRounds) return operands_.view();
  else return values_.view();
}

template <class T>
View<T, 2> ParameterStore<T>::operand(ParameterId id) const {
  const auto& s = span(id);
  GALREC_CHECK(values_.size() > 0, "allocate() comes first");
  return View<T, 2>(operands().data + s.offset, {s.rows(), s.cols()});
}

template <class T>
View<Acc<T>, 2> ParameterStore<T>::gradient(ParameterId id) const {
  const auto& s = span(id);
  GALREC_CHECK(has_gradients(), "the store of {} keeps no gradients", s.name);
  return View<Value, 2>(gradients_.data() + s.offset, {s.rows(), s.cols()});
}

template <class T>
void ParameterStore<T>::zero_gradients() {
  std::fill(written_.begin(), written_.end(), false);
}

template <class T>
Accumulate ParameterStore<T>::claim_gradient(ParameterId id) {
  const auto i = static_cast<std::size_t>(id);
  const bool first = !written_.at(i);
  written_[i] = true;
  return first ? Accumulate::kOverwrite : Accumulate::kAdd;
}

template <class T>
void ParameterStore<T>::write(ParameterId id, std::span<const Value> values) {
  GALREC_CHECK(static_cast<std::int64_t>(values.size()) == span(id).size, "{}: {} values for {}", span(id).name, values.size(),
               span(id).size);
  write_rows(id, 0, values);
}

template <class T>
void ParameterStore<T>::write_rows(ParameterId id, std::int64_t first_row, std::span<const Value> values) {
  const auto& s = span(id);
  const auto count = static_cast<std::int64_t>(values.size());
  GALREC_CHECK(first_row >= 0 && count % s.cols() == 0 && first_row * s.cols() + count <= s.size,
               "{}: {} values from row {} on of ({}, {})", s.name, count, first_row, s.rows(), s.cols());
  memory().upload(value(id).row(first_row), values.data(), values.size_bytes());
  write_operands(id, first_row, values);
}

template <class T>
void ParameterStore<T>::write_operands(ParameterId id, std::int64_t first_row, std::span<const Value> values) {
  if constexpr (kRounds) {
    std::vector<T> rounded;
    rounded.reserve(values.size());
    for (const Value v : values) rounded.push_back(T(v));
    memory().upload(operand(id).row(first_row), rounded.data(), rounded.size() * sizeof(T));
  }
}

template <class T>
void ParameterStore<T>::copy(ParameterId id, const ParameterStore& source, ParameterId from) {
  const auto to = value(id), values = source.value(from);
  GALREC_CHECK(to.shape == values.shape, "{}: ({}, {}) from ({}, {})", span(id).name, to.rows(), to.cols(), values.rows(),
               values.cols());
  const auto count = static_cast<std::size_t>(to.size());
  memory().copy(to.data, values.data, count * sizeof(Value));
  if constexpr (kRounds) memory().copy(operand(id).data, source.operand(from).data, count * sizeof(T));
}

template <class T>
void ParameterStore<T>::finish_gradients() {
  for (std::size_t i = 0; i < spans_.size();) {
    if (written_[i]) {
      ++i;
      continue;
    }
    // One transfer for neighbours, with the gaps between them.
    const std::int64_t first = spans_[i].offset;
    std::int64_t end = first;
    for (; i < spans_.size() && !written_[i]; ++i) {
      end = spans_[i].offset + spans_[i].size;
      written_[i] = true;
    }
    memory().clear(gradients_.data() + first, static_cast<std::size_t>(end - first) * sizeof(Value));
  }
}

template class ParameterStore<float>;
template class ParameterStore<double>;
template class ParameterStore<bfloat16>;

}  // namespace galrec::autograd
