#pragma once
// "Did you mean ...?"

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace galrec::data {

/// The candidate with the fewest edits (insert, delete, replace, swap of neighbours) to `name`, upper and lower case
/// alike, if they are few for its length. A dotted candidate whose last part is `name` ("lr" for "train.lr") counts as
/// near. The first of equals wins.
std::optional<std::string> nearest_name(std::string_view name, std::span<const std::string> candidates);

/// "; did you mean 'x'?", or nothing.
std::string did_you_mean(std::string_view name, std::span<const std::string> candidates);

}  // namespace galrec::data
