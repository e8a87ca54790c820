#include "autograd/ops/attention.h"

#include "autograd/ops/support.h"

namespace galrec::autograd {

namespace {

/// What backward needs besides the gradients, however q, k and v are stored.
template <class T>
struct Saved {
  View<T, 2> q, k, v, o;
  View<Acc<T>, 2> lse;
  View<const std::int32_t, 1> cu_q, cu_k;
  Variable<Acc<T>> table;
  RelativeBuckets buckets;
  AttentionOptions options;
};

template <class T>
void run_forward(Tape<T>& tape, Saved<T>& s) {
  s.lse = tape.arena().template matrix<Acc<T>>(s.q.rows(), s.options.heads);
  dispatch<T>(tape.device(), [&](auto& ctx) {
    attention_forward<T>(ctx, s.o, s.lse, s.q, s.k, s.v, s.cu_q, s.cu_k, s.table.value(), s.buckets, s.options);
  });
}

template <class T>
void run_backward(Tape<T>& tape, const Saved<T>& s, View<T, 2> dout, View<T, 2> dq, View<T, 2> dk, View<T, 2> dv,
                  Accumulate accumulate) {
  const auto dtable = tape.claim(s.table);
  dispatch<T>(tape.device(), [&](auto& ctx) {
    attention_backward<T>(ctx, dq, dk, dv, dtable.view, dout, s.q, s.k, s.v, s.o, s.lse, s.cu_q, s.cu_k,
                          s.table.value(), s.buckets, s.options, accumulate, dtable.accumulate);
  });
}

}  // namespace

template <class T>
Variable<T> attention(Tape<T>& tape, Variable<T> q, Variable<T> k, Variable<T> v, View<const std::int32_t, 1> cu_q,
                      View<const std::int32_t, 1> cu_k, Variable<Acc<T>> table, const RelativeBuckets& buckets, int heads,
                      double scale, AttentionMask mask, double dropout_rate) {
  const auto o = tape.output(q.rows(), q.cols(), {q, k, v, table});
  Saved<T> s{.q = q.value(),
             .k = k.value(),
             .v = v.value(),
             .o = o.value(),
             .lse = {},
             .cu_q = cu_q,
             .cu_k = cu_k,
             .table = table,
             .buckets = buckets,
             .options = {heads, scale, mask, tape.next_dropout(dropout_rate)}};
  run_forward(tape, s);
  tape.record("attention", o, [&tape, q, k, v, o, s] {
    auto dq = tape.claim(q), dk = tape.claim(k), dv = tape.claim(v);
    ensure_memory(tape, dq, q.rows(), q.cols());
    ensure_memory(tape, dk, k.rows(), k.cols());
    ensure_memory(tape, dv, v.rows(), v.cols());
    const auto accumulate = unify(tape, {&dq, &dk, &dv});
    run_backward(tape, s, tape.gradient(o), dq.view, dk.view, dv.view, accumulate);
  });
  return o;
}

template <class T>
Variable<T> self_attention(Tape<T>& tape, Variable<T> qkv, View<const std::int32_t, 1> cu, Variable<Acc<T>> table,
                           const RelativeBuckets& buckets, int heads, double scale, AttentionMask mask,
                           double dropout_rate) {
  GALREC_CHECK(qkv.cols() % 3 == 0, "{} columns are not q, k and v", qkv.cols());
  const std::int64_t inner = qkv.cols() / 3;
  const auto o = tape.output(qkv.rows(), inner, {qkv, table});
  const auto part = [inner](View<T, 2> m, std::int64_t which) { return m.slice_cols(which * inner, inner); };
  Saved<T> s{.q = part(qkv.value(), 0),
             .k = part(qkv.value(), 1),
             .v = part(qkv.value(), 2),
             .o = o.value(),
             .lse = {},
             .cu_q = cu,
             .cu_k = cu,
             .table = table,
             .buckets = buckets,
             .options = {heads, scale, mask, tape.next_dropout(dropout_rate)}};
  run_forward(tape, s);
  tape.record("self_attention", o, [&tape, qkv, o, s, part] {
    auto d = tape.claim(qkv);
    ensure_memory(tape, d, qkv.rows(), qkv.cols());
    run_backward(tape, s, tape.gradient(o), part(d.view, 0), part(d.view, 1), part(d.view, 2), d.accumulate);
  });
  return o;
}

template <class T>
Variable<T> cross_attention(Tape<T>& tape, Variable<T> q, Variable<T> kv, View<const std::int32_t, 1> cu_q,
                            View<const std::int32_t, 1> cu_k, int heads, double scale, double dropout_rate) {
  const std::int64_t inner = q.cols();
  GALREC_CHECK(kv.cols() == 2 * inner, "k and v have {} columns, q {}", kv.cols(), inner);
  const auto o = tape.output(q.rows(), inner, {q, kv});
  const auto part = [inner](View<T, 2> m, std::int64_t which) { return m.slice_cols(which * inner, inner); };
  Saved<T> s{.q = q.value(),
             .k = part(kv.value(), 0),
             .v = part(kv.value(), 1),
             .o = o.value(),
             .lse = {},
             .cu_q = cu_q,
             .cu_k = cu_k,
             .table = {},
             .buckets = {},
             .options = {heads, scale, AttentionMask::kNone, tape.next_dropout(dropout_rate)}};
  run_forward(tape, s);
  tape.record("cross_attention", o, [&tape, q, kv, o, s, part] {
    auto dq = tape.claim(q), dkv = tape.claim(kv);
    ensure_memory(tape, dq, q.rows(), q.cols());
    ensure_memory(tape, dkv, kv.rows(), kv.cols());
    const auto accumulate = unify(tape, {&dq, &dkv});
    run_backward(tape, s, tape.gradient(o), dq.view, part(dkv.view, 0), part(dkv.view, 1), accumulate);
  });
  return o;
}

#define INSTANTIATE(T)                                                                                               \
  template Variable<T> attention(Tape<T>&, Variable<T>, Variable<T>, Variable<T>, View<const std::int32_t, 1>,       \
                                 View<const std::int32_t, 1>, Variable<Acc<T>>, const RelativeBuckets&, int, double, \
                                 AttentionMask, double);                                                             \
  template Variable<T> self_attention(Tape<T>&, Variable<T>, View<const std::int32_t, 1>, Variable<Acc<T>>,          \
                                      const RelativeBuckets&, int, double, AttentionMask, double);                   \
  template Variable<T> cross_attention(Tape<T>&, Variable<T>, Variable<T>, View<const std::int32_t, 1>,              \
                                       View<const std::int32_t, 1>, int, double, double);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(bfloat16)
#undef INSTANTIATE

}  // namespace galrec::autograd
