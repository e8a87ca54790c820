#include "gal/batch_builder.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "data/tokenizer.h"
#include "gal/prompt.h"
#include "kernels/common/check.h"

namespace galrec::gal {

namespace {

constexpr std::uint32_t kStreamItem = 0x67000040u, kStreamDrop = 0x67000041u;
// Evaluation and bare histories draw under streams of their own, at step 0.
constexpr std::uint32_t kStreamEval = 0x00800000u, kStreamHistory = 0x00c00000u;

// While a batch is assembled, a token is its kind and its position among rows of that kind.
constexpr std::int32_t kKindShift = 28, kPositionMask = (1 << kKindShift) - 1;
enum Kind : std::int32_t { kText = 0, kUser = 1, kOwn = 2, kItem = 3 };
constexpr std::int32_t tagged(Kind kind, std::size_t position) {
  return (static_cast<std::int32_t>(kind) << kKindShift) | static_cast<std::int32_t>(position);
}

/// A number for the random draws of a bare history, which has no place in a data set.
std::int64_t history_draw(std::span<const data::ItemId> items) {
  std::uint64_t h = 0xcbf29ce484222325u;  // FNV-1a
  for (const auto i : items) h = (h ^ static_cast<std::uint32_t>(i)) * 0x100000001b3u;
  return static_cast<std::int64_t>(h >> 20);  // leaves room for the slots
}

bool is_one_or_two_hop(data::Hop hop) {
  return hop != data::Hop::kU0 && hop != data::Hop::kI0;
}
bool is_user_hop(data::Hop hop) {
  return static_cast<int>(hop) < 3;
}

}  // namespace

BatchBuilder::BatchBuilder(CpuContext& ctx, const data::Split& split, const data::CompiledTemplates& templates,
                           const ExternalEmbeddings& external, const SamplingOptions& options, std::uint64_t seed)
    : split_(split), external_(external), options_(options), seed_(seed), sampler_(ctx, split, options) {
  const bool needs_prefix = options.user_vector == UserVector::kPrefix || options.user_vector == UserVector::kNone;
  if (needs_prefix && external.needs_prefix_model()) {
    throw UsageError(
        fmt::format("external.user_vector: {} holds SASRec vectors, whose prefix vectors need the trained model: "
                    "expected its folder, or external.user_vector=static",
                    external.name()));
  }
  // Text rows of every batch are the same: pad (the decoder's start), </s>, and whatever the templates say.
  text_ids_ = {data::Tokenizer::pad(), data::Tokenizer::eos()};
  for (const auto hop : data::kAllHops) {
    for (const auto& segment : templates.get(hop).segments)
      text_ids_.insert(text_ids_.end(), segment.tokens.begin(), segment.tokens.end());
  }
  std::sort(text_ids_.begin(), text_ids_.end());
  text_ids_.erase(std::unique(text_ids_.begin(), text_ids_.end()), text_ids_.end());
  const auto row_of = [&](std::int32_t id) {
    return static_cast<std::int32_t>(std::lower_bound(text_ids_.begin(), text_ids_.end(), id) - text_ids_.begin());
  };
  eos_row_ = row_of(data::Tokenizer::eos());
  for (const auto hop : data::kAllHops) {
    auto& t = templates_[static_cast<std::size_t>(hop)];
    t = templates.get(hop);
    for (auto& segment : t.segments) {
      for (auto& token : segment.tokens) token = row_of(token);
    }
  }
  const auto& dataset = split.dataset();
  first_draw_.assign(1, 0);
  for (data::UserId u = 0; u < dataset.num_users(); ++u) {
    first_draw_.push_back(first_draw_.back() + static_cast<std::int64_t>(split.train(u).size()));
  }
  user_slot_.resize(static_cast<std::size_t>(dataset.num_users()));
  item_slot_.resize(static_cast<std::size_t>(dataset.num_items()));
  user_stamp_.assign(user_slot_.size(), 0);
  item_stamp_.assign(item_slot_.size(), 0);
}

std::span<const data::ItemId> BatchBuilder::recent(std::span<const data::ItemId> history) const {
  return history.last(std::min(history.size(), static_cast<std::size_t>(options_.history)));
}

void BatchBuilder::build(HopBatch& batch, std::span<const TrainSample> samples, HopSet hops, std::uint32_t epoch) {
  requests_.clear();
  for (const auto& s : samples) {
    const auto train = split_.train(s.user);
    GALREC_CHECK(s.cut >= 1 && s.cut < static_cast<std::int32_t>(train.size()), "user {}: cut {} of {} training items",
                 s.user, s.cut, train.size());
    const auto cut = static_cast<std::size_t>(s.cut);
    Request r;
    r.all_history = train.first(cut);
    r.target = train[cut];
    r.centre.user = s.user;
    r.centre.history = recent(r.all_history);
    r.centre.hidden = train.subspan(cut);
    r.centre.draw = first_draw_[static_cast<std::size_t>(s.user)] + s.cut;
    const auto block = static_cast<std::uint64_t>(r.centre.draw);
    if (hops == HopSet::kAll) {
      PhiloxStream stream({.seed = seed_, .step = epoch, .stream = kStreamItem}, block);
      r.centre.item =
          options_.i0 == ItemCentre::kTarget ? r.target : r.centre.history[stream.below(r.centre.history.size())];
    }
    if (options_.user_vector == UserVector::kNone) r.name_user = false;
    if (options_.user_vector == UserVector::kStaticDrop) {
      r.name_user =
          PhiloxStream({.seed = seed_, .step = epoch, .stream = kStreamDrop}, block).uniform() >= options_.user_drop;
    }
    requests_.push_back(r);
  }
  assemble(batch, hops, {.seed = seed_, .step = epoch, .stream = 0});
}

void BatchBuilder::build_eval(HopBatch& batch, std::span<const data::UserId> users, data::Phase phase) {
  requests_.clear();
  for (const auto u : users) {
    Request r;
    r.all_history = split_.history(u, phase);
    r.target = split_.target(u, phase);
    r.centre.user = u;
    r.centre.history = recent(r.all_history);
    r.centre.draw = u;
    r.name_user = options_.user_vector != UserVector::kNone;
    requests_.push_back(r);
  }
  assemble(batch, HopSet::kRecommendOnly, {.seed = seed_, .step = 0, .stream = kStreamEval});
}

void BatchBuilder::build_histories(HopBatch& batch, std::span<const std::vector<data::ItemId>> histories) {
  requests_.clear();
  for (const auto& items : histories) {
    if (items.empty()) throw UsageError("history: got no items, expected at least one");
    for (const auto i : items) {
      if (i < 0 || i >= split_.dataset().num_items()) {
        throw UsageError(fmt::format("history: got item {}, expected 1 to {}", i + 1, split_.dataset().num_items()));
      }
    }
    Request r;
    r.all_history = items;
    r.centre.history = recent(r.all_history);
    r.centre.draw = history_draw(r.centre.history);
    r.name_user = options_.user_vector != UserVector::kNone;
    requests_.push_back(r);
  }
  assemble(batch, HopSet::kRecommendOnly, {.seed = seed_, .step = 0, .stream = kStreamHistory});
}

std::int32_t BatchBuilder::user_token(HopBatch& batch, data::UserId user) {
  const auto u = static_cast<std::size_t>(user);
  if (user_stamp_[u] != stamp_) {
    user_stamp_[u] = stamp_;
    user_slot_[u] = static_cast<std::int32_t>(batch.user_ids.size());
    batch.user_ids.push_back(user);
  }
  return tagged(kUser, static_cast<std::size_t>(user_slot_[u]));
}

std::int32_t BatchBuilder::item_token(HopBatch& batch, data::ItemId item) {
  const auto i = static_cast<std::size_t>(item);
  if (item_stamp_[i] != stamp_) {
    item_stamp_[i] = stamp_;
    item_slot_[i] = static_cast<std::int32_t>(batch.item_ids.size());
    batch.item_ids.push_back(item);
  }
  return tagged(kItem, static_cast<std::size_t>(item_slot_[i]));
}

std::int32_t BatchBuilder::own_token(HopBatch& batch, std::size_t sample) {
  const Request& r = requests_[sample];
  const bool is_static = options_.user_vector == UserVector::kStatic || options_.user_vector == UserVector::kStaticDrop;
  if (is_static && r.centre.user >= 0) return user_token(batch, r.centre.user);
  if (own_samples_.empty() || own_samples_.back() != sample) {
    own_samples_.push_back(sample);
    batch.own_user_ids.push_back(r.centre.user);
  }
  return tagged(kOwn, own_samples_.size() - 1);
}

void BatchBuilder::assemble(HopBatch& batch, HopSet hops, PhiloxKey key) {
  batch.clear();
  batch.samples = static_cast<std::int32_t>(requests_.size());
  batch.hops = hops;
  batch.text_ids = text_ids_;
  batch.start_row = 0;  // pad is the smallest id
  own_samples_.clear();
  if (++stamp_ == 0) {
    std::fill(user_stamp_.begin(), user_stamp_.end(), 0);
    std::fill(item_stamp_.begin(), item_stamp_.end(), 0);
    stamp_ = 1;
  }
  centres_.clear();
  for (const auto& r : requests_) centres_.push_back(r.centre);
  sampler_.sample(neighbourhood_, centres_, key);
  for (std::size_t s = 0; s < requests_.size(); ++s) {
    const Request& r = requests_[s];
    write_prompts(batch, s, hops);
    batch.user.push_back(r.centre.user);
    batch.item.push_back(r.centre.item);
    batch.target.push_back(r.target);
    batch.target_row.push_back(r.target < 0 ? -1 : item_token(batch, r.target));
  }
  own_vectors(batch);
  resolve_rows(batch);
}

void BatchBuilder::write_prompts(HopBatch& batch, std::size_t sample, HopSet hops) {
  const Request& r = requests_[sample];
  for (const auto hop : data::kAllHops) {
    if (hops == HopSet::kRecommendOnly && hop != data::Hop::kU2) continue;
    const auto& prompt = templates_[static_cast<std::size_t>(hop)];
    const bool centre = options_.centre == PromptCentre::kKeep || !is_one_or_two_hop(hop);
    PromptSlots slots;
    users_.clear();
    items_.clear();
    if (is_user_hop(hop)) {
      if (prompt.has(data::Slot::kUser) && centre && (r.name_user || !is_one_or_two_hop(hop)))
        slots.user = own_token(batch, sample);
      if (prompt.has(data::Slot::kItems)) {
        for (const auto i : r.centre.history) items_.push_back(item_token(batch, i));
      }
      if (prompt.has(data::Slot::kUsers)) {
        for (const auto u : neighbourhood_.users[sample]) users_.push_back(user_token(batch, u));
      }
    } else {
      if (prompt.has(data::Slot::kItem) && centre) slots.item = item_token(batch, r.centre.item);
      if (prompt.has(data::Slot::kUsers)) {
        for (const auto u : neighbourhood_.item_users[sample]) {
          users_.push_back(u == r.centre.user ? own_token(batch, sample) : user_token(batch, u));
        }
      }
      if (prompt.has(data::Slot::kItems)) {
        for (const auto i : neighbourhood_.item_items[sample]) items_.push_back(item_token(batch, i));
      }
    }
    slots.users = users_;
    slots.items = items_;
    append_prompt(batch.tokens, prompt, hop, slots, eos_row_, options_.max_tokens);
    GALREC_CHECK(batch.tokens.size() <= static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max()));
    batch.cu.push_back(static_cast<std::int32_t>(batch.tokens.size()));
  }
}

void BatchBuilder::own_vectors(HopBatch& batch) {
  batch.own_users = static_cast<std::int32_t>(own_samples_.size());
  const std::int64_t d = external_.user_dim();
  batch.own_user_vectors.resize(own_samples_.size() * static_cast<std::size_t>(d));
  if (own_samples_.empty()) return;
  histories_.clear();
  for (const auto s : own_samples_) {
    const Request& r = requests_[s];
    histories_.push_back(options_.prefix_history == PrefixHistory::kPrompt ? r.centre.history : r.all_history);
  }
  external_.prefix_user_vectors(histories_, view_of(batch.own_user_vectors, batch.own_users, d));
}

void BatchBuilder::resolve_rows(HopBatch& batch) {
  const auto first_user = static_cast<std::int32_t>(batch.text_ids.size());
  const auto first_own = first_user + static_cast<std::int32_t>(batch.user_ids.size());
  const std::array<std::int32_t, 4> first{0, first_user, first_own, first_own + batch.own_users};
  const auto resolve = [&](std::int32_t token) {
    return first[static_cast<std::size_t>(token >> kKindShift)] + (token & kPositionMask);
  };
  for (auto& token : batch.tokens) token = resolve(token);
  for (auto& row : batch.target_row) row = row < 0 ? -1 : resolve(row);
}

}  // namespace galrec::gal
