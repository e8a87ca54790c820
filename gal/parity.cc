#include "gal/parity.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "autograd/optimizer.h"
#include "autograd/tape.h"
#include "data/atomic_file.h"
#include "data/checkpoint_reader.h"
#include "gal/contrastive_loss.h"
#include "gal/model.h"
#include "gal/momentum_encoder.h"
#include "gal/negative_queue.h"
#include "gal/step_report.h"
#include "kernels/common/check.h"
#include "layers/hf_folder.h"
#include "layers/parity_judge.h"

namespace galrec::gal {

namespace {

using autograd::Recording;
using layers::ParityReport;
using layers::ParityRun;

/// step.json.
struct Step {
  std::int32_t text_tokens = 0, users = 0, items = 0;
  double tau = 0, momentum = 0, lr = 0, weight_decay = 0, clip = 0;
  std::array<double, 3> lambda{};
  std::int64_t capacity = 0, count = 0, pointer = 0;
};

Step read_step(const std::filesystem::path& path) {
  Step s;
  std::string key;
  try {
    const auto json = nlohmann::json::parse(data::read_file(path));
    const auto get = [&]<class V>(const char* name, V& value) {
      key = name;
      json.at(name).get_to(value);
    };
    get("text_tokens", s.text_tokens);
    get("users", s.users);
    get("items", s.items);
    get("tau", s.tau);
    get("lambda", s.lambda);
    get("momentum", s.momentum);
    get("queue_capacity", s.capacity);
    get("queue_count", s.count);
    get("queue_pointer", s.pointer);
    get("lr", s.lr);
    get("weight_decay", s.weight_decay);
    get("clip", s.clip);
  } catch (const nlohmann::json::exception& e) {
    throw DataError(fmt::format("{}: {}: {}", path.string(), key, e.what()));
  }
  if (s.text_tokens < 2 || s.users < 1 || s.items < 1 || !(s.tau > 0) || s.capacity < 1 || s.count < 0 ||
      s.count > s.capacity || s.pointer < 0 || s.pointer >= s.capacity) {
    throw DataError(fmt::format(
        "{}: got {} text tokens, {} users, {} items, tau {}, a queue of {} with {} rows and pointer {}, expected "
        "positive sizes and a queue that holds its rows and pointer",
        path.string(), s.text_tokens, s.users, s.items, s.tau, s.capacity, s.count, s.pointer));
  }
  return s;
}

void require_shape(const data::CheckpointReader& file, const std::string& tensor,
                   const std::vector<std::int64_t>& shape) {
  if (file.info(tensor).shape != shape) {
    throw DataError(fmt::format("{}: {}: got shape {}, expected {}", file.name(), tensor,
                                data::shape_text(file.info(tensor).shape), data::shape_text(shape)));
  }
}

std::vector<std::int32_t> read_ids(const data::CheckpointReader& file, const std::string& tensor) {
  const auto wide = file.read_i64(tensor);
  std::vector<std::int32_t> ids(wide.size());
  for (std::size_t i = 0; i < wide.size(); ++i) {
    ids[i] = static_cast<std::int32_t>(wide[i]);
    if (ids[i] != wide[i])
      throw DataError(fmt::format("{}: {}: got {}, expected a 32-bit number", file.name(), tensor, wide[i]));
  }
  return ids;
}

template <class V>
std::vector<double> doubles(const HostView<V, 2>& x) {
  std::vector<double> out;
  out.reserve(static_cast<std::size_t>(x->size()));
  for (std::int64_t r = 0; r < x->rows(); ++r) {
    for (std::int64_t c = 0; c < x->cols(); ++c) out.push_back(static_cast<double>((*x)(r, c)));
  }
  return out;
}

std::vector<std::int64_t> longs(std::span<const std::int32_t> x) {
  return {x.begin(), x.end()};
}

constexpr std::array<Queue, kQueues> kAllQueues{Queue::kU0, Queue::kU2, Queue::kI0, Queue::kI2};

template <class T>
NegativeQueues<T> read_queues(const data::CheckpointReader& batch, const Step& step, std::int64_t d, MemoryResource& memory,
                              const layers::ParityProbe& probe) {
  std::array<std::vector<T>, kQueues> rows;
  Keys<T> all;
  for (const auto q : kAllQueues) {
    const auto i = static_cast<std::size_t>(q);
    const std::string name = fmt::format("queue.{}", queue_name(q));
    require_shape(batch, name, {step.capacity, d});
    const auto values = batch.read_f64(name);
    for (const double v : values) rows[i].push_back(T(static_cast<Acc<T>>(v)));
    layers::apply_probe(view_of(rows[i]), probe);
    all.rows[i] = View<const T, 2>(rows[i].data(), {step.capacity, d});
  }
  for (const char* name : {"queue_id.u", "queue_id.i"}) require_shape(batch, name, {step.capacity});
  NegativeQueues<T> queues(step.capacity, d, memory);
  queues.set_state(all, read_ids(batch, "queue_id.u"), read_ids(batch, "queue_id.i"), step.pointer, step.count);
  return queues;
}

template <class T>
void load_model(GalModel<T>& model, MomentumEncoder<T>& momentum, const data::CheckpointReader& file) {
  layers::LoadRules rules;
  for (const auto& [name, info] : file.tensors()) {
    if (name == "h_user" || name == "h_item" || name.starts_with("momentum.")) rules.ignorable.push_back(name);
  }
  layers::load_parameters(model.parameters(), file, rules);
  auto& store = momentum.parameters();
  for (const auto& [name, info] : file.tensors()) {
    if (name.starts_with("momentum.") && store.find(name.substr(9)) < 0) {
      throw DataError(fmt::format("{}: {}: the momentum encoder has no such parameter", file.name(), name));
    }
  }
  for (const auto& span : store.spans()) {
    require_shape(file, "momentum." + span.name, span.shape);
    const auto values = file.read_f64("momentum." + span.name);
    store.write(store.require(span.name), std::vector<Acc<T>>(values.begin(), values.end()));
  }
}

template <class T>
void add_parameters(ParityRun& out, const std::string& prefix, const autograd::ParameterStore<T>& store) {
  for (const auto& span : store.spans())
    out.values[prefix + span.name] = doubles(store.read(store.require(span.name)));
}

/// The six terms by name. A step leaves out a term of weight 0, which a recording has all the same: it is computed apart.
template <class T>
void add_terms(ParityRun& out, const Device& device, const layers::ParityProbe& probe, GalModel<T>& model, const HopBatch& batch,
               const NegativeQueues<T>& queues, LossOptions loss, StepFigures figures) {
  if (loss.l1 == 0 || loss.l2 == 0 || loss.l3 == 0) {
    for (double* weight : {&loss.l1, &loss.l2, &loss.l3}) *weight = *weight == 0 ? 1 : *weight;
    autograd::Tape<T> tape(device);
    layers::apply_probe(tape, probe);
    tape.reset(Recording::kOff);
    figures = read_figures(device, model.forward(tape, batch, &queues, loss, layers::DropoutRates::none()));
  }
  for (int k = 0; k < kTerms; ++k)
    out.values[std::string(term_name(static_cast<Term>(k)))] = {figures.nce[static_cast<std::size_t>(k)]};
}

/// The step, with all that it computes by the names under which fixtures record it.
template <class T>
ParityRun run_step(const Device& device, const std::filesystem::path& folder, const Step& step, const layers::ParityProbe& probe) {
  const data::CheckpointReader weights(folder / "model.safetensors"), recorded(folder / "batch.safetensors");
  const auto config_path = folder / "config.json";
  const auto t5 = layers::T5Config::from_json_text(data::read_file(config_path), config_path.string());
  for (const char* h : {"h_user", "h_item"}) {
    if (weights.info(h).shape.size() != 2)
      throw DataError(fmt::format("{}: {}: expected two dimensions", weights.name(), h));
  }
  const std::int64_t user_dim = weights.info("h_user").shape[1], item_dim = weights.info("h_item").shape[1];
  require_shape(weights, "h_user", {step.users, user_dim});
  require_shape(weights, "h_item", {step.items, item_dim});

  GalModel<T> model({.t5 = t5,
                     .text_rows = step.text_tokens,
                     .users = step.users,
                     .items = step.items,
                     .user_dim = user_dim,
                     .item_dim = item_dim,
                     .mapping = {}},
                    memory_of(device));
  auto h_user = weights.read_f64("h_user"), h_item = weights.read_f64("h_item");
  if constexpr (std::is_same_v<T, double>) {
    layers::apply_probe(view_of(h_user), probe);
    layers::apply_probe(view_of(h_item), probe);
  }
  model.set_external(View<const double, 2>(view_of(h_user, step.users, user_dim)), view_of(h_item, step.items, item_dim));
  MomentumEncoder<T> momentum(model);
  load_model(model, momentum, weights);
  layers::apply_probe(model.parameters(), probe);
  layers::apply_probe(momentum.parameters(), probe);
  auto queues = read_queues<T>(recorded, step, t5.d_model, memory_of(device), probe);
  const data::IdTokens ids(step.text_tokens, step.users, step.items);
  const auto batch =
      batch_from_joint_tokens(read_ids(recorded, "ids"), read_ids(recorded, "lengths"), read_ids(recorded, "user"),
                              read_ids(recorded, "item"), read_ids(recorded, "target"), ids, recorded.name().c_str());

  autograd::Tape<T> tape(device), key_tape(device);
  layers::apply_probe(tape, probe);
  layers::apply_probe(key_tape, probe);
  key_tape.reset(Recording::kOff);
  const auto keys = momentum.encode(key_tape, batch);
  tape.reset(Recording::kOn);
  model.parameters().zero_gradients();
  LossOptions loss;
  loss.tau = step.tau;
  loss.l1 = step.lambda[0];
  loss.l2 = step.lambda[1];
  loss.l3 = step.lambda[2];
  const auto result = model.forward(tape, batch, &queues, loss, layers::DropoutRates::none());
  tape.backward(result.loss);
  model.parameters().finish_gradients();
  layers::apply_probe(model.parameters().gradients(), probe);

  ParityRun out;
  out.values["embeddings"] = doubles(on_host(device, result.embeddings));
  const StepFigures figures = read_figures(device, result);
  out.values["L0"] = {figures.l0};
  out.values["loss"] = {figures.loss};
  for (const auto& span : model.parameters().spans()) {
    const auto id = model.parameters().require(span.name);
    out.values["grad." + span.name] = doubles(model.parameters().read_gradient(id));
  }

  add_terms(out, device, probe, model, batch, queues, loss, figures);
  queues.push(keys, batch.user, batch.item);
  // A ring that is not full yet still holds what lay behind its rows: compare it as recorded, whole.
  for (const auto q : kAllQueues) out.values[fmt::format("queue.{}", queue_name(q))] = doubles(on_host(device, queues.all_rows(q)));
  out.integers["queue_id.u"] = longs(queues.all_ids(Queue::kU0));
  out.integers["queue_id.i"] = longs(queues.all_ids(Queue::kI0));

  autograd::AdamW<T> optimizer(model.parameters(), {.weight_decay = step.weight_decay});
  optimizer.track_average(momentum.parameters());
  const double norm = optimizer.gradient_norm(device);
  out.values["grad_norm"] = {norm};
  optimizer.step(device, step.lr, autograd::clip_scale(norm, step.clip), step.momentum);
  layers::apply_probe(model.parameters().values(), probe);
  layers::apply_probe(momentum.parameters().values(), probe);
  add_parameters<T>(out, "updated.", model.parameters());
  add_parameters<T>(out, "updated.momentum.", momentum.parameters());
  return out;
}

}  // namespace

bool is_gal_parity_folder(const std::filesystem::path& folder) {
  return std::filesystem::exists(folder / "step.json");
}

ParityReport run_gal_parity(const Device& device, const std::filesystem::path& folder, layers::ParityPrecision precision) {
  const Step step = read_step(folder / "step.json");
  const auto recorded = data::SafetensorsFile::open(folder / "expected.safetensors");
  CpuContext host;
  const auto oracle = [&](const layers::ParityProbe& probe) { return run_step<double>(host, folder, step, probe); };
  const auto ours = layers::run_in(precision, device, [&]<class T>() { return run_step<T>(device, folder, step, {}); });
  const layers::ParityUpdate updates[] = {
      {.prefix = "updated.", .allowance = {.lr = step.lr}},
      {.prefix = "updated.momentum.", .allowance = {.lr = step.lr, .share = 1 - step.momentum}}};
  return layers::judge_parity(recorded, ours, oracle, precision, updates);
}

}  // namespace galrec::gal
