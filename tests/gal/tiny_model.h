#pragma once
// A T5 of a few hundred numbers around a small data set, for tests of the whole GAL model.

#include <memory>
#include <vector>

#include "gal/batch_builder.h"
#include "gal/model.h"
#include "gal/momentum_encoder.h"
#include "gal/negative_queue.h"
#include "tests/gal/world.h"
#include "tests/support/random.h"

namespace galrec::test {

inline layers::T5Config tiny_t5() {
  layers::T5Config t5;
  t5.vocab_size = kTextRows;
  t5.d_model = 16;
  t5.d_kv = 4;
  t5.num_heads = 3;
  t5.d_ff = 24;
  t5.num_layers = 2;
  t5.num_decoder_layers = 1;
  t5.feed_forward = layers::T5Config::FeedForward::kGatedGelu;
  t5.scale_decoder_outputs = false;
  t5.tied_head = false;
  return t5;
}

template <class T>
struct TinyModel {
  data::Dataset dataset = random_dataset(20, 15, 8, 4);
  data::Split split = data::Split::leave_one_out(dataset);
  gal::ExternalEmbeddings external = random_external(split, 6);
  CpuContext ctx;
  gal::BatchBuilder builder;
  gal::GalModel<T> model;
  gal::HopBatch batch;
  gal::NegativeQueues<T> queues{9, 16};
  autograd::Tape<T> tape{Device(ctx)}, key_tape{Device(ctx)};
  layers::DropoutRates rates;

  explicit TinyModel(const gal::MappingOptions& mapping = {}, int threads = 2, layers::T5Config t5 = tiny_t5())
      : ctx(threads),
        builder(ctx, split, default_templates(), external,
                {.history = 4, .users_per_item = 2, .item_users = 3, .items_per_user = 2}, 1),
        model({.t5 = t5,
               .text_rows = kTextRows,
               .users = 20,
               .items = 15,
               .user_dim = 6,
               .item_dim = 6,
               .mapping = mapping}) {
    model.set_external(external.user(), external.item());
    model.initialize(ctx, 7);
    // What starts at zero or one must differ for a test to see it.
    auto& store = model.parameters();
    for (const auto& span : store.spans()) {
      const auto noise = random_normal<T>(span.size, 1000 + static_cast<std::uint64_t>(span.offset), 0.1);
      auto value = store.value(store.require(span.name));
      for (std::int64_t i = 0; i < span.size; ++i) value.data[i] += noise[static_cast<std::size_t>(i)];
    }
    queues.fill_random(5);
    const auto samples = all_prefixes<gal::TrainSample>(split);
    builder.build(batch, std::span(samples).subspan(3, 5), gal::HopSet::kAll, 0);
  }

  gal::StepResult<T> forward(const gal::LossOptions& loss, autograd::Recording recording, std::uint32_t step = 0) {
    tape.reset(recording, {.seed = 3, .step = step, .stream = 0});
    return model.forward(tape, batch, &queues, loss, rates);
  }
};

}  // namespace galrec::test
