#include "gal/training/train_options.h"

#include <gtest/gtest.h>

#include "gal/options.h"
#include "kernels/common/check.h"
#include "layers/t5/config.h"

namespace galrec::gal {
namespace {

data::Config make_config() {
  data::ConfigSchema schema;
  add_gal_keys(schema);
  add_train_keys(schema);
  return data::Config(schema);
}

TEST(TrainOptions, DefaultsAreThePapers) {
  const TrainOptions o = train_options(make_config());
  EXPECT_EQ(o.lr, 1e-4);
  EXPECT_EQ(o.batch, 64);
  EXPECT_EQ(o.micro_batch, 8);
  EXPECT_EQ(o.warmup, 0.05);
  EXPECT_EQ(o.adamw.weight_decay, 1e-3);
  EXPECT_EQ(o.epochs, 20);
  EXPECT_EQ(o.patience, 3);
  EXPECT_EQ(o.metric.name(), "NDCG@10");
  const GalOptions g = GalOptions::from_config(make_config());
  EXPECT_EQ(g.loss.tau, 0.1);
  EXPECT_EQ(g.loss.l1, 0.1);
  EXPECT_EQ(g.queue.size, 512);
  EXPECT_EQ(g.queue.momentum, 0.999);
}

TEST(TrainOptions, StepsOnCudaAreCapturedInBuckets) {
  auto config = make_config();
  EXPECT_EQ(train_options(config).graph, GraphUse::kOn);
  EXPECT_EQ(train_options(config).bucket, 1024);
  config.apply_override("cuda.graph=off");
  config.apply_override("cuda.bucket=0");
  EXPECT_EQ(train_options(config).graph, GraphUse::kOff);
  EXPECT_EQ(train_options(config).bucket, 0);
  auto odd = make_config();
  odd.apply_override("cuda.bucket=100");
  EXPECT_THROW(train_options(odd), UsageError);
}

TEST(Presets, EveryOneLoadsAndNamesAModel) {
  for (const std::string& name : preset_names()) {
    auto config = make_config();
    apply_preset(config, name);
    EXPECT_EQ(config.get_string("model.preset"), name);
    EXPECT_NO_THROW(layers::T5Config::preset(name)) << name;
    EXPECT_NO_THROW(train_options(config));
    EXPECT_NO_THROW(GalOptions::from_config(config));
  }
  auto config = make_config();
  EXPECT_THROW(apply_preset(config, "huge"), UsageError);
}

TEST(Presets, LieBetweenDefaultsAndTheUser) {
  auto config = make_config();
  apply_preset(config, "nano");
  EXPECT_EQ(config.get_double("train.lr"), 1e-3);
  EXPECT_EQ(config.get_string("loss.columns"), "items");
  EXPECT_EQ(config.get_string("sample.unit"), "cut");
  const auto rates = train_options(config).dropout;
  EXPECT_EQ(rates.embedding, 0.2);
  EXPECT_EQ(rates.hidden, 0);
  config.apply_override("train.lr=5e-4");
  EXPECT_EQ(config.get_double("train.lr"), 5e-4);
  auto flan = make_config();
  apply_preset(flan, "flan-t5-base");
  EXPECT_EQ(train_options(flan).lr, 1e-4);
  EXPECT_EQ(train_options(flan).dropout.hidden, 0.1);
  EXPECT_EQ(flan.get_string("loss.columns"), "all");
}

TEST(TrainOptions, MicroBatchIsAtMostTheBatch) {
  auto config = make_config();
  config.apply_override("train.batch=4");
  EXPECT_EQ(train_options(config).micro_batch, 4);
  config.apply_override("train.metric=NDCG@x");
  EXPECT_THROW(train_options(config), UsageError);
}

}  // namespace
}  // namespace galrec::gal
