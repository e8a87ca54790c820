#include "gal/recommenders/lightgcn.h"
#include "gal/recommenders/pretrain.h"
#include "gal/recommenders/sasrec.h"

namespace galrec::gal {

std::unique_ptr<Recommender> make_recommender(const Device& device, const std::string& kind, const data::Split& split, const data::Config& config,
                                              std::uint64_t seed) {
  if (kind == "lightgcn") return std::make_unique<LightGcn>(device, split, lightgcn_options(config, seed));
  if (kind == "sasrec") return std::make_unique<SasRec>(device, split, sasrec_options(config, seed));
  throw UsageError(fmt::format("unknown recommender '{}': expected lightgcn or sasrec", kind));
}

}  // namespace galrec::gal
