#include "gal/step_report.h"

#include <algorithm>
#include <cmath>

#include "kernels/common/check.h"
#include "kernels/common/host_view.h"
#include "kernels/common/pack.h"

namespace galrec::gal {

namespace {

template <class V>
View<const V, 1> scalar_of(const autograd::Variable<V>& v) {
  GALREC_CHECK(v.rows() == 1 && v.cols() == 1);
  return View<const V, 1>(v.value().data, {1});
}

}  // namespace

template <class T>
void StepReport<T>::clear() {
  used_ = 0;
  passes_.clear();
}

template <class T>
typename StepReport<T>::Pass StepReport<T>::pack(const StepResult<T>& result) {
  Pass pass;
  std::vector<View<const Acc<T>, 1>> pieces{scalar_of(result.loss), scalar_of(result.l0)};
  for (std::size_t k = 0; k < kTerms; ++k) {
    if (!result.nce[k]) continue;
    const TermRows<T>& rows = result.rows[k];
    pass.has_term[k] = true;
    pass.samples = rows.losses.extent(0);
    pieces.insert(pieces.end(), {scalar_of(result.nce[k]), rows.positive_score, rows.hardest, rows.losses});
  }
  for (const auto& piece : pieces) pass.count += piece.extent(0);
  if (pass.count > latest_.size()) latest_ = Buffer<Acc<T>>(pass.count, memory_of(device_));
  const View<Acc<T>, 1> out(latest_.data(), {pass.count});
  dispatch<T>(device_, [&](auto& ctx) { galrec::pack<Acc<T>>(ctx, out, pieces); });
  return pass;
}

template <class T>
void StepReport<T>::keep(Pass pass) {
  MemoryResource& memory = memory_of(device_);
  if (used_ + pass.count > memory_.size()) {
    Buffer<Acc<T>> larger(2 * (used_ + pass.count), memory);
    if (used_ > 0) memory.copy(larger.data(), memory_.data(), static_cast<std::size_t>(used_) * sizeof(Acc<T>));
    memory_ = std::move(larger);
  }
  pass.offset = used_;
  memory.copy(memory_.data() + used_, latest_.data(), static_cast<std::size_t>(pass.count) * sizeof(Acc<T>));
  used_ += pass.count;
  passes_.push_back(pass);
}

template <class T>
std::vector<StepFigures> StepReport<T>::read() const {
  const auto values = on_host(device_, View<const Acc<T>, 1>(memory_.data(), {used_}));
  std::vector<StepFigures> out;
  for (const Pass& pass : passes_) {
    const Acc<T>* at = values->data + pass.offset;
    StepFigures figures{.loss = static_cast<double>(at[0]), .l0 = static_cast<double>(at[1])};
    at += 2;
    for (std::size_t k = 0; k < kTerms; ++k) {
      if (!pass.has_term[k]) continue;
      const Acc<T> *positive = at + 1, *hardest = positive + pass.samples, *losses = hardest + pass.samples;
      figures.nce[k] = static_cast<double>(at[0]);
      for (std::int64_t b = 0; b < pass.samples; ++b) {
        figures.accuracy[k] += positive[b] > hardest[b] ? 1.0 : 0.0;
        figures.saturation[k] += std::exp(-static_cast<double>(losses[b]));
      }
      figures.accuracy[k] /= static_cast<double>(pass.samples);
      figures.saturation[k] /= static_cast<double>(pass.samples);
      at = losses + pass.samples;
    }
    out.push_back(figures);
  }
  return out;
}

template <class T>
StepFigures read_figures(const Device& device, const StepResult<T>& result) {
  StepReport<T> report(device);
  report.add(result);
  const StepFigures figures = report.read().front();
  synchronize<T>(device);
  return figures;
}

template class StepReport<float>;
template class StepReport<double>;
template class StepReport<bfloat16>;
template StepFigures read_figures(const Device&, const StepResult<float>&);
template StepFigures read_figures(const Device&, const StepResult<double>&);
template StepFigures read_figures(const Device&, const StepResult<bfloat16>&);

}  // namespace galrec::gal
