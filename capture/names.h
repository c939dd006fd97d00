#pragma once
// Names as numbers: several are looked for with each record, and comparing letters took a tenth of an import's time. The
// number of a literal is made when it is compiled, that of a function in a recording once.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace skbscope {

/// 64 bits of a name (FNV-1a, mixed once more): different for all functions and events of a kernel.
[[nodiscard]] constexpr std::uint64_t number_of_name(std::string_view name)
{
    std::uint64_t number = 0xcbf29ce484222325;
    for (const char letter : name) {
        number = (number ^ static_cast<unsigned char>(letter)) * 0x100000001b3;
    }
    return (number ^ number >> 32) * 0x9e3779b97f4a7c15;
}

/// Of a literal.
struct NameNumber {
    std::uint64_t number;
    // NOLINTNEXTLINE(google-explicit-constructor): stands where the literal does
    consteval NameNumber(const char* literal) : number(number_of_name(literal)) {}
};

/// … with its text, where it may have to be made known.
struct Name : NameNumber {
    std::string_view text;
    // NOLINTNEXTLINE(google-explicit-constructor): stands where the literal does
    consteval Name(const char* literal) : NameNumber(literal), text(literal) {}
};

/// A name of a recording, to be compared with literals.
class KnownName {
public:
    KnownName() = default;
    explicit KnownName(std::string text) : text_(std::move(text)), number_(number_of_name(text_)) {}

    [[nodiscard]] const std::string& text() const { return text_; }
    [[nodiscard]] std::uint64_t number() const { return number_; }
    // NOLINTNEXTLINE(google-explicit-constructor): its text, wherever text is asked for
    operator std::string_view() const { return text_; }
    friend bool operator==(const KnownName& name, NameNumber literal) { return name.number_ == literal.number; }

private:
    std::string text_;
    std::uint64_t number_ = 0; ///< 0: nobody's
};

[[nodiscard]] inline bool is_one_of(const KnownName& name, std::initializer_list<NameNumber> names)
{
    for (const NameNumber one : names) {
        if (name == one) {
            return true;
        }
    }
    return false;
}

/// Up to 16 bytes, to be compared at once: names of devices are no longer (IFNAMSIZ).
struct ShortBytes {
    std::uint64_t first = 0, last = 0; ///< overlapping where they are fewer
    std::size_t size = 0;              ///< 0: none, or longer

    ShortBytes() = default;
    explicit ShortBytes(std::span<const std::uint8_t> bytes)
    {
        const std::uint8_t* end = bytes.data() + bytes.size();
        if (bytes.size() >= 8 && bytes.size() <= 16) {
            size = bytes.size();
            std::memcpy(&first, bytes.data(), 8);
            std::memcpy(&last, end - 8, 8);
        } else if (bytes.size() >= 4 && bytes.size() < 8) {
            size = bytes.size();
            std::memcpy(&first, bytes.data(), 4);
            std::memcpy(&last, end - 4, 4);
        } else if (bytes.size() >= 2 && bytes.size() < 4) {
            size = bytes.size();
            std::memcpy(&first, bytes.data(), 2);
            std::memcpy(&last, end - 2, 2);
        }
    }
    [[nodiscard]] bool operator==(const ShortBytes&) const = default;
    /// 0 … 15, spread well enough.
    [[nodiscard]] std::size_t place() const { return ((first ^ last * 31) * 0x9e3779b97f4a7c15) >> 60; }
};

} // namespace skbscope
