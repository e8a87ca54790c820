#pragma once
// Vectors of users and items from another model (paper eqs. 2 and 3): LightGCN, SASRec, a text encoder, or any matrix.
// And the vector of a user as of a certain history, which has not seen what comes after it.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>

#include "data/matrix_file.h"
#include "data/split.h"
#include "kernels/common/view.h"

namespace galrec::gal {

enum class ExternalKind { kLightGcn, kSasRec, kText, kMatrix, kRandom };
std::string_view external_kind_name(ExternalKind kind);

/// Writes the vector of a user with each history (items, oldest first; never empty) to the rows of `out`.
using PrefixUserVectors =
    std::function<void(std::span<const std::span<const data::ItemId>> histories, View<float, 2> out)>;

/// Frozen vectors h: users (U, d1_user), items (I, d1_item).
class ExternalEmbeddings {
 public:
  struct Parts {
    ExternalKind kind = ExternalKind::kMatrix;
    data::Matrix user;         ///< (U, d1); empty: the mean of each user's training items
    data::Matrix item;         ///< (I, d1)
    data::Matrix item_prefix;  ///< (I, d1), LightGCN only: (1/(K+1)) sum_{k<K} e_i^k / sqrt(degree of i)
    std::string name;          ///< of the source, for messages
  };

  /// `path` is a pretrain folder (its embeddings.safetensors: user, item, for LightGCN item_prefix; metadata "kind"),
  /// or a .npy or .safetensors file with a matrix of items (`tensor` names it where there are several). DataError for a
  /// shape that does not fit the data set and for a value that is not finite (file, tensor, row).
  static ExternalEmbeddings load(const std::filesystem::path& path, const data::Split& split,
                                 const std::optional<std::string>& tensor = std::nullopt);
  /// The same from memory.
  static ExternalEmbeddings from_parts(Parts parts, const data::Split& split);
  /// Standard normal item vectors, users their means: the paper's "without external embeddings".
  static ExternalEmbeddings random(const data::Split& split, std::int64_t dim, std::uint64_t seed);

  ExternalKind kind() const { return parts_.kind; }
  std::string_view name() const { return parts_.name; }
  View<const float, 2> user() const { return view(parts_.user); }  // (U, d1_user)
  View<const float, 2> item() const { return view(parts_.item); }  // (I, d1_item)
  std::int64_t user_dim() const { return parts_.user.cols; }
  std::int64_t item_dim() const { return parts_.item.cols; }

  /// SASRec's user vector is its last state: the model itself has to compute it. Others need no such help.
  void set_prefix_model(PrefixUserVectors model) { model_ = std::move(model); }
  bool needs_prefix_model() const { return parts_.kind == ExternalKind::kSasRec && !model_; }

  /// Vectors of users with these histories, from nothing but the histories' items (methods.md row 37): LightGCN:
  /// sum of item_prefix / sqrt(length), its layers 1 to K without the user's own layer 0; SASRec: the prefix model;
  /// else the mean of the items. An empty history gives zeros. UsageError where the prefix model is missing.
  void prefix_user_vectors(std::span<const std::span<const data::ItemId>> histories, View<float, 2> out) const;

 private:
  explicit ExternalEmbeddings(Parts parts) : parts_(std::move(parts)) {}
  static View<const float, 2> view(const data::Matrix& m) { return {m.values.data(), {m.rows, m.cols}}; }

  Parts parts_;
  PrefixUserVectors model_;
};

}  // namespace galrec::gal
