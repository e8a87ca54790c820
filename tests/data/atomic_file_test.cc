#include "data/atomic_file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <string>

#include "kernels/common/check.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace galrec::data {
namespace {

using test::expect_error;
using test::TemporaryFolder;
using Names = std::vector<std::string>;

// Files larger than `bytes` cannot be written while it lives: write() fails as it does on a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    old_handler_ = std::signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit limited{bytes, old_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limited);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &old_);
    std::signal(SIGXFSZ, old_handler_);
  }

 private:
  rlimit old_{};
  void (*old_handler_)(int) = SIG_DFL;
};

TEST(AtomicFile, ReplacesTheOldFileOnCommit) {
  TemporaryFolder folder;
  write_file(folder / "a.txt", "old");
  AtomicFile file(folder / "a.txt");
  file.write("new ");
  file.write("content");
  EXPECT_EQ(read_file(folder / "a.txt"), "old");
  file.commit();
  EXPECT_EQ(read_file(folder / "a.txt"), "new content");
  EXPECT_EQ(folder.names(), Names{"a.txt"});
}

TEST(AtomicFile, LeavesNothingWithoutCommit) {
  TemporaryFolder folder;
  {
    AtomicFile file(folder / "a.txt");
    file.write("half");
    EXPECT_EQ(folder.names().size(), 1u);
  }
  EXPECT_EQ(folder.names(), Names{});
}

TEST(AtomicFile, WritesMoreThanItsBufferInAnyPieces) {
  TemporaryFolder folder;
  std::string expected;
  AtomicFile file(folder / "a.bin");
  for (int i = 0; i < 40; ++i) {
    const std::string piece(static_cast<std::size_t>(i) * 12345 + (i == 30 ? 3u << 20 : 0u),
                            static_cast<char>('a' + i % 26));
    file.write(piece);
    expected += piece;
  }
  file.commit();
  EXPECT_TRUE(read_file(folder / "a.bin") == expected);
}

TEST(AtomicFile, FullDiskKeepsTheOldFileAndNoTemporary) {
  for (const std::size_t piece : {std::size_t{1000}, std::size_t{4} << 20}) {  // through the buffer, and past it
    TemporaryFolder folder;
    write_file(folder / "a.bin", "old");
    {
      FileSizeLimit limit(1 << 16);
      expect_error<DataError>(
          [&] {
            AtomicFile file(folder / "a.bin");
            const std::string text(piece, 'x');
            for (std::size_t done = 0; done < (std::size_t{8} << 20); done += piece) file.write(text);
            file.commit();
          },
          {(folder / "a.bin").string(), "cannot write", "File too large"});
    }
    EXPECT_EQ(read_file(folder / "a.bin"), "old");
    EXPECT_EQ(folder.names(), Names{"a.bin"});
  }
}

TEST(AtomicFile, NamesWhatCannotBeWritten) {
  TemporaryFolder folder;
  expect_error<DataError>([&] { AtomicFile file(folder / "none/a.txt"); }, {"none/a.txt", "No such file or directory"});
  expect_error<DataError>([&] { AtomicFile file(folder.path()); }, {folder.path().string(), "folder"});
  expect_error<DataError>([&] { read_file(folder / "absent"); }, {"absent", "No such file"});
  expect_error<DataError>([&] { read_file(folder.path()); }, {folder.path().string(), "cannot read"});
}

TEST(AtomicFile, TwoWritersDoNotMix) {
  TemporaryFolder folder;
  AtomicFile one(folder / "a"), two(folder / "a");
  one.write("one");
  two.write("two");
  two.commit();
  one.commit();
  EXPECT_EQ(read_file(folder / "a"), "one");
  EXPECT_EQ(folder.names(), Names{"a"});
}

TEST(AtomicFile, WritingAfterCommitIsABug) {
  TemporaryFolder folder;
  AtomicFile file(folder / "a");
  file.commit();
  EXPECT_THROW(file.write("x"), CheckError);
  EXPECT_THROW(file.commit(), CheckError);
}

}  // namespace
}  // namespace galrec::data
