#include "autograd/ops/embedding.h"

#include "autograd/ops/support.h"
#include "kernels/embedding/embedding.h"

namespace galrec::autograd {

namespace {

template <class T>
void table_gradient(Tape<T>& tape, const Variable<T>& y, const Variable<T>& table, View<const std::int32_t, 1> ids) {
  const auto dtable = tape.claim(table);
  if (!dtable) return;
  dispatch<T>(tape.device(),
           [&](auto& ctx) { embedding_backward<T>(ctx, dtable.view, tape.gradient(y), ids, dtable.accumulate); });
}

}  // namespace

template <class T>
Variable<T> embedding(Tape<T>& tape, Variable<T> table, View<const std::int32_t, 1> ids) {
  const auto y = tape.output(ids.extent(0), table.cols(), {table});
  dispatch<T>(tape.device(),
           [&](auto& ctx) { embedding_forward<T>(ctx, y.value(), table.value(), ids, Accumulate::kOverwrite); });
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

}  // namespace galrec::autograd
