#include "gal/negative_queue.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "kernels/common/check.h"
#include "kernels/common/philox.h"
#include "kernels/common/scatter_rows.h"

namespace galrec::gal {

namespace {
constexpr std::uint32_t kStreamFill = 0x67000030u;
constexpr std::array<Queue, kQueues> kAllQueues{Queue::kU0, Queue::kU2, Queue::kI0, Queue::kI2};
std::size_t at(Queue q) {
  return static_cast<std::size_t>(q);
}
}  // namespace

std::string_view queue_name(Queue q) {
  constexpr std::array<std::string_view, kQueues> names{"u0", "u2", "i0", "i2"};
  return names[at(q)];
}

template <class T>
NegativeQueues<T>::NegativeQueues(std::int64_t capacity, std::int64_t d, MemoryResource& memory)
    : memory_(&memory), capacity_(capacity), d_(d) {
  GALREC_CHECK(capacity >= 1 && d >= 1, "queues of ({}, {})", capacity, d);
  for (auto& rows : rows_) rows = Buffer<T>::zeros(capacity * d, memory);
  user_ids_.assign(static_cast<std::size_t>(capacity), -1);
  item_ids_ = user_ids_;
  birth_.assign(static_cast<std::size_t>(capacity), 0);
  if (!memory.host_accessible()) {
    device_user_ids_ = Buffer<std::int32_t>(std::span<const std::int32_t>(user_ids_), memory);
    device_item_ids_ = Buffer<std::int32_t>(std::span<const std::int32_t>(item_ids_), memory);
  }
}

template <class T>
void NegativeQueues<T>::write_rows(Queue q, const T* host_rows) {
  memory_->upload(rows_[at(q)].data(), host_rows, static_cast<std::size_t>(capacity_ * d_) * sizeof(T));
}

template <class T>
void NegativeQueues<T>::upload_ids() {
  if (memory_->host_accessible()) return;
  const auto bytes = user_ids_.size() * sizeof(std::int32_t);
  memory_->upload(device_user_ids_.data(), user_ids_.data(), bytes);
  memory_->upload(device_item_ids_.data(), item_ids_.data(), bytes);
}

template <class T>
void NegativeQueues<T>::fill_random(std::uint64_t seed) {
  std::vector<T> rows(static_cast<std::size_t>(capacity_ * d_));
  std::vector<float> draws(static_cast<std::size_t>(d_));
  for (const auto q : kAllQueues) {
    PhiloxStream stream({.seed = seed, .step = static_cast<std::uint32_t>(q), .stream = kStreamFill});
    for (std::int64_t r = 0; r < capacity_; ++r) {
      T* row = rows.data() + r * d_;
      double norm = 0;
      for (auto& x : draws) {
        x = static_cast<float>(stream.normal());
        norm += static_cast<double>(x) * static_cast<double>(x);
      }
      norm = std::sqrt(norm);
      for (const float x : draws) *row++ = T(static_cast<Acc<T>>(static_cast<double>(x) / norm));
    }
    write_rows(q, rows.data());
  }
  std::fill(user_ids_.begin(), user_ids_.end(), -1);
  std::fill(item_ids_.begin(), item_ids_.end(), -1);
  std::fill(birth_.begin(), birth_.end(), 0);
  upload_ids();
  pointer_ = 0;
  count_ = capacity_;
}

template <class T>
View<const T, 2> NegativeQueues<T>::keys(Queue q) const {
  return View<const T, 2>(rows_[at(q)].data(), {count_, d_});
}

template <class T>
View<const std::int32_t, 1> NegativeQueues<T>::ids(Queue q) const {
  const auto& copy = is_user_queue(q) ? device_user_ids_ : device_item_ids_;
  return View<const std::int32_t, 1>(copy.size() > 0 ? copy.data() : all_ids(q).data(), {count_});
}

template <class T>
void NegativeQueues<T>::push(const Keys<T>& keys, std::span<const std::int32_t> users,
                             std::span<const std::int32_t> items) {
  const auto n = static_cast<std::int64_t>(users.size());
  GALREC_CHECK(static_cast<std::int64_t>(items.size()) == n, "{} users and {} items", n, items.size());
  for (const auto q : kAllQueues) {
    GALREC_CHECK(keys[q].rows() == n && keys[q].cols() == d_, "keys {} are ({}, {}), expected ({}, {})", queue_name(q),
                 keys[q].rows(), keys[q].cols(), n, d_);
  }
  for (std::int64_t b = std::max<std::int64_t>(0, n - capacity_); b < n;) {
    const std::int64_t r = (pointer_ + b) % capacity_;
    const std::int64_t run = std::min(n - b, capacity_ - r);  // to the end of the ring
    for (const auto q : kAllQueues)
      copy_rows<T>(*memory_, View<T, 2>(rows_[at(q)].data() + r * d_, {run, d_}), keys[q].slice_rows(b, run));
    b += run;
  }
  remember(users, items);
  upload_ids();
}

template <class T>
std::vector<std::int32_t> NegativeQueues<T>::next_rows(std::int64_t n) const {
  std::vector<std::int32_t> rows(static_cast<std::size_t>(n), -1);
  for (std::int64_t b = std::max<std::int64_t>(0, n - capacity_); b < n; ++b)
    rows[static_cast<std::size_t>(b)] = static_cast<std::int32_t>((pointer_ + b) % capacity_);
  return rows;
}

template <class T>
void NegativeQueues<T>::write(const Device& device, const Keys<T>& keys, View<const std::int32_t, 1> users,
                              View<const std::int32_t, 1> items, View<const std::int32_t, 1> rows) {
  dispatch<T>(device, [&](auto& ctx) {
    for (const auto q : kAllQueues) scatter_rows<T>(ctx, rows_[at(q)].view(capacity_, d_), keys[q], rows);
    if (memory_->host_accessible()) return;  // then the lists of the host are the only ones
    const auto column = [](const auto& v) { return View<const std::int32_t, 2>(v.data, {v.extent(0), 1}); };
    scatter_rows<std::int32_t>(ctx, device_user_ids_.view(capacity_, 1), column(users), rows);
    scatter_rows<std::int32_t>(ctx, device_item_ids_.view(capacity_, 1), column(items), rows);
  });
}

template <class T>
void NegativeQueues<T>::remember(std::span<const std::int32_t> users, std::span<const std::int32_t> items) {
  const auto n = static_cast<std::int64_t>(users.size());
  const std::vector<std::int32_t> rows = next_rows(n);
  ++pushes_;
  for (std::size_t b = 0; b < rows.size(); ++b) {
    if (rows[b] < 0) continue;
    const auto to = static_cast<std::size_t>(rows[b]);
    user_ids_[to] = users[b];
    item_ids_[to] = items[b];
    birth_[to] = pushes_;
  }
  pointer_ = (pointer_ + n) % capacity_;
  count_ = std::min(capacity_, count_ + n);
}

template <class T>
double NegativeQueues<T>::mean_age() const {
  if (count_ == 0) return 0;
  double sum = 0;
  for (std::int64_t r = 0; r < count_; ++r) sum += static_cast<double>(pushes_ - birth_[static_cast<std::size_t>(r)]);
  return sum / static_cast<double>(count_);
}

template <class T>
void NegativeQueues<T>::add_to(data::SafetensorsWriter& writer) const {
  saved_.clear();
  for (const auto q : kAllQueues) {
    saved_.push_back(on_host(*memory_, all_rows(q)));
    writer.add(fmt::format("queue.{}", queue_name(q)), {capacity_, d_},
               std::span<const T>(saved_.back()->data, static_cast<std::size_t>(capacity_ * d_)));
  }
  state_ = {pointer_, count_, pushes_};
  writer.add("queue_id.u", {capacity_}, std::span<const std::int32_t>(user_ids_));
  writer.add("queue_id.i", {capacity_}, std::span<const std::int32_t>(item_ids_));
  writer.add("queue_birth", {capacity_}, std::span<const std::int64_t>(birth_));
  writer.add("queue_state", {3}, std::span<const std::int64_t>(state_));
}

template <class T>
void NegativeQueues<T>::load(const data::CheckpointReader& reader) {
  const auto require_shape = [&](const std::string& name, const std::vector<std::int64_t>& shape) {
    if (reader.info(name).shape != shape) {
      throw DataError(fmt::format("{}: {}: got shape {}, expected {}", reader.name(), name,
                                  data::shape_text(reader.info(name).shape), data::shape_text(shape)));
    }
  };
  const auto read_ids = [&](const std::string& name, std::int64_t n) {
    require_shape(name, {n});
    return reader.read_i64(name);
  };
  std::array<std::vector<T>, kQueues> rows;
  for (const auto q : kAllQueues) {
    const std::string name = fmt::format("queue.{}", queue_name(q));
    require_shape(name, {capacity_, d_});
    const auto values = reader.read_f64(name);
    for (const double v : values) rows[at(q)].push_back(T(static_cast<Acc<T>>(v)));
  }
  const auto users = read_ids("queue_id.u", capacity_), items = read_ids("queue_id.i", capacity_),
             birth = read_ids("queue_birth", capacity_);
  const auto state = read_ids("queue_state", 3);
  if (state[0] < 0 || state[0] >= capacity_ || state[1] < 0 || state[1] > capacity_) {
    throw DataError(fmt::format("{}: queue_state: got pointer {} and count {}, expected at most {}", reader.name(),
                                state[0], state[1], capacity_));
  }
  for (const auto q : kAllQueues) write_rows(q, rows[at(q)].data());
  std::copy(users.begin(), users.end(), user_ids_.begin());
  std::copy(items.begin(), items.end(), item_ids_.begin());
  birth_ = birth;
  upload_ids();
  pointer_ = state[0];
  count_ = state[1];
  pushes_ = state[2];
}

template <class T>
void NegativeQueues<T>::set_state(const Keys<T>& all_rows, std::span<const std::int32_t> users,
                                  std::span<const std::int32_t> items, std::int64_t pointer, std::int64_t count) {
  GALREC_CHECK(static_cast<std::int64_t>(users.size()) == capacity_ &&
               static_cast<std::int64_t>(items.size()) == capacity_);
  GALREC_CHECK(pointer >= 0 && pointer < capacity_ && count >= 0 && count <= capacity_, "pointer {}, count {} of {}",
               pointer, count, capacity_);
  for (const auto q : kAllQueues) {
    GALREC_CHECK(all_rows[q].rows() == capacity_ && all_rows[q].cols() == d_ && all_rows[q].is_dense(), "queue {}", queue_name(q));
    write_rows(q, all_rows[q].data);
  }
  user_ids_.assign(users.begin(), users.end());
  item_ids_.assign(items.begin(), items.end());
  std::fill(birth_.begin(), birth_.end(), pushes_);
  upload_ids();
  pointer_ = pointer;
  count_ = count;
}

template class NegativeQueues<float>;
template class NegativeQueues<double>;
template class NegativeQueues<bfloat16>;

}  // namespace galrec::gal
