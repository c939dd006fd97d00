#include "capture/trace_dat_records.h"

#include <algorithm>
#include <fmt/format.h>

namespace skbscope::trace_dat {

namespace {

/// One CPU's records, page by page.
class CpuReader {
public:
    CpuReader(const RecordSource& source, const CpuPages& data)
        : source_(&source), data_(&data), pages_(data.cpu, source.time_offset)
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
        if (piece.unpacked != 0) {
            ++piece_;
            packed_.resize(static_cast<std::size_t>(piece.size));
            packed_.resize(source_->file->read(piece.offset, packed_));
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
        done_ += wanted;
        if (done_ == piece.size) {
            ++piece_;
            done_ = 0;
        }
        return true;
    }

    const RecordSource* source_;
    const CpuPages* data_;
    RingPages pages_;
    std::vector<std::uint8_t> window_, packed_;
    std::size_t at_ = 0;     ///< of the next page in the window
    std::size_t piece_ = 0;
    std::uint64_t done_ = 0; ///< bytes of the piece
    std::size_t broken_pieces_ = 0;
    std::uint64_t missing_bytes_ = 0;
    RawRecord record_;
};

} // namespace

std::vector<std::string> walk(const RecordSource& source, const std::function<void(const RawRecord&)>& take)
{
    std::vector<std::string> damage;
    std::vector<CpuReader> readers;
    readers.reserve(source.cpus.size());
    std::vector<CpuReader*> heads;
    for (const CpuPages& cpu : source.cpus) {
        readers.emplace_back(source, cpu);
        if (readers.back().next()) {
            heads.push_back(&readers.back());
        }
    }
    // Few CPUs have records: taking the smallest by looking at each beats a heap.
    while (!heads.empty()) {
        auto first = heads.begin();
        std::uint64_t until = ~std::uint64_t{0}; // time of the second
        for (auto head = std::next(first); head != heads.end(); ++head) {
            if ((*head)->record().time_ns < (*first)->record().time_ns) {
                until = (*first)->record().time_ns;
                first = head;
            } else {
                until = std::min(until, (*head)->record().time_ns);
            }
        }
        // Of equal times the CPU that stands first goes first.
        const bool stands_first = first == heads.begin();
        CpuReader& reader = **first;
        bool more = true;
        do {
            take(reader.record());
            more = reader.next();
        } while (more && (reader.record().time_ns < until || (stands_first && reader.record().time_ns == until)));
        if (!more) {
            heads.erase(first);
        }
    }
    for (const CpuReader& reader : readers) {
        reader.tell_damage(damage);
    }
    return damage;
}

} // namespace skbscope::trace_dat
