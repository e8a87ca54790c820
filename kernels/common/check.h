#pragma once
// Errors and checks. Every error that leaves a GALRec library is one of these types, and each knows the exit code
// that the command line returns for it.

#if defined(__CUDACC__)
#define FMT_USE_CONSTEXPR 1  // nvcc can, but fmt does not trust it
#define FMT_CONSTEVAL        // format strings of .cu files are checked when they are used
#endif
#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace galrec {

/// Base of all errors. `exit_code` is what the process returns when nobody handles it.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message, int exit_code = 1)
      : std::runtime_error(message), exit_code_(exit_code) {}
  int exit_code() const noexcept { return exit_code_; }

 private:
  int exit_code_;
};

/// A broken precondition inside the program (a shape, an alias, a state): a bug of the caller.
class CheckError : public Error {
 public:
  explicit CheckError(const std::string& message) : Error(message, 1) {}
};

/// Wrong arguments or configuration.
class UsageError : public Error {
 public:
  explicit UsageError(const std::string& message) : Error(message, 2) {}
};

/// Bad input data: a file, a checkpoint, a matrix. The message names file and line, byte, key or tensor.
class DataError : public Error {
 public:
  explicit DataError(const std::string& message) : Error(message, 3) {}
};

/// The mathematics failed: a loss that is not finite, a parity beyond its tolerance.
class NumericalError : public Error {
 public:
  explicit NumericalError(const std::string& message) : Error(message, 4) {}
};

namespace detail {

inline std::string describe() { return {}; }

template <class... Args>
std::string describe(fmt::format_string<Args...> format, Args&&... args) {
  return ": " + fmt::format(format, std::forward<Args>(args)...);
}

[[noreturn]] inline void fail_check(const char* file, int line, const char* expression, const std::string& message) {
  throw CheckError(fmt::format("{}:{}: check failed: {}{}", file, line, expression, message));
}

}  // namespace detail
}  // namespace galrec

/// Throws CheckError with the expression, the place and an optional fmt message unless `condition` holds.
#define GALREC_CHECK(condition, ...)                                                              \
  do {                                                                                            \
    if (!(condition)) [[unlikely]]                                                                \
      ::galrec::detail::fail_check(__FILE__, __LINE__, #condition, ::galrec::detail::describe(__VA_ARGS__)); \
  } while (false)
