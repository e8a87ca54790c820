#pragma once
// What a user sees of long work: a progress line, and the log.

#include <spdlog/logger.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

namespace galrec::data {

/// kLine: one line that is rewritten in place. kPlain: a new line every few seconds. kSilent: nothing.
enum class ProgressStyle { kLine, kPlain, kSilent };

/// kLine on a terminal unless `quiet`, else kPlain.
ProgressStyle choose_progress_style(bool quiet, std::FILE* stream = stderr);

/// "0:42", "12:05", "3:04:09"
std::string format_duration(double seconds);

/// Work of a known amount: `train 1024/20000 5% | 512 samples/s | loss 7.3 | 0:37 left`. The rate is the mean since the
/// start, so that work done before a resume (`done_before`) does not count.
class Progress {
 public:
  using Clock = std::function<double()>;  ///< seconds from any start
  struct Options {
    ProgressStyle style = ProgressStyle::kSilent;
    std::FILE* stream = stderr;
    double plain_interval = 5;   ///< seconds between plain lines
    double line_interval = 0.1;  ///< seconds between updates of the line
    Clock clock = {};            ///< for tests; the steady clock otherwise
  };

  /// `total` 0: unknown, without percentage and time left.
  Progress(std::string label, std::string unit, std::int64_t total, Options options, std::int64_t done_before = 0);
  /// Ends an unfinished line.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// `done` of the total; `note` ("loss 7.3") is shown after the rate. Cheap to call at every step.
  void update(std::int64_t done, const std::string& note = {});
  /// The last state, once, as a line that stays.
  void finish(const std::string& note = {});

  /// The text of the line at this moment, without terminal control.
  std::string text(std::int64_t done, const std::string& note) const;

 private:
  double now() const;

  std::string label_, unit_;
  std::int64_t total_, done_before_, done_;
  Options options_;
  double start_ = 0;
  double last_shown_ = 0;
  bool finished_ = false;
  bool line_open_ = false;
};

/// A logger that writes plain messages to the console (over an open progress line) and, with date and level, to
/// `log_file` (appended; none if empty). With `quiet` the console gets warnings and errors only. Flushes every message.
/// DataError where the file cannot be opened.
std::shared_ptr<spdlog::logger> make_logger(const std::filesystem::path& log_file, bool quiet);

}  // namespace galrec::data
