#include "capture/live/page_spool.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <sys/mman.h>
#include <unistd.h>

namespace skbscope {

namespace {

constexpr std::size_t piece_bytes = std::size_t{2} << 20; ///< a huge page's worth: one page fault instead of 512

} // namespace

SpooledPage::SpooledPage(std::uint32_t from, std::vector<std::uint8_t> content) : source(from)
{
    auto owner = std::make_shared<const std::vector<std::uint8_t>>(std::move(content));
    bytes = *owner;
    keeps = std::move(owner);
}

LendingMutex::LendingMutex()
{
    pthread_mutexattr_t kind;
    (void)pthread_mutexattr_init(&kind);
    (void)pthread_mutexattr_setprotocol(&kind, PTHREAD_PRIO_INHERIT);
    (void)pthread_mutex_init(&mutex_, &kind);
    (void)pthread_mutexattr_destroy(&kind);
}

PageSpool::Piece::Piece(std::size_t bytes)
{
    void* got = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (got == MAP_FAILED) {
        return;
    }
    (void)madvise(got, bytes, MADV_HUGEPAGE);
    memory = static_cast<std::uint8_t*>(got);
    size = bytes;
}

PageSpool::Piece::~Piece()
{
    if (memory != nullptr) {
        (void)munmap(memory, size);
    }
}

PageSpool::PageSpool(std::size_t limit_bytes, int file, std::uint64_t file_limit) : file_limit_(file_limit), limit_(limit_bytes), file_(file)
{
    constexpr std::size_t usual = 1 << 16;
    come_.reserve(usual);
    taken_.reserve(usual);
}

bool PageSpool::has_room() const
{
    const std::scoped_lock lock(mutex_);
    return in_memory_ < limit_ || (file_ >= 0 && file_limit_ > 0 && (in_file_ == 0 || file_end_ < file_limit_));
}

/// Written in the order of coming; when all has been taken the file begins anew.
bool PageSpool::into_file(Entry& entry, std::span<const std::uint8_t> bytes)
{
    {
        const std::scoped_lock lock(mutex_);
        file_end_ = in_file_ == 0 ? 0 : file_end_;
        entry.at = file_end_;
    }
    const bool is_written = entry.at + bytes.size() <= file_limit_ &&
                            pwrite(file_, bytes.data(), bytes.size(), static_cast<off_t>(entry.at)) == static_cast<ssize_t>(bytes.size());
    const std::scoped_lock lock(mutex_);
    if (!is_written) {
        file_limit_ = std::min(file_limit_, entry.at); // the disk is full: no more than this
        return false;
    }
    file_end_ = entry.at + bytes.size();
    in_file_ += bytes.size();
    return true;
}

bool PageSpool::into_memory(Entry& entry, std::span<const std::uint8_t> bytes)
{
    if (!filling_ || filling_->used + bytes.size() > filling_->size) {
        filling_ = std::make_shared<Piece>(std::max(piece_bytes, bytes.size()));
    }
    if (filling_->memory == nullptr) {
        filling_.reset();
        return false;
    }
    std::memcpy(filling_->memory + filling_->used, bytes.data(), bytes.size());
    entry.piece = filling_;
    entry.at = filling_->used;
    filling_->used += bytes.size();
    return true;
}

void PageSpool::push(std::uint32_t source, std::span<const std::uint8_t> bytes)
{
    Entry entry{source, static_cast<std::uint32_t>(bytes.size()), 0, nullptr};
    bool prefers_memory = true;
    {
        const std::scoped_lock lock(mutex_);
        // Once the file holds something what follows goes there, too, until it has been taken: memory then stays free for
        // the moment when the file takes no more.
        prefers_memory = file_ < 0 || (in_memory_ < limit_ && in_file_ == 0);
    }
    const bool is_filed = !prefers_memory && into_file(entry, bytes);
    const bool is_kept = is_filed || into_memory(entry, bytes);
    const std::scoped_lock lock(mutex_);
    if (!is_kept) {
        ++refused_;
        return;
    }
    in_memory_ += is_filed ? 0 : bytes.size();
    come_.push_back(std::move(entry));
}

void PageSpool::set_horizon(std::uint64_t time_ns)
{
    const std::scoped_lock lock(mutex_);
    if (!come_.empty() && come_.back().source == mark) {
        come_.back().at = time_ns;
        return;
    }
    come_.push_back({mark, 0, time_ns, nullptr});
}

void PageSpool::close()
{
    const std::scoped_lock lock(mutex_);
    closed_ = true;
}

bool PageSpool::fetch()
{
    taken_.clear();
    next_ = 0;
    const std::scoped_lock lock(mutex_);
    std::swap(taken_, come_);
    return !taken_.empty();
}

PageSpool::Batch PageSpool::take(std::size_t most_bytes)
{
    Batch batch;
    std::uint64_t from_memory = 0;
    std::uint64_t from_file = 0;
    while (from_memory + from_file < most_bytes && (next_ < taken_.size() || fetch())) {
        Entry& entry = taken_[next_++];
        if (entry.source == mark) {
            horizon_ = entry.at;
        } else if (entry.piece) {
            from_memory += entry.length;
            batch.pages.emplace_back(entry.source, std::span(entry.piece->memory + entry.at, entry.length), std::move(entry.piece));
        } else {
            from_file += entry.length;
            std::vector<std::uint8_t> bytes(entry.length);
            if (pread(file_, bytes.data(), bytes.size(), static_cast<off_t>(entry.at)) == static_cast<ssize_t>(bytes.size())) {
                batch.pages.emplace_back(entry.source, std::move(bytes));
            } else {
                ++batch.unreadable;
            }
        }
    }
    batch.horizon_ns = horizon_;
    const std::scoped_lock lock(mutex_);
    batch.unreadable += std::exchange(refused_, 0);
    in_memory_ -= from_memory;
    in_file_ -= from_file;
    batch.more = next_ < taken_.size() || !come_.empty();
    batch.ended = closed_ && !batch.more;
    return batch;
}

std::uint64_t PageSpool::waiting() const
{
    const std::scoped_lock lock(mutex_);
    return in_memory_ + in_file_;
}

} // namespace skbscope
