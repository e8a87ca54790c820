#include "gal/external_embeddings.h"

#include <cmath>

#include "data/safetensors.h"
#include "kernels/common/check.h"
#include "kernels/common/philox.h"

namespace galrec::gal {

namespace {

constexpr std::uint32_t kStreamRandom = 0x67000010u;

ExternalKind parse_kind(const std::string& text, const std::string& name) {
  for (const auto kind : {ExternalKind::kLightGcn, ExternalKind::kSasRec, ExternalKind::kText, ExternalKind::kMatrix}) {
    if (text == external_kind_name(kind)) return kind;
  }
  throw DataError(fmt::format("{}: metadata kind: got \"{}\", expected lightgcn, sasrec, text or matrix", name, text));
}

data::Matrix read_tensor(const data::SafetensorsFile& file, const std::string& tensor) {
  const auto& info = file.info(tensor);
  if (info.shape.size() != 2) {
    throw DataError(fmt::format("{}: {}: got shape {}, expected two dimensions", file.name(), tensor,
                                data::shape_text(info.shape)));
  }
  data::Matrix m{.rows = info.shape[0], .cols = info.shape[1], .values = file.read_f32(tensor)};
  data::require_finite(m, file.name() + ": " + tensor);
  return m;
}

void require_rows(const data::Matrix& m, std::int64_t rows, const char* what, const std::string& name) {
  if (m.rows != rows || m.cols < 1) {
    throw DataError(fmt::format("{}: {}: got shape [{}, {}], expected {} rows, one for each {} of the data set", name,
                                what, m.rows, m.cols, rows, std::string_view(what) == "user" ? "user" : "item"));
  }
}

/// out = scale * sum of the rows of `m` that `ids` name, in order.
void sum_rows(float* out, const data::Matrix& m, std::span<const data::ItemId> ids, double scale) {
  const auto cols = static_cast<std::size_t>(m.cols);
  std::fill_n(out, cols, 0.0f);
  for (const auto id : ids) {
    const float* __restrict row = m.values.data() + static_cast<std::size_t>(id) * cols;
#pragma omp simd
    for (std::size_t c = 0; c < cols; ++c) out[c] += row[c];
  }
  const auto factor = static_cast<float>(scale);
  for (std::size_t c = 0; c < cols; ++c) out[c] *= factor;
}

data::Matrix mean_of_training_items(const data::Matrix& item, const data::Split& split) {
  const std::int32_t users = split.dataset().num_users();
  data::Matrix m{.rows = users, .cols = item.cols, .values = {}};
  m.values.resize(static_cast<std::size_t>(users) * static_cast<std::size_t>(item.cols));
  for (data::UserId u = 0; u < users; ++u) {
    const auto items = split.train(u);
    sum_rows(m.values.data() + static_cast<std::size_t>(u) * static_cast<std::size_t>(item.cols), item, items,
             items.empty() ? 0.0 : 1.0 / static_cast<double>(items.size()));
  }
  return m;
}

}  // namespace

std::string_view external_kind_name(ExternalKind kind) {
  switch (kind) {
    case ExternalKind::kLightGcn:
      return "lightgcn";
    case ExternalKind::kSasRec:
      return "sasrec";
    case ExternalKind::kText:
      return "text";
    case ExternalKind::kMatrix:
      return "matrix";
    case ExternalKind::kRandom:
      return "random";
  }
  return "";
}

ExternalEmbeddings ExternalEmbeddings::load(const std::filesystem::path& path, const data::Split& split,
                                            const std::optional<std::string>& tensor) {
  Parts parts;
  if (!std::filesystem::is_directory(path)) {
    parts.name = path.string();
    parts.item = data::read_matrix(path, tensor);
    return from_parts(std::move(parts), split);
  }
  const auto file = data::SafetensorsFile::open(path / "embeddings.safetensors");
  parts.name = file.name();
  const auto kind = file.metadata().find("kind");
  if (kind == file.metadata().end()) {
    throw DataError(
        fmt::format("{}: no metadata entry \"kind\", expected lightgcn, sasrec, text or matrix", parts.name));
  }
  parts.kind = parse_kind(kind->second, parts.name);
  parts.item = read_tensor(file, "item");
  if (file.contains("user")) parts.user = read_tensor(file, "user");
  if (parts.kind == ExternalKind::kLightGcn) parts.item_prefix = read_tensor(file, "item_prefix");
  return from_parts(std::move(parts), split);
}

ExternalEmbeddings ExternalEmbeddings::from_parts(Parts parts, const data::Split& split) {
  require_rows(parts.item, split.dataset().num_items(), "item", parts.name);
  if (parts.user.rows == 0) parts.user = mean_of_training_items(parts.item, split);
  require_rows(parts.user, split.dataset().num_users(), "user", parts.name);
  if (parts.kind == ExternalKind::kLightGcn) {
    require_rows(parts.item_prefix, split.dataset().num_items(), "item_prefix", parts.name);
    if (parts.item_prefix.cols != parts.user.cols) {
      throw DataError(fmt::format("{}: item_prefix: got {} columns, expected {}, those of user", parts.name,
                                  parts.item_prefix.cols, parts.user.cols));
    }
  } else if (parts.kind != ExternalKind::kSasRec && parts.user.cols != parts.item.cols) {
    throw DataError(
        fmt::format("{}: user: got {} columns, expected {}, those of item: a user's vector is the mean of its items",
                    parts.name, parts.user.cols, parts.item.cols));
  }
  for (const auto* m : {&parts.user, &parts.item, &parts.item_prefix}) data::require_finite(*m, parts.name);
  return ExternalEmbeddings(std::move(parts));
}

ExternalEmbeddings ExternalEmbeddings::random(const data::Split& split, std::int64_t dim, std::uint64_t seed) {
  Parts parts{.kind = ExternalKind::kRandom, .user = {}, .item = {}, .item_prefix = {}, .name = "random vectors"};
  parts.item = {.rows = split.dataset().num_items(), .cols = dim, .values = {}};
  parts.item.values.resize(static_cast<std::size_t>(parts.item.rows * dim));
  PhiloxStream stream({.seed = seed, .step = 0, .stream = kStreamRandom});
  for (auto& x : parts.item.values) x = static_cast<float>(stream.normal());
  return from_parts(std::move(parts), split);
}

void ExternalEmbeddings::prefix_user_vectors(std::span<const std::span<const data::ItemId>> histories,
                                             View<float, 2> out) const {
  GALREC_CHECK(out.rows() == static_cast<std::int64_t>(histories.size()) && out.cols() == user_dim(),
               "({}, {}) for {} histories of {} columns", out.rows(), out.cols(), histories.size(), user_dim());
  if (parts_.kind == ExternalKind::kSasRec) {
    if (!model_) {
      throw UsageError(fmt::format(
          "external.user_vector=prefix: {} holds SASRec vectors, whose user vector is the model's last state: "
          "expected the trained model beside them, or external.user_vector=static",
          parts_.name));
    }
    model_(histories, out);
    return;
  }
  for (std::size_t i = 0; i < histories.size(); ++i) {
    const auto items = histories[i];
    const double n = static_cast<double>(items.size());
    float* row = out.row(static_cast<std::int64_t>(i));
    if (parts_.kind == ExternalKind::kLightGcn) {
      sum_rows(row, parts_.item_prefix, items, items.empty() ? 0.0 : 1.0 / std::sqrt(n));
    } else {
      sum_rows(row, parts_.item, items, items.empty() ? 0.0 : 1.0 / n);
    }
  }
}

}  // namespace galrec::gal
