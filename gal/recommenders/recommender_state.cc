#include "gal/recommenders/recommender_state.h"

#include <fmt/ranges.h>

#include "data/safetensors_writer.h"

namespace galrec::gal {

namespace {

// One tensor per parameter span, so that the files stay readable when the arena's padding changes. `arena` must live until the
// file is written.
void add_spans(data::SafetensorsWriter& writer, const std::string& prefix, const autograd::ParameterStore<float>& store,
               const HostView<float, 1>& arena) {
  for (const auto& span : store.spans())
    writer.add(prefix + span.name, span.shape, std::span<const float>(arena->data + span.offset, static_cast<std::size_t>(span.size)));
}

void read_spans(const data::SafetensorsFile& file, const std::string& prefix, const autograd::ParameterStore<float>& store, View<float, 1> arena) {
  for (const auto& span : store.spans()) {
    const std::string name = prefix + span.name;
    if (!file.contains(name)) throw DataError(fmt::format("{}: tensor {} is missing", file.name(), name));
    const auto& shape = file.info(name).shape;
    if (shape != span.shape)
      throw DataError(fmt::format("{}: tensor {} has shape [{}], expected [{}]", file.name(), name, fmt::join(shape, ", "), fmt::join(span.shape, ", ")));
    const auto values = file.read_f32(name);
    store.memory().upload(arena.data + span.offset, values.data(), values.size() * sizeof(float));
  }
}

}  // namespace

void save_recommender_state(const std::filesystem::path& folder, const autograd::ParameterStore<float>& store,
                            const autograd::AdamW<float>& optimizer) {
  const auto on_the_host = [&](View<float, 1> arena) { return on_host(store.memory(), arena); };
  const auto values = on_the_host(store.values()), m = on_the_host(optimizer.m()), v = on_the_host(optimizer.v());
  data::SafetensorsWriter model;
  add_spans(model, "", store, values);
  model.write(folder / "model.safetensors");
  data::SafetensorsWriter state;
  add_spans(state, "m.", store, m);
  add_spans(state, "v.", store, v);
  const std::int64_t steps = optimizer.steps();
  state.add("steps", {1}, std::span(&steps, 1));
  state.write(folder / "optimizer.safetensors");
}

void load_recommender_parameters(const data::SafetensorsFile& file, autograd::ParameterStore<float>& store) {
  for (const auto& [name, info] : file.tensors())
    if (store.find(name) < 0) throw DataError(fmt::format("{}: tensor {} is unknown to this model", file.name(), name));
  read_spans(file, "", store, store.values());
}

void load_recommender_state(const std::filesystem::path& folder, autograd::ParameterStore<float>& store, autograd::AdamW<float>& optimizer) {
  load_recommender_parameters(data::SafetensorsFile::open(folder / "model.safetensors"), store);
  if (!std::filesystem::exists(folder / "optimizer.safetensors")) return;
  const auto state = data::SafetensorsFile::open(folder / "optimizer.safetensors");
  read_spans(state, "m.", store, optimizer.m());
  read_spans(state, "v.", store, optimizer.v());
  optimizer.set_steps(state.read_i64("steps").at(0));
}

}  // namespace galrec::gal
