#pragma once
// The tape: operations in execution order, played backwards once. A node is a name and a lambda that reads the gradient
// of its output and adds to those of its inputs. No graph search, no recursion, no virtual operation.

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "autograd/parameter_store.h"
#include "autograd/variable.h"
#include "kernels/common/buffer.h"
#include "kernels/common/context.h"
#include "kernels/common/dropout.h"
#include "kernels/common/host_view.h"

namespace galrec::autograd {

enum class Recording { kOn, kOff };

/// Where an operation must write a gradient, and whether it is the first.
template <class T>
struct GradientTarget {
  View<T, 2> view;  // empty when the variable wants none
  Accumulate accumulate = Accumulate::kOverwrite;
  explicit operator bool() const { return static_cast<bool>(view); }
};

/// Values live in the tape's arena until reset(), in the memory of its device; after the first step of a repeated workload
/// nothing is allocated. Every view that operations take, indices and offsets included, is of that memory and must last as
/// long as the step: keep() brings host values there.
template <class T>
class Tape {
 public:
  explicit Tape(Device device) : device_(device), arena_(memory_of(device)) {}
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  /// Starts a new step. `dropout_key.seed` and `.step` key all masks drawn on this tape; `.stream` is counted up per mask.
  void reset(Recording recording, PhiloxKey dropout_key = {});

  const Device& device() const { return device_; }
  bool recording() const { return recording_ == Recording::kOn; }
  Arena& arena() { return arena_; }

  /// A matrix of undefined values that needs a gradient iff one of `inputs` does.
  Variable<T> output(std::int64_t rows, std::int64_t cols, std::initializer_list<Variable<T>> inputs);
  /// The same over memory that already exists, for an operation that works in place.
  Variable<T> output_in(View<T, 2> memory, std::initializer_list<Variable<T>> inputs);
  /// Wraps memory that outlives the tape's step and never gets a gradient.
  Variable<T> constant(View<const T, 2> value) {
    // Nobody writes the value of a variable that has been made; the type of Variable does not say so.
    return Variable<T>(View<T, 2>(const_cast<T*>(value.data), value.shape, value.stride), -1);
  }
  /// An input whose gradient can be read with gradient() after backward (for gradient checks).
  Variable<T> leaf(View<T, 2> value);
  /// A parameter of a store; the gradient goes to the store's arena. The same parameter may be used many times.
  Variable<T> parameter(ParameterStore<T>& store, ParameterId id);
  /// A copy of host values that lives as long as the step (indices, offsets), on the device.
  View<const std::int32_t, 1> keep(std::span<const std::int32_t> values) { return upload(arena_, values); }

  /// Records a backward action for `output`, skipped when no gradient reaches it. `name` must be a literal.
  void record(std::string_view name, Variable<T> output, std::function<void()> backward);
  /// Same for an operation of two outputs, run when a gradient reached either of them.
  void record(std::string_view name, Variable<T> first, Variable<T> second, std::function<void()> backward);

  /// The gradient that reached a variable; empty if none did.
  View<T, 2> gradient(const Variable<T>& v) const;
  /// Claims the gradient of an input for one write (by the rule: the first overwrites, later ones add). Empty: not wanted.
  GradientTarget<T> claim(const Variable<T>& v);
  /// Lets `to` take over the gradient memory of `from`, already complete, when `to` has none yet; else returns false.
  bool hand_over(const Variable<T>& from, const Variable<T>& to);

  /// Runs all recorded nodes backwards from the scalar `loss` with gradient `seed`.
  void backward(const Variable<T>& loss, double seed = 1.0);

  /// A dropout mask's key; inactive when `rate` is 0 or the tape does not record.
  Dropout next_dropout(double rate);

 private:
  struct Slot {
    View<T, 2> gradient;  // empty until claimed
    std::int64_t rows = 0, cols = 0;
    ParameterStore<T>* store = nullptr;  // owner of the memory, else the arena
    ParameterId parameter = -1;
    bool keep = false;  // a leaf: the memory is not reused after its node
  };
  struct Node {
    std::string_view name;
    int first = -1, second = -1;
    std::function<void()> backward;
  };

  View<T, 2> take_gradient_memory(std::int64_t rows, std::int64_t cols);
  void release(int slot);
  bool reached(int slot) const { return slot >= 0 && static_cast<bool>(slots_[static_cast<std::size_t>(slot)].gradient); }

  Device device_;
  Recording recording_ = Recording::kOff;
  PhiloxKey dropout_key_{};
  std::uint32_t next_stream_ = 0;
  Arena arena_;
  std::vector<Slot> slots_;
  std::vector<Node> nodes_;
  std::unordered_map<const ParameterStore<T>*, std::vector<int>> parameter_slots_;
  std::unordered_map<std::int64_t, std::vector<T*>> free_gradients_;  // by element count, for reuse within backward
};

extern template class Tape<float>;
extern template class Tape<double>;

}  // namespace galrec::autograd
