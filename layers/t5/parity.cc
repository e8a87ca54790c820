#include "layers/t5/parity.h"

#include <algorithm>
#include <string>
#include <vector>

#include "autograd/ops/embedding.h"
#include "autograd/ops/linear.h"
#include "autograd/ops/linear_cross_entropy.h"
#include "autograd/ops/sums.h"
#include "autograd/optimizer.h"
#include "layers/parity_judge.h"
#include "layers/t5/checkpoint.h"
#include "layers/t5/model.h"

namespace galrec::layers {

namespace {

// What the recording's optimiser does (golden files state it in words, not in numbers).
constexpr double kLearningRate = 1e-2, kWeightDecay = 0.01, kClip = 1.0;

/// The recorded batch, packed. The decoder runs on all T positions of every row, as the recording does.
struct Batch {
  std::int64_t rows = 0, source = 0, target = 0;  // B, S, T
  std::vector<std::int32_t> ids, cu;              // tokens under the mask
  std::vector<std::int32_t> where;                // row of (b, s) among the packed tokens, -1 at padding
  std::vector<std::int32_t> decoder_ids, decoder_cu;
  std::vector<std::int32_t> labelled, labels;  // decoder rows with a label, and the labels

  Batch(const data::SafetensorsFile& file, const T5Config& config);
};

std::vector<std::int64_t> read_matrix(const data::SafetensorsFile& file, const std::string& tensor, std::int64_t& rows,
                                      std::int64_t& cols) {
  const auto& shape = file.info(tensor).shape;
  if (shape.size() != 2 || shape[0] < 1 || shape[1] < 1 || (rows > 0 && shape[0] != rows) ||
      (cols > 0 && shape[1] != cols)) {
    throw DataError(fmt::format("{}: {}: got shape {}, expected two extents that fit the other tensors", file.name(),
                                tensor, data::shape_text(shape)));
  }
  rows = shape[0];
  cols = shape[1];
  return file.read_i64(tensor);
}

std::int32_t checked_token(const data::SafetensorsFile& file, const char* tensor, std::int64_t id,
                           const T5Config& config) {
  if (id < 0 || id >= config.vocab_size) {
    throw DataError(
        fmt::format("{}: {}: got token {}, expected 0 to {}", file.name(), tensor, id, config.vocab_size - 1));
  }
  return static_cast<std::int32_t>(id);
}

Batch::Batch(const data::SafetensorsFile& file, const T5Config& config) {
  const auto input_ids = read_matrix(file, "input_ids", rows, source);
  const auto mask = read_matrix(file, "attention_mask", rows, source);
  const auto label = read_matrix(file, "labels", rows, target);
  cu = decoder_cu = {0};
  for (std::int64_t b = 0; b < rows; ++b) {
    for (std::int64_t s = 0; s < source; ++s) {
      const auto i = static_cast<std::size_t>(b * source + s);
      where.push_back(mask[i] != 0 ? static_cast<std::int32_t>(ids.size()) : -1);
      if (mask[i] == 0) continue;
      // A hole would change the distances between the tokens around it.
      if (static_cast<std::int32_t>(ids.size()) > cu.back() && where[i - 1] < 0) {
        throw DataError(fmt::format("{}: attention_mask: row {} has a hole before column {}", file.name(), b, s));
      }
      ids.push_back(checked_token(file, "input_ids", input_ids[i], config));
    }
    if (static_cast<std::int32_t>(ids.size()) == cu.back())
      throw DataError(fmt::format("{}: attention_mask: row {} is empty", file.name(), b));
    cu.push_back(static_cast<std::int32_t>(ids.size()));
    // Shifted right; where there is no label, the pad token stands.
    std::int64_t previous = config.decoder_start_token_id;
    for (std::int64_t t = 0; t < target; ++t) {
      decoder_ids.push_back(checked_token(file, "labels", previous == -100 ? config.pad_token_id : previous, config));
      previous = label[static_cast<std::size_t>(b * target + t)];
      if (previous == -100) continue;
      labelled.push_back(static_cast<std::int32_t>(decoder_ids.size()) - 1);
      labels.push_back(checked_token(file, "labels", previous, config));
    }
    decoder_cu.push_back(static_cast<std::int32_t>(decoder_ids.size()));
  }
  if (labels.empty()) throw DataError(fmt::format("{}: labels: all are -100", file.name()));
}

template <class V>
std::vector<double> to_double(const HostView<V, 2>& v) {
  std::vector<double> out;
  out.reserve(static_cast<std::size_t>(v->size()));
  for (std::int64_t r = 0; r < v->rows(); ++r) {
    for (std::int64_t c = 0; c < v->cols(); ++c) out.push_back(static_cast<double>((*v)(r, c)));
  }
  return out;
}

template <class T>
class Model {
 public:
  Model(const Device& device, const T5Folder& folder, const Batch& batch, const ParityProbe& probe)
      : device_(device), batch_(batch), probe_(probe), model_(store_, folder.config), tape_(device) {
    store_.allocate(autograd::Trainable::kYes, memory_of(device));
    load_t5(store_, folder);
    apply_probe(store_, probe);
    apply_probe(tape_, probe);
  }

  /// States, logits and the loss (returned) with its gradients, dropout off.
  double step() {
    tape_.reset(autograd::Recording::kOn);
    store_.zero_gradients();
    const auto cu = tape_.keep(batch_.cu), decoder_cu = tape_.keep(batch_.decoder_cu);
    const auto rates = DropoutRates::none();
    states_ = model_.encoder().forward(tape_, model_.embed(tape_, tape_.keep(batch_.ids)), cu, rates);
    decoded_ = model_.decoder().forward(tape_, model_.embed(tape_, tape_.keep(batch_.decoder_ids)), decoder_cu, states_,
                                        cu, rates);
    const auto rows = autograd::embedding(tape_, decoded_, tape_.keep(batch_.labelled));
    const auto loss = autograd::linear_cross_entropy(tape_, rows, model_.head(tape_), {}, tape_.keep(batch_.labels),
                                                     model_.logit_scale());
    tape_.backward(loss);
    store_.finish_gradients();
    apply_probe(store_.gradients(), probe_);
    return autograd::scalar(tape_, loss);
  }

  std::vector<double> padded_states() const {
    const std::int64_t d = states_.cols();
    const auto states = on_host(device_, states_.value());
    std::vector<double> out(batch_.where.size() * static_cast<std::size_t>(d), 0.0);
    for (std::size_t i = 0; i < batch_.where.size(); ++i) {
      if (batch_.where[i] < 0) continue;
      for (std::int64_t c = 0; c < d; ++c)
        out[i * static_cast<std::size_t>(d) + static_cast<std::size_t>(c)] = static_cast<double>((*states)(batch_.where[i], c));
    }
    return out;
  }

  std::vector<double> logits() {
    const auto product = autograd::linear(tape_, decoded_, model_.head(tape_));
    return to_double(on_host(device_, autograd::scale(tape_, product, model_.logit_scale()).value()));
  }

  void update(autograd::AdamW<T>& optimizer) {
    const double norm = optimizer.gradient_norm(device_);
    optimizer.step(device_, kLearningRate, autograd::clip_scale(norm, kClip));
    apply_probe(store_.values(), probe_);
  }

  autograd::ParameterStore<T>& store() { return store_; }

 private:
  Device device_;
  const Batch& batch_;
  ParityProbe probe_;
  autograd::ParameterStore<T> store_;
  T5Model<T> model_;
  autograd::Tape<T> tape_;
  Variable<T> states_, decoded_;
};

/// All that a recording can hold, with `steps` optimiser steps at the end.
template <class T>
ParityRun run(const Device& device, const T5Folder& folder, const Batch& batch, std::int64_t steps, const ParityProbe& probe) {
  Model<T> model(device, folder, batch, probe);
  auto& store = model.store();
  ParityRun out;
  out.values["loss"] = {model.step()};
  out.values["encoder_last_hidden_state"] = model.padded_states();
  out.values["logits"] = model.logits();
  autograd::AdamW<T> optimizer(store, {.weight_decay = kWeightDecay});
  out.values["grad_norm"] = {optimizer.gradient_norm(device)};
  for (autograd::ParameterId id = 0; id < store.size(); ++id) {
    out.values["grad." + store.span(id).name] = to_double(store.read_gradient(id));
  }
  if (steps == 0) return out;
  auto& losses = out.values["adamw.loss"];
  for (std::int64_t s = 0; s < steps; ++s) {
    losses.push_back(model.step());
    model.update(optimizer);
  }
  for (autograd::ParameterId id = 0; id < store.size(); ++id) {
    out.values["adamw." + store.span(id).name] = to_double(store.read(id));
  }
  return out;
}

}  // namespace

ParityReport run_t5_parity(const Device& device, const std::filesystem::path& folder, ParityPrecision precision) {
  const T5Folder t5 = open_t5_folder(folder);
  const Batch batch(data::SafetensorsFile::open(folder / "batch.safetensors"), t5.config);
  const auto recorded = data::SafetensorsFile::open(folder / "expected.safetensors");
  const std::int64_t steps = recorded.contains("adamw.loss") ? recorded.info("adamw.loss").elements() : 0;
  CpuContext oracle;
  const auto ours = run_in(precision, device, [&]<class T>() { return run<T>(device, t5, batch, steps, {}); });
  const ParityUpdate updates[] = {{.prefix = "adamw.", .allowance = {.lr = kLearningRate, .steps = steps}}};
  const auto exact = [&](const ParityProbe& probe) { return run<double>(oracle, t5, batch, steps, probe); };
  return judge_parity(recorded, ours, exact, precision, updates);
}

}  // namespace galrec::layers
