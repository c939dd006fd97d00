#pragma once
// Little-endian numbers and strings in and out of byte vectors, for the recording's blocks. Reading is checked: a read
// past the end gives zeros and is remembered in `good()`.

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace skbscope {

template <typename Number>
void put(std::vector<std::uint8_t>& out, Number value)
{
    static_assert(std::is_integral_v<Number>);
    auto bits = static_cast<std::make_unsigned_t<Number>>(value);
    for (std::size_t i = 0; i < sizeof(Number); ++i) {
        out.push_back(static_cast<std::uint8_t>(static_cast<std::uint64_t>(bits) >> (8 * i)));
    }
}

template <typename Number>
[[nodiscard]] Number get(const std::uint8_t* from)
{
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < sizeof(Number); ++i) {
        value |= static_cast<std::uint64_t>(from[i]) << (8 * i);
    }
    return static_cast<Number>(value);
}

template <typename Number>
void set(std::vector<std::uint8_t>& out, std::size_t at, Number value)
{
    for (std::size_t i = 0; i < sizeof(Number); ++i) {
        out[at + i] = static_cast<std::uint8_t>(static_cast<std::uint64_t>(value) >> (8 * i));
    }
}

inline void put_bytes(std::vector<std::uint8_t>& out, std::span<const std::uint8_t> bytes)
{
    out.insert(out.end(), bytes.begin(), bytes.end());
}

/// Length as u32, then the bytes.
inline void put_text(std::vector<std::uint8_t>& out, std::string_view text)
{
    put(out, static_cast<std::uint32_t>(text.size()));
    out.insert(out.end(), text.begin(), text.end());
}

class WireReader {
public:
    explicit WireReader(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

    template <typename Number>
    Number take()
    {
        if (bytes_.size() < sizeof(Number)) {
            good_ = false;
            bytes_ = {};
            return {};
        }
        auto value = get<Number>(bytes_.data());
        bytes_ = bytes_.subspan(sizeof(Number));
        return value;
    }
    std::span<const std::uint8_t> take_bytes(std::size_t length)
    {
        if (bytes_.size() < length) {
            good_ = false;
            bytes_ = {};
            return {};
        }
        auto taken = bytes_.first(length);
        bytes_ = bytes_.subspan(length);
        return taken;
    }
    std::string take_text()
    {
        auto text = take_bytes(take<std::uint32_t>());
        return {text.begin(), text.end()};
    }
    /// The next row: its length as u32, then its fields. What a newer version put behind the known ones is stepped over.
    WireReader take_row() { return WireReader(take_bytes(take<std::uint32_t>())); }

    [[nodiscard]] bool good() const { return good_; } ///< nothing was read past the end
    [[nodiscard]] bool at_end() const { return bytes_.empty(); }
    [[nodiscard]] std::size_t left() const { return bytes_.size(); }

private:
    std::span<const std::uint8_t> bytes_;
    bool good_ = true;
};

} // namespace skbscope
