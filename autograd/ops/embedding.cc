#include "autograd/ops/embedding.h"

#include "autograd/ops/support.h"
#include "kernels/embedding/embedding.h"

namespace galrec::autograd {

namespace {

template <class T, class V>
void table_gradient(Tape<T>& tape, const Variable<V>& y, const Variable<V>& table, View<const std::int32_t, 1> ids) {
  const auto dtable = tape.claim(table);
  if (!dtable) return;
  const auto dy = tape.gradient(y);
  if constexpr (std::is_same_v<V, Acc<V>>) {
    dispatch<T>(tape.device(), [&](auto& ctx) { embedding_backward<V>(ctx, dtable.view, dy, ids, dtable.accumulate); });
  } else {  // rows of activations: summed in fp32, rounded once
    ScratchScope scratch(tape.arena());
    const auto sums = scratch->template matrix<Acc<V>>(table.rows(), table.cols());
    dispatch<T>(tape.device(), [&](auto& ctx) {
      embedding_backward<V>(ctx, sums, dy, ids, Accumulate::kOverwrite);
      convert<V, Acc<V>>(ctx, dtable.view, sums, dtable.accumulate);
    });
  }
}

}  // namespace

template <class T, class V>
Variable<V> embedding(Tape<T>& tape, Variable<V> table, View<const std::int32_t, 1> ids) {
  const auto y = tape.template output<V>(ids.extent(0), table.cols(), {table});
  dispatch<T>(tape.device(), [&](auto& ctx) {
    if constexpr (std::is_same_v<V, Acc<V>>) {
      embedding_forward<V>(ctx, y.value(), table.value(), ids, Accumulate::kOverwrite);
    } else {
      embedding_forward<V, V>(ctx, y.value(), table.value(), ids, Accumulate::kOverwrite);
    }
  });
  tape.record("embedding", y, [&tape, y, table, ids] { table_gradient(tape, y, table, ids); });
  return y;
}

template <class T>
Variable<T> add_embedding(Tape<T>& tape, Variable<T> x, Variable<T> table, View<const std::int32_t, 1> ids) {
  GALREC_CHECK(x.rows() == ids.extent(0) && x.cols() == table.cols());
  const auto y = tape.output(x.rows(), x.cols(), {x, table});
  dispatch<T>(tape.device(), [&](auto& ctx) {
    add_scaled<T>(ctx, y.value(), x.value(), 1, Accumulate::kOverwrite);
    embedding_forward<T>(ctx, y.value(), table.value(), ids, Accumulate::kAdd);
  });
  tape.record("add_embedding", y, [&tape, x, y, table, ids] {
    table_gradient(tape, y, table, ids);
    const auto dy = tape.gradient(y);
    if (tape.hand_over(y, x)) return;
    if (const auto dx = tape.claim(x)) {
      dispatch<T>(tape.device(), [&](auto& ctx) { add_scaled<T>(ctx, dx.view, dy, 1, dx.accumulate); });
    }
  });
  return y;
}

#define INSTANTIATE(T)                                                                \
  template Variable<T> embedding(Tape<T>&, Variable<T>, View<const std::int32_t, 1>); \
  template Variable<T> add_embedding(Tape<T>&, Variable<T>, Variable<T>, View<const std::int32_t, 1>);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE
template Variable<float> embedding(Tape<bfloat16>&, Variable<float>, View<const std::int32_t, 1>);
template Variable<bfloat16> embedding(Tape<bfloat16>&, Variable<bfloat16>, View<const std::int32_t, 1>);

}  // namespace galrec::autograd
