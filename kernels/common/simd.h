#pragma once
// 64-byte vectors as plain values (a language extension of GCC and Clang, not intrinsics: narrower machines get two or four
// registers for one). Only for loops whose register blocking matters; everything else is left to the vectoriser.

#include <cstddef>
#include <cstring>
#include <utility>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace galrec::simd {

template <class T>
inline constexpr int kLanes = 64 / static_cast<int>(sizeof(T));

template <class T>
struct VecType {
  typedef T type __attribute__((vector_size(64)));
};
template <class T>
using Vec = typename VecType<T>::type;

// Vectors travel by reference: by value, their calling convention would depend on the target's registers.
template <class T>
inline void load(Vec<T>& v, const T* p) {
  std::memcpy(&v, p, sizeof(v));
}
template <class T>
inline void store(T* p, const Vec<T>& v) {
  std::memcpy(p, &v, sizeof(v));
}

/// Stores past the caches (p on a 64-byte boundary), for output that is larger than they are: an ordinary store reads the
/// line from memory first. stream_fence() orders such stores before those that tell other threads of them.
template <class T>
inline void stream(T* p, const Vec<T>& v) {
#if defined(__AVX512F__)
  _mm512_stream_si512(reinterpret_cast<__m512i*>(p), reinterpret_cast<const __m512i&>(v));
#else
  store<T>(p, v);
#endif
}
inline void stream_fence() {
#if defined(__AVX512F__)
  _mm_sfence();
#endif
}

namespace detail {
template <class V, std::size_t... I>
inline void interleave(V& low, V& high, const V& a, const V& b, std::index_sequence<I...>) {
  constexpr int kN = sizeof...(I);
  low = __builtin_shufflevector(a, b, (I % 2 == 0 ? static_cast<int>(I / 2) : kN + static_cast<int>(I / 2))...);
  high = __builtin_shufflevector(a, b, (I % 2 == 0 ? static_cast<int>(I / 2) + kN / 2 : kN + kN / 2 + static_cast<int>(I / 2))...);
}
template <int Width, class V, std::size_t... I>
inline void rotate(V& out, const V& v, std::index_sequence<I...>) {
  out = __builtin_shufflevector(v, v, static_cast<int>((I + Width) % sizeof...(I))...);
}
// Folds halves onto each other: log2 L dependent steps where a loop over lanes has L.
template <class T, int Width, class Op>
inline T fold(const Vec<T>& in, const Op& op) {
  Vec<T> v = in;
  if constexpr (Width == 0) {
    return v[0];
  } else {
    Vec<T> other;
    rotate<Width>(other, v, std::make_index_sequence<kLanes<T>>{});
    op(v, other);
    return fold<T, Width / 2>(v, op);
  }
}
}  // namespace detail

/// Sum and maximum of the lanes, in a fixed order. A NaN lane may be lost by the maximum.
template <class T>
inline T sum_lanes(const Vec<T>& v) {
  return detail::fold<T, kLanes<T> / 2>(v, [](Vec<T>& a, const Vec<T>& b) { a += b; });
}
template <class T>
inline T max_lanes(const Vec<T>& v) {
  return detail::fold<T, kLanes<T> / 2>(v, [](Vec<T>& a, const Vec<T>& b) { a = b > a ? b : a; });
}

/// low, high = the lanes of a and b taken in turn: a0 b0 a1 b1 … .
template <class T>
inline void interleave(Vec<T>& low, Vec<T>& high, const Vec<T>& a, const Vec<T>& b) {
  detail::interleave(low, high, a, b, std::make_index_sequence<kLanes<T>>{});
}

/// Transposes a square of kLanes rows in place. One round of interleaving row i with row i + L/2 rotates the bits of
/// the (row, column) index by one; log2 L rounds swap rows and columns.
template <class T>
inline void transpose(Vec<T> (&x)[kLanes<T>]) {
  constexpr int kL = kLanes<T>;
  for (int round = 1; round < kL; round *= 2) {
    Vec<T> y[kL];
    for (int i = 0; i < kL / 2; ++i) interleave<T>(y[2 * i], y[2 * i + 1], x[i], x[i + kL / 2]);
    for (int i = 0; i < kL; ++i) x[i] = y[i];
  }
}

}  // namespace galrec::simd
