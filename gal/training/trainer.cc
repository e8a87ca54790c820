#include "gal/training/trainer.h"

#include "data/atomic_file.h"
#include "data/memory.h"
#include "gal/evaluation/model_ranking.h"
#include "gal/evaluation/result_file.h"

namespace galrec::gal {

Trainer::Trainer(const Device& device, const TrainerParts& parts, data::RunFolder& run, spdlog::logger& log, data::ProgressStyle style)
    : device_(device), parts_(parts), run_(run), log_(log), style_(style) {
  if (!parts.train.warm_start.empty() && !run.has_checkpoint("last")) {
    load_model(parts.train.warm_start, parts.model);
    log.info("starting from the parameters of {}", parts.train.warm_start);
  }
  task_ = std::make_unique<GalTask>(device, parts);
  const LoopOptions options{.epochs = parts.train.epochs,
                            .batch = parts.train.batch,
                            .patience = parts.train.patience,
                            .eval_every = parts.train.eval_every,
                            .log_every = parts.train.log_every,
                            .checkpoint_minutes = parts.train.checkpoint_minutes};
  loop_ = std::make_unique<TrainingLoop>(*task_, run, options, log, style);
}

TrainResult Trainer::run(const LoopLimits& limits) {
  TrainResult result;
  result.loop = loop_->run(limits);
  const TrainingState& state = result.loop.state;
  log_.info("{} steps, {:.1f} samples/s, peak memory {}", result.loop.steps, result.loop.samples_per_second,
            data::format_bytes(data::peak_resident_bytes()));
  if (result.loop.reason == StopReason::kFinished) {
    finish(result);
  } else {
    log_.info("stopped at step {} of {}; --resume goes on from here", state.step, total_steps());
  }
  return result;
}

void Trainer::finish(TrainResult& result) {
  const TrainingState& state = result.loop.state;
  load_model(data::find_checkpoint(run_.path(), "best"), parts_.model);
  log_.info("best epoch {} of {} ({} {:.4f} on validation)", state.best_epoch, state.epoch, parts_.train.metric.name(), state.best_score);
  for (const data::Phase phase : {data::Phase::kValid, data::Phase::kTest}) {
    const auto users = static_cast<std::int64_t>(parts_.split.users_with_target(phase).size());
    data::Progress progress(fmt::format("rank {}", phase_name(phase)), "users", users, {.style = style_});
    autograd::Tape<float> tape(device_);
    RankResult ranks = rank_targets(device_, tape, parts_.model, parts_.builder, parts_.split, phase, parts_.ranking,
                                    [&](std::int64_t done) { progress.update(done); });
    progress.finish();
    log_.info("{:<5}  {}  ({} tied{})", phase_name(phase), ranks.metrics(parts_.ranking.ks).to_text(), ranks.tied_users(),
              ranks.masked_targets > 0 ? fmt::format(", {} masked targets", ranks.masked_targets) : "");
    (phase == data::Phase::kValid ? result.valid : result.test) = std::move(ranks);
  }
  write_result(run_.path(), {.model = "gal", .best_epoch = state.best_epoch, .epochs = state.epoch, .train_seconds = result.loop.step_seconds},
               result.valid, result.test, parts_.ranking.ks);
}

TrainerParts trainer_parts(const data::Config& config, const data::Split& split, BatchBuilder& builder,
                           const ExternalEmbeddings& external, GalModel<float>& model, std::uint64_t seed) {
  return {.split = split,
          .builder = builder,
          .external = external,
          .model = model,
          .gal = GalOptions::from_config(config),
          .train = train_options(config),
          .ranking = ranking_options(config),
          .seed = seed};
}

}  // namespace galrec::gal
