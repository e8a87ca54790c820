#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <iostream>
#include <new>

#include "apps/galrec/commands.h"
#include "data/memory.h"
#include "data/nearest_name.h"
#include "kernels/common/check.h"

namespace galrec::apps {

namespace {

constexpr const char* kAbout =
    "GALRec: graph-aware learning for language-model recommendation.\n"
    "From data to ranked items: prepare -> pretrain -> train -> evaluate -> recommend.\n";

std::string join(int argc, const char* const* argv) {
  std::string text;
  for (int i = 0; i < argc; ++i) text += (i > 0 ? " " : "") + std::string(argv[i]);
  return text;
}

int fail(const std::string& message, int code) {
  std::fflush(stdout);  // what was printed so far comes first, wherever both go
  fmt::print(stderr, "galrec: {}\n", message);
  return code;
}

// CLI11 says only that a subcommand is required; a mistyped one deserves its neighbour's name.
std::string unknown_command(const CLI::App& app, int argc, const char* const* argv) {
  std::vector<std::string> names;
  for (const auto* command : app.get_subcommands([](const CLI::App*) { return true; })) names.push_back(command->get_name());
  if (argc < 2 || argv[1][0] == '-' || std::find(names.begin(), names.end(), argv[1]) != names.end()) return "";
  const auto nearest = data::nearest_name(argv[1], names);
  return fmt::format("unknown command '{}'{}; galrec --help lists them", argv[1], nearest ? fmt::format("; did you mean '{}'?", *nearest) : "");
}

}  // namespace

int run(int argc, const char* const* argv) {
  CommonOptions common;
  common.command_line = join(argc, argv);

  CLI::App app(kAbout, "galrec");
  app.require_subcommand(1);
  app.fallthrough();  // --threads and --quiet may stand after the command as well
  app.add_option("--threads", common.threads, "threads (default: OMP_NUM_THREADS or all processors); results do not depend on it")
      ->check(CLI::Range(1, 1024));
  app.add_flag("--quiet", common.quiet, "no progress lines");
  app.footer("Every command has its own --help with an example. Exit codes: 2 usage, 3 data, 4 numerical.");
  add_prepare(app, common);
  add_pretrain(app, common);
  add_train(app, common);
  add_evaluate(app, common);
  add_recommend(app, common);
  add_reproduce(app, common);
  add_verify(app, common);
  add_parity(app, common);
  add_export(app, common);
  add_bench(app, common);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e);  // --help
    if (const auto message = unknown_command(app, argc, argv); !message.empty()) return fail(message, 2);
    app.exit(e, std::cerr, std::cerr);
    return 2;
  } catch (const Error& e) {
    return fail(e.what(), e.exit_code());
  } catch (const std::filesystem::filesystem_error& e) {
    return fail(e.what(), 3);
  } catch (const std::bad_alloc&) {
    return fail(fmt::format("out of memory ({} used at most)", data::format_bytes(data::peak_resident_bytes())), 1);
  } catch (const std::exception& e) {
    return fail(e.what(), 1);
  }
  std::fflush(stdout);
  fmt::print(stderr, "peak memory: {}\n", data::format_bytes(data::peak_resident_bytes()));
  return 0;
}

}  // namespace galrec::apps
