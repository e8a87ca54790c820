#include "kernels/simt/schedule.h"

#include <bit>
#include <cstdlib>
#include <numeric>
#include <string>
#include <thread>

#include "kernels/common/check.h"
#include "kernels/simt/streams.h"

namespace galrec::simt {

namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

Order order_from(const char* name) {
  const std::string value = variable(name);
  if (value.empty() || value == "forward") return Order::kForward;
  if (value == "reverse") return Order::kReverse;
  if (value == "shuffled") return Order::kShuffled;
  throw UsageError(fmt::format("{}={}: expected forward, reverse or shuffled", name, value));
}

StreamMode mode_from(const char* name) {
  const std::string value = variable(name);
  if (value.empty() || value == "immediate") return StreamMode::kImmediate;
  if (value == "deferred") return StreamMode::kDeferred;
  throw UsageError(fmt::format("{}={}: expected immediate or deferred", name, value));
}

std::uint64_t number_from(const char* name, std::uint64_t otherwise) {
  const std::string value = variable(name);
  if (value.empty()) return otherwise;
  char* end = nullptr;
  const std::uint64_t number = std::strtoull(value.c_str(), &end, 10);
  if (*end != '\0') throw UsageError(fmt::format("{}={}: expected a number", name, value));
  return number;
}

Schedule from_environment() {
  Schedule schedule;
  schedule.lanes = order_from("GALREC_SIMT_LANES");
  schedule.blocks = order_from("GALREC_SIMT_BLOCKS");
  schedule.streams = mode_from("GALREC_SIMT_STREAMS");
  schedule.seed = number_from("GALREC_SIMT_SEED", 1);
  schedule.os_threads = static_cast<int>(number_from("GALREC_SIMT_THREADS", 0));
  if (schedule.os_threads <= 0) {
    // OMP_NUM_THREADS may be a list, one number for each level of nesting.
    const int wanted = std::atoi(variable("OMP_NUM_THREADS").c_str());
    schedule.os_threads = wanted > 0 ? wanted : static_cast<int>(std::thread::hardware_concurrency());
  }
  return schedule;
}

Schedule& schedule_in_force() {
  static Schedule schedule = from_environment();
  return schedule;
}

}  // namespace

Schedule current_schedule() { return schedule_in_force(); }

ScheduleScope::ScheduleScope(const Schedule& schedule) : before_(schedule_in_force()) {
  drain_all();  // work of deferred streams belongs to the schedule under which it was queued
  schedule_in_force() = schedule;
  if (schedule.os_threads <= 0) schedule_in_force().os_threads = before_.os_threads;
}
ScheduleScope::~ScheduleScope() {
  drain_all();
  schedule_in_force() = before_;
}

unsigned pick(unsigned ready, Order order, OrderGenerator& generator) {
  if (order == Order::kForward) return static_cast<unsigned>(std::countr_zero(ready));
  if (order == Order::kReverse) return 31u - static_cast<unsigned>(std::countl_zero(ready));
  for (auto skip = generator.next() % static_cast<unsigned>(std::popcount(ready)); skip > 0; --skip) ready &= ready - 1;
  return static_cast<unsigned>(std::countr_zero(ready));
}

BlockOrder::BlockOrder(const Schedule& schedule, std::uint64_t count) : count_(count) {
  if (schedule.blocks == Order::kReverse) {
    factor_ = count - 1;  // -1 modulo count
    offset_ = count - 1;
  } else if (schedule.blocks == Order::kShuffled && count > 2) {
    OrderGenerator generator(schedule.seed);
    offset_ = generator.next() % count;
    do {
      factor_ = 1 + generator.next() % (count - 1);
    } while (std::gcd(factor_, count) != 1);
  }
}

std::uint64_t BlockOrder::operator[](std::uint64_t position) const {
  return static_cast<std::uint64_t>((static_cast<unsigned __int128>(factor_) * position + offset_) % count_);
}

}  // namespace galrec::simt
