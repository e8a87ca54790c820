#pragma once
// All parameters of a model in one flat arena, with a table of spans. Gradients, Adam moments and the momentum
// encoder are arenas of the same kind, so that the optimiser is one pass and a checkpoint one write.

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "kernels/common/buffer.h"
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
  /// Registers a parameter; by convention vectors (norm weights, biases) take no decay. Not after allocate().
  ParameterId add(std::string name, std::vector<std::int64_t> shape, Trainable trainable = Trainable::kYes);

  /// Reserves the arenas. `gradients` kNo for stores that never train (the momentum encoder).
  void allocate(Trainable gradients = Trainable::kYes);

  int size() const { return static_cast<int>(spans_.size()); }
  const std::vector<ParameterSpan>& spans() const { return spans_; }
  const ParameterSpan& span(ParameterId id) const { return spans_.at(static_cast<std::size_t>(id)); }
  /// -1 if there is none of that name.
  ParameterId find(std::string_view name) const;
  /// CheckError naming the parameter if there is none.
  ParameterId require(std::string_view name) const;
  std::int64_t total() const { return total_; }

  View<T, 1> values() const { return values_.view(); }        // (total)
  View<T, 1> gradients() const { return gradients_.view(); }  // (total)
  View<T, 2> value(ParameterId id) const;                     // (rows,cols)
  View<T, 2> gradient(ParameterId id) const;                  // (rows,cols)
  bool has_gradients() const { return gradients_.size() > 0; }

  /// Forgets all gradients: the next write to each overwrites.
  void zero_gradients();
  /// How the next gradient of `id` must be written; from then on it counts as written.
  Accumulate claim_gradient(ParameterId id);
  /// Clears the gradients that nobody wrote, so that the whole arena is defined.
  void finish_gradients();

 private:
  std::vector<ParameterSpan> spans_;
  std::unordered_map<std::string, ParameterId> by_name_;
  std::vector<bool> written_;
  std::int64_t total_ = 0;
  Buffer<T> values_;
  Buffer<T> gradients_;
};

extern template class ParameterStore<float>;
extern template class ParameterStore<double>;

}  // namespace galrec::autograd
