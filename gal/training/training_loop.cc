#include "gal/training/training_loop.h"

#include <algorithm>
#include <chrono>

#include "kernels/common/check.h"

namespace galrec::gal {
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double figure(const Figures& figures, std::string_view name) {
  for (const auto& [key, value] : figures)
    if (key == name) return value;
  return 0;
}

}  // namespace

TrainingLoop::TrainingLoop(TrainingTask& task, data::RunFolder& run, const LoopOptions& options, spdlog::logger& log,
                           data::ProgressStyle style)
    : task_(task), run_(run), options_(options), log_(log), style_(style) {
  GALREC_CHECK(options.epochs >= 1 && options.batch >= 1 && options.eval_every >= 1 && options.log_every >= 1);
  if (task.samples_per_epoch() <= 0)
    throw UsageError("there is no training sample: every user has fewer than two training items");
}

std::int64_t TrainingLoop::steps_per_epoch() const {
  return (task_.samples_per_epoch() + options_.batch - 1) / options_.batch;
}

void TrainingLoop::enter() {
  state_ = {};
  if (run_.has_checkpoint("last")) {
    const auto folder = run_.checkpoint("last");
    state_ = read_state(folder, task_.identity());
    task_.load(folder);
    saved_step_ = state_.step;
    log_.info("resuming at step {} of {} (epoch {}, sample {})", state_.step, total_steps(), state_.epoch + 1, state_.position);
  }
  run_.truncate_metrics(state_.step);
  last_save_ = now();
}

bool TrainingLoop::limited(const LoopLimits& limits, StopReason& reason) const {
  if (limits.max_steps > 0 && state_.step >= limits.max_steps) reason = StopReason::kMaxSteps;
  else if (limits.stop != nullptr && limits.stop->load()) reason = StopReason::kStopped;
  else return false;
  return true;
}

void TrainingLoop::save(const char* name) {
  run_.save_checkpoint(name, [&](const std::filesystem::path& folder) {
    task_.save(folder);
    write_state(folder, state_, task_.identity());
  });
}

void TrainingLoop::log_window() {
  nlohmann::ordered_json line = {{"step", state_.step}, {"epoch", state_.epoch + 1}, {"kind", "train"}};
  for (const auto& [name, value] : state_.window.means()) line[name] = value;
  if (window_seconds_ > 0) line["samples_per_second"] = static_cast<double>(window_samples_) / window_seconds_;
  run_.append_metrics(line);
  state_.window.clear();
  window_seconds_ = 0;
  window_samples_ = 0;
}

void TrainingLoop::one_step(data::Progress& progress, LoopResult& result) {
  const std::int64_t samples = task_.samples_per_epoch();
  const StepPlan plan{.step = state_.step,
                      .epoch = state_.epoch,
                      .first = state_.position,
                      .count = std::min(options_.batch, samples - state_.position)};
  const double before = now();
  const Figures figures = task_.step(plan);
  const double seconds = now() - before;
  ++state_.step;
  state_.position += plan.count;
  state_.window.add(figures, plan.count);
  state_.epoch_means.add(figures, plan.count);
  window_seconds_ += seconds;
  window_samples_ += plan.count;
  ++result.steps;
  result.step_seconds += seconds;
  result.samples_per_second += static_cast<double>(plan.count);  // a sum until run() divides it
  if (state_.step % options_.log_every == 0) log_window();
  progress.update(state_.epoch * samples + state_.position,
                  fmt::format("epoch {}/{} loss {:.4f}", state_.epoch + 1, options_.epochs, figure(figures, "loss")));
}

void TrainingLoop::end_epoch() {
  const std::int64_t epoch = state_.epoch + 1;
  const Figures means = state_.epoch_means.means();
  const bool last = epoch == options_.epochs;
  bool improved = false;
  nlohmann::ordered_json line = {{"step", state_.step}, {"epoch", epoch}, {"kind", "epoch"}};
  for (const auto& [name, value] : means) line[name] = value;
  if (epoch % options_.eval_every == 0 || last) {
    const Validation validation = task_.validate();
    improved = state_.best_epoch == 0 || validation.score > state_.best_score;
    if (improved) {
      state_.best_score = validation.score;
      state_.best_epoch = epoch;
      state_.best_step = state_.step;
    }
    state_.stale = improved ? 0 : state_.stale + 1;
    line["valid"] = validation.figures;
    line["best"] = improved;
    std::string text;
    for (const auto& [name, value] : validation.figures.items())
      if (value.is_number_float()) text += fmt::format("  {} {:.4f}", name, value.get<double>());
    log_.info("epoch {}/{}: loss {:.4f}  valid{}{}", epoch, options_.epochs, figure(means, "loss"), text, improved ? "  (best)" : "");
  } else {
    log_.info("epoch {}/{}: loss {:.4f}", epoch, options_.epochs, figure(means, "loss"));
  }
  run_.append_metrics(line);
  state_.epoch = epoch;
  state_.position = 0;
  state_.epoch_means.clear();
  if (last) state_.ending = Ending::kEpochs;
  else if (options_.patience > 0 && state_.stale >= options_.patience) state_.ending = Ending::kPatience;
  // best/ first: a kill between the two leaves an older last/, from which the same epoch ends in the same best/ again.
  if (improved) save("best");
  save("last");
  saved_step_ = state_.step;
  last_save_ = now();
}

LoopResult TrainingLoop::run(const LoopLimits& limits) {
  enter();
  const std::int64_t samples = task_.samples_per_epoch();
  LoopResult result;
  data::Progress progress("train", "samples", samples * options_.epochs, {.style = style_}, state_.epoch * samples + state_.position);
  bool entered = false;
  while (state_.ending == Ending::kNone && !limited(limits, result.reason)) {
    if (!entered) task_.begin_epoch(state_.epoch);
    entered = true;
    one_step(progress, result);
    if (state_.position >= samples) {
      end_epoch();
      entered = false;
    } else if (now() - last_save_ > 60 * options_.checkpoint_minutes) {
      save("last");
      saved_step_ = state_.step;
      last_save_ = now();
    }
    if (limits.after_step) limits.after_step(state_);
  }
  if (saved_step_ != state_.step) save("last");
  progress.finish(fmt::format("{} steps", state_.step));
  result.state = state_;
  result.samples_per_second = result.step_seconds > 0 ? result.samples_per_second / result.step_seconds : 0;
  return result;
}

}  // namespace galrec::gal
