#pragma once
// What the race detector remembers of a stretch of memory: one cell for each grain of bytes. Grains are as coarse as the accesses
// allow (16 bytes for vectors), and halve where an access is narrower: most kernels touch memory in one width.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace galrec::simt {

template <class Cell>
class ShadowMemory {
 public:
  explicit ShadowMemory(std::size_t bytes = 0) { resize(bytes); }

  /// Forgets everything; grains become coarse again.
  void resize(std::size_t bytes) {
    bytes_ = bytes;
    shift_ = kCoarsest;
    cells_.assign((bytes + 15) >> kCoarsest, Cell{});
  }
  std::size_t bytes() const { return bytes_; }

  /// Calls f(cell, first byte) for every cell of [first, first + count), which lies within.
  template <class F>
  void for_cells(std::size_t first, std::size_t count, F f) {
    const auto misfit = static_cast<unsigned>(first | count | (std::size_t{1} << kCoarsest));
    while ((misfit & ((1u << shift_) - 1)) != 0) split();
    for (std::size_t at = first >> shift_; at < (first + count) >> shift_; ++at) f(cells_[at], at << shift_);
  }

 private:
  static constexpr unsigned kCoarsest = 4;

  void split() {
    std::vector<Cell> finer;
    finer.reserve(2 * cells_.size());
    for (const Cell& c : cells_) finer.insert(finer.end(), 2, c);
    cells_ = std::move(finer);
    --shift_;
  }

  std::size_t bytes_ = 0;
  unsigned shift_ = kCoarsest;
  std::vector<Cell> cells_;
};

}  // namespace galrec::simt
