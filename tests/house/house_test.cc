// The house rules that a reader relies on, checked over the source tree: the include direction, the size of files, the
// five files of each operation, one parallel loop, no unportable randomness.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;

const fs::path kRoot = GALREC_SOURCE_DIR;

std::vector<fs::path> sources(const std::string& folder) {
  std::vector<fs::path> found;
  if (!fs::exists(kRoot / folder)) return found;
  for (const auto& entry : fs::recursive_directory_iterator(kRoot / folder)) {
    const auto extension = entry.path().extension();
    if (extension == ".h" || extension == ".cc" || extension == ".cu" || extension == ".cuh") found.push_back(entry.path());
  }
  return found;
}

std::vector<std::string> lines_of(const fs::path& file) {
  std::ifstream in(file);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

// What each folder may include besides itself. `data` stands beside the street: of the kernels it borrows host headers.
const std::map<std::string, std::set<std::string>> kMayInclude = {
    {"kernels", {}},
    {"autograd", {"kernels"}},
    {"data", {}},
    {"layers", {"kernels", "autograd", "data"}},
    {"gal", {"kernels", "autograd", "layers", "data"}},
    {"apps", {"kernels", "autograd", "layers", "gal", "data"}},
};
const std::set<std::string> kDataBorrows = {"kernels/common/check.h", "kernels/common/philox.h", "kernels/common/dtype.h"};

bool include_is_allowed(const std::string& folder, const std::string& included) {
  const std::string target = included.substr(0, included.find('/'));
  if (target == folder || !kMayInclude.contains(target)) return true;
  if (folder == "data") return kDataBorrows.contains(included);
  return kMayInclude.at(folder).contains(target);
}

TEST(House, TheRuleItselfTellsUpFromDown) {
  EXPECT_TRUE(include_is_allowed("layers", "autograd/tape.h"));
  EXPECT_FALSE(include_is_allowed("kernels", "autograd/tape.h"));
  EXPECT_FALSE(include_is_allowed("data", "kernels/gemm/gemm.h"));
  EXPECT_TRUE(include_is_allowed("data", "kernels/common/check.h"));
  EXPECT_FALSE(include_is_allowed("gal", "apps/galrec/commands.h"));
}

TEST(House, IncludesPointDownTheStreet) {
  const std::regex include("^\\s*#\\s*include\\s+[\"<]([^\">]+)[\">]");
  int checked = 0;
  for (const auto& [folder, allowed] : kMayInclude) {
    for (const auto& file : sources(folder)) {
      for (const auto& line : lines_of(file)) {
        std::smatch match;
        if (!std::regex_search(line, match, include)) continue;
        ++checked;
        EXPECT_TRUE(include_is_allowed(folder, match[1])) << file << " includes " << match[1];
      }
    }
  }
  EXPECT_GT(checked, 100);
}

TEST(House, FilesAreShort) {
  for (const char* folder : {"kernels", "autograd", "layers", "gal", "data", "apps", "tests", "bench"}) {
    for (const auto& file : sources(folder)) {
      EXPECT_LE(lines_of(file).size(), 400u) << file << " holds more than one idea";
    }
  }
}

TEST(House, ParallelLoopsGoThroughOneDoor) {
  for (const char* folder : {"kernels", "autograd", "layers", "gal", "data", "apps"}) {
    for (const auto& file : sources(folder)) {
      if (file.filename() == "parallel.h") continue;
      for (const auto& line : lines_of(file)) {
        EXPECT_EQ(line.find("#pragma omp parallel"), std::string::npos) << file << ": use parallel_for";
      }
    }
  }
}

// Atomics on integers give the same bits in any order; those on floats do not, and live in one file that the default build leaves
// without effect.
TEST(House, NoAtomicsOnFloats) {
  const std::set<std::string> integers = {"target_rank.cu", "position_sort.cu", "atomics.h", "tsan_callbacks.cc"}, unordered = {"unordered.h"};
  for (const auto& file : sources("kernels")) {
    const std::string name = file.filename().string();
    if (integers.contains(name) || unordered.contains(name)) continue;
    for (const auto& line : lines_of(file)) {
      for (const char* word : {"atomicAdd(", "atomicExch(", "\"red.", "\"atom."}) {
        EXPECT_EQ(line.find(word), std::string::npos) << file << ": " << word << "; sums have an order (kernels/common/ordered_sum.h)";
      }
    }
  }
  for (const auto& file : sources("kernels")) {
    if (file.filename() != "unordered.h") continue;
    int guards = 0;
    for (const auto& line : lines_of(file)) guards += line.find("defined(GALREC_UNORDERED)") != std::string::npos;
    EXPECT_GE(guards, 2) << file;
  }
}

TEST(House, RandomNumbersAreCounterBased) {
  for (const char* folder : {"kernels", "autograd", "layers", "gal", "data", "apps"}) {
    for (const auto& file : sources(folder)) {
      for (const auto& line : lines_of(file)) {
        for (const char* word : {"std::mt19937", "std::random_device", "std::shuffle(", "_distribution<"}) {
          EXPECT_EQ(line.find(word), std::string::npos) << file << ": " << word << "; use kernels/common/philox.h";
        }
      }
    }
  }
}

}  // namespace
