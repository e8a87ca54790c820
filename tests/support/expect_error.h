#pragma once
// Errors with their messages.

#include <gtest/gtest.h>

#include <exception>
#include <initializer_list>
#include <string>

namespace galrec::test {

/// Expects `action` to throw an Expected whose message contains every part.
template <class Expected, class Action>
void expect_error(Action&& action, std::initializer_list<std::string> parts) {
  try {
    action();
  } catch (const Expected& error) {
    for (const std::string& part : parts)
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << "no '" << part << "' in: " << error.what();
    return;
  } catch (const std::exception& error) {
    ADD_FAILURE() << "another type of error: " << error.what();
    return;
  }
  ADD_FAILURE() << "no error";
}

}  // namespace galrec::test
