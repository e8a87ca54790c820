#include "data/progress.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <unistd.h>

#include <cmath>
#include <utility>
#include <vector>

#include "kernels/common/check.h"

namespace galrec::data {
namespace {

constexpr const char* kClearLine = "\r\x1b[K";

}  // namespace

ProgressStyle choose_progress_style(bool quiet, std::FILE* stream) {
  return !quiet && ::isatty(::fileno(stream)) == 1 ? ProgressStyle::kLine : ProgressStyle::kPlain;
}

std::string format_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 1e9) return "?";
  const auto total = static_cast<std::int64_t>(std::llround(seconds));
  if (total < 3600) return fmt::format("{}:{:02}", total / 60, total % 60);
  return fmt::format("{}:{:02}:{:02}", total / 3600, total / 60 % 60, total % 60);
}

Progress::Progress(std::string label, std::string unit, std::int64_t total, Options options, std::int64_t done_before)
    : label_(std::move(label)),
      unit_(std::move(unit)),
      total_(total),
      done_before_(done_before),
      done_(done_before),
      options_(std::move(options)) {
  GALREC_CHECK(total >= 0 && done_before >= 0, "total {}, done_before {}", total, done_before);
  start_ = last_shown_ = now();
}

Progress::~Progress() {
  if (line_open_) std::fputc('\n', options_.stream);
}

double Progress::now() const {
  if (options_.clock) return options_.clock();
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string Progress::text(std::int64_t done, const std::string& note) const {
  std::string text = label_ + " ";
  if (total_ > 0)
    text += fmt::format("{}/{} {}%", done, total_, done * 100 / total_);
  else
    text += fmt::format("{}", done);
  const double elapsed = now() - start_;
  const double rate = elapsed > 0 ? static_cast<double>(done - done_before_) / elapsed : 0;
  if (rate > 0) text += fmt::format(" | {:.{}f} {}/s", rate, rate < 10 ? 2 : 0, unit_);
  if (!note.empty()) text += " | " + note;
  if (total_ > done && rate > 0)
    text += fmt::format(" | {} left", format_duration(static_cast<double>(total_ - done) / rate));
  else if (total_ > 0 && done >= total_)
    text += fmt::format(" | {} in all", format_duration(elapsed));
  return text;
}

void Progress::update(std::int64_t done, const std::string& note) {
  done_ = done;
  if (options_.style == ProgressStyle::kSilent || finished_) return;
  const bool line = options_.style == ProgressStyle::kLine;
  const double time = now();
  if (time - last_shown_ < (line ? options_.line_interval : options_.plain_interval)) return;
  last_shown_ = time;
  const std::string shown = text(done, note);
  std::fprintf(options_.stream, line ? "%s%s" : "%s%s\n", line ? kClearLine : "", shown.c_str());
  std::fflush(options_.stream);
  line_open_ = line;
}

void Progress::finish(const std::string& note) {
  if (finished_ || options_.style == ProgressStyle::kSilent) return;
  finished_ = true;
  std::fprintf(options_.stream, "%s%s\n", line_open_ ? kClearLine : "", text(done_, note).c_str());
  std::fflush(options_.stream);
  line_open_ = false;
}

std::shared_ptr<spdlog::logger> make_logger(const std::filesystem::path& log_file, bool quiet) {
  std::vector<spdlog::sink_ptr> sinks;
  auto console = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  const bool terminal = ::isatty(STDERR_FILENO) == 1;
  console->set_pattern(terminal ? fmt::format("{}%v", kClearLine) : "%v");
  console->set_level(quiet ? spdlog::level::warn : spdlog::level::info);
  sinks.push_back(console);
  if (!log_file.empty()) {
    try {
      auto file = std::make_shared<spdlog::sinks::basic_file_sink_mt>(log_file.string());
      file->set_pattern("%Y-%m-%d %H:%M:%S.%e %l %v");
      sinks.push_back(std::move(file));
    } catch (const spdlog::spdlog_ex& error) {
      throw DataError(fmt::format("{}: cannot open the log: {}", log_file.string(), error.what()));
    }
  }
  auto logger = std::make_shared<spdlog::logger>("galrec", sinks.begin(), sinks.end());
  logger->set_level(spdlog::level::info);
  logger->flush_on(spdlog::level::trace);
  return logger;
}

}  // namespace galrec::data
