// Backward in bf16: which kernels a sequence of which length gets.

#include "kernels/attention/attention_mma.h"

namespace galrec::attention_cuda {

namespace {

template <int kDim>
void backward_of(CudaContext& ctx, const BackwardArgs<bfloat16>& args, const Extents& extents) {
  constexpr int kLongestWhole = longest_whole(kDim);
  ScratchScope scratch(ctx.scratch());
  const ListRequest requests[] = {{.longest = 16},
                                  {.shortest = 17, .longest = 64},
                                  {.shortest = 65, .longest = 128},
                                  {.shortest = kLongestWhole + 1, .side = Side::kKeys, .tile = 128},
                                  {.shortest = kLongestWhole + 1, .side = Side::kQueries, .tile = 128},
                                  {.shortest = 129, .longest = 256}};
  WorkList built[6];
  build_lists(ctx, *scratch, args.common, extents, requests, kLongestWhole == 256 ? 6 : 5, built);
  const BackwardLists lists{.whole = {built[0], built[1], built[2], built[5]}, .keys = built[3], .queries = built[4]};
  mma_backward_keys<kDim>(ctx, args, lists);
  mma_backward_queries<kDim>(ctx, args, lists);
}

}  // namespace

void mma_backward(CudaContext& ctx, const BackwardArgs<bfloat16>& args, const Extents& extents) {
  if (args.common.dim <= 32) {
    backward_of<32>(ctx, args, extents);
  } else if (args.common.dim <= 64) {
    backward_of<64>(ctx, args, extents);
  } else {
    backward_of<128>(ctx, args, extents);
  }
}

}  // namespace galrec::attention_cuda
