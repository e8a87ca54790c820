#include "data/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <string_view>

#include "data/atomic_file.h"
#include "data/checkpoint_swap.h"
#include "data/environment.h"
#include "kernels/common/check.h"

namespace galrec::data {
namespace {

namespace fs = std::filesystem;

constexpr const char* kConfig = "config.toml";
constexpr const char* kMetrics = "metrics.jsonl";
constexpr const char* kCheckpoints[] = {"last", "best"};

void create_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw DataError(fmt::format("{}: cannot create the folder: {}", folder.string(), error.message()));
}

// Bytes of `text` up to the first line that is incomplete, no JSON object, or of a step beyond `last_step`.
std::size_t kept_metrics(std::string_view text, std::int64_t last_step) {
  std::size_t kept = 0;
  while (kept < text.size()) {
    const std::size_t end = text.find('\n', kept);
    if (end == std::string_view::npos) break;
    const auto line = nlohmann::json::parse(text.substr(kept, end - kept), nullptr, false);
    if (!line.is_object()) break;
    const auto step = line.find("step");
    if (step != line.end() && step->is_number() && step->get<double>() > static_cast<double>(last_step)) break;
    kept = end + 1;
  }
  return kept;
}

}  // namespace

RunFolder::RunFolder(const fs::path& path, const Config& config, const RunInfo& info, RunMode mode,
                     std::span<const std::string> may_differ)
    : path_(path) {
  if (mode == RunMode::kResume && !fs::exists(path_ / kConfig))  // before anything is created
    throw UsageError(fmt::format("{}: holds no run to resume: there is no {}", path_.string(), kConfig));
  create_folder(path_);
  lock();
  try {
    resumed_ = fs::exists(path_ / kConfig);
    if (mode == RunMode::kNew && resumed_)
      throw UsageError(
          fmt::format("{}: already holds a run; resume it (--resume) or choose another folder", path_.string()));
    if (resumed_) check_config(config, may_differ);
    recover();
    write_file(path_ / kConfig, config.to_toml());
    write_environment(info);
    open_metrics();
  } catch (...) {
    if (metrics_ >= 0) ::close(metrics_);
    ::close(lock_);
    throw;
  }
}

RunFolder::~RunFolder() {
  if (metrics_ >= 0) ::close(metrics_);
  ::close(lock_);  // releases the lock
}

void RunFolder::lock() {
  const fs::path file = path_ / ".lock";
  lock_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock_ < 0) throw DataError(fmt::format("{}: cannot open: {}", file.string(), std::strerror(errno)));
  if (::flock(lock_, LOCK_EX | LOCK_NB) == 0) return;
  const int error = errno;
  ::close(lock_);
  if (error == EWOULDBLOCK) throw UsageError(fmt::format("{}: another process is writing this run", path_.string()));
  throw DataError(fmt::format("{}: cannot lock: {}", file.string(), std::strerror(error)));
}

void RunFolder::recover() {
  for (const char* name : kCheckpoints) recover_folder(path_ / name);
  for (const auto& entry : fs::directory_iterator(path_)) {  // temporaries of a killed AtomicFile
    const std::string name = entry.path().filename().string();
    if (name.starts_with(".") && name.ends_with(".tmp")) fs::remove(entry.path());
  }
}

void RunFolder::check_config(const Config& config, std::span<const std::string> may_differ) const {
  Config recorded(config.schema());
  recorded.load_toml(path_ / kConfig);
  const auto names = config.differing_keys(recorded, may_differ);
  if (names.empty()) return;
  std::string list;
  for (const std::string& name : names)
    list += fmt::format("\n  {}: the run has {}, now {} ({})", name, to_toml_text(recorded.get(name)),
                        to_toml_text(config.get(name)), config.source_of(name));
  throw UsageError(fmt::format("{}: the run was started with another configuration:{}", path_.string(), list));
}

void RunFolder::write_environment(const RunInfo& info) const {
  const fs::path file = path_ / "env.json";
  nlohmann::ordered_json now = {
      {"seed", info.seed}, {"commit", info.commit}, {"command", info.command}, {"threads", info.threads}};
  now.update(describe_environment());
  nlohmann::ordered_json environment = now;
  if (resumed_ && fs::exists(file)) {
    const auto before = nlohmann::ordered_json::parse(read_file(file), nullptr, false);
    if (!before.is_object()) throw DataError(fmt::format("{}: expected a JSON object", file.string()));
    environment = before;  // the start stays; every resume adds its own
    if (!environment.contains("resumes") || !environment["resumes"].is_array())
      environment["resumes"] = nlohmann::ordered_json::array();
    environment["resumes"].push_back(now);
  }
  write_file(file, environment.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
}

void RunFolder::open_metrics() {
  const fs::path file = path_ / kMetrics;
  metrics_ = ::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (metrics_ < 0) throw DataError(fmt::format("{}: cannot open: {}", file.string(), std::strerror(errno)));
  truncate_metrics(std::numeric_limits<std::int64_t>::max());  // a kill can leave half a line
}

void RunFolder::append_metrics(const nlohmann::ordered_json& line) {
  const std::string text = line.dump() + "\n";
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t written = ::write(metrics_, text.data() + done, text.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0)
      throw DataError(fmt::format("{}: cannot write: {}", (path_ / kMetrics).string(), std::strerror(errno)));
    done += static_cast<std::size_t>(written);
  }
}

void RunFolder::truncate_metrics(std::int64_t last_step) {
  const fs::path file = path_ / kMetrics;
  const std::size_t kept = kept_metrics(read_file(file), last_step);
  if (::ftruncate(metrics_, static_cast<off_t>(kept)) != 0)
    throw DataError(fmt::format("{}: cannot truncate: {}", file.string(), std::strerror(errno)));
}

bool RunFolder::has_checkpoint(const std::string& name) const {
  return fs::is_directory(path_ / name);
}

void RunFolder::save_checkpoint(const std::string& name, const std::function<void(const fs::path&)>& write) {
  const bool known = name == kCheckpoints[0] || name == kCheckpoints[1];
  GALREC_CHECK(known, "checkpoint '{}': only 'last' and 'best' are recovered after a kill", name);
  const fs::path target = path_ / name, incoming = incoming_folder(target);
  std::error_code error;
  fs::remove_all(incoming, error);
  create_folder(incoming);
  try {
    write(incoming);
    sync_tree(incoming);
    // The metrics that lead up to a checkpoint must not be younger than it after a power cut.
    if (::fsync(metrics_) != 0)
      throw DataError(fmt::format("{}: cannot sync: {}", (path_ / kMetrics).string(), std::strerror(errno)));
  } catch (...) {
    fs::remove_all(incoming, error);
    throw;
  }
  swap_in_folder(target);
}

fs::path find_checkpoint(const fs::path& run, const std::string& name) {
  const fs::path target = run / name;
  if (fs::is_directory(target)) return target;
  if (fs::is_directory(outgoing_folder(target))) return outgoing_folder(target);
  throw DataError(fmt::format("{}: no checkpoint '{}'", run.string(), name));
}

}  // namespace galrec::data
