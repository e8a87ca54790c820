// Turns an instruction's address into a source line by asking addr2line; only on failure paths, so its cost does not matter.

#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

#include "kernels/simt/instrument/race_detector.h"

extern "C" const char __executable_start;

namespace galrec::simt {

std::string source_line(const void* pc) {
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
