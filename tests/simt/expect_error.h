#pragma once
// Planted bugs must be reported with the right words, under every order of lanes.

#include <gtest/gtest.h>

#include <string>

#include "kernels/common/check.h"
#include "kernels/simt/schedule.h"

namespace galrec::testing {

/// Calls f under each order of lanes and blocks.
template <class F>
void in_all_orders(F f) {
  for (const simt::Order lanes : {simt::Order::kForward, simt::Order::kReverse, simt::Order::kShuffled}) {
    for (const simt::Order blocks : {simt::Order::kForward, simt::Order::kReverse, simt::Order::kShuffled}) {
      SCOPED_TRACE("lane order " + std::to_string(static_cast<int>(lanes)) + ", block order " + std::to_string(static_cast<int>(blocks)));
      const simt::ScheduleScope scope({.lanes = lanes, .blocks = blocks, .seed = 7});
      f();
    }
  }
}

/// The message of the galrec::Error that f throws; a failure if it throws none.
template <class F>
std::string error_of(F f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

inline void expect_contains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << "expected: " << part << "\nin: " << text;
}

/// Every order must report an error that contains all of `parts`.
template <class F>
void expect_error(F f, std::initializer_list<const char*> parts) {
  in_all_orders([&] {
    const std::string message = error_of(f);
    for (const char* part : parts) expect_contains(message, part);
  });
}

}  // namespace galrec::testing
