#pragma once
// Lines of a text file, plain or gzip, or of a text in memory, and the one place that words the errors of all readers.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

struct gzFile_s;

namespace galrec::data {

/// Reads line by line in constant memory. Accepts LF and CRLF, a missing last newline and a UTF-8 byte order mark.
/// Throws DataError, always with file and line: a file that cannot be opened or read, a damaged or cut gzip stream, a
/// NUL byte, a line above 64 MiB.
class LineReader {
 public:
  explicit LineReader(const std::filesystem::path& path);
  /// `text` must outlive the reader; `name` stands in the messages.
  LineReader(std::string_view text, std::string name);
  ~LineReader();
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  /// The next line without its end, valid until the next call; false after the last one.
  bool next(std::string_view& line);
  /// The same where blank lines may only end the file; fails with "an empty line, expected ..." for any other.
  bool next_row(std::string_view& line, std::string_view expected);

  const std::string& name() const { return name_; }
  /// Number of the line that next() returned last, from 1; 0 before the first.
  std::int64_t line() const { return line_; }

  /// Throws DataError "name:line: got <got>, expected <expected>" for the current line.
  [[noreturn]] void fail(std::string_view got, std::string_view expected) const { fail_at(line_, got, expected); }
  [[noreturn]] void fail_at(std::int64_t line, std::string_view got, std::string_view expected) const;

  /// Fails unless the text is UTF-8.
  void require_utf8(std::string_view text) const;
  /// The whole number in `token`; fails with "expected <what> from low to high" for anything else.
  std::int64_t integer(std::string_view token, std::int64_t low, std::int64_t high, std::string_view what) const;
  /// The finite number in `token`.
  double number(std::string_view token, std::string_view what) const;
  /// Fails unless `id` can be a raw id: not empty, valid UTF-8, no control characters.
  void require_id(std::string_view id, std::string_view what) const;

 private:
  bool refill();

  std::string name_;
  gzFile_s* file_ = nullptr;
  std::string buffer_;
  std::string_view rest_;  // not yet returned: in buffer_, or in the caller's text
  bool at_end_ = false;
  std::int64_t line_ = 0;
};

}  // namespace galrec::data
