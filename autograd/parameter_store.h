#pragma once
// All parameters of a model in one flat arena, with a table of spans. Gradients, Adam moments and the momentum
// encoder are arenas of the same kind, so that the optimiser is one pass and a checkpoint one write. For bf16 storage
// there is one more, of the values rounded to bf16: the operands of products.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <vector>

#include "kernels/common/buffer.h"
#include "kernels/common/dtype.h"
#include "kernels/common/host_view.h"
#include "kernels/common/view.h"

namespace galrec::autograd {

enum class WeightDecay { kApply, kNone };
enum class Trainable { kYes, kNo };

/// One named parameter inside the arena.
struct ParameterSpan {
  std::string name;
  std::vector<std::int64_t> shape;
  std::int64_t offset = 0;
  std::int64_t size = 0;
  WeightDecay decay = WeightDecay::kApply;
  Trainable trainable = Trainable::kYes;

  /// Shape as a matrix: (C) is seen as (1,C).
  std::int64_t rows() const { return shape.size() > 1 ? shape[0] : 1; }
  std::int64_t cols() const { return rows() == 0 ? 0 : size / rows(); }
};

/// Index of a parameter within its store.
using ParameterId = int;

template <class T>
class ParameterStore {
 public:
  /// Of values and gradients, whatever products read.
  using Value = Acc<T>;

  /// Registers a parameter; by convention vectors (norm weights, biases) take no decay. Not after allocate().
  ParameterId add(std::string name, std::vector<std::int64_t> shape, Trainable trainable = Trainable::kYes);

  /// Reserves the arenas, all zero, in a device's memory. `gradients` kNo for stores that never train (the momentum encoder).
  void allocate(Trainable gradients = Trainable::kYes, MemoryResource& memory = host_memory());

  int size() const { return static_cast<int>(spans_.size()); }
  const std::vector<ParameterSpan>& spans() const { return spans_; }
  const ParameterSpan& span(ParameterId id) const { return spans_.at(static_cast<std::size_t>(id)); }
  /// -1 if there is none of that name.
  ParameterId find(std::string_view name) const;
  /// CheckError naming the parameter if there is none.
  ParameterId require(std::string_view name) const;
  std::int64_t total() const { return total_; }

  MemoryResource& memory() const { return values_.memory(); }
  /// In the memory above: host code goes through read(), write() and edit(). Who writes values writes operands too.
  View<Value, 1> values() const { return values_.view(); }        // (total)
  View<Value, 1> gradients() const { return gradients_.view(); }  // (total)
  View<Value, 2> value(ParameterId id) const;                     // (rows,cols)
  View<Value, 2> gradient(ParameterId id) const;                  // (rows,cols)
  bool has_gradients() const { return gradients_.size() > 0; }
  /// The values as products read them: rounded to T, or the values themselves where that is their type.
  View<T, 1> operands() const;                // (total)
  View<T, 2> operand(ParameterId id) const;   // (rows,cols)
  static constexpr bool kRounds = !std::is_same_v<T, Acc<T>>;

  /// A parameter's values on the host: no copy where the host reaches them.
  HostView<Value, 2> read(ParameterId id) const { return on_host(memory(), value(id)); }
  HostView<Value, 2> read_gradient(ParameterId id) const { return on_host(memory(), gradient(id)); }
  /// Sets a parameter, or some of its rows from `first_row` on, from host values.
  void write(ParameterId id, std::span<const Value> values);
  void write_rows(ParameterId id, std::int64_t first_row, std::span<const Value> values);
  /// Takes over the values of a parameter of another store in the same memory.
  void copy(ParameterId id, const ParameterStore& source, ParameterId from);
  /// f(View<Value, 2>) changes a parameter on the host: in place, or on a copy that goes back.
  template <class F>
  void edit(ParameterId id, F&& f) {
    const View<Value, 2> here = value(id);
    if (memory().host_accessible()) {
      f(here);
      write_operands(id, 0, std::span<const Value>(here.data, static_cast<std::size_t>(here.size())));
      return;
    }
    std::vector<Value> copy(static_cast<std::size_t>(here.size()));
    memory().download(copy.data(), here.data, copy.size() * sizeof(Value));
    f(View<Value, 2>(copy.data(), here.shape));
    write(id, copy);
  }

  /// Forgets all gradients: the next write to each overwrites.
  void zero_gradients();
  /// How the next gradient of `id` must be written; from then on it counts as written.
  Accumulate claim_gradient(ParameterId id);
  /// Clears the gradients that nobody wrote, so that the whole arena is defined.
  void finish_gradients();
  /// Which gradients count as written. Set for work that was done without the host: a replay leaves what the work it repeats left.
  const std::vector<bool>& written() const { return written_; }
  void set_written(const std::vector<bool>& written) {
    GALREC_CHECK(written.size() == written_.size());
    written_ = written;
  }

 private:
  /// Rounds host values that a parameter's rows from `first_row` on have taken over.
  void write_operands(ParameterId id, std::int64_t first_row, std::span<const Value> values);

  std::vector<ParameterSpan> spans_;
  std::unordered_map<std::string, ParameterId> by_name_;
  std::vector<bool> written_;
  std::int64_t total_ = 0;
  Buffer<Value> values_;
  Buffer<Value> gradients_;
  Buffer<T> operands_;  // only where they differ from the values
};

extern template class ParameterStore<float>;
extern template class ParameterStore<double>;
extern template class ParameterStore<bfloat16>;

}  // namespace galrec::autograd
