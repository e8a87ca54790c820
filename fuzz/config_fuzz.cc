// Any text as a configuration file, and each of its lines as an override: a UsageError, or a configuration that writes
// itself out and reads itself back.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "data/config.h"
#include "kernels/common/check.h"

namespace {

galrec::data::ConfigSchema schema() {
  galrec::data::ConfigSchema schema;
  schema.add({"seed", std::int64_t{1}, "help", {}, 0.0, {}})
      .add({"train.lr", 1e-3, "help", {}, 0.0, 1.0})
      .add({"train.ema", false, ""})
      .add({"external.user_vector", std::string("prefix"), "", {"prefix", "static"}})
      .add({"gal.weights", std::vector<double>{0.1}, ""})
      .add({"eval.k", std::vector<std::int64_t>{5, 10}, "", {}, 1.0, {}})
      .add({"eval.output.file", std::string(), ""});
  return schema;
}

void check_round_trip(const galrec::data::Config& config) {
  galrec::data::Config back(schema());
  back.load_toml_text(config.to_toml(), "written");
  if (!config.equal_except(back)) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(bytes), size);
  galrec::data::Config file(schema()), line(schema());
  bool loaded = false;
  try {
    file.load_toml_text(text, "fuzz");
    loaded = true;
  } catch (const galrec::UsageError&) {
  }
  if (loaded) check_round_trip(file);
  for (std::size_t from = 0; from < text.size();) {
    const std::size_t end = std::min(text.find('\n', from), text.size());
    try {
      line.apply_override(text.substr(from, end - from));
    } catch (const galrec::UsageError&) {
    }
    from = end + 1;
  }
  check_round_trip(line);
  return 0;
}
