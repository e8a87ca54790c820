#include "kernels/simt/instrument/sites.h"

#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>

extern "C" const char __executable_start;

namespace galrec::simt {

namespace {

/// Places that have been asked for; each owns the bytes that stand for it.
class Sites {
 public:
  const void* of(Place where) {
    const std::lock_guard lock(mutex_);
    auto& site = by_place_[{where.file, where.line, where.column}];
    if (!site) {
      site = std::make_unique<Site>(Site{{}, where});
      by_address_.emplace(site.get(), where);
    }
    return site.get();
  }
  /// Null unless `p` points into a site's bytes.
  const Place* find(const void* p) {
    const std::lock_guard lock(mutex_);
    auto after = by_address_.upper_bound(static_cast<const Site*>(p));
    if (after == by_address_.begin()) return nullptr;
    --after;
    return static_cast<const char*>(p) < after->first->bytes + sizeof(Site::bytes) ? &after->second : nullptr;
  }

 private:
  struct Site {
    char bytes[8];
    Place where;
  };
  std::mutex mutex_;
  std::map<std::tuple<const char*, unsigned, unsigned>, std::unique_ptr<Site>> by_place_;
  std::map<const Site*, Place> by_address_;
};

Sites& sites() {
  static Sites all;
  return all;
}

}  // namespace

const void* site_of(Place where) {
  return sites().of(where);
}

std::string source_line(const void* pc) {
  if (const Place* place = sites().find(pc)) {
    const std::string file = place->file;
    return file.substr(file.rfind('/') + 1) + ":" + std::to_string(place->line);
  }
  // addr2line takes long, but is asked only when there is something to report.
  const auto offset = reinterpret_cast<std::uintptr_t>(pc) - 1 - reinterpret_cast<std::uintptr_t>(&__executable_start);
  char text[512];
  std::snprintf(text, sizeof text, "addr2line -s -e /proc/%d/exe 0x%zx 2>/dev/null", static_cast<int>(getpid()),
                static_cast<std::size_t>(offset));
  std::string line;
  if (const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(text, "r"), pclose); pipe != nullptr) {
    if (std::fgets(text, sizeof text, pipe.get()) != nullptr) line = text;
  }
  line.erase(line.find_last_not_of("\n") + 1);
  if (line.empty() || line.starts_with("?")) {
    std::snprintf(text, sizeof text, "+0x%zx", static_cast<std::size_t>(offset));
    line = text;
  }
  return line.substr(0, line.find(" (discriminator"));
}

}  // namespace galrec::simt
