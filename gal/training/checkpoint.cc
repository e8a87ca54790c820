#include "gal/training/checkpoint.h"

#include <algorithm>
#include <set>

#include "data/atomic_file.h"
#include "data/checkpoint_reader.h"
#include "data/safetensors_writer.h"
#include "layers/hf_folder.h"

namespace galrec::gal {
namespace {

constexpr const char* kModel = "model.safetensors";
constexpr const char* kTraining = "training.safetensors";
constexpr const char* kConfig = "config.json";
constexpr const char* kSteps = "adam_steps";

// One arena of a store's layout, as one tensor per parameter.
template <class T>
struct Arena {
  const char* prefix;
  autograd::ParameterStore<T>& store;
  View<float, 1> values;    // (total)
  bool parameters = false;  // of the store itself
};

template <class T>
std::vector<Arena<T>> arenas_of(const TrainedTensors<T>& t) {
  std::vector<Arena<T>> out{{"adam_m.", t.model.parameters(), t.optimizer.m()}, {"adam_v.", t.model.parameters(), t.optimizer.v()}};
  if (t.momentum != nullptr) out.push_back({"momentum.", t.momentum->parameters(), t.momentum->parameters().values(), true});
  return out;
}

template <class T>
void read_arena(const data::CheckpointReader& reader, const Arena<T>& arena, std::set<std::string>& known) {
  for (autograd::ParameterId id = 0; id < arena.store.size(); ++id) {
    const auto& span = arena.store.span(id);
    const std::string name = arena.prefix + span.name;
    const auto& info = reader.info(name);  // names what is missing
    if (info.shape != span.shape)
      throw DataError(fmt::format("{}: tensor {} has the shape {}, expected {}", reader.name(), name, data::shape_text(info.shape),
                                  data::shape_text(span.shape)));
    const auto values = reader.read_f32(name);
    if (arena.parameters) arena.store.write(id, values);
    else arena.store.memory().upload(arena.values.data + span.offset, values.data(), values.size() * sizeof(float));
    known.insert(name);
  }
}

}  // namespace

template <class T>
void save_tensors(const std::filesystem::path& folder, const TrainedTensors<T>& tensors) {
  layers::save_parameters(folder / kModel, tensors.model.parameters());
  data::write_file(folder / kConfig, tensors.model.options().t5.to_json_text());
  data::SafetensorsWriter writer;
  std::vector<HostView<float, 1>> values;  // must live until write()
  for (const auto& arena : arenas_of(tensors)) {
    values.push_back(on_host(arena.store.memory(), arena.values));
    const float* first = values.back()->data;
    for (const auto& span : arena.store.spans())
      writer.add(arena.prefix + span.name, span.shape, std::span<const float>(first + span.offset, static_cast<std::size_t>(span.size)));
  }
  const std::int64_t steps = tensors.optimizer.steps();
  writer.add(kSteps, {1}, std::span<const std::int64_t>(&steps, 1));
  if (tensors.queues != nullptr) tensors.queues->add_to(writer);
  writer.write(folder / kTraining);
}

template <class T>
void load_tensors(const std::filesystem::path& folder, const TrainedTensors<T>& tensors) {
  load_model(folder, tensors.model);
  const data::CheckpointReader reader(folder / kTraining);
  std::set<std::string> known{kSteps};
  for (const auto& arena : arenas_of(tensors)) read_arena(reader, arena, known);
  const auto steps = reader.read_i64(kSteps);
  if (steps.size() != 1 || steps[0] < 0) throw DataError(fmt::format("{}: tensor {}: expected one number that is not negative", reader.name(), kSteps));
  tensors.optimizer.set_steps(steps[0]);
  if (tensors.queues != nullptr) tensors.queues->load(reader);
  for (const auto& [name, info] : reader.tensors()) {
    const bool queue = tensors.queues != nullptr && name.starts_with("queue");
    if (!queue && !known.contains(name)) throw DataError(fmt::format("{}: unknown tensor {}", reader.name(), name));
  }
}

template <class T>
void load_model(const std::filesystem::path& folder, GalModel<T>& model) {
  layers::load_parameters(model.parameters(), data::CheckpointReader(folder / kModel));
}

#define INSTANTIATE(T)                                                                \
  template void save_tensors(const std::filesystem::path&, const TrainedTensors<T>&); \
  template void load_tensors(const std::filesystem::path&, const TrainedTensors<T>&); \
  template void load_model(const std::filesystem::path&, GalModel<T>&);
INSTANTIATE(float)
INSTANTIATE(bfloat16)
#undef INSTANTIATE

}  // namespace galrec::gal
