#include "gal/training/trainer.h"

#include "data/atomic_file.h"
#include "data/memory.h"
#include "gal/evaluation/model_ranking.h"
#include "gal/evaluation/result_file.h"

namespace galrec::gal {

template <class T>
Trainer<T>::Trainer(const Device& device, const TrainerParts<T>& parts, data::RunFolder& run, spdlog::logger& log, data::ProgressStyle style)
    : device_(device), parts_(parts), run_(run), log_(log), style_(style) {
  if (!parts.train.warm_start.empty() && !run.has_checkpoint("last")) {
    load_model(parts.train.warm_start, parts.model);
    log.info("starting from the parameters of {}", parts.train.warm_start);
  }
  task_ = std::make_unique<GalTask<T>>(device, parts);
  const LoopOptions options{.epochs = parts.train.epochs,
                            .batch = parts.train.batch,
                            .patience = parts.train.patience,
                            .eval_every = parts.train.eval_every,
                            .log_every = parts.train.log_every,
                            .checkpoint_minutes = parts.train.checkpoint_minutes};
  loop_ = std::make_unique<TrainingLoop>(*task_, run, options, log, style);
}

template <class T>
TrainResult Trainer<T>::run(const LoopLimits& limits) {
  TrainResult result;
  result.loop = loop_->run(limits);
  const TrainingState& state = result.loop.state;
  log_.info("{} steps, {:.1f} samples/s, peak memory {}, activations and their gradients {}", result.loop.steps,
            result.loop.samples_per_second, data::format_bytes(data::peak_resident_bytes()), data::format_bytes(task_->step_bytes()));
  log_graphs();
  if (result.loop.reason == StopReason::kFinished) {
    finish(result);
  } else {
    log_.info("stopped at step {} of {}; --resume goes on from here", state.step, total_steps());
  }
  return result;
}

template <class T>
void Trainer<T>::log_graphs() const {
  const StepGraphs& graphs = task_->graphs();
  const auto& [eager, captured, replayed] = graphs.counts();
  if (eager + captured + replayed == 0) return;
  log_.info("CUDA graphs: {} micro-batches and updates replayed, {} captured, {} run as they came", replayed, captured,
            eager);
  if (!graphs.failure().empty())
    log_.warn("a step could not be captured{}: {}", graphs.gave_up() ? ", none was any more" : "", graphs.failure());
}

template <class T>
void Trainer<T>::finish(TrainResult& result) {
  const TrainingState& state = result.loop.state;
  load_model(data::find_checkpoint(run_.path(), "best"), parts_.model);
  log_.info("best epoch {} of {} ({} {:.4f} on validation)", state.best_epoch, state.epoch, parts_.train.metric.name(), state.best_score);
  for (const data::Phase phase : {data::Phase::kValid, data::Phase::kTest}) {
    const auto users = static_cast<std::int64_t>(parts_.split.users_with_target(phase).size());
    data::Progress progress(fmt::format("rank {}", phase_name(phase)), "users", users, {.style = style_});
    autograd::Tape<T> tape(device_);
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

template class Trainer<float>;
template class Trainer<bfloat16>;

}  // namespace galrec::gal
