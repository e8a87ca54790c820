// How a GalModel gets its first weights: random, or from a T5 checkpoint; then those of users and items.

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "gal/model.h"
#include "kernels/common/check.h"
#include "layers/init.h"
#include "layers/t5/checkpoint.h"
#include "layers/t5/model.h"

namespace galrec::gal {

namespace {

template <class T>
double root_mean_square(View<const T, 2> x) {
  double sum = 0;
  for (std::int64_t r = 0; r < x.rows(); ++r) {
    for (std::int64_t c = 0; c < x.cols(); ++c) sum += static_cast<double>(x(r, c)) * static_cast<double>(x(r, c));
  }
  return std::sqrt(sum / static_cast<double>(x.size()));
}

template <class T>
void multiply(View<T, 2> x, double factor) {
  for (std::int64_t r = 0; r < x.rows(); ++r) {
    for (std::int64_t c = 0; c < x.cols(); ++c) x(r, c) = static_cast<T>(static_cast<double>(x(r, c)) * factor);
  }
}

}  // namespace

template <class T>
void GalModel<T>::initialize(const Device& device, std::uint64_t seed) {
  layers::init_t5(store_, options_.t5, seed);
  // Hugging Face draws an untied head as wide as the embedding, N(0,1), which makes logits of width sqrt(d). A head
  // that has nothing to keep starts at logits of width 1.
  const double factor = 1.0 / (std::sqrt(static_cast<double>(options_.t5.d_model)) * logit_scale_);
  store_.edit(head_, [&](View<Acc<T>, 2> head) { multiply(head, factor); });
  initialize_ids(device, seed);
}

template <class T>
void GalModel<T>::load_pretrained(const Device& device, const std::filesystem::path& folder, std::uint64_t seed) {
  const auto source_folder = layers::open_t5_folder(folder);
  const auto& name = source_folder.checkpoint.name();
  autograd::ParameterStore<Acc<T>> source;
  const layers::T5Model<Acc<T>> t5(source, source_folder.config);
  source.allocate(autograd::Trainable::kNo);
  layers::load_t5(source, source_folder);
  const auto shared = source.value(t5.shared_id());
  if (shared.rows() < options_.text_rows || shared.cols() != options_.t5.d_model) {
    throw DataError(fmt::format("{}: shared.weight: got shape [{}, {}], expected at least {} rows of {}", name,
                                shared.rows(), shared.cols(), options_.text_rows, options_.t5.d_model));
  }
  for (const auto& span : store_.spans()) {
    if (!span.name.starts_with("encoder.") && !span.name.starts_with("decoder.")) continue;
    const auto from = source.find(span.name);
    if (from < 0 || source.span(from).shape != span.shape) {
      throw DataError(fmt::format("{}: {}: expected shape {}, the configured model's", name, span.name,
                                  data::shape_text(span.shape)));
    }
    store_.write(store_.require(span.name), {source.value(from).data, static_cast<std::size_t>(span.size)});
  }
  const auto head = source.value(t5.head_id());
  const auto text = static_cast<std::size_t>(options_.text_rows) * static_cast<std::size_t>(options_.t5.d_model);
  store_.write(store_.require("shared.weight"), {shared.data, text});
  store_.write_rows(head_, 0, {head.data, text});
  initialize_ids(device, seed);
}

template <class T>
void GalModel<T>::initialize_ids(const Device& device, std::uint64_t seed) {
  const double d = static_cast<double>(options_.t5.d_model);
  for (const std::string g : {"g_user", "g_item"}) {
    for (const std::string layer : {".hidden", ""}) {
      const auto weight = store_.find(g + layer + ".weight");
      if (weight < 0) continue;
      layers::init_normal(store_, weight, 1.0 / std::sqrt(static_cast<double>(store_.span(weight).cols())), seed);
      layers::init_constant(store_, store_.require(g + layer + ".bias"), 0.0);
    }
  }
  Buffer<Acc<T>> users(static_cast<std::int64_t>(options_.users) * options_.t5.d_model);
  Buffer<Acc<T>> items(static_cast<std::int64_t>(options_.items) * options_.t5.d_model);
  const auto user_rows = users.view(options_.users, options_.t5.d_model),
             item_rows = items.view(options_.items, options_.t5.d_model);
  encoder_->map_all(device, user_rows, item_rows);
  const double width = root_mean_square<Acc<T>>(*store_.read(store_.require("shared.weight")));
  GALREC_CHECK(width > 0, "shared.weight is all zero: initialise or load it first");
  for (const auto& [g, rows] :
       {std::pair{std::string("g_user"), user_rows}, std::pair{std::string("g_item"), item_rows}}) {
    const double now = root_mean_square<Acc<T>>(rows);
    if (!(now > 0)) throw DataError(fmt::format("{}: the external vectors are all zero, expected some that differ", g));
    // The biases are zero, so scaling the last weight scales the output.
    store_.edit(store_.require(g + ".weight"), [&](View<Acc<T>, 2> weight) { multiply(weight, width / now); });
    multiply(rows, width / now);
  }
  // Logits of a state of unit width then have unit width times that of `shared`.
  const double head_scale = 1.0 / (std::sqrt(d) * logit_scale_);
  const std::int64_t first = options_.text_rows;
  if (options_.mapping.head_init == HeadInit::kRandom) {
    const auto key = layers::parameter_key(seed, "lm_head.weight.ids");
    store_.edit(head_, [&](View<Acc<T>, 2> head) {
      const auto ids = head.slice_rows(first, head.rows() - first);
      PhiloxStream stream(key);
      for (std::int64_t r = 0; r < ids.rows(); ++r) {
        for (std::int64_t c = 0; c < ids.cols(); ++c)
          ids(r, c) = static_cast<Acc<T>>(static_cast<float>(head_scale * width * stream.normal()));
      }
    });
    return;
  }
  multiply(user_rows, head_scale);
  multiply(item_rows, head_scale);
  store_.write_rows(head_, first, {users.data(), static_cast<std::size_t>(users.size())});
  store_.write_rows(head_, first + options_.users, {items.data(), static_cast<std::size_t>(items.size())});
}

#define INSTANTIATE(T)                                                                                    \
  template void GalModel<T>::initialize(const Device&, std::uint64_t);                                    \
  template void GalModel<T>::load_pretrained(const Device&, const std::filesystem::path&, std::uint64_t); \
  template void GalModel<T>::initialize_ids(const Device&, std::uint64_t);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(bfloat16)
#undef INSTANTIATE

}  // namespace galrec::gal
