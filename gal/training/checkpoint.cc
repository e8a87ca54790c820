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
struct Arena {
  const char* prefix;
  const autograd::ParameterStore<float>& store;
  View<float, 1> values;  // (total)
};

std::vector<Arena> arenas_of(const TrainedTensors& t) {
  std::vector<Arena> out{{"adam_m.", t.model.parameters(), t.optimizer.m()}, {"adam_v.", t.model.parameters(), t.optimizer.v()}};
  if (t.momentum != nullptr) out.push_back({"momentum.", t.momentum->parameters(), t.momentum->parameters().values()});
  return out;
}

void read_arena(const data::CheckpointReader& reader, const Arena& arena, std::set<std::string>& known) {
  for (const auto& span : arena.store.spans()) {
    const std::string name = arena.prefix + span.name;
    const auto& info = reader.info(name);  // names what is missing
    if (info.shape != span.shape)
      throw DataError(fmt::format("{}: tensor {} has the shape {}, expected {}", reader.name(), name, data::shape_text(info.shape),
                                  data::shape_text(span.shape)));
    const auto values = reader.read_f32(name);
    arena.store.memory().upload(arena.values.data + span.offset, values.data(), values.size() * sizeof(float));
    known.insert(name);
  }
}

}  // namespace

void save_tensors(const std::filesystem::path& folder, const TrainedTensors& tensors) {
  layers::save_parameters(folder / kModel, tensors.model.parameters());
  data::write_file(folder / kConfig, tensors.model.options().t5.to_json_text());
  data::SafetensorsWriter writer;
  std::vector<HostView<float, 1>> values;  // must live until write()
  for (const Arena& arena : arenas_of(tensors)) {
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

void load_tensors(const std::filesystem::path& folder, const TrainedTensors& tensors) {
  load_model(folder, tensors.model);
  const data::CheckpointReader reader(folder / kTraining);
  std::set<std::string> known{kSteps};
  for (const Arena& arena : arenas_of(tensors)) read_arena(reader, arena, known);
  const auto steps = reader.read_i64(kSteps);
  if (steps.size() != 1 || steps[0] < 0) throw DataError(fmt::format("{}: tensor {}: expected one number that is not negative", reader.name(), kSteps));
  tensors.optimizer.set_steps(steps[0]);
  if (tensors.queues != nullptr) tensors.queues->load(reader);
  for (const auto& [name, info] : reader.tensors()) {
    const bool queue = tensors.queues != nullptr && name.starts_with("queue");
    if (!queue && !known.contains(name)) throw DataError(fmt::format("{}: unknown tensor {}", reader.name(), name));
  }
}

void load_model(const std::filesystem::path& folder, GalModel<float>& model) {
  layers::load_parameters(model.parameters(), data::CheckpointReader(folder / kModel));
}

}  // namespace galrec::gal
