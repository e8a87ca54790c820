#include "gal/training/gal_task.h"

#include <algorithm>
#include <any>
#include <bit>
#include <cmath>
#include <limits>

#include "gal/epoch_samples.h"
#include "gal/evaluation/model_ranking.h"
#include "gal/hop_statistics.h"
#include "kernels/common/check.h"

namespace galrec::gal {
namespace {

// Dropout must not share numbers with neighbour sampling, which is keyed by (seed, epoch, stream) as well.
constexpr std::uint64_t kDropoutSeed = 0xD809'0075'EED5'0001u;
constexpr std::uint32_t kMomentumStream = 0x10000u;

LinearSchedule make_schedule(const TrainOptions& train, std::int64_t samples) {
  const std::int64_t steps = (samples + train.batch - 1) / train.batch;
  return {train.lr, steps * train.epochs, train.warmup};
}

// FNV-1a over the bytes of plain values: tells one input from another, no more.
class Fingerprint {
 public:
  template <class V>
  void add(std::span<const V> values) {
    for (const std::byte b : std::as_bytes(values)) hash_ = (hash_ ^ static_cast<std::uint8_t>(b)) * 0x100000001b3u;
  }
  std::string text() const { return fmt::format("{:016x}", hash_); }

 private:
  std::uint64_t hash_ = 0xcbf29ce484222325u;
};

std::span<const float> flat(View<const float, 2> m) { return {m.data, static_cast<std::size_t>(m.size())}; }

}  // namespace

template <class T>
GalTask<T>::GalTask(const Device& device, const TrainerParts<T>& parts)
    : device_(device),
      parts_(parts),
      hops_(parts.gal.loss.contrastive() ? HopSet::kAll : HopSet::kRecommendOnly),
      samples_per_epoch_(epoch_size(parts.split, parts.gal.sampling.unit)),
      schedule_(make_schedule(parts.train, samples_per_epoch_)),
      optimizer_(parts.model.parameters(), parts.train.adamw),
      tape_(device),
      key_tape_(device),
      report_(device),
      graphs_(device) {
  if (device.kind() == DeviceKind::kCuda) lr_and_step_ = Buffer<double>(2, memory_of(device));
  if (parts_.gal.loss.contrastive()) {
    queues_ = std::make_unique<NegativeQueues<T>>(parts_.gal.queue.size, parts_.model.options().t5.d_model, memory_of(device));
    if (parts_.gal.queue.start == QueueStart::kRandom) queues_->fill_random(parts_.seed);
  }
  if (parts_.gal.needs_momentum_keys()) {
    momentum_ = std::make_unique<MomentumEncoder<T>>(parts_.model);
    optimizer_.track_average(momentum_->parameters());
  }
  identity_ = make_identity();
}

template <class T>
void GalTask<T>::begin_epoch(std::int64_t epoch) {
  samples_ = epoch_samples(parts_.split, parts_.builder.sampler(), parts_.gal.sampling, parts_.seed, static_cast<std::uint32_t>(epoch),
                           static_cast<std::int32_t>(parts_.train.micro_batch));
  GALREC_CHECK(static_cast<std::int64_t>(samples_.size()) == samples_per_epoch_, "{} samples, expected {}", samples_.size(),
               samples_per_epoch_);
}

template <class T>
Keys<T> GalTask<T>::momentum_keys(autograd::Tape<T>& tape, const DeviceBatch<T>& batch, std::uint32_t draw) {
  const Similarity similarity = parts_.gal.loss.similarity;
  if (!parts_.gal.queue.momentum_dropout) {
    tape.reset(autograd::Recording::kOff);
    return momentum_->encode(tape, batch, layers::DropoutRates::none(), similarity);
  }
  reset_tape(tape, batch, draw, kMomentumStream);
  return momentum_->encode(tape, batch, parts_.train.dropout, similarity);
}

// On CUDA the number of the masks comes from the device's memory: a replay draws those of its own step.
template <class T>
void GalTask<T>::reset_tape(autograd::Tape<T>& tape, const DeviceBatch<T>& batch, std::uint32_t draw,
                            std::uint32_t stream) {
  const bool cuda = device_.kind() == DeviceKind::kCuda;
  tape.reset(autograd::Recording::kOn, {.seed = parts_.seed ^ kDropoutSeed, .step = cuda ? 0 : draw, .stream = stream},
             cuda ? batch.draw : nullptr);
}

template <class T>
StepResult<T> GalTask<T>::forward_backward(const DeviceBatch<T>& batch, std::uint32_t draw, double share,
                                           Keys<T>& keys) {
  if (keys_come_first()) keys = momentum_keys(key_tape_, batch, draw);
  reset_tape(tape_, batch, draw, 0);
  const StepResult<T> result = parts_.model.forward(tape_, batch, queues_.get(), parts_.gal.loss, parts_.train.dropout,
                                                    keys_come_first() ? &keys : nullptr);
  tape_.backward(result.loss, share);
  return result;
}

// Only after backward, which reads the queues as forward found them.
template <class T>
void GalTask<T>::push_keys(const DeviceBatch<T>& batch, std::uint32_t draw, Keys<T> keys, const StepResult<T>& result) {
  if (!queues_) return;
  if (parts_.gal.queue.encoder == QueueEncoder::kQuery)
    keys = result.query_keys;
  else if (!keys_come_first())
    keys = momentum_keys(tape_, batch, draw);
  queues_->write(device_, keys, batch.user, batch.item, batch.ring_rows);
}

/// All that shapes the work of a micro-batch.
template <class T>
StepGraphs::Key GalTask<T>::pass_key(const std::vector<std::int64_t>& extents, double share) const {
  StepGraphs::Key key = extents;
  key.push_back(queues_ ? queues_->count() : 0);
  key.push_back(std::bit_cast<std::int64_t>(share));
  for (const bool written : parts_.model.parameters().written()) key.push_back(written ? 1 : 0);
  return key;
}

template <class T>
void GalTask<T>::micro_batch(const StepPlan& plan, std::int64_t first, std::int64_t count, bool statistics) {
  const auto samples = std::span(samples_).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count));
  parts_.builder.build(batch_, samples, hops_, static_cast<std::uint32_t>(plan.epoch));
  const std::int64_t per_step = (parts_.train.batch + parts_.train.micro_batch - 1) / parts_.train.micro_batch;
  const auto draw = static_cast<std::uint32_t>(plan.step * per_step + (first - plan.first) / parts_.train.micro_batch);
  // A mean over the micro-batch becomes this micro-batch's part of the mean over the optimiser's batch.
  const double share = static_cast<double>(count) / static_cast<double>(plan.count);
  const std::vector<std::int32_t> ring_rows = queues_ ? queues_->next_rows(count) : std::vector<std::int32_t>{};
  const BatchLists<T> lists(batch_, parts_.model.options(),
                            device_.kind() == DeviceKind::kCuda ? parts_.train.bucket : 0, {draw, ring_rows});
  if (lists.bytes() > lists_.size()) lists_ = Buffer<std::byte>(2 * lists.bytes(), memory_of(device_));
  const DeviceBatch<T> batch = lists.put(memory_of(device_), lists_.data());

  PassOutcome outcome;
  const auto work = [&] {
    Keys<T> keys;
    const StepResult<T> result = forward_backward(batch, draw, share, keys);
    outcome = {report_.pack(result), parts_.model.parameters().written()};
    if (statistics && queues_) statistics_ = statistics_of(result);
    push_keys(batch, draw, keys, result);
  };
  if (uses_graphs() && !statistics) {
    // Arenas that have grown become one block here: nothing may be allocated while a step is captured.
    tape_.reset(autograd::Recording::kOff);
    key_tape_.reset(autograd::Recording::kOff);
    const StepGraphs::Key key = pass_key(lists.extents(), share);
    const std::vector<bool> before = parts_.model.parameters().written();
    const auto again = [&] {  // where a capture fails
      parts_.model.parameters().set_written(before);
      work();
    };
    const StepRun how = graphs_.run(key, again);
    if (how == StepRun::kReplayed) outcome = std::any_cast<const PassOutcome&>(graphs_.outcome(key));
    if (how == StepRun::kCaptured) graphs_.outcome(key) = outcome;
    parts_.model.parameters().set_written(outcome.written);
  } else {
    work();
  }
  report_.keep(outcome.figures);
  if (queues_) queues_->remember(batch_.user, batch_.item);
}

template <class T>
void GalTask<T>::update(double lr) {
  // A limit that nothing reaches measures the norm, and keeps gradients that are not finite from the parameters, all
  // the same.
  autograd::AdamWUpdate update{
      .lr = lr,
      .max_norm = parts_.train.clip > 0 ? parts_.train.clip : std::numeric_limits<double>::max(),
      .momentum = parts_.gal.queue.momentum};
  if (device_.kind() == DeviceKind::kCpu) return optimizer_.step(device_, update);
  const std::int64_t done = optimizer_.steps();
  const double values[] = {lr, static_cast<double>(done + 1)};
  memory_of(device_).upload(lr_and_step_.data(), values, sizeof(values));
  update.lr_and_step = lr_and_step_.view();
  const auto work = [&] { optimizer_.step(device_, update); };
  if (uses_graphs()) {
    StepGraphs::Key key{-1};
    for (const bool written : parts_.model.parameters().written()) key.push_back(written ? 1 : 0);
    graphs_.run(key, work);
  } else {
    work();
  }
  optimizer_.set_steps(done + 1);  // once, however the work was done
}

// Looks at embeddings and queue on the host, in the few steps that ask for it: these do wait for the device.
template <class T>
Figures GalTask<T>::statistics_of(const StepResult<T>& result) const {
  const auto embeddings = on_host(device_, result.embeddings);
  const HopStatistics s = hop_statistics(*embeddings, *queues_, batch_, parts_.builder.sampler());
  Figures figures;
  for (int t = 0; t < kTerms; ++t)
    figures.emplace_back(fmt::format("alignment_{}", term_name(static_cast<Term>(t))), s.alignment[static_cast<std::size_t>(t)]);
  for (const auto hop : data::kAllHops)
    figures.emplace_back(fmt::format("uniformity_{}", data::hop_name(hop)), s.uniformity[static_cast<std::size_t>(hop)]);
  figures.insert(figures.end(), {{"queue_fill", s.queue_fill},
                                 {"queue_age", s.queue_age},
                                 {"own_id_rate", s.own_id_rate},
                                 {"user_neighbour_rate", s.user_neighbour_rate},
                                 {"item_neighbour_rate", s.item_neighbour_rate}});
  return figures;
}

template <class T>
Figures GalTask<T>::figures_of(const StepFigures& pass) const {
  Figures figures{{"loss", pass.loss}, {"L0", pass.l0}};
  if (queues_) {
    const auto add = [&](const char* prefix, const std::array<double, kTerms>& values) {
      for (int t = 0; t < kTerms; ++t)
        figures.emplace_back(prefix + std::string(term_name(static_cast<Term>(t))), values[static_cast<std::size_t>(t)]);
    };
    add("", pass.nce);
    add("accuracy_", pass.accuracy);
    add("saturation_", pass.saturation);
  }
  return figures;
}

template <class T>
void GalTask<T>::require_finite(const StepFigures& pass, const StepPlan& plan, std::int64_t first) const {
  if (std::isfinite(pass.loss)) return;
  std::string terms;
  if (!std::isfinite(pass.l0)) terms += fmt::format(" L0 = {}", pass.l0);
  for (int t = 0; t < kTerms; ++t) {
    const double value = pass.nce[static_cast<std::size_t>(t)];
    if (!std::isfinite(value)) terms += fmt::format(" {} = {}", term_name(static_cast<Term>(t)), value);
  }
  throw NumericalError(fmt::format("step {} (epoch {}, samples {} and on): the loss is {};{} not finite; the last checkpoint is intact. "
                                   "A lower train.lr or a train.clip may help",
                                   plan.step + 1, plan.epoch + 1, first, pass.loss, terms.empty() ? " their weighted sum is" : terms + " is"));
}

template <class T>
void GalTask<T>::require_finite_losses(const StepPlan& plan) const {
  std::int64_t first = plan.first;
  for (const StepFigures& pass : report_.read()) {
    require_finite(pass, plan, first);
    first += parts_.train.micro_batch;
  }
}

template <class T>
void GalTask<T>::fail_gradient(const StepPlan& plan, double norm) const {
  std::string names;
  int count = 0;
  const auto& store = parts_.model.parameters();
  for (int id = 0; id < store.size(); ++id) {
    const auto& span = store.span(id);
    const auto gradient = store.read_gradient(id);
    const bool finite = std::all_of(gradient->data, gradient->data + span.size, [](Acc<T> g) { return std::isfinite(g); });
    if (!finite && ++count <= 5) names += fmt::format("{}{}", names.empty() ? "" : ", ", span.name);
  }
  throw NumericalError(fmt::format("step {} (epoch {}): the gradient's norm is {}; not finite in {} parameters: {}", plan.step + 1,
                                   plan.epoch + 1, norm, count, names));
}

template <class T>
Figures GalTask<T>::step(const StepPlan& plan) {
  auto& store = parts_.model.parameters();
  const bool statistics = queues_ && parts_.train.statistics_every > 0 && plan.step % parts_.train.statistics_every == 0;
  store.zero_gradients();
  report_.clear();
  statistics_.clear();
  for (std::int64_t done = 0; done < plan.count; done += parts_.train.micro_batch) {
    const std::int64_t count = std::min(parts_.train.micro_batch, plan.count - done);
    micro_batch(plan, plan.first + done, count, statistics && done + count == plan.count);
  }
  const double lr = schedule_.at(plan.step);
  // Everything up to here and the update are queued before anybody waits.
  try {
    update(lr);
    synchronize<T>(device_);
  } catch (const NumericalError&) {
    require_finite_losses(plan);
    fail_gradient(plan, optimizer_.measured_norm());
  }
  const double norm = optimizer_.measured_norm();
  require_finite_losses(plan);
  Averages means;
  std::int64_t done = 0;
  for (const StepFigures& pass : report_.read()) {
    const std::int64_t count = std::min(parts_.train.micro_batch, plan.count - done);
    means.add(figures_of(pass), count);
    done += count;
    if (done == plan.count && !statistics_.empty()) means.add(statistics_, count);
  }
  means.add({{"grad_norm", norm}, {"lr", lr}}, plan.count);
  return means.means();
}

template <class T>
Validation GalTask<T>::validate() {
  const RankResult result = rank_targets(device_, tape_, parts_.model, parts_.builder, parts_.split, data::Phase::kValid, parts_.ranking);
  return {.score = mean_metric(parts_.train.metric, result.ranks), .figures = result.to_json(parts_.ranking.ks)};
}

template <class T>
nlohmann::ordered_json GalTask<T>::make_identity() const {
  const auto& dataset = parts_.split.dataset();
  Fingerprint sequences, vectors;
  for (data::UserId u = 0; u < dataset.num_users(); ++u) {
    const auto items = dataset.sequence(u);
    const auto length = static_cast<std::int32_t>(items.size());
    sequences.add(std::span<const std::int32_t>(&length, 1));
    sequences.add(items);
  }
  vectors.add(flat(parts_.external.user()));
  vectors.add(flat(parts_.external.item()));
  return {{"seed", parts_.seed},
          {"users", dataset.num_users()},
          {"items", dataset.num_items()},
          {"interactions", sequences.text()},
          {"external_embeddings", vectors.text()},
          {"parameters", parts_.model.parameters().total()}};
}

template <class T>
TrainedTensors<T> GalTask<T>::tensors() const {
  // A checkpoint reads what it saves and writes what it loads: one description of the tensors serves both.
  auto& self = const_cast<GalTask&>(*this);
  return {parts_.model, self.optimizer_, momentum_.get(), queues_.get()};
}

template <class T>
void GalTask<T>::save(const std::filesystem::path& folder) const { save_tensors(folder, tensors()); }

template <class T>
void GalTask<T>::load(const std::filesystem::path& folder) { load_tensors(folder, tensors()); }

template class GalTask<float>;
template class GalTask<bfloat16>;

}  // namespace galrec::gal
