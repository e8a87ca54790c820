#include "layers/json_fields.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "kernels/common/check.h"

namespace galrec::layers {

struct JsonFields::Impl {
  nlohmann::json object;

  /// Null where the key is absent.
  const nlohmann::json* find(const std::string& key) const {
    const auto it = object.find(key);
    return it == object.end() || it->is_null() ? nullptr : &*it;
  }
};

namespace {

[[noreturn]] void fail_type(const std::string& name, const std::string& key, const nlohmann::json& got,
                            const char* expected) {
  throw DataError(fmt::format("{}: key {}: got {}, expected {}", name, key, got.dump(), expected));
}

}  // namespace

JsonFields::JsonFields(std::string_view text, std::string display_name)
    : impl_(std::make_unique<Impl>()), name_(std::move(display_name)) {
  try {
    impl_->object = nlohmann::json::parse(text);
  } catch (const nlohmann::json::exception& e) {
    throw DataError(fmt::format("{}: not JSON: {}", name_, e.what()));
  }
  if (!impl_->object.is_object())
    throw DataError(fmt::format("{}: got {}, expected a JSON object", name_, impl_->object.type_name()));
}

JsonFields::~JsonFields() = default;

bool JsonFields::contains(const std::string& key) const {
  return impl_->find(key) != nullptr;
}

std::int64_t JsonFields::integer(const std::string& key, std::int64_t fallback) const {
  const auto* value = impl_->find(key);
  if (value == nullptr) return fallback;
  if (!value->is_number_integer()) fail_type(name_, key, *value, "an integer");
  return value->get<std::int64_t>();
}

double JsonFields::number(const std::string& key, double fallback) const {
  const auto* value = impl_->find(key);
  if (value == nullptr) return fallback;
  if (!value->is_number()) fail_type(name_, key, *value, "a number");
  return value->get<double>();
}

bool JsonFields::boolean(const std::string& key, bool fallback) const {
  const auto* value = impl_->find(key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) fail_type(name_, key, *value, "true or false");
  return value->get<bool>();
}

std::string JsonFields::text(const std::string& key, const std::string& fallback) const {
  const auto* value = impl_->find(key);
  if (value == nullptr) return fallback;
  if (!value->is_string()) fail_type(name_, key, *value, "a string");
  return value->get<std::string>();
}

}  // namespace galrec::layers
