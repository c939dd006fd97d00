#pragma once
// Containers for what the model makes and unmakes with every packet: none allocates while it is empty or small, as
// std::deque and std::vector do.

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

namespace skbscope::kernel {

/// A queue in one piece of memory: taking from the front is a step of an index. The interface is std::deque's, as far as
/// queues need it. References are good until the next change. What is empty holds no items at all: most are, and are asked often.
template <typename T>
class Fifo {
public:
    using iterator = typename std::vector<T>::iterator;
    using const_iterator = typename std::vector<T>::const_iterator;

    [[nodiscard]] bool empty() const { return items_.empty(); }
    [[nodiscard]] std::size_t size() const { return items_.size() - first_; }
    [[nodiscard]] T& front() { return items_[first_]; }
    [[nodiscard]] const T& front() const { return items_[first_]; }
    [[nodiscard]] T& back() { return items_.back(); }
    [[nodiscard]] const T& back() const { return items_.back(); }
    [[nodiscard]] T& operator[](std::size_t at) { return items_[first_ + at]; }
    [[nodiscard]] const T& operator[](std::size_t at) const { return items_[first_ + at]; }
    [[nodiscard]] iterator begin() { return items_.begin() + static_cast<std::ptrdiff_t>(first_); }
    [[nodiscard]] iterator end() { return items_.end(); }
    [[nodiscard]] const_iterator begin() const { return items_.begin() + static_cast<std::ptrdiff_t>(first_); }
    [[nodiscard]] const_iterator end() const { return items_.end(); }

    void push_back(T item) { items_.push_back(std::move(item)); }
    void push_front(T item)
    {
        if (first_ > 0) {
            items_[--first_] = std::move(item);
        } else {
            items_.insert(items_.begin(), std::move(item));
        }
    }
    void pop_front()
    {
        if constexpr (!std::is_trivially_copyable_v<T>) {
            items_[first_] = T{}; // what it held is given back now
        }
        ++first_;
        if (first_ == items_.size()) {
            clear();
        } else if (first_ >= 32 && first_ * 2 >= items_.size()) {
            items_.erase(items_.begin(), begin());
            first_ = 0;
        }
    }
    void pop_back()
    {
        items_.pop_back();
        if (size() == 0) {
            clear();
        }
    }
    void clear()
    {
        items_.clear();
        first_ = 0;
    }
    iterator insert(const_iterator before, T item) { return items_.insert(before, std::move(item)); }
    template <typename Iterator>
    iterator insert(const_iterator before, Iterator from, Iterator to)
    {
        return items_.insert(before, from, to);
    }
    iterator erase(const_iterator at) { return erase(at, at + 1); }
    iterator erase(const_iterator from, const_iterator to)
    {
        const iterator behind = items_.erase(from, to);
        if (size() != 0) {
            return behind;
        }
        clear();
        return items_.end();
    }
    bool operator==(const Fifo& other) const
    {
        return size() == other.size() && std::equal(begin(), end(), other.begin());
    }

private:
    std::vector<T> items_;
    std::size_t first_ = 0;
};

/// A list of plain things, in place as long as there are at most `few`. The interface is std::vector's, as far as lists
/// of packets need it.
template <typename T, std::size_t few>
class SmallList {
    static_assert(std::is_trivially_copyable_v<T>);

public:
    using value_type = T;
    using iterator = T*;
    using const_iterator = const T*;

    SmallList() = default;
    SmallList(std::initializer_list<T> items)
    {
        for (const T& item : items) {
            push_back(item);
        }
    }
    SmallList(const SmallList& other) { *this = other; }
    SmallList(SmallList&& other) noexcept { *this = std::move(other); }
    ~SmallList() { release(); }
    SmallList& operator=(const SmallList& other)
    {
        if (this != &other) {
            size_ = 0;
            for (const T& item : other) {
                push_back(item);
            }
        }
        return *this;
    }
    SmallList& operator=(SmallList&& other) noexcept
    {
        if (this == &other) {
            return *this;
        }
        release();
        if (other.items_ == other.here_) {
            items_ = here_;
            std::copy_n(other.here_, few, here_); // all of it: a few words without asking how many
        } else {
            items_ = std::exchange(other.items_, other.here_);
        }
        room_ = std::exchange(other.room_, static_cast<std::uint32_t>(few));
        size_ = std::exchange(other.size_, 0U);
        return *this;
    }
    [[nodiscard]] bool empty() const { return size_ == 0; }
    [[nodiscard]] std::size_t size() const { return size_; }
    [[nodiscard]] T& operator[](std::size_t at) { return items_[at]; }
    [[nodiscard]] const T& operator[](std::size_t at) const { return items_[at]; }
    [[nodiscard]] T& front() { return items_[0]; }
    [[nodiscard]] const T& front() const { return items_[0]; }
    [[nodiscard]] T& back() { return items_[size_ - 1]; }
    [[nodiscard]] const T& back() const { return items_[size_ - 1]; }
    [[nodiscard]] iterator begin() { return items_; }
    [[nodiscard]] iterator end() { return items_ + size_; }
    [[nodiscard]] const_iterator begin() const { return items_; }
    [[nodiscard]] const_iterator end() const { return items_ + size_; }
    void push_back(const T& item)
    {
        if (size_ == room_) {
            grow();
        }
        items_[size_++] = item;
    }
    void pop_back() { --size_; }
    void clear() { size_ = 0; }
    iterator erase(const_iterator at)
    {
        iterator place = items_ + (at - items_);
        std::copy(place + 1, end(), place);
        --size_;
        return place;
    }
    /// `from` … `to` are not of this list.
    template <typename Iterator>
    void append(Iterator from, Iterator to)
    {
        for (; from != to; ++from) {
            push_back(*from);
        }
    }

private:
    void grow()
    {
        T* more = new T[room_ * std::size_t{2}];
        std::copy_n(items_, size_, more);
        release();
        items_ = more;
        room_ *= 2;
    }
    void release()
    {
        if (items_ != here_) {
            delete[] items_;
        }
    }

    T here_[few] = {};
    T* items_ = here_;
    std::uint32_t room_ = few;
    std::uint32_t size_ = 0;
};

/// A stack of at most `most` plain things, in place. Only what it holds is copied, the rest of its memory is never touched.
template <typename T, std::size_t most>
class SmallStack {
    static_assert(std::is_trivially_copyable_v<T>);

public:
    SmallStack() {}
    SmallStack(std::initializer_list<T> items)
    {
        for (const T& item : items) {
            push_back(item);
        }
    }
    SmallStack(const SmallStack& other) { *this = other; }
    SmallStack& operator=(const SmallStack& other)
    {
        size_ = other.size_;
        std::memmove(items_, other.items_, size_ * sizeof(T));
        return *this;
    }
    [[nodiscard]] bool empty() const { return size_ == 0; }
    [[nodiscard]] std::size_t size() const { return size_; }
    [[nodiscard]] T& back() { return begin()[size_ - 1]; }
    [[nodiscard]] T& operator[](std::size_t at) { return begin()[at]; }
    [[nodiscard]] T* begin() { return reinterpret_cast<T*>(items_); }
    [[nodiscard]] T* end() { return begin() + size_; }
    void push_back(const T& item)
    {
        assert(size_ < most);
        new (items_ + size_++ * sizeof(T)) T(item);
    }
    void pop_back() { --size_; }
    void clear() { size_ = 0; }

private:
    alignas(T) unsigned char items_[most * sizeof(T)];
    std::size_t size_ = 0;
};

/// Rows that keep their address while others are added, and are never taken away: a row is found with two loads, where
/// std::deque divides. A copy is one allocation for a block of rows.
template <typename T>
class StableRows {
    template <typename Row>
    class Iterator {
    public:
        using value_type = T;
        using difference_type = std::ptrdiff_t;
        using reference = Row&;
        using pointer = Row*;
        using iterator_category = std::forward_iterator_tag;

        Iterator() = default;
        explicit Iterator(T* const* at) : at_(at) {}
        Row& operator*() const { return **at_; }
        Row* operator->() const { return *at_; }
        Iterator& operator++()
        {
            ++at_;
            return *this;
        }
        Iterator operator++(int)
        {
            Iterator before = *this;
            ++at_;
            return before;
        }
        difference_type operator-(const Iterator& from) const { return at_ - from.at_; }
        bool operator==(const Iterator&) const = default;

    private:
        T* const* at_ = nullptr;
    };

public:
    using value_type = T;
    using iterator = Iterator<T>;
    using const_iterator = Iterator<const T>;

    StableRows() = default;
    StableRows(const StableRows& other)
    {
        rows_.reserve(other.size());
        for (const T& row : other) {
            emplace_back(row);
        }
    }
    StableRows(StableRows&& other) noexcept { swap(other); }
    StableRows& operator=(StableRows other) noexcept
    {
        swap(other);
        return *this;
    }
    ~StableRows()
    {
        for (T* row : rows_) {
            std::destroy_at(row);
        }
        for (T* block : blocks_) {
            std::allocator<T>().deallocate(block, rows_a_block);
        }
    }
    [[nodiscard]] bool empty() const { return rows_.empty(); }
    [[nodiscard]] std::size_t size() const { return rows_.size(); }
    [[nodiscard]] T& operator[](std::size_t row) { return *rows_[row]; }
    [[nodiscard]] const T& operator[](std::size_t row) const { return *rows_[row]; }
    [[nodiscard]] T& front() { return *rows_.front(); }
    [[nodiscard]] const T& front() const { return *rows_.front(); }
    [[nodiscard]] T& back() { return *rows_.back(); }
    [[nodiscard]] const T& back() const { return *rows_.back(); }
    [[nodiscard]] iterator begin() { return iterator(rows_.data()); }
    [[nodiscard]] iterator end() { return iterator(rows_.data() + rows_.size()); }
    [[nodiscard]] const_iterator begin() const { return const_iterator(rows_.data()); }
    [[nodiscard]] const_iterator end() const { return const_iterator(rows_.data() + rows_.size()); }
    template <typename... Arguments>
    T& emplace_back(Arguments&&... arguments)
    {
        if (rows_.size() == blocks_.size() * rows_a_block) {
            blocks_.reserve(blocks_.size() + 1);
            blocks_.push_back(std::allocator<T>().allocate(rows_a_block));
        }
        rows_.reserve(rows_.size() == rows_.capacity() ? rows_.size() * 2 + 8 : 0);
        rows_.push_back(std::construct_at(blocks_.back() + rows_.size() % rows_a_block, std::forward<Arguments>(arguments)...));
        return *rows_.back();
    }
    void push_back(T row) { emplace_back(std::move(row)); }

private:
    static constexpr std::size_t rows_a_block = 32;

    void swap(StableRows& other) noexcept
    {
        rows_.swap(other.rows_);
        blocks_.swap(other.blocks_);
    }

    std::vector<T*> rows_;
    std::vector<T*> blocks_; ///< where they lie
};

} // namespace skbscope::kernel
