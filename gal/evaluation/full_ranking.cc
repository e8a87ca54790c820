#include "gal/evaluation/full_ranking.h"

#include <algorithm>

#include "kernels/common/host_view.h"
#include "kernels/topk/topk.h"

namespace galrec::gal {
namespace {

// The item matrix as target_rank sees it. Under kS3Rec it has one more row of zeros, the score that seen items get.
template <class T>
struct Candidates {
  View<const T, 2> rows;
  View<const T, 1> bias;
  std::int32_t first = 0;  // the row of item 0
  std::int32_t zero = -1;  // the row of zeros
  Buffer<T> memory;
  Buffer<T> bias_memory;
};

template <class T>
Candidates<T> make_candidates(MemoryResource& memory, const RankedItems<T>& items, std::int32_t num_items, MaskSeen mask) {
  const std::int64_t total = items.rows.rows(), width = items.rows.cols();
  GALREC_CHECK(items.first_item >= 0 && items.first_item + num_items <= total, "items [{}, {}) of {} rows", items.first_item,
               items.first_item + num_items, total);
  GALREC_CHECK(items.bias.empty() || items.bias.extent(0) == total, "{} biases for {} rows", items.bias.extent(0), total);
  Candidates<T> out;
  if (mask != MaskSeen::kS3Rec) {
    out.rows = items.rows.slice_rows(items.first_item, num_items);
    if (!items.bias.empty()) out.bias = items.bias.slice(items.first_item, num_items);
    return out;
  }
  out.first = items.first_item;
  out.zero = static_cast<std::int32_t>(total);
  out.memory = Buffer<T>::zeros((total + 1) * width, memory);
  copy_rows<T>(memory, out.memory.view(total, width), items.rows);
  out.rows = out.memory.view(total + 1, width);
  if (!items.bias.empty()) {
    out.bias_memory = Buffer<T>::zeros(total + 1, memory);
    memory.copy(out.bias_memory.data(), items.bias.data, static_cast<std::size_t>(total) * sizeof(T));
    out.bias = out.bias_memory.view();
  }
  return out;
}

// The work lists of one block of users.
struct Block {
  std::vector<std::int32_t> targets;   // rows
  std::vector<std::int32_t> row_ptr;
  std::vector<std::int32_t> excluded;  // rows
  std::vector<std::int32_t> seen;      // distinct seen items of each user other than its target
  std::vector<bool> target_seen;
};

template <class T>
void fill_block(Block& block, const data::Split& split, data::Phase phase, std::span<const data::UserId> users,
                const Candidates<T>& candidates, MaskSeen mask) {
  block = {};
  block.row_ptr.push_back(0);
  std::vector<std::int32_t> seen;
  for (const data::UserId u : users) {
    const data::ItemId target = split.target(u, phase);
    const auto history = split.history(u, phase);
    seen.assign(history.begin(), history.end());
    std::sort(seen.begin(), seen.end());
    seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
    const auto at = std::lower_bound(seen.begin(), seen.end(), target);
    const bool repeated = at != seen.end() && *at == target;
    if (repeated) seen.erase(at);
    block.target_seen.push_back(repeated);
    block.seen.push_back(static_cast<std::int32_t>(seen.size()));
    const bool scored_zero = mask == MaskSeen::kS3Rec && repeated;  // the zero row stands for the target
    block.targets.push_back(scored_zero ? candidates.zero : candidates.first + target);
    if (mask != MaskSeen::kNone)
      for (const std::int32_t item : seen) block.excluded.push_back(candidates.first + item);
    if (scored_zero) block.excluded.push_back(candidates.first + target);
    if (mask == MaskSeen::kS3Rec && !repeated) block.excluded.push_back(candidates.zero);
    block.row_ptr.push_back(static_cast<std::int32_t>(block.excluded.size()));
  }
}

}  // namespace

template <class T>
RankResult full_ranking(const Device& device, const data::Split& split, data::Phase phase, const QueryFn<T>& query,
                        const RankedItems<T>& items, const RankingOptions& options, const RankingProgress& progress) {
  GALREC_CHECK(options.batch >= 1, "eval.batch {}", options.batch);
  const std::int32_t num_items = split.dataset().num_items();
  MemoryResource& memory = memory_of(device);
  const Candidates<T> candidates = make_candidates(memory, items, num_items, options.mask_seen);
  const auto& users = split.users_with_target(phase);
  const auto total = static_cast<std::int64_t>(users.size());
  const std::int64_t width = items.rows.cols();

  RankResult result;
  result.phase = phase;
  result.mask_seen = options.mask_seen;
  result.num_items = num_items;
  result.users = users;
  result.ranks.resize(users.size());
  result.ties.resize(users.size());
  for (const data::UserId u : users) result.targets.push_back(split.target(u, phase));

  const std::int64_t rows = std::min(options.batch, std::max<std::int64_t>(total, 1));
  const Buffer<T> queries(rows * width);
  std::vector<T> score(static_cast<std::size_t>(rows));
  Arena arena(memory);  // one block's operands
  Block block;
  for (std::int64_t first = 0; first < total; first += rows) {
    const std::int64_t count = std::min(rows, total - first);
    const auto chunk = std::span(users).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count));
    const View<T, 2> states = queries.view(count, width);
    query(chunk, phase, states);
    fill_block(block, split, phase, chunk, candidates, options.mask_seen);
    arena.reset();
    const auto ranks = arena.vector<std::int32_t>(count), ties = arena.vector<std::int32_t>(count);
    const auto scores = arena.vector<T>(count);
    const View<const T, 2> device_states(upload(arena, states.data, count * width).data, {count, width});
    const auto targets = upload(arena, block.targets);
    const ExcludedItems excluded{upload(arena, block.row_ptr), upload(arena, block.excluded)};
    dispatch<T>(device, [&](auto& ctx) {
      target_rank<T>(ctx, ranks, ties, scores, device_states, candidates.rows, candidates.bias, targets, excluded);
    });
    std::int32_t* const rank = result.ranks.data() + first;
    std::int32_t* const tied = result.ties.data() + first;
    memory.download(rank, ranks.data, static_cast<std::size_t>(count) * sizeof(std::int32_t));
    memory.download(tied, ties.data, static_cast<std::size_t>(count) * sizeof(std::int32_t));
    memory.download(score.data(), scores.data, static_cast<std::size_t>(count) * sizeof(T));
    synchronize<T>(device);
    for (std::int64_t i = 0; i < count; ++i) {
      if (options.mask_seen == MaskSeen::kAll && block.target_seen[static_cast<std::size_t>(i)]) {
        rank[i] = num_items + 1;
        tied[i] = 0;
        ++result.masked_targets;
      }
      if (options.mask_seen == MaskSeen::kS3Rec) {  // the seen items compete with a score of 0
        const std::int32_t seen = block.seen[static_cast<std::size_t>(i)];
        const T s = score[static_cast<std::size_t>(i)];
        if (s <= T(0)) rank[i] += seen;
        if (s == T(0)) tied[i] += seen;
      }
    }
    if (progress) progress(first + count);
  }
  return result;
}

template RankResult full_ranking(const Device&, const data::Split&, data::Phase, const QueryFn<float>&, const RankedItems<float>&,
                                 const RankingOptions&, const RankingProgress&);
template RankResult full_ranking(const Device&, const data::Split&, data::Phase, const QueryFn<double>&, const RankedItems<double>&,
                                 const RankingOptions&, const RankingProgress&);

}  // namespace galrec::gal
