#include "capture/live/page_spool.h"

#include <algorithm>
#include <unistd.h>
#include <utility>

namespace skbscope {

bool PageSpool::has_room() const
{
    const std::scoped_lock lock(mutex_);
    return in_memory_ < limit_ || (file_ >= 0 && file_limit_ > 0 && (in_file_ == 0 || file_end_ < file_limit_));
}

/// Written in the order of coming; when all has been taken the file begins anew.
bool PageSpool::into_file(Entry& entry, std::span<const std::uint8_t> bytes)
{
    if (in_file_ == 0) {
        file_end_ = 0;
    }
    if (file_end_ + bytes.size() > file_limit_ ||
        pwrite(file_, bytes.data(), bytes.size(), static_cast<off_t>(file_end_)) != static_cast<ssize_t>(bytes.size())) {
        file_limit_ = std::min(file_limit_, file_end_); // the disk is full: no more than this
        return false;
    }
    entry.at = file_end_;
    file_end_ += bytes.size();
    in_file_ += bytes.size();
    return true;
}

void PageSpool::push(std::uint32_t source, std::span<const std::uint8_t> bytes)
{
    const std::scoped_lock lock(mutex_);
    Entry entry{source, static_cast<std::uint32_t>(bytes.size()), 0, {}};
    // Once the file holds something what follows goes there, too, until it has been taken: memory then stays free for
    // the moment when the file takes no more.
    if (file_ < 0 || (in_memory_ < limit_ && in_file_ == 0) || !into_file(entry, bytes)) {
        entry.bytes.assign(bytes.begin(), bytes.end());
        in_memory_ += bytes.size();
    }
    entries_.push_back(std::move(entry));
}

void PageSpool::set_horizon(std::uint64_t time_ns)
{
    const std::scoped_lock lock(mutex_);
    if (!entries_.empty() && entries_.back().source == mark) {
        entries_.back().at = time_ns;
        return;
    }
    entries_.push_back({mark, 0, time_ns, {}});
}

void PageSpool::close()
{
    const std::scoped_lock lock(mutex_);
    closed_ = true;
}

PageSpool::Batch PageSpool::take(std::size_t most_bytes)
{
    Batch batch;
    std::size_t taken = 0;
    std::unique_lock lock(mutex_);
    while (!entries_.empty() && taken < most_bytes) {
        Entry entry = std::move(entries_.front());
        entries_.pop_front();
        if (entry.source == mark) {
            horizon_ = entry.at;
            continue;
        }
        taken += entry.length;
        if (entry.bytes.empty()) {
            entry.bytes.resize(entry.length);
            lock.unlock(); // nobody writes where something is that was not taken
            const bool is_whole = pread(file_, entry.bytes.data(), entry.length, static_cast<off_t>(entry.at)) ==
                                  static_cast<ssize_t>(entry.length);
            lock.lock();
            in_file_ -= entry.length;
            if (!is_whole) {
                ++batch.unreadable;
                continue;
            }
        } else {
            in_memory_ -= entry.length;
        }
        batch.pages.push_back({entry.source, std::move(entry.bytes)});
    }
    batch.horizon_ns = horizon_;
    batch.more = !entries_.empty();
    batch.ended = closed_ && entries_.empty();
    return batch;
}

std::uint64_t PageSpool::waiting() const
{
    const std::scoped_lock lock(mutex_);
    return in_memory_ + in_file_;
}

} // namespace skbscope
