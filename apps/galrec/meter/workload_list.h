#pragma once
// What the lists of workloads are made of: sizes of the model, device memory filled at random, the list itself.

#include <array>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "apps/galrec/meter/kernel_workloads.h"
#include "kernels/common/buffer.h"
#include "kernels/common/dtype.h"
#include "kernels/common/philox.h"
#include "kernels/common/view.h"

namespace galrec::apps {

// flan-t5-base.
inline constexpr std::int64_t kWidth = 768, kHeads = 12, kInner = 2048, kBuckets = 32;
// Tokens of the six prompts of two samples of Amazon Beauty (u0 u1 u2 i0 i1 i2), near the medians of their hops.
inline constexpr std::array<std::int32_t, 12> kLengths = {4, 41, 137, 4, 33, 171, 4, 29, 118, 4, 45, 186};
inline constexpr std::int64_t kTokens = std::accumulate(kLengths.begin(), kLengths.end(), std::int64_t{0});

/// Device memory of the workloads; shared by their closures.
class WorkloadMemory {
 public:
  explicit WorkloadMemory(CudaContext& ctx) : ctx_(ctx) {}

  /// Elements between -scale/2 and scale/2.
  template <class T>
  View<T, 2> random(std::int64_t rows, std::int64_t cols, double scale = 1) {
    PhiloxStream stream({.seed = ++seed_, .step = 0, .stream = 0x3e7e});
    std::vector<T> values(static_cast<std::size_t>(rows * cols));
    for (auto& v : values) v = static_cast<T>(static_cast<float>(scale * (stream.uniform() - 0.5)));
    return keep<T>(values, rows, cols);
  }
  template <class T>
  View<T, 1> vector(std::int64_t n, double scale = 1) {
    return {random<T>(1, n, scale).data, {n}};
  }
  View<std::int32_t, 1> ids(std::int64_t n, std::int64_t below) {
    PhiloxStream stream({.seed = ++seed_, .step = 0, .stream = 0x3e7f});
    std::vector<std::int32_t> values(static_cast<std::size_t>(n));
    for (auto& v : values) v = static_cast<std::int32_t>(stream.below(static_cast<std::uint64_t>(below)));
    return keep(values);
  }
  template <class T>
  View<T, 2> keep(const std::vector<T>& values, std::int64_t rows, std::int64_t cols) {
    auto owned = std::make_shared<Buffer<T>>(std::span<const T>(values), ctx_.memory());
    owners_.push_back(owned);
    return owned->view(rows, cols);
  }
  template <class T>
  View<T, 1> keep(const std::vector<T>& values) {
    const auto n = static_cast<std::int64_t>(values.size());
    return {keep<T>(values, 1, n).data, {n}};
  }
  /// Where each prompt of kLengths begins, and the end.
  View<std::int32_t, 1> prompt_offsets() {
    std::vector<std::int32_t> offsets{0};
    for (const auto n : kLengths) offsets.push_back(offsets.back() + n);
    return keep(offsets);
  }

 private:
  CudaContext& ctx_;
  std::uint64_t seed_ = 0;
  std::vector<std::shared_ptr<void>> owners_;
};

/// Operations in the order of the table.
class WorkloadList {
 public:
  template <class F>
  void add(KernelWorkload w, std::shared_ptr<WorkloadMemory> memory, F f) {
    w.run = [memory, f](CudaContext& c) { f(c); };
    workloads.push_back(std::move(w));
  }
  std::vector<KernelWorkload> workloads;
};

template <class T>
inline constexpr double kBytes = sizeof(T);
template <class T>
inline constexpr bool kTensorCores = sizeof(T) == 2;
template <class T>
inline const std::string kStorage = kTensorCores<T> ? " bf16" : " fp32";

/// "M=776 N=768".
inline std::string extents(std::initializer_list<std::pair<const char*, std::int64_t>> list) {
  std::string out;
  for (const auto& [name, n] : list) out += (out.empty() ? "" : " ") + std::string(name) + "=" + std::to_string(n);
  return out;
}

// Each appends its operations, for bfloat16 and float where there are both.
void add_products(CudaContext& ctx, WorkloadList& list);
void add_attention(CudaContext& ctx, WorkloadList& list);
void add_losses(CudaContext& ctx, WorkloadList& list);
void add_rows(CudaContext& ctx, WorkloadList& list);
void add_rest(CudaContext& ctx, WorkloadList& list);
void add_convolution(CudaContext& ctx, WorkloadList& list);

}  // namespace galrec::apps
