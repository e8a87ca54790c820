#include "kernels/simt/instrument/traffic_meter.h"

#include <algorithm>
#include <array>

namespace galrec::simt {

namespace {

constexpr std::uintptr_t kSectorBytes = 32, kBankBytes = 4;
constexpr int kBanks = 32;

/// Passes over the banks for one phase: the most different words that any bank is asked for.
std::uint64_t bank_passes(std::vector<std::uintptr_t>& words) {
  std::sort(words.begin(), words.end());
  words.erase(std::unique(words.begin(), words.end()), words.end());
  std::array<std::uint64_t, kBanks> load{};
  for (const auto word : words) ++load[word % kBanks];
  return *std::max_element(load.begin(), load.end());
}

}  // namespace

void TrafficMeter::begin_launch(const std::string& kernel, std::uint64_t blocks, std::uint64_t threads,
                                std::size_t shared_bytes) {
  current_ = &kernels_[kernel];
  current_->name = kernel;
  ++current_->launches;
  current_->blocks += blocks;
  current_->threads += blocks * threads;
  current_->shared_bytes = std::max<std::uint64_t>(current_->shared_bytes, shared_bytes);
}

void TrafficMeter::end_launch() {
  current_->load.unique_sectors += loaded_.size();
  current_->store.unique_sectors += stored_.size();
  loaded_.clear();
  stored_.clear();
}

void TrafficMeter::on_access(const Lane& lane, const Access& access) {
  if (access.type == AccessType::kAtomic) {
    ++current().atomics;
    return;
  }
  Site& site = warps_[lane.warp->index][access.pc];
  const std::uint32_t turn = site.executed[lane.lane]++;
  if (turn == site.requests.size()) site.requests.push_back({access.space, access.type, {}});
  site.requests[turn].parts.push_back({access.address, access.bytes, lane.lane});
}

void TrafficMeter::on_ldmatrix(const std::uintptr_t* rows, int matrices) {
  auto& traffic = current().ldmatrix;
  ++traffic.requests;
  for (int m = 0; m < matrices; ++m) {
    std::vector<std::uintptr_t> words;
    for (int r = 0; r < 8; ++r) {
      for (std::uintptr_t w = 0; w < 4; ++w) words.push_back(rows[m * 8 + r] / kBankBytes + w);
    }
    traffic.passes += bank_passes(words);
    ++traffic.least_passes;
  }
}

void TrafficMeter::end_block() {
  for (const auto& [warp, sites] : warps_) {
    for (const auto& [pc, site] : sites) {
      for (const Request& request : site.requests) count(request);
    }
  }
  warps_.clear();
}

void TrafficMeter::count(const Request& request) {
  KernelTraffic& k = current();
  const bool reads = request.type == AccessType::kRead;
  if (request.space == Space::kShared) {
    count_shared(request, reads ? k.shared_load : k.shared_store);
  } else {
    count_global(request, reads ? k.load : k.store, reads ? loaded_ : stored_);
  }
}

void TrafficMeter::count_global(const Request& request, GlobalTraffic& traffic,
                                std::unordered_set<std::uintptr_t>& seen) {
  std::vector<std::pair<std::uintptr_t, std::uint32_t>> sectors;  // which, and the mask of its bytes
  for (const Part& part : request.parts) {
    for (std::uintptr_t at = part.address; at < part.address + part.bytes;) {
      const std::uintptr_t sector = at / kSectorBytes;
      const std::uintptr_t end = std::min((sector + 1) * kSectorBytes, part.address + part.bytes);
      const auto bytes = static_cast<std::uint32_t>(end - at);
      const std::uint32_t mask = (bytes == 32 ? ~0u : (1u << bytes) - 1) << (at % kSectorBytes);
      const auto found =
          std::find_if(sectors.rbegin(), sectors.rend(), [&](const auto& s) { return s.first == sector; });
      if (found != sectors.rend())
        found->second |= mask;
      else
        sectors.emplace_back(sector, mask);
      at = end;
    }
  }
  ++traffic.requests;
  traffic.sectors += sectors.size();
  for (const auto& [sector, mask] : sectors) {
    traffic.used_bytes += static_cast<std::uint64_t>(__builtin_popcount(mask));
    seen.insert(sector);
  }
}

void TrafficMeter::count_shared(const Request& request, SharedTraffic& traffic) {
  ++traffic.requests;
  std::uint32_t widest = 4;
  for (const Part& part : request.parts) widest = std::max(widest, part.bytes);
  // 32 lanes of 4 bytes fill the banks once; wider accesses are served 16 or 8 lanes at a time.
  const std::uint32_t lanes_per_phase = std::max<std::uint32_t>(1, 128 / std::max<std::uint32_t>(widest, 4));
  std::map<std::uint32_t, std::vector<std::uintptr_t>> phases;
  for (const Part& part : request.parts) {
    auto& words = phases[part.lane / lanes_per_phase];
    for (std::uintptr_t at = part.address / kBankBytes; at <= (part.address + part.bytes - 1) / kBankBytes; ++at)
      words.push_back(at);
  }
  for (auto& [phase, words] : phases) {
    traffic.passes += bank_passes(words);
    ++traffic.least_passes;
  }
}

}  // namespace galrec::simt
