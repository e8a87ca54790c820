#include "data/checkpoint_swap.h"

#include <gtest/gtest.h>

#include "data/atomic_file.h"
#include "data/run_folder.h"
#include "kernels/common/check.h"
#include "tests/support/temporary_folder.h"

namespace galrec::data {
namespace {

namespace fs = std::filesystem;
using test::TemporaryFolder;
using Names = std::vector<std::string>;

void fill(const fs::path& folder, const std::string& content) {
  fs::create_directories(folder / "sub");
  write_file(folder / "a", content);
  write_file(folder / "sub/b", content);
}

TEST(CheckpointSwap, ReplacesTheWholeFolder) {
  for (const auto swap : {swap_in_folder, swap_in_folder_by_renames}) {
    TemporaryFolder folder;
    const fs::path target = folder / "last";
    for (const std::string content : {"one", "two", "three"}) {
      fill(incoming_folder(target), content);
      if (content == "two") write_file(incoming_folder(target) / "only here", "x");
      sync_tree(incoming_folder(target));
      swap(target);
      EXPECT_EQ(read_file(target / "sub/b"), content);
      EXPECT_EQ(fs::exists(target / "only here"), content == "two");
      EXPECT_EQ(folder.names(), Names{"last"});
    }
  }
}

// Every state that a kill can leave behind, of both ways to swap.
TEST(CheckpointSwap, RecoversFromEveryMoment) {
  struct State {
    const char* target;
    const char* incoming;
    const char* outgoing;
    const char* recovered;
  };
  for (const State& state : {State{nullptr, nullptr, nullptr, nullptr}, State{nullptr, "half", nullptr, nullptr},
                             State{"old", "half", nullptr, "old"}, State{nullptr, "new", "old", "old"},
                             State{"new", nullptr, "old", "new"}, State{"new", "old", nullptr, "new"}}) {
    TemporaryFolder folder;
    const fs::path target = folder / "last";
    if (state.target) fill(target, state.target);
    if (state.incoming) fill(incoming_folder(target), state.incoming);
    if (state.outgoing) fill(outgoing_folder(target), state.outgoing);
    if (state.recovered) {
      EXPECT_EQ(read_file(find_checkpoint(folder.path(), "last") / "a"), state.recovered);
    } else {
      EXPECT_THROW(find_checkpoint(folder.path(), "last"), DataError);
    }
    recover_folder(target);
    EXPECT_EQ(folder.names(), state.recovered ? Names{"last"} : Names{});
    if (state.recovered) {
      EXPECT_EQ(read_file(target / "sub/b"), state.recovered);
    }
  }
}

}  // namespace
}  // namespace galrec::data
