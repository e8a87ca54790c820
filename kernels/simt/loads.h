#pragma once
// Loads and stores with a cache hint are plain ones here.

#define GALREC_SIMT_LOAD(name)     \
  template <class T>               \
  T name(const T* p) {             \
    return *p;                     \
  }
GALREC_SIMT_LOAD(__ldg)
GALREC_SIMT_LOAD(__ldcg)
GALREC_SIMT_LOAD(__ldca)
GALREC_SIMT_LOAD(__ldcs)
#undef GALREC_SIMT_LOAD

template <class T>
void __stcs(T* p, T value) {
  *p = value;
}
template <class T>
void __stcg(T* p, T value) {
  *p = value;
}
