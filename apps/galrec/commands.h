#pragma once
// The sub-commands of `galrec`, one file each. add_x() declares the options; the callback does the work and throws
// galrec::Error on failure, which main() turns into a message and an exit code.

#include <CLI/CLI.hpp>

#include <string>

namespace galrec::apps {

/// Options that every command takes.
struct CommonOptions {
  int threads = 0;
  bool quiet = false;
  std::string command_line;  // for env.json
};

void add_prepare(CLI::App& app, const CommonOptions& common);
void add_pretrain(CLI::App& app, const CommonOptions& common);
void add_train(CLI::App& app, const CommonOptions& common);
void add_evaluate(CLI::App& app, const CommonOptions& common);
void add_recommend(CLI::App& app, const CommonOptions& common);
void add_reproduce(CLI::App& app, const CommonOptions& common);
void add_verify(CLI::App& app, const CommonOptions& common);
void add_parity(CLI::App& app, const CommonOptions& common);
void add_export(CLI::App& app, const CommonOptions& common);
void add_bench(CLI::App& app, const CommonOptions& common);
/// `kernels` below `bench`: the executor's meter, where the build has it.
void add_bench_kernels(CLI::App& bench);

/// The whole program: parses, runs one command, prints errors and the peak memory. Returns the exit code:
/// 0, 1 (a bug), 2 (usage), 3 (data), 4 (numerical).
int run(int argc, const char* const* argv);

}  // namespace galrec::apps
