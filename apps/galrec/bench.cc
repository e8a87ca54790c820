// galrec bench: whole steps of real work, timed, and dumped for peers. Kernels have benchmarks of their own in bench/.

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "apps/galrec/commands.h"
#include "apps/galrec/run_setup.h"
#include "apps/galrec/step_dump.h"
#include "gal/recommenders/lightgcn.h"
#include "gal/epoch_samples.h"
#include "gal/session.h"
#include "gal/step_flops.h"
#include "gal/training/gal_task.h"
#include "gal/training/trainer.h"
#include "kernels/gemm/gemm.h"

namespace galrec::apps {

namespace {

namespace fs = std::filesystem;

struct Options {
  std::string data, preset = "mini", tokenizer, precision = "fp32", device = "cpu", dump;
  std::int64_t samples = 64, micro_batch = 16, steps = 5, epochs = 5;
  std::vector<std::string> overrides;
};

template <class F>
double seconds(F&& f) {
  const auto start = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

// FLOP/s of a large product on the library: the ceiling that a step is measured against.
double gemm_peak(const Device& device) {
  constexpr std::int64_t n = 1536;
  const std::vector<float> ones(static_cast<std::size_t>(n * n), 1.0f);
  MemoryResource& memory = memory_of(device);
  const Buffer<float> a(std::span<const float>(ones), memory), b(std::span<const float>(ones), memory), c(n * n, memory);
  std::vector<double> times;
  for (int i = 0; i < 7; ++i) {
    times.push_back(seconds([&] {
      dispatch<float>(device, [&](auto& ctx) { gemm<float>(ctx, c.view(n, n), a.view(n, n), b.view(n, n), {.b = Transpose::kYes}); });
      synchronize<float>(device);
    }));
  }
  return 2.0 * n * n * n / *std::min_element(times.begin(), times.end());
}

// The whole paper's step: all columns, dropout everywhere, six losses; static user vectors, so that a peer needs no graph.
data::Config step_config(const Options& o) {
  data::Config config(gal::train_schema());
  gal::apply_preset(config, o.preset);
  const std::string where = "bench step";
  config.set("data.path", o.data, where);
  config.set("data.tokenizer", o.tokenizer, where);
  config.set("loss.columns", std::string("all"), where);
  config.set("external.user_vector", std::string("static"), where);
  config.set("sample.unit", std::string("prefix"), where);
  config.set("model.dropout", 0.1, where);
  config.set("model.embedding_dropout", 0.1, where);
  config.set("run.precision", o.precision, where);
  config.set("train.batch", o.samples, where);
  config.set("train.micro_batch", std::min(o.samples, o.micro_batch), where);
  config.set("train.statistics_every", std::int64_t{0}, where);
  for (const auto& override : o.overrides) config.apply_override(override);
  return config;
}

template <class T>
void bench_step_in(const Options& o, const data::Config& config, const Device& device) {
  const fs::path vocabulary = fs::temp_directory_path() / fmt::format("galrec_bench_{}.model", static_cast<long>(getpid()));
  gal::Session session(device, config, gal::find_vocabulary(config, vocabulary));
  fs::remove(vocabulary);
  const auto model = session.make_model<T>(device);
  session.initialize(device, *model);
  gal::GalTask task(device, gal::trainer_parts(config, session.split(), session.builder(), session.external(), *model, session.seed()));
  task.begin_epoch(0);
  if constexpr (std::is_same_v<T, float>) {
    if (!o.dump.empty()) dump_step(device, session, *model, config, o.samples, o.dump);
  } else {
    if (!o.dump.empty()) throw UsageError("--dump-batch: the peers' file is written in fp32 only");
  }

  const std::int64_t available = task.samples_per_epoch() / o.samples;
  if (available < 1) throw UsageError(fmt::format("--samples {}: the data set has {} samples", o.samples, task.samples_per_epoch()));
  // The same samples in every step, so that times compare. The first step warms up; on CUDA all do until one is nothing but replays,
  // which no step is before the queues are full.
  std::int64_t s = 0;
  const auto step = [&] { task.step({.step = s++, .epoch = 0, .first = 0, .count = o.samples}); };
  const auto novelties = [&] { return task.graphs().counts().eager + task.graphs().counts().captured; };
  const std::int64_t most = 4 + config.get_int("queue.size") / o.samples;
  for (std::int64_t before = -1; before != novelties() && s < most;) {
    before = novelties();
    step();
  }
  std::vector<double> times;
  for (std::int64_t timed = 0; timed < o.steps; ++timed) times.push_back(seconds(step));
  gal::HopBatch batch;
  const auto samples = gal::epoch_samples(session.split(), session.builder().sampler(), session.options().sampling, session.seed(), 0, static_cast<std::int32_t>(config.get_int("train.micro_batch")));
  session.builder().build(batch, std::span(samples).first(static_cast<std::size_t>(o.samples)), gal::HopSet::kAll, 0);
  const gal::StepFlops flops = gal::step_flops(batch, model->options(), session.options());
  const double t = median(times), peak = gemm_peak(device);
  fmt::print("{} on {}: {} samples ({} tokens in six prompts each on average {:.0f}), {} columns, {}, {}\n", o.preset, session.dataset().name, o.samples,
             batch.num_tokens(), static_cast<double>(batch.num_tokens()) / static_cast<double>(o.samples), model->options().text_rows + model->options().users + model->options().items,
             o.device == "cpu" ? fmt::format("{} threads", device.host().threads()) : o.device, o.precision);
  fmt::print("median of {} steps: {:.1f} ms, {:.2f} samples/s\n", o.steps, t * 1e3, static_cast<double>(o.samples) / t);
  fmt::print("floor: {:.1f} GFLOP a step (forward {:.1f}, backward {:.1f}, momentum {:.1f}, head {:.1f}) at the measured {:.0f} GFLOP/s = {:.1f} ms; share {:.0f} %\n",
             flops.total() * 1e-9, flops.forward * 1e-9, flops.backward * 1e-9, flops.momentum * 1e-9, flops.head * 1e-9, peak * 1e-9, flops.total() / peak * 1e3,
             100 * flops.total() / peak / t);
}

void bench_step(const Options& o, const CommonOptions& common) {
  if (o.samples < 1 || o.steps < 1) throw UsageError("bench step: --samples and --steps must be at least 1");
  const data::Config config = step_config(o);
  Contexts contexts(common, o.device, precision(config, o.device));
  gal::in_storage(contexts.device(), [&]<class T>() { bench_step_in<T>(o, config, contexts.device()); });
}

void bench_lightgcn(const Options& o, const CommonOptions& common) {
  Contexts contexts(common, o.device);
  const Device device = contexts.device();
  data::Config config(gal::pretrain_schema());
  for (const auto& override : o.overrides) config.apply_override(override);
  const data::Dataset dataset = data::Dataset::load(o.data);
  const data::Split split = data::Split::leave_one_out(dataset);
  gal::LightGcn model(device, split, gal::lightgcn_options(config, 1));
  std::vector<double> times;
  double loss = 0;
  for (std::int32_t epoch = 0; epoch <= o.epochs; ++epoch) {
    const double t = seconds([&] { loss = model.train_epoch(device, epoch + 1, [](std::int64_t) {}).loss; });
    if (epoch > 0) times.push_back(t);
  }
  fmt::print("LightGCN on {}: {} samples an epoch, {}: median of {} epochs {:.2f} s (loss {:.4f})\n", dataset.name, model.samples_per_epoch(),
             o.device == "cpu" ? fmt::format("{} threads", device.host().threads()) : o.device,
             o.epochs, median(times), loss);
}

}  // namespace

void add_bench(CLI::App& app, const CommonOptions& common) {
  auto o = std::make_shared<Options>();
  auto* c = app.add_subcommand("bench", "Time whole steps of real work; see bench/peers for the same work in PyTorch");
  c->require_subcommand(1);
  add_bench_kernels(*c);
  auto* step = c->add_subcommand("step", "One whole GAL step: six hops, six losses, cross-entropy over all columns, backward, momentum forward, clip, AdamW, EMA, dropout");
  step->add_option("--data", o->data, "data set folder")->required();
  step->add_option("--preset", o->preset, "model size")->capture_default_str();
  step->add_option("--tokenizer", o->tokenizer, "SentencePiece model (T5's gives 32,128 text columns); default: the data set's or a trained one");
  step->add_option("--samples", o->samples, "samples per step")->capture_default_str();
  step->add_option("--micro-batch", o->micro_batch, "samples per forward pass")->capture_default_str()->check(CLI::PositiveNumber);
  step->add_option("--steps", o->steps, "timed steps")->capture_default_str();
  step->add_option("--precision", o->precision, "fp32 or bf16: on cuda the storage of activations, on cpu the operands of products")->capture_default_str();
  add_device_option(*step, o->device);
  step->add_option("--dump-batch", o->dump, "write batch, weights and losses for bench/peers/hf_gal_step.py");
  step->add_option("key=value", o->overrides, "configuration keys");
  step->footer("Example:\n  galrec bench step --preset mini --data ../shared/data/beauty --tokenizer ../shared/data/tokenizer/spiece.model --samples 64 --dump-batch /tmp/step.safetensors\n"
               "  python3 bench/peers/hf_gal_step.py /tmp/step.safetensors");
  step->callback([o, &common] { bench_step(*o, common); });
  auto* lightgcn = c->add_subcommand("lightgcn", "Epochs of LightGCN training");
  lightgcn->add_option("--data", o->data, "data set folder")->required();
  lightgcn->add_option("--epochs", o->epochs, "timed epochs")->capture_default_str()->check(CLI::PositiveNumber);
  add_device_option(*lightgcn, o->device);
  lightgcn->add_option("key=value", o->overrides, "configuration keys");
  lightgcn->footer("Example:\n  galrec bench lightgcn --data ../shared/data/beauty\n  python3 bench/peers/lightgcn_csr.py ../shared/data/beauty");
  lightgcn->callback([o, &common] { bench_lightgcn(*o, common); });
}

}  // namespace galrec::apps
