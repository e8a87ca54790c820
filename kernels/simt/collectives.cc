#include "kernels/simt/collectives.h"

namespace galrec::simt {

namespace {

struct Vote {
  unsigned predicate, result;
};
struct Match {
  std::uint64_t value;
  unsigned result;
};

}  // namespace

unsigned vote(const char* name, unsigned mask, int predicate, Place where) {
  Vote mine{predicate != 0, 0};
  collective(
      name, mask, &mine,
      [](Warp& warp, unsigned m, Place) {
        unsigned result = 0;
        for_lanes(m, [&](int lane) { result |= argument_of<Vote>(warp, lane).predicate << lane; });
        for_lanes(m, [&](int lane) { argument_of<Vote>(warp, lane).result = result; });
      },
      where);
  return mine.result;
}

unsigned match(const char* name, unsigned mask, std::uint64_t value, Place where) {
  Match mine{value, 0};
  collective(
      name, mask, &mine,
      [](Warp& warp, unsigned m, Place) {
        for_lanes(m, [&](int lane) {
          auto& to = argument_of<Match>(warp, lane);
          for_lanes(m, [&](int other) {
            to.result |= static_cast<unsigned>(argument_of<Match>(warp, other).value == to.value) << other;
          });
        });
      },
      where);
  return mine.result;
}

void sync_warp(unsigned mask, Place where) {
  collective(
      "__syncwarp", mask, nullptr,
      [](Warp& warp, unsigned m, Place) { for_lanes(m, [&](int lane) { ++warp.lanes[lane].warp_epoch; }); }, where);
}

void fail_width(int width, Place where) { fail("a shuffle of width " + std::to_string(width), where); }

}  // namespace galrec::simt
