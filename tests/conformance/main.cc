// conformance: what instructions return on this machine, against what the executor returned.
//
//   conformance --write FILE                  run the probes, write a dump
//   conformance --compare FILE [--write OUT]  run the probes, compare them with a dump (tests/conformance/executor.txt)
//   conformance --compare FILE FILE           compare two dumps
//
// Exit status: 0 every claim holds, 4 one does not, 2 usage (no device), 3 a file that is not a dump.

#include <fmt/format.h>

#include <fstream>
#include <iostream>
#include <sstream>

#include "bench/support/device_timer.h"
#include "kernels/common/check.h"
#include "tests/conformance/dump.h"

namespace {

using namespace galrec;
using namespace galrec::conformance;

std::string read_file(const std::string& path) {
  std::ifstream in(path);
  if (!in) throw DataError(path + ": cannot be read");
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

std::vector<Probe> run() {
  CudaContext ctx;
  auto probes = matrix_probes(ctx);
  auto scalars = scalar_probes(ctx);
  probes.insert(probes.end(), std::make_move_iterator(scalars.begin()), std::make_move_iterator(scalars.end()));
  ctx.synchronize();
  return probes;
}

int main_with(const std::vector<std::string>& arguments) {
  std::vector<std::string> compared;
  std::string written;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const bool last = i + 1 == arguments.size();
    if (arguments[i] == "--write" && !last) {
      written = arguments[++i];
    } else if (arguments[i] == "--compare" && !last) {
      compared.push_back(arguments[++i]);
      if (i + 1 < arguments.size() && arguments[i + 1][0] != '-') compared.push_back(arguments[++i]);
    } else {
      throw UsageError("conformance --write FILE | --compare FILE [FILE] [--write FILE]");
    }
  }
  if (written.empty() && compared.empty())
    throw UsageError("conformance --write FILE | --compare FILE [FILE] [--write FILE]");
  const auto actual = compared.size() == 2 ? read_dump(read_file(compared[1]), compared[1]) : run();
  if (!written.empty()) {
    std::ofstream out(written);
    out << write_dump(actual, bench::device_name());
    if (!out.flush()) throw DataError(written + ": cannot be written");
  }
  if (compared.empty()) return 0;
  const auto differences = compare(read_dump(read_file(compared[0]), compared[0]), actual);
  fmt::print("{}", table(differences));
  for (const auto& d : differences)
    if (!d.fault.empty()) return 4;
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return main_with({argv + 1, argv + argc});
  } catch (const UsageError& e) {
    std::cerr << e.what() << "\n";
    return 2;
  } catch (const DataError& e) {
    std::cerr << e.what() << "\n";
    return 3;
  } catch (const std::exception& e) {
    std::cerr << e.what() << "\n";
    return 1;
  }
}
