#pragma once
// Reading the fields of a configuration in JSON, with errors that name the file and the key.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace galrec::layers {

/// One JSON object. Getters return `fallback` for an absent or null key and throw DataError for a wrong type.
class JsonFields {
 public:
  /// DataError with the byte where `text` stops being a JSON object.
  JsonFields(std::string_view text, std::string display_name);
  ~JsonFields();

  bool contains(const std::string& key) const;
  std::int64_t integer(const std::string& key, std::int64_t fallback) const;
  double number(const std::string& key, double fallback) const;
  bool boolean(const std::string& key, bool fallback) const;
  std::string text(const std::string& key, const std::string& fallback) const;
  const std::string& name() const { return name_; }

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
  std::string name_;
};

}  // namespace galrec::layers
