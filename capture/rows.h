#pragma once
// Containers for millions of rows that are written once, read by number, and given back by chunks: what
// std::vector does with them (double and copy, keep all to the end) costs more than filling them.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <sys/mman.h>
#include <type_traits>
#include <vector>

namespace skbscope {

/// Rows in chunks of `chunk_rows` (a power of two): they never move, so references stay good. Chunks of a huge page or
/// more ask for huge pages.
template <typename T, std::size_t chunk_rows>
class Rows {
    static_assert((chunk_rows & (chunk_rows - 1)) == 0 && std::is_trivially_destructible_v<T>);

public:
    [[nodiscard]] std::size_t size() const { return size_; }
    [[nodiscard]] T& operator[](std::size_t row) { return chunks_[row / chunk_rows][row % chunk_rows]; }
    [[nodiscard]] const T& operator[](std::size_t row) const { return chunks_[row / chunk_rows][row % chunk_rows]; }

    /// Null: its chunk was given back.
    [[nodiscard]] T* find(std::size_t row)
    {
        T* chunk = chunks_[row / chunk_rows].get();
        return chunk == nullptr ? nullptr : chunk + row % chunk_rows;
    }

    /// Asks for the row's memory, which will soon be looked at.
    void fetch(std::size_t row) const
    {
        if (const T* chunk = chunks_[row / chunk_rows].get(); chunk != nullptr) {
            __builtin_prefetch(chunk + row % chunk_rows);
        }
    }

    /// A new row, as T() makes it.
    T& push()
    {
        if (size_ == chunks_.size() * chunk_rows) {
            grow();
        }
        T* row = &chunks_[size_ / chunk_rows][size_ % chunk_rows];
        ++size_;
        return *new (row) T();
    }
    /// Gives back one chunk, rows [chunk * chunk_rows, (chunk + 1) * chunk_rows); they must not be used again. The last
    /// chunk has to stay. Its memory serves the rows that come.
    void release_chunk(std::size_t chunk) { spare_.push_back(std::move(chunks_[chunk])); }
    static constexpr std::size_t rows_a_chunk = chunk_rows;

private:
    struct Free {
        void operator()(T* chunk) const { std::free(chunk); }
    };
    void grow()
    {
        if (!spare_.empty()) {
            chunks_.push_back(std::move(spare_.back()));
            spare_.pop_back();
            return;
        }
        constexpr std::size_t huge_page = std::size_t{2} << 20;
        constexpr bool is_huge = chunk_rows * sizeof(T) >= huge_page;
        constexpr std::size_t bytes =
            is_huge ? (chunk_rows * sizeof(T) + huge_page - 1) / huge_page * huge_page : chunk_rows * sizeof(T);
        constexpr std::size_t alignment = is_huge ? huge_page : alignof(T);
        static_assert(bytes % alignment == 0);
        void* memory = alignment > alignof(std::max_align_t) ? std::aligned_alloc(alignment, bytes) : std::malloc(bytes);
        if (memory == nullptr) {
            throw std::bad_alloc();
        }
        if (is_huge) {
            (void)madvise(memory, bytes, MADV_HUGEPAGE); // may be refused; the memory is good all the same
        }
        chunks_.emplace_back(static_cast<T*>(memory));
    }

    std::vector<std::unique_ptr<T[], Free>> chunks_, spare_;
    std::size_t size_ = 0;
};

/// Numbers by kernel address, both not 0. Open addressing: one probe is one cache line, and nothing is allocated for an
/// entry, of which one comes and goes with each packet.
class AddressMap {
public:
    AddressMap() : entries_(1024) {}

    /// 0: absent.
    [[nodiscard]] std::uint32_t find(std::uint64_t address) const
    {
        for (std::size_t at = home(address);; at = next(at)) {
            if (entries_[at].address == address) {
                return entries_[at].value;
            }
            if (entries_[at].address == 0) {
                return 0;
            }
        }
    }
    void set(std::uint64_t address, std::uint32_t value)
    {
        if (address == 0) {
            return;
        }
        if (used_ * 2 >= entries_.size()) {
            grow();
        }
        std::size_t at = home(address);
        while (entries_[at].address != 0 && entries_[at].address != address) {
            at = next(at);
        }
        used_ += entries_[at].address == 0 ? 1 : 0;
        entries_[at] = {address, value};
    }
    void erase(std::uint64_t address)
    {
        std::size_t at = home(address);
        while (entries_[at].address != address) {
            if (entries_[at].address == 0) {
                return;
            }
            at = next(at);
        }
        --used_;
        // Those behind it move up, unless they stand where they belong.
        for (std::size_t from = next(at); entries_[from].address != 0; from = next(from)) {
            const std::size_t wants = home(entries_[from].address);
            if (((from - wants) & mask()) >= ((from - at) & mask())) {
                entries_[at] = entries_[from];
                at = from;
            }
        }
        entries_[at] = {};
    }
    template <typename Take>
    void for_each(Take&& take) const
    {
        for (const Entry& entry : entries_) {
            if (entry.address != 0) {
                take(entry.value);
            }
        }
    }

private:
    struct Entry {
        std::uint64_t address = 0;
        std::uint32_t value = 0;
    };
    [[nodiscard]] std::size_t mask() const { return entries_.size() - 1; }
    [[nodiscard]] std::size_t next(std::size_t at) const { return (at + 1) & mask(); }
    [[nodiscard]] std::size_t home(std::uint64_t address) const
    {
        return static_cast<std::size_t>((address * 0x9e3779b97f4a7c15) >> 32) & mask();
    }
    void grow()
    {
        std::vector<Entry> old(entries_.size() * 2);
        old.swap(entries_);
        used_ = 0;
        for (const Entry& entry : old) {
            if (entry.address != 0) {
                set(entry.address, entry.value);
            }
        }
    }

    std::vector<Entry> entries_; ///< a power of two, at most half of them used
    std::size_t used_ = 0;
};

} // namespace skbscope
