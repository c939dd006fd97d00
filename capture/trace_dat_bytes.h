#pragma once
// Bytes of a trace.dat: the file itself, numbers read from it without ever passing its end, and packed parts of it.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace skbscope::trace_dat {

using Bytes = std::span<const std::uint8_t>;

/// Reads numbers front to back and never past the end: after the first failure everything is zero and ok() is
/// false.
class Cursor {
public:
    explicit Cursor(Bytes bytes, std::size_t at = 0)
        : bytes_(bytes), at_(std::min(at, bytes.size())), ok_(at <= bytes.size())
    {
    }

    [[nodiscard]] bool ok() const { return ok_; }
    [[nodiscard]] std::size_t at() const { return at_; }
    [[nodiscard]] std::size_t left() const { return bytes_.size() - at_; }

    template <typename T>
    T number()
    {
        T value{};
        const Bytes raw = take(sizeof(T));
        if (ok_) {
            std::memcpy(&value, raw.data(), sizeof(T));
        }
        return value;
    }
    Bytes take(std::uint64_t count)
    {
        if (!ok_ || count > left()) {
            ok_ = false;
            return {};
        }
        const Bytes part = bytes_.subspan(at_, static_cast<std::size_t>(count));
        at_ += static_cast<std::size_t>(count);
        return part;
    }
    std::string_view text() // NUL-terminated
    {
        const auto* from = reinterpret_cast<const char*>(bytes_.data()) + at_;
        const void* end = ok_ && left() != 0 ? std::memchr(from, 0, left()) : nullptr;
        if (end == nullptr) {
            ok_ = false;
            return {};
        }
        const auto length = static_cast<std::size_t>(static_cast<const char*>(end) - from);
        at_ += length + 1;
        return {from, length};
    }

private:
    Bytes bytes_;
    std::size_t at_;
    bool ok_;
};

[[nodiscard]] inline std::string_view as_text(Bytes bytes)
{
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// A text of the file for a message of one line: what cannot be printed becomes '?', and after 32 bytes it ends.
[[nodiscard]] std::string shown(std::string_view text);

enum class Packing { none, zstd, zlib };

/// Unpacks into exactly `size` bytes; empty on failure.
[[nodiscard]] std::vector<std::uint8_t> unpack(Packing packing, Bytes packed, std::size_t size);

/// The file. A regular one is mapped, which is for its metadata: only what is looked at takes memory. Its records are
/// taken with read(), which fails where a mapping would kill the program when somebody cuts the file meanwhile.
class InputFile {
public:
    InputFile() = default;
    InputFile(const InputFile&) = delete;
    InputFile& operator=(const InputFile&) = delete;
    ~InputFile();

    /// False: it cannot be opened or read. A pipe is read to its end, or not at all if it does not begin with `start`.
    bool open(const std::string& path, Bytes start);
    [[nodiscard]] Bytes bytes() const { return bytes_; }
    /// Copies from the file; returns how many bytes there were.
    std::size_t read(std::uint64_t offset, std::span<std::uint8_t> to) const;

private:
    int file_ = -1;
    void* mapping_ = nullptr;
    std::vector<std::uint8_t> copy_; ///< of what cannot be mapped
    Bytes bytes_;
};

} // namespace skbscope::trace_dat
