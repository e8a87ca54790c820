#include "gal/recommenders/lightgcn.h"

#include <algorithm>
#include <cmath>

#include "autograd/ops/embedding.h"
#include "autograd/ops/propagate.h"
#include "autograd/ops/ranking_loss.h"
#include "autograd/ops/rows.h"
#include "autograd/ops/sums.h"
#include "gal/recommenders/recommender_state.h"
#include "kernels/common/host_view.h"
#include "kernels/common/parallel.h"
#include "kernels/csr/csr.h"
#include "kernels/spmm/spmm.h"

namespace galrec::gal {

namespace {

// Streams of the model's random numbers.
constexpr std::uint32_t kInitStream = 0x11640, kTripleStream = 0x11641;

}  // namespace

void add_lightgcn_keys(data::ConfigSchema& schema) {
  schema.add_group("lightgcn", "LightGCN [He et al. 2020]");
  schema.add({.name = "lightgcn.dim", .default_value = std::int64_t{64}, .help = "embedding width", .min = 1, .max = 4096});
  schema.add({.name = "lightgcn.layers", .default_value = std::int64_t{3}, .help = "propagation steps K", .min = 1, .max = 16});
  schema.add({.name = "lightgcn.lr", .default_value = 1e-3, .help = "Adam learning rate", .min = 0});
  schema.add({.name = "lightgcn.l2", .default_value = 1e-4, .help = "L2 penalty on the layer-0 rows of a batch", .min = 0});
  schema.add({.name = "lightgcn.batch", .default_value = std::int64_t{2048}, .help = "triples per step", .min = 1});
}

LightGcnOptions lightgcn_options(const data::Config& config, std::uint64_t seed) {
  return {.dim = static_cast<std::int32_t>(config.get_int("lightgcn.dim")),
          .layers = static_cast<std::int32_t>(config.get_int("lightgcn.layers")),
          .lr = config.get_double("lightgcn.lr"),
          .l2 = config.get_double("lightgcn.l2"),
          .batch = static_cast<std::int32_t>(config.get_int("lightgcn.batch")),
          .seed = seed};
}

LightGcn::LightGcn(const Device& device, const data::Split& split, const LightGcnOptions& options)
    : split_(&split),
      options_(options),
      users_(split.dataset().num_users()),
      items_(split.dataset().num_items()),
      samples_(split.num_train_interactions()),
      tape_(device) {
  std::vector<std::int32_t> src, dst;
  sorted_history_.resize(static_cast<std::size_t>(users_));
  for (data::UserId u = 0; u < users_; ++u) {
    auto& sorted = sorted_history_[static_cast<std::size_t>(u)];
    const auto train = split.train(u);
    sorted.assign(train.begin(), train.end());
    std::sort(sorted.begin(), sorted.end());
    sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
    if (!sorted.empty() && static_cast<std::int32_t>(sorted.size()) < items_) active_users_.push_back(u);
    for (data::ItemId i : sorted) {
      src.insert(src.end(), {u, users_ + i});
      dst.insert(dst.end(), {users_ + i, u});
    }
  }
  if (active_users_.empty()) throw DataError("LightGCN: no user has both a training item and an item to contrast it with");
  const std::int32_t nodes = users_ + items_;
  const Csr graph = csr_build(device.host(), nodes, nodes, view_of(src), view_of(dst), DuplicateEdges::kMerge);
  inv_sqrt_.resize(static_cast<std::size_t>(nodes));
  for (std::int32_t n = 0; n < nodes; ++n)
    inv_sqrt_[static_cast<std::size_t>(n)] = graph.degree(n) > 0 ? 1.0f / std::sqrt(static_cast<float>(graph.degree(n))) : 0.0f;
  MemoryResource& memory = memory_of(device);
  row_ptr_ = Buffer<std::int32_t>(std::span<const std::int32_t>(graph.row_ptr), memory);
  col_idx_ = Buffer<std::int32_t>(std::span<const std::int32_t>(graph.col_idx), memory);
  device_inv_sqrt_ = Buffer<float>(std::span<const float>(inv_sqrt_), memory);

  embedding_ = store_.add("embedding.weight", {nodes, options.dim});
  store_.allocate(autograd::Trainable::kYes, memory);
  store_.edit(embedding_, [&](View<float, 2> table) {
    PhiloxStream random({.seed = options.seed, .step = 0, .stream = kInitStream});
    for (std::int64_t e = 0; e < table.size(); ++e) table.data[e] = static_cast<float>(options.init_std * random.normal());
  });
  optimizer_ = std::make_unique<autograd::AdamW<float>>(store_, autograd::AdamWSettings{});
  losses_ = Buffer<float>((samples_ + options.batch - 1) / options.batch, memory);
  final_ = Buffer<float>(static_cast<std::int64_t>(nodes) * options.dim);
  item_prefix_ = Buffer<float>(static_cast<std::int64_t>(items_) * options.dim);
  if (!memory.host_accessible()) items_final_ = Buffer<float>(item_prefix_.size(), memory);
}

void LightGcn::draw(CpuContext& ctx, Triples& out, std::int32_t epoch, std::int64_t first, std::int64_t count) const {
  constexpr std::int64_t kGrain = 128;
  out.user.resize(static_cast<std::size_t>(count));
  out.positive.resize(out.user.size());
  out.negative.resize(out.user.size());
  parallel_for(ctx, count, kGrain, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t n = begin; n < end; ++n) {
      // 64 blocks of four words a triple: enough that running out has no chance in practice, and then it merely overlaps.
      PhiloxStream random({.seed = options_.seed, .step = static_cast<std::uint32_t>(epoch), .stream = kTripleStream},
                          static_cast<std::uint64_t>(first + n) * 64);
      const data::UserId u = active_users_[random.below(active_users_.size())];
      const auto train = split_->train(u);
      const auto& seen = sorted_history_[static_cast<std::size_t>(u)];
      data::ItemId negative = 0;
      const data::ItemId positive = train[random.below(train.size())];
      do {
        negative = static_cast<data::ItemId>(random.below(static_cast<std::uint64_t>(items_)));
      } while (std::binary_search(seen.begin(), seen.end(), negative));
      const auto at = static_cast<std::size_t>(n);
      out.user[at] = u;
      out.positive[at] = users_ + positive;
      out.negative[at] = users_ + negative;
    }
  });
}

autograd::Variable<float> LightGcn::step(const Triples& triples) {
  using namespace autograd;
  tape_.reset(Recording::kOn);
  store_.zero_gradients();
  const auto count = static_cast<std::int64_t>(triples.user.size());
  std::vector<std::int32_t> nodes(triples.user);
  for (const auto* ids : {&triples.positive, &triples.negative}) nodes.insert(nodes.end(), ids->begin(), ids->end());
  const auto all = tape_.keep(nodes);
  const auto table = tape_.parameter(store_, embedding_);
  // Recorded before the propagation, so backward comes to it after: the propagation then writes the table's gradient, and the
  // penalty adds its few rows, where the other order would clear the whole gradient and read it again.
  const auto penalty = half_squared_sum(tape_, embedding(tape_, table, all));
  const auto mean = propagate_mean(tape_, graph(), device_inv_sqrt_.view(), table, options_.layers, all);
  const auto bpr = ranking_loss(tape_, slice_rows(tape_, mean, 0, count), slice_rows(tape_, mean, count, count),
                                slice_rows(tape_, mean, 2 * count, count), RankingLossKind::kBpr);
  const auto loss = weighted_sum(tape_, {{bpr, 1.0}, {penalty, options_.l2 / static_cast<double>(count)}});
  tape_.backward(loss);
  store_.finish_gradients();
  optimizer_->step(tape_.device(), options_.lr, 1.0, 0.0);
  return bpr;
}

EpochReport LightGcn::train_epoch(const Device& device, std::int32_t epoch, const std::function<void(std::int64_t)>& progress) {
  Triples triples;
  std::int64_t steps = 0;
  for (std::int64_t first = 0; first < samples_; first += options_.batch) {
    const std::int64_t count = std::min<std::int64_t>(options_.batch, samples_ - first);
    draw(device.host(), triples, epoch, first, count);
    const auto loss = step(triples);
    losses_.memory().copy(losses_.data() + steps++, loss.value().data, sizeof(float));
    progress(first + count);
  }
  const auto losses = on_host(device, losses_.view());
  synchronize<float>(device);
  double total = 0;
  for (std::int64_t s = 0; s < steps; ++s)
    total += static_cast<double>(losses.view()[s]) * static_cast<double>(std::min<std::int64_t>(options_.batch, samples_ - s * options_.batch));
  return {.loss = total / static_cast<double>(samples_), .samples = samples_};
}

void LightGcn::finish_epoch(const Device& device) {
  const std::int64_t nodes = users_ + items_, d = options_.dim;
  const auto scale = device_inv_sqrt_.view();
  MemoryResource& memory = memory_of(device);
  Arena arena(memory);
  auto now = arena.matrix<float>(nodes, d), next = arena.matrix<float>(nodes, d);
  const auto total = memory.host_accessible() ? final_.view(nodes, d) : arena.matrix<float>(nodes, d);
  const auto table = store_.value(embedding_);
  copy_rows<float>(memory, now, table);
  copy_rows<float>(memory, total, table);
  const float share = 1.0f / static_cast<float>(options_.layers + 1);
  std::fill(item_prefix_.begin(), item_prefix_.end(), 0.0f);
  for (std::int32_t k = 0; k < options_.layers; ++k) {
    const auto layer = on_host(memory, now.slice_rows(users_, items_));
    for (std::int64_t i = 0; i < items_; ++i) {
      const float factor = share * inv_sqrt_[static_cast<std::size_t>(users_ + i)];
      for (std::int64_t c = 0; c < d; ++c) item_prefix_[i * d + c] += factor * (*layer)(i, c);
    }
    const auto layer_out = k + 1 < options_.layers ? next : View<float, 2>();  // of the last only the sum is wanted
    dispatch<float>(device, [&](auto& ctx) { spmm<float>(ctx, layer_out, total, graph(), now, scale, scale, Accumulate::kOverwrite); });
    std::swap(now, next);
  }
  if (!memory.host_accessible()) memory.download(final_.data(), total.data, static_cast<std::size_t>(nodes * d) * sizeof(float));
  for (auto& x : final_) x *= share;
  if (items_final_.size() > 0)
    memory.upload(items_final_.data(), final_.data() + users_ * d, static_cast<std::size_t>(items_final_.size()) * sizeof(float));
}

void LightGcn::queries(const Device&, std::span<const data::UserId> users, std::span<const std::span<const data::ItemId>> histories,
                       View<float, 2> out) const {
  const std::int64_t d = options_.dim;
  for (std::size_t n = 0; n < users.size(); ++n) {
    float* row = out.row(static_cast<std::int64_t>(n));
    if (users[n] >= 0) {
      std::copy_n(final_.data() + users[n] * d, d, row);
      continue;
    }
    std::fill_n(row, d, 0.0f);
    const auto& history = histories[n];
    const float factor = history.empty() ? 0.0f : 1.0f / std::sqrt(static_cast<float>(history.size()));
    for (data::ItemId i : history)
      for (std::int64_t c = 0; c < d; ++c) row[c] += factor * item_prefix_[i * d + c];
  }
}

RankedItems<float> LightGcn::items() const {
  const float* rows = items_final_.size() > 0 ? items_final_.data() : final_.data() + static_cast<std::int64_t>(users_) * options_.dim;
  return {.rows = View<const float, 2>(rows, {items_, options_.dim})};
}

EmbeddingTables LightGcn::embeddings(const Device& device) {
  finish_epoch(device);
  return {.user = View<const float, 2>(final_.data(), {users_, options_.dim}),
          .item = View<const float, 2>(final_.data() + static_cast<std::int64_t>(users_) * options_.dim, {items_, options_.dim}),
          .item_prefix = View<const float, 2>(item_prefix_.data(), {items_, options_.dim})};
}

void LightGcn::save(const std::filesystem::path& folder) const { save_recommender_state(folder, store_, *optimizer_); }
void LightGcn::load(const std::filesystem::path& folder) { load_recommender_state(folder, store_, *optimizer_); }

}  // namespace galrec::gal
