#pragma once
// The folder of one run: configuration, environment, metrics, log and checkpoints.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "data/config.h"

namespace galrec::data {

/// Facts that env.json records beside compiler, processor and time.
struct RunInfo {
  std::uint64_t seed = 0;
  std::string commit;   ///< of the source, "unknown" where it is not known
  std::string command;  ///< the command line
  int threads = 0;
};

/// kNew refuses a folder that holds a run; kResume refuses one that does not; kNewOrResume takes either.
enum class RunMode { kNew, kResume, kNewOrResume };

/// Owns a run folder for writing, under a lock: a second writer gets a UsageError.
///   config.toml  the resolved configuration      env.json       seed, commit, compiler, processor, threads
///   metrics.jsonl  one JSON object a line        log.txt        for make_logger()
///   last/ best/    checkpoints, each swapped in whole: a kill at any moment leaves the old or the new one.
class RunFolder {
 public:
  /// Creates or reopens `path`. A folder of another configuration is a UsageError naming the differing keys, except
  /// those in `may_differ` (names or groups; the new values are recorded). Finishes or undoes what a killed
  /// predecessor left half done.
  RunFolder(const std::filesystem::path& path, const Config& config, const RunInfo& info, RunMode mode,
            std::span<const std::string> may_differ = {});
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path log_path() const { return path_ / "log.txt"; }
  /// Whether the folder held this run before.
  bool resumed() const { return resumed_; }

  /// Appends one line to metrics.jsonl; `line` should have a "step".
  void append_metrics(const nlohmann::ordered_json& line);
  /// Drops incomplete lines at the end, and everything from the first line with a "step" beyond `last_step` on.
  void truncate_metrics(std::int64_t last_step);

  bool has_checkpoint(const std::string& name) const;
  /// Where checkpoint `name` ("last", "best") lies.
  std::filesystem::path checkpoint(const std::string& name) const { return path_ / name; }
  /// Calls `write` with an empty folder to fill; then that folder replaces checkpoint `name` in one step. If `write`
  /// throws, the old checkpoint stays and the new folder is removed.
  void save_checkpoint(const std::string& name, const std::function<void(const std::filesystem::path&)>& write);

 private:
  void lock();
  void recover();
  void check_config(const Config& config, std::span<const std::string> may_differ) const;
  void write_environment(const RunInfo& info) const;
  void open_metrics();

  std::filesystem::path path_;
  int lock_ = -1;
  int metrics_ = -1;
  bool resumed_ = false;
};

/// Checkpoint `name` of a run folder for reading, while or after it was written: the swapped-in one, or, where a kill
/// hit the two renames of a file system without atomic exchange, the previous one. DataError where there is none.
std::filesystem::path find_checkpoint(const std::filesystem::path& run, const std::string& name);

}  // namespace galrec::data
