#pragma once
// How the kernel lays out the record of an event: its `format` file, read once into accessors (offset, size, sign,
// __data_loc), which then take fields out of raw records without any text. The same for the formats that a
// trace.dat carries and for those of a running kernel's tracefs.

#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace skbscope {

/// Where a field of an event lies in its record; looked up once, read often.
struct EventField {
    std::uint16_t offset = 0;
    std::uint16_t size = 0; ///< 0: the event has no such field
    bool is_signed = false;
    bool is_data_loc = false; ///< the value says where the bytes are: low 16 bits offset, high 16 bits length
    std::uint8_t above = 64;  ///< bits of a 64-bit word that a number of this size leaves; 64: it is no number

    explicit operator bool() const { return size != 0; }
    /// The number in the record; 0 where the record is too short or the field is absent.
    [[nodiscard, gnu::always_inline]] std::uint64_t read(std::span<const std::uint8_t> record) const
    {
        std::uint64_t word = 0;
        if (above < 64 && offset + sizeof word <= record.size()) {
            std::memcpy(&word, record.data() + offset, sizeof word);
            return number_in(word);
        }
        return read_at_end(record);
    }
    /// The bytes of an array or of a data_loc field; empty where they do not fit into the record.
    [[nodiscard]] std::span<const std::uint8_t> bytes(std::span<const std::uint8_t> record) const
    {
        std::size_t from = offset;
        std::size_t length = size;
        if (is_data_loc) {
            const std::uint64_t place = read(record);
            from = place & 0xffff;
            length = (place >> 16) & 0xffff;
        }
        if (from + length > record.size()) {
            return {};
        }
        return record.subspan(from, length);
    }
    /// The text of a char array or string field, up to its NUL.
    [[nodiscard]] std::string_view text(std::span<const std::uint8_t> record) const;

private:
    [[nodiscard]] std::uint64_t number_in(std::uint64_t word) const
    {
        word <<= above;
        return is_signed ? static_cast<std::uint64_t>(static_cast<std::int64_t>(word) >> above) : word >> above;
    }
    [[nodiscard]] std::uint64_t read_at_end(std::span<const std::uint8_t> record) const;
};

/// One event's layout.
struct EventFormat {
    int id = -1;        ///< 0 to 65535
    std::string system; ///< "net"; "ftrace" for the tracer's own
    std::string name;   ///< "net_dev_queue"
    std::unordered_map<std::string, EventField> fields;
    std::string print_format; ///< the "print fmt:" line

    /// The text of a `format` file; nothing if it names no event.
    [[nodiscard]] static std::optional<EventFormat> parse(std::string_view system, std::string_view text);

    [[nodiscard]] EventField field(const std::string& field_name) const;
    /// … that names a device, if one does.
    [[nodiscard]] EventField device_name() const;
    /// Numbers and names that the print format gives for `REC->field` through __print_symbolic.
    [[nodiscard]] std::vector<std::pair<std::int64_t, std::string>>
    symbols_of(std::string_view field_name) const;
};

} // namespace skbscope
