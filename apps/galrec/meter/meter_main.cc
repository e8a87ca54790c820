// galrec_meter: `galrec bench kernels` alone, without the model behind the other commands: what CI builds for its check.

#include "apps/galrec/commands.h"
#include "kernels/common/check.h"

int main(int argc, char** argv) {
  CLI::App app("The CUDA kernels of a GAL step, metered on the executor", "galrec_meter");
  app.require_subcommand(1);
  galrec::apps::add_bench_kernels(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  } catch (const galrec::Error& e) {
    fmt::print(stderr, "galrec_meter: {}\n", e.what());
    return e.exit_code();
  }
  return 0;
}
