#include "gal/hop_batch.h"

#include <algorithm>

#include "kernels/common/check.h"

namespace galrec::gal {

void HopBatch::clear() {
  samples = 0;
  own_users = 0;
  start_row = 0;
  for (auto* list : {&tokens, &text_ids, &user_ids, &own_user_ids, &item_ids, &user, &item, &target, &target_row})
    list->clear();
  cu.assign(1, 0);
  own_user_vectors.clear();
}

std::vector<std::int32_t> joint_tokens(const HopBatch& batch, const data::IdTokens& ids) {
  std::vector<std::int32_t> rows;
  rows.reserve(static_cast<std::size_t>(batch.table_rows()));
  rows.insert(rows.end(), batch.text_ids.begin(), batch.text_ids.end());
  for (const auto u : batch.user_ids) rows.push_back(ids.user_token(u));
  for (const auto u : batch.own_user_ids) rows.push_back(u < 0 ? -1 : ids.user_token(u));
  for (const auto i : batch.item_ids) rows.push_back(ids.item_token(i));
  std::vector<std::int32_t> out;
  out.reserve(batch.tokens.size());
  for (const auto row : batch.tokens) out.push_back(rows[static_cast<std::size_t>(row)]);
  return out;
}

namespace {

/// Distinct ids in order of appearance; `slot` maps an id to its position.
struct Distinct {
  std::vector<std::int32_t> ids;
  std::vector<std::int32_t> slot;
  explicit Distinct(std::int32_t n) : slot(static_cast<std::size_t>(n), -1) {}
  std::int32_t add(std::int32_t id) {
    std::int32_t& s = slot[static_cast<std::size_t>(id)];
    if (s < 0) {
      s = static_cast<std::int32_t>(ids.size());
      ids.push_back(id);
    }
    return s;
  }
};

}  // namespace

HopBatch batch_from_joint_tokens(std::span<const std::int32_t> tokens, std::span<const std::int32_t> lengths,
                                 std::span<const std::int32_t> user, std::span<const std::int32_t> item,
                                 std::span<const std::int32_t> target, const data::IdTokens& ids, const char* name) {
  HopBatch batch;
  batch.clear();
  const std::size_t samples = user.size();
  if (item.size() != samples || target.size() != samples || lengths.size() != samples * data::kHops) {
    throw DataError(fmt::format(
        "{}: got {} users, {} items, {} targets and {} lengths, expected as many of the first three and 6 lengths each",
        name, samples, item.size(), target.size(), lengths.size()));
  }
  batch.samples = static_cast<std::int32_t>(samples);
  batch.hops = HopSet::kAll;
  std::int64_t total = 0;
  for (const auto length : lengths) {
    if (length < 1) throw DataError(fmt::format("{}: lengths: got {}, expected at least 1", name, length));
    total += length;
    batch.cu.push_back(static_cast<std::int32_t>(std::min<std::int64_t>(total, INT32_MAX)));
  }
  if (total != static_cast<std::int64_t>(tokens.size())) {
    throw DataError(fmt::format("{}: got {} tokens, expected {}, the sum of lengths", name, tokens.size(), total));
  }
  for (std::size_t b = 0; b < samples; ++b) {
    if (user[b] < 0 || user[b] >= ids.users() || item[b] < 0 || item[b] >= ids.items() || !ids.is_item(target[b])) {
      throw DataError(
          fmt::format("{}: sample {}: got user {}, item {}, target {}, expected ids below {} and {} and an item token",
                      name, b, user[b], item[b], target[b], ids.users(), ids.items()));
    }
    batch.user.push_back(user[b]);
    batch.item.push_back(item[b]);
    batch.target.push_back(ids.item_of(target[b]));
  }

  Distinct texts(ids.text_rows()), users(ids.users()), items(ids.items());
  texts.add(0);
  for (const auto token : tokens) {
    if (token < 0 || token >= ids.vocab_size()) {
      throw DataError(fmt::format("{}: got token {}, expected 0 to {}", name, token, ids.vocab_size() - 1));
    }
    if (ids.is_text(token))
      texts.add(token);
    else if (ids.is_user(token))
      users.add(ids.user_of(token));
    else
      items.add(ids.item_of(token));
  }
  for (const auto t : batch.target) items.add(t);
  const auto first_user = static_cast<std::int32_t>(texts.ids.size());
  const auto first_item = first_user + static_cast<std::int32_t>(users.ids.size());
  for (const auto token : tokens) {
    if (ids.is_text(token))
      batch.tokens.push_back(texts.add(token));
    else if (ids.is_user(token))
      batch.tokens.push_back(first_user + users.add(ids.user_of(token)));
    else
      batch.tokens.push_back(first_item + items.add(ids.item_of(token)));
  }
  for (const auto t : batch.target) batch.target_row.push_back(first_item + items.add(t));
  batch.start_row = 0;
  batch.text_ids = std::move(texts.ids);
  batch.user_ids = std::move(users.ids);
  batch.item_ids = std::move(items.ids);
  return batch;
}

}  // namespace galrec::gal
