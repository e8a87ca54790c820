#include "gal/external_embeddings.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "data/npy.h"
#include "data/safetensors_writer.h"
#include "tests/gal/world.h"
#include "tests/support/expect_error.h"

namespace galrec::gal {
namespace {

using data::ItemId;

struct Files {
  data::Dataset dataset = test::make_dataset({{0, 1, 2, 3}, {2, 1, 0, 3}, {3, 1, 2}}, 4);
  data::Split split = data::Split::leave_one_out(dataset);
  test::TemporaryFolder folder;
  std::vector<float> user = std::vector<float>(6), item = std::vector<float>(8), prefix = std::vector<float>(8);
  std::vector<std::int64_t> user_shape{3, 2};

  Files() {
    for (std::size_t i = 0; i < 8; ++i) {
      item[i] = static_cast<float>(i) + 0.5f;
      prefix[i] = static_cast<float>(i * i);
    }
    for (std::size_t i = 0; i < 6; ++i) user[i] = -static_cast<float>(i);
  }
  void write(const std::string& kind, bool with_prefix = true, bool with_user = true) {
    data::SafetensorsWriter writer;
    if (with_user) writer.add("user", user_shape, std::span<const float>(user));
    writer.add("item", {4, 2}, std::span<const float>(item));
    if (with_prefix) writer.add("item_prefix", {4, 2}, std::span<const float>(prefix));
    writer.set_metadata({{"kind", kind}});
    writer.write(folder / "embeddings.safetensors");
  }
  ExternalEmbeddings load() { return ExternalEmbeddings::load(folder.path(), split); }
};

std::vector<float> prefix_vector(const ExternalEmbeddings& e, const std::vector<ItemId>& history) {
  std::vector<float> out(static_cast<std::size_t>(e.user_dim()), -7);
  const std::span<const ItemId> one(history);
  e.prefix_user_vectors(std::span(&one, 1), view_of(out, 1, e.user_dim()));
  return out;
}

TEST(ExternalEmbeddings, LightGcnPrefixIsTheNormalisedSum) {
  Files f;
  f.write("lightgcn");
  const auto e = f.load();
  EXPECT_EQ(e.kind(), ExternalKind::kLightGcn);
  EXPECT_EQ(e.user()(2, 1), -5.0f);
  EXPECT_EQ(e.item()(1, 0), 2.5f);
  const auto v = prefix_vector(e, {1, 3, 2});
  EXPECT_NEAR(v[0], (4 + 36 + 16) / std::sqrt(3.0), 1e-5);
  EXPECT_NEAR(v[1], (9 + 49 + 25) / std::sqrt(3.0), 1e-5);
  EXPECT_EQ(prefix_vector(e, {}), (std::vector<float>{0, 0}));
}

TEST(ExternalEmbeddings, TextAndMatricesTakeMeans) {
  Files f;
  data::write_npy(f.folder / "m.npy", 4, 2, f.item.data());
  const auto e = ExternalEmbeddings::load(f.folder / "m.npy", f.split);
  EXPECT_EQ(e.kind(), ExternalKind::kMatrix);
  // User 0 trains on items 0 and 1, user 2 on item 3 alone.
  EXPECT_EQ(e.user()(0, 0), 1.5f);
  EXPECT_EQ(e.user()(2, 1), 7.5f);
  EXPECT_EQ(prefix_vector(e, {0, 2}), (std::vector<float>{2.5f, 3.5f}));
  f.write("text", false, false);
  EXPECT_EQ(f.load().kind(), ExternalKind::kText);
  EXPECT_EQ(prefix_vector(f.load(), {1}), (std::vector<float>{2.5f, 3.5f}));
}

TEST(ExternalEmbeddings, SasRecAsksItsModel) {
  Files f;
  f.write("sasrec", false);
  auto e = f.load();
  EXPECT_TRUE(e.needs_prefix_model());
  test::expect_error<UsageError>([&] { prefix_vector(e, {1}); }, {"external.user_vector", "model"});
  e.set_prefix_model([](std::span<const std::span<const ItemId>> histories, View<float, 2> out) {
    for (std::size_t i = 0; i < histories.size(); ++i)
      out(static_cast<std::int64_t>(i), 1) = static_cast<float>(histories[i].back());
  });
  EXPECT_FALSE(e.needs_prefix_model());
  EXPECT_EQ(prefix_vector(e, {1, 3})[1], 3.0f);
}

TEST(ExternalEmbeddings, RejectsWhatDoesNotFit) {
  Files f;
  f.item[5] = std::numeric_limits<float>::quiet_NaN();
  f.write("lightgcn");
  test::expect_error<DataError>([&] { f.load(); }, {"embeddings.safetensors", "item", "row 2"});
  data::write_npy(f.folder / "nan.npy", 4, 2, f.item.data());
  test::expect_error<DataError>([&] { ExternalEmbeddings::load(f.folder / "nan.npy", f.split); }, {"nan.npy", "row 2"});
  f.item[5] = 0;
  data::write_npy(f.folder / "short.npy", 3, 2, f.item.data());
  test::expect_error<DataError>([&] { ExternalEmbeddings::load(f.folder / "short.npy", f.split); },
                                {"short.npy", "[3, 2]", "4 rows"});
  f.write("lightgcn", false);
  test::expect_error<DataError>([&] { f.load(); }, {"item_prefix"});
  f.write("word2vec");
  test::expect_error<DataError>([&] { f.load(); }, {"kind", "word2vec"});
  f.user_shape = {2, 3};
  f.write("lightgcn");
  test::expect_error<DataError>([&] { f.load(); }, {"user", "[2, 3]", "3 rows"});
}

TEST(ExternalEmbeddings, RandomVectorsDependOnTheSeed) {
  Files f;
  const auto a = ExternalEmbeddings::random(f.split, 3, 1), b = ExternalEmbeddings::random(f.split, 3, 1),
             c = ExternalEmbeddings::random(f.split, 3, 2);
  EXPECT_EQ(a.item()(3, 2), b.item()(3, 2));
  EXPECT_NE(a.item()(3, 2), c.item()(3, 2));
  EXPECT_NEAR(a.user()(0, 0), (a.item()(0, 0) + a.item()(1, 0)) / 2, 1e-6);
}

}  // namespace
}  // namespace galrec::gal
