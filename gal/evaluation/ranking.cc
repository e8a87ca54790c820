#include "gal/evaluation/ranking.h"

#include <charconv>
#include <nlohmann/json.hpp>
#include <sstream>

#include "data/atomic_file.h"
#include "kernels/common/check.h"

namespace galrec::gal {
namespace {

constexpr MaskSeen kMasks[] = {MaskSeen::kNone, MaskSeen::kAll, MaskSeen::kAllButTarget, MaskSeen::kS3Rec};

// Integer fields of one line, all of them, or a DataError.
std::vector<std::int64_t> parse_fields(const std::string& line, const std::string& where) {
  std::vector<std::int64_t> fields;
  const char* at = line.data();
  const char* end = at + line.size();
  while (at < end) {
    std::int64_t value = 0;
    const auto [next, error] = std::from_chars(at, end, value);
    if (error != std::errc() || (next < end && *next != '\t')) break;
    fields.push_back(value);
    at = next < end ? next + 1 : next;
  }
  if (at != end || fields.size() != 4)
    throw DataError(fmt::format("{}: got '{}', expected four integers separated by tabs: user target rank ties", where,
                                line.substr(0, 80)));
  return fields;
}

}  // namespace

const char* mask_seen_name(MaskSeen mask) {
  switch (mask) {
    case MaskSeen::kNone: return "none";
    case MaskSeen::kAll: return "all";
    case MaskSeen::kAllButTarget: return "all_but_target";
    case MaskSeen::kS3Rec: return "s3rec";
  }
  throw CheckError("no such mask");
}

const char* phase_name(data::Phase phase) { return phase == data::Phase::kValid ? "valid" : "test"; }

void add_ranking_keys(data::ConfigSchema& schema) {
  schema.add_group("eval", "Full ranking of the held-out items.");
  schema.add({.name = "eval.mask_seen",
              .default_value = std::string("all"),
              .help = "which items the user has seen do not compete: none, all (a repeated target cannot be hit), all_but_target",
              .choices = {"none", "all", "all_but_target"}});
  schema.add({.name = "eval.k",
              .default_value = std::vector<std::int64_t>{5, 10},
              .help = "cut-offs of HR@K and NDCG@K",
              .min = 1});
  schema.add({.name = "eval.batch",
              .default_value = std::int64_t{256},
              .help = "users that are ranked at once",
              .min = 1,
              .max = 65536});
  schema.add({.name = "eval.bootstrap",
              .default_value = std::int64_t{1000},
              .help = "resamples of the bootstrap intervals; 0: none",
              .min = 0,
              .max = 1e6});
  schema.add_group("compat", "Deviations of other code bases, for comparison.");
  schema.add({.name = "compat.s3rec_mask",
              .default_value = false,
              .help = "mask as S3-Rec's code: seen items score 0 but compete, and so do the padding and mask rows"});
}

RankingOptions ranking_options(const data::Config& config) {
  RankingOptions options;
  const std::string& mask = config.get_string("eval.mask_seen");
  for (const MaskSeen candidate : kMasks)
    if (mask == mask_seen_name(candidate)) options.mask_seen = candidate;
  if (config.get_bool("compat.s3rec_mask")) {
    if (options.mask_seen != MaskSeen::kAll)
      throw UsageError(fmt::format("compat.s3rec_mask: needs eval.mask_seen = \"all\", got \"{}\"", mask));
    options.mask_seen = MaskSeen::kS3Rec;
  }
  options.ks = config.get_ints("eval.k");
  options.batch = config.get_int("eval.batch");
  return options;
}

std::int64_t RankResult::tied_users() const {
  std::int64_t count = 0;
  for (const std::int32_t t : ties) count += t > 0;
  return count;
}

nlohmann::ordered_json RankResult::to_json(std::span<const std::int64_t> ks) const {
  nlohmann::ordered_json out = metrics(ks).to_json();
  out["mask_seen"] = mask_seen_name(mask_seen);
  out["tied_users"] = tied_users();
  out["masked_targets"] = masked_targets;
  return out;
}

void write_ranks(const std::filesystem::path& path, const RankResult& result) {
  std::string text = fmt::format("# phase {}\n# mask_seen {}\n# items {}\n# user\ttarget\trank\tties\n",
                                 phase_name(result.phase), mask_seen_name(result.mask_seen), result.num_items);
  for (std::size_t i = 0; i < result.users.size(); ++i)
    text += fmt::format("{}\t{}\t{}\t{}\n", result.users[i] + 1, result.targets[i] + 1, result.ranks[i], result.ties[i]);
  data::write_file(path, text);
}

RankResult read_ranks(const std::filesystem::path& path) {
  RankResult result;
  std::istringstream in(data::read_file(path));
  int number = 0, header = 0;
  for (std::string line; std::getline(in, line);) {
    const std::string where = fmt::format("{}:{}", path.string(), ++number);
    if (number <= 4) {
      std::istringstream words(line);
      std::string hash, key, value;
      words >> hash >> key >> value;
      if (hash != "#") throw DataError(fmt::format("{}: expected a header line '# phase …', '# mask_seen …', '# items …'", where));
      if (key == "phase" && (value == "valid" || value == "test")) {
        result.phase = value == "valid" ? data::Phase::kValid : data::Phase::kTest;
        header |= 1;
      } else if (key == "mask_seen") {
        for (const MaskSeen mask : kMasks)
          if (value == mask_seen_name(mask)) result.mask_seen = mask, header |= 2;
      } else if (key == "items") {
        const auto parsed = std::from_chars(value.data(), value.data() + value.size(), result.num_items);
        if (parsed.ec == std::errc() && result.num_items > 0) header |= 4;
      }
      if (number == 4 && header != 7) throw DataError(fmt::format("{}: the header lacks phase, mask_seen or items", where));
      continue;
    }
    const auto fields = parse_fields(line, where);
    const auto [user, target, rank, ties] = std::tie(fields[0], fields[1], fields[2], fields[3]);
    const bool sorted = result.users.empty() || user - 1 > result.users.back();
    // kS3Rec ranks among the padding and mask rows too, and kAll puts masked targets one behind the last.
    if (user < 1 || user > INT32_MAX || !sorted || target < 1 || target > result.num_items || rank < 1 ||
        rank > result.num_items + std::int64_t{2} || ties < 0 || ties > result.num_items + std::int64_t{2})
      throw DataError(fmt::format("{}: got '{}', expected users in ascending order and target, rank and ties within {} items", where,
                                  line, result.num_items));
    result.users.push_back(static_cast<data::UserId>(user - 1));
    result.targets.push_back(static_cast<data::ItemId>(target - 1));
    result.ranks.push_back(static_cast<std::int32_t>(rank));
    result.ties.push_back(static_cast<std::int32_t>(ties));
    if (result.mask_seen == MaskSeen::kAll && rank == result.num_items + std::int64_t{1}) ++result.masked_targets;
  }
  if (number < 4) throw DataError(fmt::format("{}: ends within its header", path.string()));
  return result;
}

}  // namespace galrec::gal
