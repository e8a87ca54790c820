#pragma once
// The tape: operations in execution order, played backwards once. A node is a name and a lambda that reads the gradient
// of its output and adds to those of its inputs. No graph search, no recursion, no virtual operation.

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "autograd/parameter_store.h"
#include "autograd/variable.h"
#include "kernels/common/buffer.h"
#include "kernels/common/context.h"
#include "kernels/common/dropout.h"
#include "kernels/common/host_view.h"

namespace galrec::autograd {

enum class Recording { kOn, kOff };
/// What an oracle's tape makes of everything that is computed on it.
enum class Rounding { kNone, kFloat, kBf16 };

/// Where an operation must write a gradient, and whether it is the first.
template <class G>
struct GradientTarget {
  View<G, 2> view;  // empty when the variable wants none
  Accumulate accumulate = Accumulate::kOverwrite;
  explicit operator bool() const { return static_cast<bool>(view); }
};

/// Values live in the tape's arena until reset(), in the memory of its device; after the first step of a repeated workload
/// nothing is allocated. Every view that operations take, indices and offsets included, is of that memory and must last as
/// long as the step: keep() brings host values there. T is the storage of activations: float, double (the oracle), bfloat16 (CUDA).
template <class T>
class Tape {
 public:
  explicit Tape(Device device) : device_(device), arena_(memory_of(device)) {}
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  /// Starts a new step. `dropout_key.seed` and `.step` key all masks drawn on this tape; `.stream` is counted up per
  /// mask. On CUDA `step_at`, device memory, may hold the step's number instead: for a step that is replayed.
  void reset(Recording recording, PhiloxKey dropout_key = {}, const std::uint32_t* step_at = nullptr);
  /// From now on everything that an operation leaves, values and gradients, is rounded: what a computation that stores nothing
  /// but fp32 or bf16 makes of the same model (layers/parity_judge.h). For the oracle.
  void round_to(Rounding rounding)
    requires std::is_same_v<T, double>
  {
    rounding_ = rounding;
  }

  const Device& device() const { return device_; }
  bool recording() const { return recording_ == Recording::kOn; }
  Arena& arena() { return arena_; }

  /// A matrix of undefined values that needs a gradient iff one of `inputs` does.
  template <class V = T>
  Variable<V> output(std::int64_t rows, std::int64_t cols, std::initializer_list<VariableSlot> inputs) {
    return output_in(arena_.template matrix<V>(rows, cols), inputs);
  }
  /// The same over memory that already exists, for an operation that works in place.
  template <class V>
  Variable<V> output_in(View<V, 2> memory, std::initializer_list<VariableSlot> inputs) {
    return Variable<V>(memory, wants_gradient(inputs) ? add_slot(slot_of(memory)) : -1);
  }
  /// Wraps memory that outlives the tape's step and never gets a gradient.
  template <class V>
  Variable<std::remove_const_t<V>> constant(View<V, 2> value) {
    // Nobody writes the value of a variable that has been made; the type of Variable does not say so.
    using Value = std::remove_const_t<V>;
    return Variable<Value>(View<Value, 2>(const_cast<Value*>(value.data), value.shape, value.stride), -1);
  }
  /// An input whose gradient can be read with gradient() after backward (for gradient checks).
  Variable<T> leaf(View<T, 2> value);
  /// A parameter of a store; the gradient goes to the store's arena. The same parameter may be used many times, as either kind.
  Variable<Acc<T>> parameter(ParameterStore<T>& store, ParameterId id) {
    return Variable<Acc<T>>(store.value(id), parameter_slot(store, id));
  }
  /// The same as an operand of products.
  Weight<T> weight(ParameterStore<T>& store, ParameterId id) { return Weight<T>(store.operand(id), parameter_slot(store, id)); }
  /// A copy of host values that lives as long as the step (indices, offsets), on the device.
  View<const std::int32_t, 1> keep(std::span<const std::int32_t> values) { return upload(arena_, values); }

  /// Records a backward action for `output`, skipped when no gradient reaches it. `name` must be a literal.
  template <class V>
  void record(std::string_view name, Variable<V> output, std::function<void()> backward) {
    round(output.value());
    if (output.slot_ >= 0) nodes_.push_back({name, output.slot_, -1, std::move(backward)});
  }
  /// Same for an operation of two outputs, run when a gradient reached either of them.
  template <class V, class U>
  void record(std::string_view name, Variable<V> first, Variable<U> second, std::function<void()> backward) {
    round(first.value());
    round(second.value());
    if (first.slot_ >= 0 || second.slot_ >= 0) nodes_.push_back({name, first.slot_, second.slot_, std::move(backward)});
  }

  /// The gradient that reached a variable; empty if none did.
  template <class V, class G>
  View<G, 2> gradient(const Variable<V, G>& v) const {
    return reached(v.slot_) ? view_of_gradient<G>(slots_[static_cast<std::size_t>(v.slot_)]) : View<G, 2>{};
  }
  /// Claims the gradient of an input for one write (by the rule: the first overwrites, later ones add). Empty: not wanted.
  template <class V, class G>
  GradientTarget<G> claim(const Variable<V, G>& v) {
    if (v.slot_ < 0) return {};
    Slot& slot = slots_[static_cast<std::size_t>(v.slot_)];
    const Accumulate accumulate = claim_memory(slot);
    return {view_of_gradient<G>(slot), accumulate};
  }
  /// Lets `to` take over the gradient memory of `from`, already complete, when `to` has none yet; else returns false.
  template <class G>
  bool hand_over(const Variable<G>& from, const Variable<G>& to) {
    return move_memory(from.slot_, to.slot_);
  }

  /// Runs all recorded nodes backwards from the scalar `loss` with gradient `seed`.
  void backward(const Variable<Acc<T>>& loss, double seed = 1.0);

  /// A dropout mask's key; inactive when `rate` is 0 or the tape does not record.
  Dropout next_dropout(double rate);

 private:
  struct Slot {
    void* gradient = nullptr;  // null until claimed
    std::int64_t rows = 0, cols = 0, stride = 0;
    std::int64_t bytes = 0;              // of the gradient
    ParameterStore<T>* store = nullptr;  // owner of the memory, else the arena
    ParameterId parameter = -1;
    bool keep = false;  // a leaf: the memory is not reused after its node
  };
  struct Node {
    std::string_view name;
    int first = -1, second = -1;
    std::function<void()> backward;
  };

  bool wants_gradient(std::initializer_list<VariableSlot> inputs) const;
  template <class G>
  Slot slot_of(View<G, 2> value) const {
    const std::int64_t rows = value.rows(), cols = value.cols(), stride = gradient_stride(cols, sizeof(G));
    return {.rows = rows, .cols = cols, .stride = stride, .bytes = rows * stride * std::int64_t{sizeof(G)}};
  }
  /// Elements from one row of a gradient to the next. On the CPU never whole pages: products with the transposed gradient
  /// would find all of its rows in one set of L1, which costs them a tenth of their speed.
  std::int64_t gradient_stride(std::int64_t cols, std::size_t element) const {
    constexpr std::int64_t kPage = 4096, kLine = 64;
    const auto size = static_cast<std::int64_t>(element);
    return device_.kind() == DeviceKind::kCuda || cols == 0 || cols * size % kPage != 0 ? cols : cols + kLine / size;
  }
  int add_slot(const Slot& slot);
  int parameter_slot(ParameterStore<T>& store, ParameterId id);
  template <class G>
  static View<G, 2> view_of_gradient(const Slot& slot) {
    return View<G, 2>(static_cast<G*>(slot.gradient), {slot.rows, slot.cols}, {slot.stride, 1});
  }
  Accumulate claim_memory(Slot& slot);
  bool move_memory(int from, int to);
  void release(int slot);
  bool reached(int slot) const { return slot >= 0 && slots_[static_cast<std::size_t>(slot)].gradient != nullptr; }
  template <class V>
  void round(View<V, 2> value) const {
    if constexpr (std::is_same_v<T, double>) {
      if (rounding_ != Rounding::kNone) round_values(value);
    }
  }
  void round_gradient(int slot) const {
    if constexpr (std::is_same_v<T, double>) {
      if (rounding_ != Rounding::kNone && reached(slot)) round_values(view_of_gradient<double>(slots_[static_cast<std::size_t>(slot)]));
    }
  }
  void round_values(View<double, 2> value) const;

  Device device_;
  Recording recording_ = Recording::kOff;
  Rounding rounding_ = Rounding::kNone;
  PhiloxKey dropout_key_{};
  const std::uint32_t* dropout_step_at_ = nullptr;
  std::uint32_t next_stream_ = 0;
  Arena arena_;
  std::vector<Slot> slots_;
  std::vector<Node> nodes_;
  std::unordered_map<const ParameterStore<T>*, std::vector<int>> parameter_slots_;
  std::unordered_map<std::int64_t, std::vector<void*>> free_gradients_;  // by bytes, for reuse within backward
};

extern template class Tape<float>;
extern template class Tape<double>;
extern template class Tape<bfloat16>;

}  // namespace galrec::autograd
