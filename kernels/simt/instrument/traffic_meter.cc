#include "kernels/simt/instrument/traffic_meter.h"

#include <algorithm>
#include <bit>

namespace galrec::simt {

namespace {

constexpr std::uintptr_t kSectorBytes = 32, kBankBytes = 4;
constexpr std::size_t kBanks = 32;

/// The words that one pass or more over the banks must bring.
class Banks {
 public:
  void ask(std::uintptr_t word) {
    const std::size_t bank = word % kBanks;
    const auto first = words_[bank].begin(), last = first + static_cast<std::ptrdiff_t>(load_[bank]);
    if (std::find(first, last, word) != last) return;
    if (load_[bank] < kMostWords) words_[bank][load_[bank]] = word;
    most_ = std::max(most_, ++load_[bank]);
  }
  /// The most different words that any bank is asked for.
  std::uint64_t passes() const { return most_; }

 private:
  static constexpr std::uint64_t kMostWords = 32;  // one for each lane
  std::array<std::array<std::uintptr_t, kMostWords>, kBanks> words_;
  std::array<std::uint64_t, kBanks> load_{};
  std::uint64_t most_ = 0;
};

}  // namespace

bool SectorSet::insert(std::uintptr_t sector) {
  if (sector / kPage != last_) {
    last_ = sector / kPage;
    auto& page = pages_[last_];
    if (!page) page = std::make_unique<std::bitset<kPage>>();
    last_page_ = page.get();
  }
  auto bit = (*last_page_)[sector % kPage];
  const bool fresh = !bit;
  bit = true;
  return fresh;
}

void SectorSet::clear() {
  pages_.clear();
  last_ = ~std::uintptr_t{0};
}

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
  loaded_.clear();
  stored_.clear();
  warps_.clear();
}

TrafficMeter::Site& TrafficMeter::site_of_warp(WarpSites& warp, const void* pc) {
  auto& [recent, number] = warp.recent[reinterpret_cast<std::uintptr_t>(pc) % warp.recent.size()];
  if (recent != pc) {
    recent = pc;
    const auto [at, fresh] = warp.numbers.try_emplace(pc, static_cast<std::uint32_t>(warp.sites.size()));
    if (fresh) warp.sites.emplace_back();
    number = at->second;
  }
  Site& site = warp.sites[number];
  if (site.used == 0) warp.touched.push_back(number);
  return site;
}

void TrafficMeter::on_access(const Lane& lane, const Access& access) {
  if (access.type == AccessType::kAtomic) {
    ++current().atomics;
    return;
  }
  const unsigned index = lane.warp->index;
  if (index >= warps_.size()) warps_.resize(index + 1);
  if (!warps_[index]) warps_[index] = std::make_unique<WarpSites>();
  Site& site = site_of_warp(*warps_[index], access.pc);
  const std::uint32_t turn = site.executed[lane.lane]++;
  if (turn == site.used) {
    if (site.used++ == site.requests.size()) site.requests.emplace_back();
    site.requests[turn].lanes = 0;
    site.requests[turn].space = access.space;
    site.requests[turn].type = access.type;
  }
  Request& request = site.requests[turn];
  request.lanes |= 1u << lane.lane;
  request.address[lane.lane] = access.address;
  request.bytes[lane.lane] = access.bytes;
}

void TrafficMeter::on_convergence(unsigned warp) {
  if (warp >= warps_.size() || !warps_[warp]) return;
  WarpSites& w = *warps_[warp];
  for (const auto number : w.touched) {
    Site& site = w.sites[number];
    for (std::size_t r = 0; r < site.used; ++r) count(site.requests[r]);
    site.used = 0;
    site.executed.fill(0);
  }
  w.touched.clear();
}

void TrafficMeter::on_ldmatrix(const std::uintptr_t* rows, int matrices) {
  auto& traffic = current().ldmatrix;
  ++traffic.requests;
  for (int m = 0; m < matrices; ++m) {
    Banks banks;
    for (int r = 0; r < 8; ++r) {
      for (std::uintptr_t w = 0; w < 4; ++w) banks.ask(rows[m * 8 + r] / kBankBytes + w);
    }
    traffic.passes += banks.passes();
    ++traffic.least_passes;
  }
}

void TrafficMeter::end_block() {
  for (unsigned warp = 0; warp < warps_.size(); ++warp) on_convergence(warp);
}

namespace {

void count_shared(std::uint32_t lanes, const std::uintptr_t* address, const std::uint32_t* bytes,
                  SharedTraffic& traffic) {
  ++traffic.requests;
  std::uint32_t widest = 4;
  for (std::uint32_t rest = lanes; rest != 0; rest &= rest - 1)
    widest = std::max(widest, bytes[std::countr_zero(rest)]);
  // 32 lanes of 4 bytes fill the banks once; wider accesses are served 16 or 8 lanes at a time.
  const unsigned lanes_per_phase = std::max<std::uint32_t>(1, 128 / widest);
  for (unsigned first = 0; first < 32; first += lanes_per_phase) {
    const std::uint32_t phase = lanes >> first & (lanes_per_phase >= 32 ? ~0u : (1u << lanes_per_phase) - 1);
    if (phase == 0) continue;
    Banks banks;
    for (std::uint32_t rest = phase; rest != 0; rest &= rest - 1) {
      const unsigned lane = first + static_cast<unsigned>(std::countr_zero(rest));
      for (std::uintptr_t at = address[lane] / kBankBytes; at <= (address[lane] + bytes[lane] - 1) / kBankBytes; ++at)
        banks.ask(at);
    }
    traffic.passes += banks.passes();
    ++traffic.least_passes;
  }
}

}  // namespace

void TrafficMeter::count(const Request& request) {
  KernelTraffic& k = current();
  const bool reads = request.type == AccessType::kRead;
  if (request.space == Space::kShared) {
    count_shared(request.lanes, request.address.data(), request.bytes.data(), reads ? k.shared_load : k.shared_store);
  } else {
    count_global(request, reads ? k.load : k.store, reads ? loaded_ : stored_);
  }
}

void TrafficMeter::count_global(const Request& request, GlobalTraffic& traffic, SectorSet& seen) {
  sectors_.clear();
  for (std::uint32_t rest = request.lanes; rest != 0; rest &= rest - 1) {
    const auto lane = static_cast<std::size_t>(std::countr_zero(rest));
    const std::uintptr_t behind = request.address[lane] + request.bytes[lane];
    for (std::uintptr_t at = request.address[lane]; at < behind;) {
      const std::uintptr_t sector = at / kSectorBytes;
      const std::uintptr_t end = std::min((sector + 1) * kSectorBytes, behind);
      const auto bytes = static_cast<std::uint32_t>(end - at);
      const std::uint32_t mask = (bytes == 32 ? ~0u : (1u << bytes) - 1) << (at % kSectorBytes);
      const auto found =
          std::find_if(sectors_.rbegin(), sectors_.rend(), [&](const auto& s) { return s.first == sector; });
      if (found != sectors_.rend())
        found->second |= mask;
      else
        sectors_.emplace_back(sector, mask);
      at = end;
    }
  }
  ++traffic.requests;
  traffic.sectors += sectors_.size();
  for (const auto& [sector, mask] : sectors_) {
    traffic.used_bytes += static_cast<std::uint64_t>(std::popcount(mask));
    traffic.unique_sectors += seen.insert(sector) ? 1 : 0;
  }
}

}  // namespace galrec::simt
