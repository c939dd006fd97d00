#include "capture/live/page_spool.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <sys/mman.h>
#include <unistd.h>

namespace skbscope {

namespace {

constexpr std::size_t aligned(std::size_t bytes) { return (bytes + 7) & ~std::size_t{7}; }

/// Ready for the pushing thread, which so never waits for memory that nobody has touched.
constexpr std::size_t spares = 4;
/// Pieces begun until the tender is called: each call wakes a CPU.
constexpr std::size_t pieces_a_call = spares - 1;
/// Kept for use again, beyond what may be waiting.
constexpr std::size_t kept_beyond = 4;

/// Bit by bit: a kernel that does not preempt itself lets nobody else run in the middle of one.
bool write_whole(int file, std::span<const std::uint8_t> bytes, std::uint64_t at)
{
    constexpr std::size_t at_once = std::size_t{64} << 10;
    while (!bytes.empty()) {
        const std::span<const std::uint8_t> bit = bytes.first(std::min(bytes.size(), at_once));
        if (pwrite(file, bit.data(), bit.size(), static_cast<off_t>(at)) != static_cast<ssize_t>(bit.size())) {
            return false;
        }
        bytes = bytes.subspan(bit.size());
        at += bit.size();
    }
    return true;
}

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

/// Bytes from the kernel; `bytes` is null where it gave none.
struct PageSpool::Memory {
    explicit Memory(std::size_t size_wanted)
    {
        void* got = mmap(nullptr, size_wanted, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (got == MAP_FAILED) {
            return;
        }
        // The kernel clears a huge page at once, for which the readers of the traffic on this CPU would wait up to some
        // milliseconds.
        (void)madvise(got, size_wanted, MADV_NOHUGEPAGE);
        bytes = static_cast<std::uint8_t*>(got);
        size = size_wanted;
    }
    ~Memory()
    {
        if (bytes != nullptr) {
            (void)munmap(bytes, size);
        }
    }
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;

    std::uint8_t* bytes = nullptr;
    std::size_t size = 0;
};

/// Memory that has been used, or touched, and is not in use.
class PageSpool::Pool {
public:
    Pool(std::size_t size, std::size_t most) : size_(size), most_(most) { spare_.reserve(most); }

    [[nodiscard]] std::unique_ptr<Memory> take()
    {
        {
            const std::scoped_lock lock(mutex_);
            if (!spare_.empty()) {
                auto memory = std::move(spare_.back());
                spare_.pop_back();
                return memory;
            }
        }
        auto made = std::make_unique<Memory>(size_);
        return made->bytes != nullptr ? std::move(made) : nullptr;
    }
    void give(std::unique_ptr<Memory> memory)
    {
        const std::scoped_lock lock(mutex_);
        if (spare_.size() < most_) {
            spare_.push_back(std::move(memory));
        }
    }
    /// So many at least, touched.
    void have(std::size_t count)
    {
        constexpr std::size_t smallest_page = 4096;
        while (!has(count)) {
            auto made = std::make_unique<Memory>(size_);
            if (made->bytes == nullptr) {
                return;
            }
            for (std::size_t at = 0; at < size_; at += smallest_page) {
                made->bytes[at] = 0;
            }
            give(std::move(made));
        }
    }

private:
    [[nodiscard]] bool has(std::size_t count)
    {
        const std::scoped_lock lock(mutex_);
        return spare_.size() >= std::min(count, most_);
    }
    const std::size_t size_, most_;
    LendingMutex mutex_;
    std::vector<std::unique_ptr<Memory>> spare_;
};

PageSpool::PageSpool(const Room& room)
    : room_(room), pool_(std::make_shared<Pool>(room.piece, room.at_hand / room.piece + kept_beyond)),
      most_slots_(room.file >= 0 ? room.file_bytes / room.piece : 0)
{
    // The pushing thread shall not come to malloc.
    queue_.reserve((room.memory + room.file_bytes) / room.piece * 2 + 64);
    free_slots_.reserve(static_cast<std::size_t>(most_slots_));
}

PageSpool::~PageSpool() = default;

bool PageSpool::has_room() const
{
    const std::scoped_lock lock(mutex_);
    return in_memory_ < room_.memory;
}

std::uint8_t* PageSpool::room_for(std::size_t bytes)
{
    if (filling_left_ >= bytes) {
        return filling_;
    }
    auto memory = bytes <= room_.piece ? pool_->take() : nullptr;
    if (!memory) {
        return nullptr;
    }
    filling_ = memory->bytes;
    filling_left_ = memory->size;
    {
        const std::scoped_lock lock(mutex_);
        queue_.emplace_back().memory = std::move(memory);
    }
    if (++pieces_begun_ % pieces_a_call == 0) {
        call_tender(); // others will be wanted, and these may have been too many
    }
    return filling_;
}

/// What lies at filling_, the entry's head included, becomes part of the piece.
void PageSpool::add(Entry entry)
{
    std::memcpy(filling_, &entry, sizeof entry);
    const std::size_t took = sizeof entry + aligned(entry.length);
    filling_ += took;
    filling_left_ -= took;
    const std::scoped_lock lock(mutex_);
    Piece& piece = queue_.back();
    piece.last_mark = entry.source == mark ? piece.used + sizeof entry : 0;
    piece.used += took;
    piece.pages += entry.source == mark ? 0 : 1;
    in_memory_ += took;
}

std::span<std::uint8_t> PageSpool::place(std::size_t bytes)
{
    std::uint8_t* at = room_for(sizeof(Entry) + aligned(bytes));
    return at == nullptr ? std::span<std::uint8_t>() : std::span(at + sizeof(Entry), bytes);
}

void PageSpool::keep(std::uint32_t source, std::size_t length)
{
    add({source, static_cast<std::uint32_t>(length)});
}

bool PageSpool::push(std::uint32_t source, std::span<const std::uint8_t> bytes)
{
    const std::span<std::uint8_t> to = place(bytes.size());
    if (to.empty()) {
        return false;
    }
    std::memcpy(to.data(), bytes.data(), bytes.size());
    keep(source, bytes.size());
    return true;
}

void PageSpool::set_horizon(std::uint64_t time_ns)
{
    {
        // Where nothing has come since the last one that one moves on, unless it may have been read.
        const std::scoped_lock lock(mutex_);
        if (head_ < queue_.size() && queue_.back().last_mark > (queue_.size() - head_ == 1 ? seen_ : 0)) {
            std::memcpy(filling_ - sizeof time_ns, &time_ns, sizeof time_ns);
            return;
        }
    }
    std::uint8_t* at = room_for(sizeof(Entry) + sizeof time_ns);
    if (at == nullptr) {
        return; // a later one will say it
    }
    std::memcpy(at + sizeof(Entry), &time_ns, sizeof time_ns);
    add({mark, sizeof time_ns});
}

void PageSpool::close()
{
    const std::scoped_lock lock(mutex_);
    closed_ = true;
}

// ---- the taking thread

/// The front piece has been read to its end, and nothing is added to it any more.
void PageSpool::leave_front()
{
    front_.reset();
    has_front_ = false;
    at_ = until_ = 0;
    const std::scoped_lock lock(mutex_);
    queue_[head_] = {};
    ++head_;
    ++first_;
    seen_ = 0;
    if (head_ == queue_.size() || head_ > queue_.capacity() / 2) {
        queue_.erase(queue_.begin(), queue_.begin() + static_cast<std::ptrdiff_t>(head_));
        head_ = 0;
    }
}

/// The front piece's memory, read back from the file where it is there.
void PageSpool::fetch_front(Batch& batch)
{
    std::unique_ptr<Memory> memory;
    std::uint64_t slot = 0;
    std::size_t used = 0;
    {
        std::unique_lock lock(mutex_);
        const std::uint64_t serial = first_;
        while (moving_ == serial) {
            lock.unlock();
            moving_.wait(serial);
            lock.lock();
        }
        Piece& front = queue_[head_];
        front.is_taken = true;
        memory = std::move(front.memory);
        slot = front.slot;
        used = front.used;
    }
    if (slot != 0) {
        memory = pool_->take();
        const bool is_back = memory && pread(room_.file, memory->bytes, used, static_cast<off_t>((slot - 1) * room_.piece)) == static_cast<ssize_t>(used);
        const std::scoped_lock lock(mutex_);
        Piece& front = queue_[head_];
        free_slots_.push_back(slot);
        in_file_ -= used;
        if (is_back) {
            in_memory_ += used;
        } else {
            batch.unreadable += front.pages;
            front.used = 0;
        }
    }
    has_front_ = true;
    front_ = std::shared_ptr<Memory>(memory.release(), [pool = pool_](Memory* used_up) {
        if (used_up != nullptr) {
            pool->give(std::unique_ptr<Memory>(used_up));
        }
    });
}

bool PageSpool::next(Batch& batch)
{
    while (at_ == until_) {
        bool is_there = false;
        bool is_front_full = false;
        {
            const std::scoped_lock lock(mutex_);
            is_there = head_ < queue_.size();
            if (is_there && queue_[head_].is_taken) {
                until_ = seen_ = queue_[head_].used;
                is_front_full = head_ + 1 < queue_.size();
            }
        }
        if (!is_there) {
            return false;
        }
        if (!has_front_) {
            fetch_front(batch);
        } else if (at_ == until_ && is_front_full) {
            leave_front();
        } else if (at_ == until_) {
            return false;
        }
    }
    return true;
}

PageSpool::Batch PageSpool::take(std::size_t most_bytes)
{
    Batch batch;
    std::uint64_t walked = 0;
    while (walked < most_bytes && next(batch)) {
        Entry entry;
        std::memcpy(&entry, front_->bytes + at_, sizeof entry);
        const std::uint8_t* content = front_->bytes + at_ + sizeof entry;
        if (entry.source == mark) {
            std::memcpy(&horizon_, content, sizeof horizon_);
        } else {
            batch.pages.emplace_back(entry.source, std::span(content, entry.length), front_);
        }
        const std::size_t length = sizeof entry + aligned(entry.length);
        at_ += length;
        walked += length;
    }
    batch.horizon_ns = horizon_;
    const std::scoped_lock lock(mutex_);
    in_memory_ -= walked;
    batch.more = head_ < queue_.size() && (queue_.size() - head_ > 1 || at_ < queue_[head_].used);
    batch.ended = closed_ && !batch.more;
    return batch;
}

std::uint64_t PageSpool::waiting() const
{
    const std::scoped_lock lock(mutex_);
    return in_memory_ + in_file_;
}

double PageSpool::filled() const
{
    const std::uint64_t room = room_.memory + (room_.file >= 0 ? room_.file_bytes : 0);
    return std::min(static_cast<double>(waiting()) / static_cast<double>(std::max<std::uint64_t>(room, 1)), 1.0);
}

// ---- the third thread

void PageSpool::call_tender()
{
    ++calls_;
    calls_.notify_one();
}

void PageSpool::tend(const std::stop_token& stop, const std::function<void()>& each)
{
    const std::stop_callback wakes(stop, [this] { call_tender(); });
    while (!stop.stop_requested()) {
        const std::uint32_t calls = calls_;
        each();
        pool_->have(spares);
        while (spill() && !stop.stop_requested()) {
        }
        calls_.wait(calls);
    }
}

/// What came last goes first: the taking thread needs it last.
bool PageSpool::spill()
{
    std::uint64_t serial = 0;
    std::uint64_t slot = 0;
    const Memory* memory = nullptr;
    std::size_t used = 0;
    {
        const std::scoped_lock lock(mutex_);
        if (in_memory_ <= room_.at_hand || (free_slots_.empty() && slots_made_ >= most_slots_)) {
            return false;
        }
        std::size_t at = queue_.size() - 1; // that one is being filled
        while (at > head_ && (queue_[at - 1].is_taken || !queue_[at - 1].memory)) {
            --at;
        }
        if (at == head_) {
            return false;
        }
        serial = first_ + (at - 1 - head_);
        memory = queue_[at - 1].memory.get();
        used = queue_[at - 1].used;
        if (free_slots_.empty()) {
            slot = ++slots_made_;
        } else {
            slot = free_slots_.back();
            free_slots_.pop_back();
        }
        moving_ = serial;
    }
    const bool is_written = write_whole(room_.file, {memory->bytes, used}, (slot - 1) * room_.piece);
    std::unique_ptr<Memory> moved;
    {
        const std::scoped_lock lock(mutex_);
        if (is_written) {
            Piece& written = piece(serial);
            moved = std::move(written.memory);
            written.slot = slot;
            in_memory_ -= used;
            in_file_ += used;
        } else {
            most_slots_ = std::min(most_slots_, slots_made_); // the disk is full: no more than this, and not that one
        }
        moving_ = 0;
    }
    moving_.notify_all();
    if (moved) {
        pool_->give(std::move(moved));
    }
    return is_written;
}

} // namespace skbscope
