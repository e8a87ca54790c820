#include "data/progress.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "data/atomic_file.h"
#include "kernels/common/check.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace galrec::data {
namespace {

// A stream that remembers, and a clock that is told the time.
struct Fixture {
  double time = 100;
  char* text = nullptr;
  std::size_t size = 0;
  std::FILE* stream = open_memstream(&text, &size);

  ~Fixture() {
    std::fclose(stream);
    std::free(text);
  }
  Progress::Options options(ProgressStyle style) {
    return {style, stream, 5, 0.1, [this] { return time; }};
  }
  std::string written() {
    std::fflush(stream);
    return {text, size};
  }
};

TEST(Progress, LineIsRewrittenInPlace) {
  Fixture f;
  {
    Progress progress("train", "samples", 1000, f.options(ProgressStyle::kLine));
    progress.update(1);  // too soon
    EXPECT_EQ(f.written(), "");
    f.time += 10;
    progress.update(250, "loss 7.3");
    EXPECT_EQ(f.written(), "\r\x1b[Ktrain 250/1000 25% | 25 samples/s | loss 7.3 | 0:30 left");
    f.time += 0.05;
    progress.update(251);
    f.time += 30;
    progress.update(1000);
    progress.finish("loss 1");
    progress.finish();
  }
  EXPECT_EQ(f.written(),
            "\r\x1b[Ktrain 250/1000 25% | 25 samples/s | loss 7.3 | 0:30 left"
            "\r\x1b[Ktrain 1000/1000 100% | 25 samples/s | 0:40 in all"
            "\r\x1b[Ktrain 1000/1000 100% | 25 samples/s | loss 1 | 0:40 in all\n");
}

TEST(Progress, PlainLinesComeEverySecondsOnly) {
  Fixture f;
  Progress progress("epoch 1", "users", 100, f.options(ProgressStyle::kPlain));
  for (int i = 1; i <= 24; ++i) {
    f.time += 0.5;
    progress.update(i);
  }
  EXPECT_EQ(f.written(),
            "epoch 1 10/100 10% | 2.00 users/s | 0:45 left\nepoch 1 20/100 20% | 2.00 users/s | 0:40 left\n");
}

TEST(Progress, SilentIsSilent) {
  Fixture f;
  Progress progress("x", "y", 10, f.options(ProgressStyle::kSilent));
  f.time += 100;
  progress.update(5);
  progress.finish();
  EXPECT_EQ(f.written(), "");
}

TEST(Progress, WorkBeforeAResumeDoesNotCountAsSpeed) {
  Fixture f;
  Progress progress("train", "steps", 1000, f.options(ProgressStyle::kPlain), 900);
  f.time += 10;
  EXPECT_EQ(progress.text(950, ""), "train 950/1000 95% | 5.00 steps/s | 0:10 left");
}

TEST(Progress, UnknownTotalHasNoEnd) {
  Fixture f;
  Progress progress("read", "lines", 0, f.options(ProgressStyle::kPlain));
  f.time += 2;
  EXPECT_EQ(progress.text(300, ""), "read 300 | 150 lines/s");
}

TEST(Progress, AnUnfinishedLineIsEnded) {
  Fixture f;
  {
    Progress progress("a", "b", 10, f.options(ProgressStyle::kLine));
    f.time += 1;
    progress.update(1);
  }
  EXPECT_EQ(f.written().back(), '\n');
}

TEST(Progress, FormatsDurations) {
  EXPECT_EQ(format_duration(0.4), "0:00");
  EXPECT_EQ(format_duration(59.6), "1:00");
  EXPECT_EQ(format_duration(3599), "59:59");
  EXPECT_EQ(format_duration(11049), "3:04:09");
  EXPECT_EQ(format_duration(-1), "?");
  EXPECT_EQ(format_duration(1.0 / 0.0), "?");
}

TEST(Progress, OnlyATerminalGetsALine) {
  Fixture f;
  std::FILE* file = std::tmpfile();
  EXPECT_EQ(choose_progress_style(false, file), ProgressStyle::kPlain);
  EXPECT_EQ(choose_progress_style(true, file), ProgressStyle::kPlain);
  std::fclose(file);
}

TEST(Logger, WritesTheFileWithLevels) {
  test::TemporaryFolder folder;
  for (const char* text : {"first", "second"}) {
    const auto logger = make_logger(folder / "log.txt", true);
    logger->info(text);
    logger->debug("not this");
  }
  const std::string log = read_file(folder / "log.txt");
  EXPECT_NE(log.find(" info first\n"), std::string::npos) << log;
  EXPECT_NE(log.find(" info second\n"), std::string::npos) << log;
  EXPECT_EQ(log.find("not this"), std::string::npos);
  test::expect_error<DataError>([&] { make_logger(folder.path(), true); },
                                {folder.path().string(), "cannot open the log"});
}

}  // namespace
}  // namespace galrec::data
