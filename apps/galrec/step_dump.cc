#include "apps/galrec/step_dump.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "data/id_tokens.h"
#include "data/safetensors_writer.h"
#include "gal/epoch_samples.h"
#include "gal/negative_queue.h"
#include "gal/step_report.h"
#include "kernels/common/host_view.h"

namespace galrec::apps {

namespace {

std::span<const float> flat(View<const float, 2> m) { return {m.data, static_cast<std::size_t>(m.size())}; }

}  // namespace

void dump_step(const Device& device, gal::Session& session, gal::GalModel<float>& model, const data::Config& config, std::int64_t samples,
               const std::filesystem::path& path) {
  const auto& options = session.options();
  const auto all = gal::epoch_samples(session.split(), session.builder().sampler(), options.sampling, session.seed(), 0,
                                      static_cast<std::int32_t>(config.get_int("train.micro_batch")));
  gal::HopBatch batch;
  session.builder().build(batch, std::span(all).first(static_cast<std::size_t>(samples)), gal::HopSet::kAll, 0);
  gal::NegativeQueues<float> queues(options.queue.size, model.options().t5.d_model, memory_of(device));
  queues.fill_random(session.seed());
  autograd::Tape<float> tape(device);
  tape.reset(autograd::Recording::kOff);
  const auto figures = gal::read_figures(device, model.forward(tape, batch, &queues, options.loss, layers::DropoutRates::none()));

  const auto& m = model.options();
  const data::IdTokens ids(m.text_rows, m.users, m.items);
  const auto tokens = gal::joint_tokens(batch, ids);
  std::vector<std::int32_t> lengths;
  for (std::size_t s = 1; s < batch.cu.size(); ++s) lengths.push_back(batch.cu[s] - batch.cu[s - 1]);
  data::SafetensorsWriter writer;
  const auto n = static_cast<std::int64_t>(batch.samples);
  writer.add("tokens", {batch.num_tokens()}, std::span<const std::int32_t>(tokens));
  writer.add("lengths", {n, 6}, std::span<const std::int32_t>(lengths));
  writer.add("user", {n}, std::span<const std::int32_t>(batch.user));
  writer.add("item", {n}, std::span<const std::int32_t>(batch.item));
  writer.add("target", {n}, std::span<const std::int32_t>(batch.target));
  writer.add("h_user", {m.users, m.user_dim}, flat(session.external().user()));
  writer.add("h_item", {m.items, m.item_dim}, flat(session.external().item()));
  std::vector<HostView<float, 2>> host;  // what the writer refers to until write()
  const auto on_the_host = [&](View<const float, 2> m) {
    host.push_back(on_host(device, m));
    return flat(*host.back());
  };
  for (const auto q : {gal::Queue::kU0, gal::Queue::kU2, gal::Queue::kI0, gal::Queue::kI2})
    writer.add(fmt::format("queue.{}", gal::queue_name(q)), {queues.count(), queues.dim()}, on_the_host(queues.keys(q)));
  writer.add("queue_id.u", {queues.count()}, queues.host_ids(gal::Queue::kU0));
  writer.add("queue_id.i", {queues.count()}, queues.host_ids(gal::Queue::kI0));
  const auto& store = model.parameters();
  for (int id = 0; id < store.size(); ++id) {
    const auto& span = store.span(id);
    const auto values = on_the_host(store.value(id));
    writer.add(span.name, span.shape, values);
    if (!span.name.starts_with("decoder.") && span.name != "lm_head.weight") writer.add("momentum." + span.name, span.shape, values);
  }
  std::vector<float> expected{static_cast<float>(figures.l0)};
  for (double term : figures.nce) expected.push_back(static_cast<float>(term));
  const char* names[] = {"L0", "L1u", "L1i", "L2u", "L2i", "L3u", "L3i"};
  for (std::size_t t = 0; t < expected.size(); ++t) writer.add(fmt::format("expected.{}", names[t]), {1}, std::span<const float>(expected).subspan(t, 1));
  const nlohmann::json step{{"text_tokens", m.text_rows}, {"users", m.users}, {"items", m.items}, {"tau", options.loss.tau},
                            {"lambda", {options.loss.l1, options.loss.l2, options.loss.l3}}, {"momentum", options.queue.momentum}};
  writer.set_metadata({{"format", "pt"}, {"config", m.t5.to_json_text()}, {"step", step.dump()}});
  writer.write(path);
  fmt::print("{}: {} prompts of {} samples with weights and losses\n", path.string(), lengths.size(), samples);
}

}  // namespace galrec::apps
