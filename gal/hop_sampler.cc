#include "gal/hop_sampler.h"

#include <algorithm>
#include <limits>

#include "kernels/common/check.h"

namespace galrec::gal {

namespace {

// One block of draw numbers a centre: csr_sample() takes node n's slot s from Philox block (draw * 64 + s).
constexpr std::int64_t kSlots = 64;
// Streams of the three draws. Dropout counts its streams up from small numbers under the same seed.
constexpr std::uint32_t kStreamUsers = 0x67000001u, kStreamItemUsers = 0x67000002u, kStreamItemItems = 0x67000003u;

PhiloxKey with_stream(PhiloxKey key, std::uint32_t stream) {
  key.stream ^= stream;
  return key;
}

}  // namespace

HopSampler::HopSampler(CpuContext& ctx, const data::Split& split, const SamplingOptions& options)
    : ctx_(ctx), options_(options) {
  const auto& dataset = split.dataset();
  std::vector<std::int32_t> users, items;
  users.reserve(static_cast<std::size_t>(split.num_train_interactions()));
  items.reserve(users.capacity());
  for (data::UserId u = 0; u < dataset.num_users(); ++u) {
    for (const auto i : split.train(u)) {
      users.push_back(u);
      items.push_back(i);
    }
  }
  const View<const std::int32_t, 1> user_view(users.data(), {static_cast<std::int64_t>(users.size())});
  const View<const std::int32_t, 1> item_view(items.data(), {static_cast<std::int64_t>(items.size())});
  items_of_user_ =
      csr_build(ctx, dataset.num_users(), dataset.num_items(), user_view, item_view, DuplicateEdges::kMerge);
  users_of_item_ = csr_transpose(ctx, items_of_user_);
  user_stamps_.assign(static_cast<std::size_t>(dataset.num_users()), 0);
  item_stamps_.assign(static_cast<std::size_t>(dataset.num_items()), 0);
}

bool HopSampler::first_visit(std::vector<std::int32_t>& stamps, std::int32_t id) {
  std::int32_t& s = stamps[static_cast<std::size_t>(id)];
  if (s == stamp_) return false;
  s = stamp_;
  return true;
}

void HopSampler::sample(Neighbourhood& out, std::span<const Centre> centres, PhiloxKey key) {
  // Stamps only grow; they start again long before they could wrap.
  if (stamp_ > std::numeric_limits<std::int32_t>::max() - 4 * static_cast<std::int32_t>(centres.size()) - 4) {
    std::fill(user_stamps_.begin(), user_stamps_.end(), 0);
    std::fill(item_stamps_.begin(), item_stamps_.end(), 0);
    stamp_ = 0;
  }
  out.users.clear();
  out.item_users.clear();
  out.item_items.clear();
  if (options_.hops > 1)
    sample_users(out.users, centres, key);
  else
    out.users.ptr.assign(centres.size() + 1, 0);
  const bool with_items = std::any_of(centres.begin(), centres.end(), [](const Centre& c) { return c.item >= 0; });
  if (with_items) sample_item_side(out, centres, key);
}

void HopSampler::sample_users(Ragged& out, std::span<const Centre> centres, PhiloxKey key) {
  nodes_.clear();
  draws_.clear();
  exclude_.clear();
  for (const auto& c : centres) {
    GALREC_CHECK(c.history.size() <= kSlots, "a history of {} items", c.history.size());
    // Most recent first, numbered by their distance from the cut.
    for (std::size_t j = 0; j < c.history.size(); ++j) {
      nodes_.push_back(c.history[c.history.size() - 1 - j]);
      draws_.push_back(c.draw * kSlots + static_cast<std::int64_t>(j));
      exclude_.push_back(c.user);
    }
  }
  csr_sample(ctx_, sampled_, users_of_item_, view_of(nodes_), view_of(draws_), view_of(exclude_),
             {.fanout = options_.users_per_item, .key = with_stream(key, kStreamUsers)});
  std::size_t node = 0;
  for (const auto& c : centres) {
    ++stamp_;
    const std::size_t end = node + c.history.size();
    for (auto k = sampled_.ptr[node]; k < sampled_.ptr[end]; ++k) {
      const std::int32_t v = sampled_.items[static_cast<std::size_t>(k)];
      if (first_visit(user_stamps_, v)) out.values.push_back(v);
    }
    out.close();
    node = end;
  }
}

void HopSampler::sample_item_side(Neighbourhood& out, std::span<const Centre> centres, PhiloxKey key) {
  nodes_.clear();
  draws_.clear();
  exclude_.clear();
  for (const auto& c : centres) {
    if (c.item < 0) continue;
    // The edge between the user and i0 may be followed only if it lies in the history.
    const bool own_allowed = options_.own_user == OwnUser::kKeep &&
                             std::find(c.history.begin(), c.history.end(), c.item) != c.history.end() &&
                             std::find(c.hidden.begin(), c.hidden.end(), c.item) == c.hidden.end();
    nodes_.push_back(c.item);
    draws_.push_back(c.draw);
    exclude_.push_back(own_allowed ? -1 : c.user);
  }
  csr_sample(ctx_, sampled_, users_of_item_, view_of(nodes_), view_of(draws_), view_of(exclude_),
             {.fanout = options_.item_users, .key = with_stream(key, kStreamItemUsers)});
  std::size_t node = 0;
  for (const auto& c : centres) {
    if (c.item >= 0) {
      out.item_users.values.insert(out.item_users.values.end(), sampled_.items.begin() + sampled_.ptr[node],
                                   sampled_.items.begin() + sampled_.ptr[node + 1]);
      ++node;
    }
    out.item_users.close();
  }

  if (options_.hops == 1) {
    out.item_items.ptr.assign(centres.size() + 1, 0);
    return;
  }
  nodes_.clear();
  draws_.clear();
  exclude_.clear();
  for (std::size_t i = 0; i < centres.size(); ++i) {
    const auto users = out.item_users[i];
    for (std::size_t j = 0; j < users.size(); ++j) {
      nodes_.push_back(users[j]);
      draws_.push_back(centres[i].draw * kSlots + static_cast<std::int64_t>(j));
      exclude_.push_back(centres[i].item);
    }
  }
  csr_sample(ctx_, sampled_, items_of_user_, view_of(nodes_), view_of(draws_), view_of(exclude_),
             {.fanout = options_.items_per_user, .key = with_stream(key, kStreamItemItems)});
  node = 0;
  for (std::size_t i = 0; i < centres.size(); ++i) {
    const Centre& c = centres[i];
    ++stamp_;
    for (const auto v : out.item_users[i]) {
      for (auto k = sampled_.ptr[node]; k < sampled_.ptr[node + 1]; ++k) {
        const std::int32_t item = sampled_.items[static_cast<std::size_t>(k)];
        // The own user, where it is kept, leads to its history alone.
        if (v == c.user && std::find(c.history.begin(), c.history.end(), item) == c.history.end()) continue;
        if (first_visit(item_stamps_, item)) out.item_items.values.push_back(item);
      }
      ++node;
    }
    out.item_items.close();
  }
}

}  // namespace galrec::gal
