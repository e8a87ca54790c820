#include "data/readers/line_reader.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <utility>

#include "data/readers/text.h"
#include "kernels/common/check.h"

namespace galrec::data {
namespace {

constexpr std::size_t kChunk = 256 * 1024;
constexpr std::size_t kMaxLine = 64 * 1024 * 1024;

}  // namespace

LineReader::LineReader(const std::filesystem::path& path) : name_(path.string()) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored))
    throw DataError(fmt::format("{}: got a folder, expected a file", name_));
  errno = 0;
  file_ = gzopen(path.c_str(), "rb");  // reads plain files too
  if (file_ == nullptr)
    throw DataError(
        fmt::format("{}: cannot be opened ({})", name_, errno != 0 ? std::strerror(errno) : "out of memory"));
  gzbuffer(file_, kChunk);
}

LineReader::LineReader(std::string_view text, std::string name) : name_(std::move(name)), rest_(text), at_end_(true) {}

LineReader::~LineReader() {
  if (file_ != nullptr) gzclose(file_);
}

bool LineReader::refill() {
  if (at_end_) return false;
  const std::size_t kept = rest_.size();
  if (kept > kMaxLine) fail_at(line_ + 1, "a line of more than 64 MiB", "a text file");
  if (kept > 0) std::memmove(buffer_.data(), rest_.data(), kept);
  if (buffer_.size() < kept + kChunk) buffer_.resize(kept + std::max(kChunk, kept));
  const int got = gzread(file_, buffer_.data() + kept, static_cast<unsigned>(buffer_.size() - kept));
  int status = Z_OK;
  const char* message = gzerror(file_, &status);
  // A stream that ends too early gives its bytes first and Z_BUF_ERROR with the last of them.
  if (got < 0 || status == Z_BUF_ERROR) {
    const bool cut = status == Z_BUF_ERROR;
    const std::string reason = status == Z_ERRNO ? std::strerror(errno) : cut ? "it ends too early" : message;
    fail_at(line_ + 1, fmt::format("unreadable data ({})", reason), "a readable file, plain or complete gzip");
  }
  at_end_ = got == 0;
  rest_ = std::string_view(buffer_.data(), kept + static_cast<std::size_t>(got));
  return !at_end_;
}

bool LineReader::next(std::string_view& line) {
  std::size_t end = rest_.find('\n');
  while (end == std::string_view::npos) {
    const std::size_t seen = rest_.size();
    if (!refill()) break;
    end = rest_.find('\n', seen);
  }
  if (end == std::string_view::npos && rest_.empty()) return false;
  line = rest_.substr(0, end);
  rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + 1);
  ++line_;
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  if (line_ == 1 && line.substr(0, 3) == "\xEF\xBB\xBF") line.remove_prefix(3);
  if (const std::size_t nul = line.find('\0'); nul != std::string_view::npos)
    fail(fmt::format("a NUL byte in column {}", nul + 1), "text");
  return true;
}

bool LineReader::next_row(std::string_view& line, std::string_view expected) {
  constexpr std::string_view kBlank = " \t";
  if (!next(line)) return false;
  if (line.find_first_not_of(kBlank) != std::string_view::npos) return true;
  const std::int64_t blank = line_;
  while (next(line))
    if (line.find_first_not_of(kBlank) != std::string_view::npos) fail_at(blank, "an empty line", expected);
  return false;
}

void LineReader::fail_at(std::int64_t line, std::string_view got, std::string_view expected) const {
  throw DataError(fmt::format("{}:{}: got {}, expected {}", name_, std::max<std::int64_t>(line, 1), got, expected));
}

void LineReader::require_utf8(std::string_view text) const {
  if (const std::size_t at = first_invalid_utf8(text); at != std::string_view::npos)
    fail(fmt::format("byte 0x{:02X} in column {}", static_cast<unsigned char>(text[at]), at + 1), "UTF-8 text");
}

std::int64_t LineReader::integer(std::string_view token, std::int64_t low, std::int64_t high,
                                 std::string_view what) const {
  std::int64_t value = 0;
  const char* last = token.data() + token.size();
  const auto [end, error] = std::from_chars(token.data(), last, value);
  if (error != std::errc() || end != last || value < low || value > high)
    fail(quote(token), fmt::format("{} from {} to {}", what, low, high));
  return value;
}

double LineReader::number(std::string_view token, std::string_view what) const {
  double value = 0;
  const char* last = token.data() + token.size();
  const auto [end, error] = std::from_chars(token.data(), last, value);
  if (error != std::errc() || end != last || !std::isfinite(value))
    fail(quote(token), fmt::format("{}, a number", what));
  return value;
}

void LineReader::require_id(std::string_view id, std::string_view what) const {
  if (id.empty()) fail(fmt::format("an empty {}", what), "an id");
  require_utf8(id);
  const auto control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; };
  if (std::any_of(id.begin(), id.end(), control))
    fail(fmt::format("{} {}", what, quote(id)), "an id without control characters");
}

}  // namespace galrec::data
