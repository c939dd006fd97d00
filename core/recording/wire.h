#pragma once
// Little-endian numbers and strings in and out of byte vectors, for the recording's blocks. Reading is checked: a read
// past the end gives zeros and is remembered in `good()`.

#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace skbscope {

/// Writes the number's bytes, least significant first. One store on the machines that matter.
template <typename Number>
void store(std::uint8_t* to, Number value)
{
    static_assert(std::is_integral_v<Number>);
    if constexpr (std::endian::native == std::endian::little) {
        std::memcpy(to, &value, sizeof value);
    } else {
        for (std::size_t i = 0; i < sizeof(Number); ++i) {
            to[i] = static_cast<std::uint8_t>(static_cast<std::uint64_t>(value) >> (8 * i));
        }
    }
}

template <typename Number>
[[nodiscard]] Number get(const std::uint8_t* from)
{
    static_assert(std::is_integral_v<Number>);
    if constexpr (std::endian::native == std::endian::little) {
        Number value;
        std::memcpy(&value, from, sizeof value);
        return value;
    } else {
        std::uint64_t value = 0;
        for (std::size_t i = 0; i < sizeof(Number); ++i) {
            value |= static_cast<std::uint64_t>(from[i]) << (8 * i);
        }
        return static_cast<Number>(value);
    }
}

template <typename Number>
void put(std::vector<std::uint8_t>& out, Number value)
{
    const std::size_t at = out.size();
    out.resize(at + sizeof(Number));
    store(out.data() + at, value);
}

template <typename Number>
void set(std::vector<std::uint8_t>& out, std::size_t at, Number value)
{
    store(out.data() + at, value);
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
