#include "capture/trace_dat_records.h"

#include "capture/names.h"

#include <algorithm>
#include <array>
#include <condition_variable>
#include <deque>
#include <exception>
#include <fmt/format.h>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <tuple>
#include <utility>

namespace skbscope::trace_dat {

namespace {

using Window = std::vector<std::uint8_t>;

/// Records that are handed over together.
struct Batch {
    std::vector<RawRecord> records;
    std::vector<Window> left; ///< windows that were read to their end meanwhile: this batch or earlier ones point into them
};

/// Numbers for what devices are called: who makes sense of the records need not compare letters.
class DeviceNumbers {
public:
    explicit DeviceNumbers(const std::vector<EventField>& fields) : fields_(&fields) {}

    /// 0: it names none, or by more than 16 bytes.
    [[nodiscard]] std::uint16_t of(const RawRecord& record)
    {
        if (record.event_id >= fields_->size() || !(*fields_)[record.event_id]) {
            return 0;
        }
        const ShortBytes name((*fields_)[record.event_id].bytes(record.data));
        const auto& [known, number] = recent_[name.place()];
        return name.size != 0 && name == known ? number : looked_up(name);
    }

private:
    std::uint16_t looked_up(const ShortBytes& name)
    {
        constexpr std::size_t most = 0xffff;
        if (name.size == 0) {
            return 0;
        }
        const std::tuple key(name.first, name.last, name.size);
        auto at = numbers_.find(key);
        if (at == numbers_.end()) {
            if (numbers_.size() == most) {
                return 0;
            }
            at = numbers_.emplace(key, static_cast<std::uint16_t>(numbers_.size() + 1)).first;
        }
        recent_[name.place()] = {name, at->second};
        return at->second;
    }

    const std::vector<EventField>* fields_;
    std::map<std::tuple<std::uint64_t, std::uint64_t, std::size_t>, std::uint16_t> numbers_;
    std::array<std::pair<ShortBytes, std::uint16_t>, 16> recent_; ///< by ShortBytes::place()
};

/// What the readers of all CPUs share.
struct Reading {
    explicit Reading(const RecordSource& source) : devices(source.device_names) {}
    DeviceNumbers devices;
    Batch* filling = nullptr;    ///< takes windows that are left
    std::vector<Window> windows; ///< nobody points into them any more
    std::uint64_t bytes = 0;     ///< of the file, read so far
};

/// One CPU's records, page by page.
class CpuReader {
public:
    CpuReader(const RecordSource& source, const CpuPages& data, Reading& shared)
        : source_(&source), data_(&data), shared_(&shared), pages_(data.cpu, source.time_offset)
    {
    }

    [[nodiscard]] const RawRecord& record() const { return record_; }
    bool next()
    {
        while (!pages_.next(record_)) {
            if (!next_page()) {
                return false;
            }
        }
        record_.device_name = shared_->devices.of(record_);
        return true;
    }
    void tell_damage(std::vector<std::string>& damage) const
    {
        if (pages_.broken_pages() != 0) {
            damage.push_back(fmt::format("{} pages of CPU {} are damaged: of each, what stands before the damage is kept",
                                         pages_.broken_pages(), data_->cpu));
        }
        if (broken_pieces_ != 0) {
            damage.push_back(fmt::format("{} of {} batches of records of CPU {} do not unpack and are lost",
                                         broken_pieces_, data_->pieces.size(), data_->cpu));
        }
        if (missing_bytes_ != 0) {
            damage.push_back(fmt::format("{} bytes of the records of CPU {} could not be read", missing_bytes_, data_->cpu));
        }
    }

private:
    /// What is read of a plain file at a time.
    static constexpr std::size_t window_size = std::size_t{256} << 10;

    bool next_page()
    {
        while (at_ + source_->page_size > window_.size()) {
            if (!next_window()) {
                return false;
            }
        }
        (void)pages_.load(Bytes(window_).subspan(at_, source_->page_size));
        at_ += source_->page_size;
        return true;
    }

    bool next_window()
    {
        if (piece_ >= data_->pieces.size()) {
            return false;
        }
        const Piece& piece = data_->pieces[piece_];
        at_ = 0;
        leave_window();
        if (piece.unpacked != 0) {
            ++piece_;
            packed_.resize(static_cast<std::size_t>(piece.size));
            packed_.resize(source_->file->read(piece.offset, packed_));
            shared_->bytes += piece.size;
            window_ = unpack(source_->packing, packed_, piece.unpacked);
            broken_pieces_ += window_.empty() ? 1 : 0;
            return true;
        }
        const std::uint64_t left = piece.size - done_;
        const auto wanted =
            static_cast<std::size_t>(std::min<std::uint64_t>(left, std::max(window_size, source_->page_size)));
        window_.resize(wanted);
        window_.resize(source_->file->read(piece.offset + done_, window_));
        missing_bytes_ += wanted - window_.size();
        shared_->bytes += wanted;
        done_ += wanted;
        if (done_ == piece.size) {
            ++piece_;
            done_ = 0;
        }
        return true;
    }

    /// Records that were handed over still point into it.
    void leave_window()
    {
        if (window_.capacity() != 0) {
            shared_->filling->left.push_back(std::move(window_));
        }
        window_ = {};
        if (source_->packing == Packing::none && !shared_->windows.empty()) { // unpacking brings its own
            window_ = std::move(shared_->windows.back());
            shared_->windows.pop_back();
        }
    }

    const RecordSource* source_;
    const CpuPages* data_;
    Reading* shared_;
    RingPages pages_;
    Window window_;
    std::vector<std::uint8_t> packed_;
    std::size_t at_ = 0;     ///< of the next page in the window
    std::size_t piece_ = 0;
    std::uint64_t done_ = 0; ///< bytes of the piece
    std::size_t broken_pieces_ = 0;
    std::uint64_t missing_bytes_ = 0;
    RawRecord record_;
};

/// All CPUs' records in time order, a batch at a time.
class Merge {
public:
    explicit Merge(const RecordSource& source) : source_(&source), shared_(source) { readers_.reserve(source.cpus.size()); }

    /// Empties the batch, whose windows serve again, and fills it. False: nothing follows behind it.
    bool fill(Batch& batch)
    {
        batch.records.clear();
        for (Window& window : batch.left) {
            if (source_->packing == Packing::none) {
                shared_.windows.push_back(std::move(window));
            }
        }
        batch.left.clear();
        shared_.filling = &batch;
        if (readers_.empty()) {
            begin();
        }
        // Few CPUs have records: taking the smallest by looking at each beats a heap.
        while (!heads_.empty()) {
            auto first = heads_.begin();
            std::uint64_t until = ~std::uint64_t{0}; // time of the second
            for (auto head = std::next(first); head != heads_.end(); ++head) {
                if ((*head)->record().time_ns < (*first)->record().time_ns) {
                    until = (*first)->record().time_ns;
                    first = head;
                } else {
                    until = std::min(until, (*head)->record().time_ns);
                }
            }
            // Of equal times the CPU that stands first goes first.
            const bool stands_first = first == heads_.begin();
            CpuReader& reader = **first;
            bool more = true;
            do {
                if (batch.records.size() == records_a_batch) {
                    return true;
                }
                batch.records.push_back(reader.record());
                more = reader.next();
            } while (more && (reader.record().time_ns < until || (stands_first && reader.record().time_ns == until)));
            if (!more) {
                heads_.erase(first);
            }
        }
        return false;
    }
    [[nodiscard]] std::uint64_t bytes() const { return shared_.bytes; }
    [[nodiscard]] std::vector<std::string> damage() const
    {
        std::vector<std::string> damage;
        for (const CpuReader& reader : readers_) {
            reader.tell_damage(damage);
        }
        return damage;
    }

private:
    /// A batch stays in the cache of the core that takes it.
    static constexpr std::size_t records_a_batch = 2048;

    void begin()
    {
        for (const CpuPages& cpu : source_->cpus) {
            readers_.emplace_back(*source_, cpu, shared_);
            if (readers_.back().next()) {
                heads_.push_back(&readers_.back());
            }
        }
    }

    const RecordSource* source_;
    Reading shared_;
    std::vector<CpuReader> readers_;
    std::vector<CpuReader*> heads_;
};

bool is_cancelled(const WalkOptions& options)
{
    return options.progress != nullptr && options.progress->is_cancelled();
}

void walk_here(Merge& merge, const TakeRecords& take, const WalkOptions& options)
{
    Batch batch;
    for (bool more = true; more && !is_cancelled(options);) {
        more = merge.fill(batch);
        take(batch.records);
        if (options.progress != nullptr) {
            options.progress->reach(merge.bytes());
            options.progress->count(batch.records.size());
        }
    }
}

/// Batches go round between the thread that fills them and the one that takes them. They go back several at a time, so
/// that neither thread is woken for each.
class ReaderAhead {
public:
    ReaderAhead(Merge& merge, const WalkOptions& options) : merge_(merge), options_(options), batches_(batch_count)
    {
        for (Batch& batch : batches_) {
            empty_.push_back(&batch);
        }
        thread_ = std::thread([this] { run(); });
    }
    ReaderAhead(const ReaderAhead&) = delete;
    ReaderAhead& operator=(const ReaderAhead&) = delete;
    ~ReaderAhead()
    {
        {
            const std::lock_guard guard(lock_);
            stop_ = true;
        }
        has_empty_.notify_one();
        thread_.join();
    }

    /// The next batch that is not empty, good until the call after; null: there is none. Throws what the reading threw.
    const Batch* next()
    {
        if (taken_ != nullptr) {
            back_.push_back(taken_);
            taken_ = nullptr;
        }
        std::unique_lock guard(lock_);
        if (back_.size() >= batch_count / 2 || full_.empty()) {
            const bool was_short = !back_.empty();
            empty_.insert(empty_.end(), back_.begin(), back_.end());
            back_.clear();
            if (was_short) {
                has_empty_.notify_one();
            }
        }
        has_full_.wait(guard, [this] { return !full_.empty() || ended_; });
        if (full_.empty()) {
            if (failure_) {
                std::rethrow_exception(failure_);
            }
            return nullptr;
        }
        taken_ = full_.front();
        full_.pop_front();
        return taken_;
    }

private:
    static constexpr std::size_t batch_count = 8;

    void run()
    {
        try {
            fill_all();
        } catch (...) { // no memory: for the thread that waits
            failure_ = std::current_exception();
        }
        const std::lock_guard guard(lock_);
        ended_ = true;
        has_full_.notify_one();
    }

    void fill_all()
    {
        for (bool more = true; more;) {
            Batch* batch = nullptr;
            {
                std::unique_lock guard(lock_);
                if (empty_.empty() && !stop_ && options_.when_idle) {
                    guard.unlock();
                    options_.when_idle();
                    guard.lock();
                }
                has_empty_.wait(guard, [this] { return !empty_.empty() || stop_; });
                if (stop_) {
                    return;
                }
                batch = empty_.back(); // the one whose memory was touched last
                empty_.pop_back();
            }
            more = merge_.fill(*batch);
            if (options_.progress != nullptr) {
                options_.progress->reach(merge_.bytes());
                options_.progress->count(batch->records.size());
            }
            const std::lock_guard guard(lock_);
            const bool was_empty = full_.empty();
            full_.push_back(batch);
            if (was_empty) {
                has_full_.notify_one();
            }
        }
    }

    Merge& merge_;
    const WalkOptions& options_;
    std::vector<Batch> batches_;
    std::mutex lock_;
    std::condition_variable has_full_, has_empty_;
    std::deque<Batch*> full_;    ///< oldest first
    std::vector<Batch*> empty_;
    bool stop_ = false;  ///< nobody takes any more
    bool ended_ = false; ///< nothing is filled any more
    std::exception_ptr failure_;
    // of the taking thread
    std::vector<Batch*> back_; ///< taken, not given back yet
    Batch* taken_ = nullptr;
    std::thread thread_;
};

} // namespace

std::vector<std::string> walk(const RecordSource& source, const TakeRecords& take, const WalkOptions& options)
{
    Merge merge(source);
    if (!options.ahead) {
        walk_here(merge, take, options);
        return merge.damage();
    }
    {
        ReaderAhead ahead(merge, options);
        for (const Batch* batch = ahead.next(); batch != nullptr && !is_cancelled(options); batch = ahead.next()) {
            take(batch->records);
        }
    }
    return merge.damage();
}

} // namespace skbscope::trace_dat
