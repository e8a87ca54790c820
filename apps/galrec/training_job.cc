#include "apps/galrec/training_job.h"

#include <atomic>
#include <csignal>

#include "gal/session.h"

namespace galrec::apps {

namespace {

std::atomic<bool> stop_requested{false};

// A second signal ends the process the ordinary way.
void request_stop(int signal) {
  stop_requested.store(true);
  std::signal(signal, SIG_DFL);
}

template <class T>
gal::TrainResult train_in(const Device& device, const data::Config& config, data::RunFolder& run, spdlog::logger& log, data::ProgressStyle style,
                          std::int64_t max_steps) {
  const auto vocabulary = gal::find_vocabulary(config, run.path() / "spiece.model");
  gal::Session session(device, config, vocabulary);
  const auto model = session.make_model<T>(device);
  session.initialize(device, *model);
  const auto parts = gal::trainer_parts(config, session.split(), session.builder(), session.external(), *model, session.seed());
  gal::Trainer trainer(device, parts, run, log, style);
  log.info("{}: {} users, {} items, {} samples and {} steps an epoch, {} parameters", session.dataset().name, session.dataset().num_users(),
           session.dataset().num_items(), trainer.samples_per_epoch(), trainer.steps_per_epoch(), model->parameters().total());
  std::signal(SIGINT, request_stop);
  std::signal(SIGTERM, request_stop);
  const auto result = trainer.run({.max_steps = max_steps, .stop = &stop_requested});
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
  return result;
}

}  // namespace

gal::TrainResult train_model(const Device& device, const data::Config& config, data::RunFolder& run, spdlog::logger& log, data::ProgressStyle style,
                             std::int64_t max_steps) {
  return gal::in_storage(device, [&]<class T>() { return train_in<T>(device, config, run, log, style, max_steps); });
}

}  // namespace galrec::apps
