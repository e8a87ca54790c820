#include "kernels/simt/instrument/instrument.h"

#include <array>
#include <cstdlib>
#include <memory>
#include <set>
#include <string_view>
#include <tuple>
#include <utility>

#include "kernels/common/check.h"
#include "kernels/simt/async_copies.h"
#include "kernels/simt/device_memory.h"
#include "kernels/simt/fiber.h"
#include "kernels/simt/instrument/race_detector.h"
#include "kernels/simt/instrument/sites.h"
#include "kernels/simt/observer.h"

namespace galrec::simt {

namespace {

constexpr std::uint64_t kFlopsBf16 = 2 * 16 * 8 * 16, kFlopsTf32 = 2 * 16 * 8 * 8;

class Instrument final : public Observer {
 public:
  static Instrument& shared() {
    static Instrument instrument;
    return instrument;
  }

  void set(Watch watch) {
    watch_ = watch;
    set_observer(watch == Watch::kNone ? nullptr : this);
  }
  Watch watch() const { return watch_; }
  TrafficMeter& meter() { return meter_; }

  void launch_begins(const Launch& launch) override {
    known_ = {};
    races_.begin_launch();
    if (watch_ != Watch::kTraffic) return;
    const auto volume = [](dim3 d) { return std::uint64_t{d.x} * d.y * d.z; };
    meter_.begin_launch(name_of_kernel(launch.kernel), volume(launch.grid), volume(launch.block), launch.shared_bytes);
  }
  void launch_ends(const Launch&) override {
    if (watch_ == Watch::kTraffic) meter_.end_launch();
  }
  void verify_launch(const Launch&) override {
    const auto found = races_.take_reports();
    if (found.empty()) return;
    std::string text;
    for (const auto& report : found) text += (text.empty() ? "" : "\n  ") + report;
    throw Error(text);
  }

  void block_begins(const Block& block) override {
    if (watch_ == Watch::kRaces) races_.begin_block(block.shared_bytes);
  }
  void block_ends(const Block&) override {
    if (watch_ == Watch::kTraffic) meter_.end_block();
  }
  void block_barrier(const Block&, Place) override {
    if (watch_ == Watch::kTraffic) meter_.on_block_barrier();
  }
  void warp_operation(const Warp& warp, const char*, unsigned mask, Place) override {
    if (watch_ == Watch::kTraffic && mask == warp.exists) meter_.on_convergence(warp.index);
  }
  void mma(const Warp&, MatrixShape shape, Place) override {
    if (watch_ == Watch::kTraffic) meter_.on_mma(shape == MatrixShape::kM16N8K16Bf16 ? kFlopsBf16 : kFlopsTf32);
  }

  void ldmatrix(const Warp& warp, const void* const* rows, int matrices, Place where) override {
    if (watch_ == Watch::kTraffic) {
      std::uintptr_t addresses[32] = {};
      for (int l = 0; l < matrices * 8; ++l) addresses[l] = reinterpret_cast<std::uintptr_t>(rows[l]);
      meter_.on_ldmatrix(addresses, matrices);
      return;
    }
    // Row r of a matrix goes to lanes 4r to 4r + 3; two of them are enough to meet any writer as another lane.
    for (int l = 0; l < matrices * 8; ++l) {
      const Access access{reinterpret_cast<std::uintptr_t>(rows[l]), 16, AccessType::kRead, Space::kShared,
                          site_of(where)};
      observe(warp.lanes[4 * (l % 8)], access);
      observe(warp.lanes[4 * (l % 8) + 1], access);
    }
  }

  void copy_begins(const Lane& lane, const AsyncCopy& copy) override {
    if (copy.valid > 0) observe(lane, read_of(copy));
    observe(lane, write_of(copy));  // the bytes may land at any time from now on
  }
  void copy_ends(const Lane& lane, const AsyncCopy& copy) override {
    if (watch_ == Watch::kRaces) observe(lane, write_of(copy));
  }

  void observe(const Lane& lane, const Access& access) {
    if (watch_ == Watch::kRaces) {
      races_.on_access(lane, access);
    } else {
      meter_.on_access(lane, access);
    }
  }

  bool is_device_memory(const void* p) {
    const auto* at = static_cast<const std::byte*>(p);
    Allocation& known = known_[(reinterpret_cast<std::uintptr_t>(p) >> 16) % known_.size()];
    if (known.begin == nullptr || at < known.begin || at >= known.begin + known.bytes) {
      const Allocation found = find_allocation(p);
      if (found.begin == nullptr) return false;
      known = found;
    }
    return true;
  }

 private:
  static Access read_of(const AsyncCopy& copy) {
    return {reinterpret_cast<std::uintptr_t>(copy.from), static_cast<std::uint32_t>(copy.valid), AccessType::kRead,
            Space::kGlobal, site_of(copy.where)};
  }
  static Access write_of(const AsyncCopy& copy) {
    return {reinterpret_cast<std::uintptr_t>(copy.to), static_cast<std::uint32_t>(copy.bytes), AccessType::kWrite,
            Space::kShared, static_cast<const char*>(site_of(copy.where)) + 1};
  }

  Instrument() {
    const char* value = std::getenv("GALREC_SIMT_WATCH");
    const std::string_view watch = value != nullptr ? value : "race";
    if (watch != "race" && watch != "meter" && watch != "none")
      throw UsageError(fmt::format("GALREC_SIMT_WATCH={}: expected race, meter or none", watch));
    set(watch == "race" ? Watch::kRaces : watch == "meter" ? Watch::kTraffic : Watch::kNone);
  }

  Watch watch_ = Watch::kNone;
  RaceDetector races_;
  TrafficMeter meter_;
  std::array<Allocation, 64> known_{};  // where the last accesses to global memory lay, by their address
};

// Watching begins before the first launch.
const Watch kAtStart = Instrument::shared().watch();

}  // namespace

void set_watch(Watch watch) {
  Instrument::shared().set(watch);
}
Watch current_watch() {
  return Instrument::shared().watch();
}
const std::map<std::string, KernelTraffic>& metered_kernels() {
  return Instrument::shared().meter().kernels();
}
void clear_metered_kernels() {
  Instrument::shared().meter().clear();
}

void observe_access(const void* p, std::uint32_t bytes, AccessType type, const void* pc) {
  const Lane* lane = running_lane;
  if (lane == nullptr || observer() == nullptr) return;
  const auto* at = static_cast<const std::byte*>(p);
  const Block& block = *lane->block;
  Instrument& instrument = Instrument::shared();
  if (at >= block.shared && at < block.shared + block.shared_bytes) {
    instrument.observe(*lane, {reinterpret_cast<std::uintptr_t>(p), bytes, type, Space::kShared, pc});
  } else if (!lane->fiber->holds(p) && instrument.is_device_memory(p)) {
    instrument.observe(*lane, {reinterpret_cast<std::uintptr_t>(p), bytes, type, Space::kGlobal, pc});
  }
}

}  // namespace galrec::simt
