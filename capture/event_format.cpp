#include "capture/event_format.h"

#include "capture/parse_number.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>

namespace skbscope {

namespace {

/// "\tfield:const void * skbaddr;\toffset:8;\tsize:8;\tsigned:0;"
void parse_field(std::string_view line, EventFormat& format)
{
    const auto value_of = [&](std::string_view key) -> std::string_view {
        const std::size_t at = line.find(key);
        if (at == std::string_view::npos) {
            return {};
        }
        const std::size_t from = at + key.size();
        return line.substr(from, line.find(';', from) - from);
    };
    std::string_view declaration = value_of("field:");
    unsigned offset = 0;
    unsigned size = 0;
    if (declaration.empty() || !parse_number(value_of("offset:"), offset) ||
        !parse_number(value_of("size:"), size) || offset > 0xffff || size > 0xffff) {
        return;
    }
    EventField field;
    field.offset = static_cast<std::uint16_t>(offset);
    field.size = static_cast<std::uint16_t>(size);
    field.is_signed = value_of("signed:") == "1";
    field.is_data_loc = declaration.starts_with("__data_loc");
    if (size == 1 || size == 2 || size == 4 || size == 8) {
        field.above = static_cast<std::uint8_t>(64 - 8 * size);
    }
    if (const std::size_t bracket = declaration.find_last_of('[');
        !field.is_data_loc && bracket != std::string_view::npos) {
        declaration = declaration.substr(0, bracket);
    }
    const std::size_t space = declaration.find_last_of(" *]");
    const std::string_view name =
        space == std::string_view::npos ? declaration : declaration.substr(space + 1);
    format.fields.emplace(std::string(name), field);
}

} // namespace

std::optional<EventFormat> EventFormat::parse(std::string_view system, std::string_view text)
{
    EventFormat format;
    format.system = system;
    for (std::size_t from = 0; from < text.size();) {
        const std::size_t end = std::min(text.find('\n', from), text.size());
        const std::string_view line = text.substr(from, end - from);
        from = end + 1;
        if (line.starts_with("name: ")) {
            format.name = line.substr(6);
        } else if (line.starts_with("ID: ")) {
            (void)parse_number(line.substr(4), format.id);
        } else if (line.starts_with("print fmt:")) {
            format.print_format = line.substr(10);
        } else if (line.find("field:") != std::string_view::npos) {
            parse_field(line, format);
        }
    }
    if (format.id < 0 || format.id > 0xffff || format.name.empty()) {
        return std::nullopt;
    }
    return format;
}

std::uint64_t EventField::read_at_end(std::span<const std::uint8_t> record) const
{
    if (above >= 64 || std::size_t{offset} + size > record.size()) {
        return 0;
    }
    std::uint64_t word = 0;
    std::memcpy(&word, record.data() + offset, size);
    return number_in(word);
}

std::string_view EventField::text(std::span<const std::uint8_t> record) const
{
    const auto from = bytes(record);
    const std::string_view whole = {reinterpret_cast<const char*>(from.data()), from.size()};
    return whole.substr(0, whole.find('\0'));
}

EventField EventFormat::device_name() const
{
    for (const char* called : {"name", "dev", "dev_name"}) {
        if (const EventField found = field(called)) {
            return found;
        }
    }
    return {};
}

EventField EventFormat::field(const std::string& field_name) const
{
    const auto at = fields.find(field_name);
    return at == fields.end() ? EventField{} : at->second;
}

std::vector<std::pair<std::int64_t, std::string>> EventFormat::symbols_of(std::string_view field_name) const
{
    std::vector<std::pair<std::int64_t, std::string>> symbols;
    const std::string opening = fmt::format("__print_symbolic(REC->{},", field_name);
    std::size_t at = print_format.find(opening);
    if (at == std::string::npos) {
        return symbols;
    }
    at += opening.size();
    const std::string_view text = print_format;
    for (;;) { // { 2, "NOT_SPECIFIED" }, …
        const std::size_t brace = text.find_first_of("{)", at);
        if (brace == std::string_view::npos || text[brace] == ')') {
            return symbols;
        }
        const std::size_t comma = text.find(',', brace);
        const std::size_t quote = text.find('"', brace);
        const std::size_t closing = quote == std::string_view::npos ? quote : text.find('"', quote + 1);
        if (comma == std::string_view::npos || closing == std::string_view::npos || comma > quote) {
            return symbols;
        }
        std::string_view digits = text.substr(brace + 1, comma - brace - 1);
        digits.remove_prefix(std::min(digits.find_first_not_of(' '), digits.size()));
        const bool hex = digits.starts_with("0x");
        std::int64_t value = 0;
        if (parse_number(hex ? digits.substr(2) : digits, value, hex ? 16 : 10)) {
            symbols.emplace_back(value, text.substr(quote + 1, closing - quote - 1));
        }
        at = closing + 1;
    }
}

} // namespace skbscope
