#include "capture/symbol_table.h"

#include "capture/parse_number.h"

#include <algorithm>

namespace skbscope {

namespace {

/// As /proc/kallsyms prints an address: 16 digits and a space. False: something else stands there.
bool starts_with_address(std::string_view line, std::uint64_t& address)
{
    constexpr std::size_t digits = 16;
    if (line.size() <= digits || line[digits] != ' ') {
        return false;
    }
    std::uint64_t value = 0;
    for (const char digit : line.substr(0, digits)) {
        const bool is_letter = digit >= 'a' && digit <= 'f';
        if (!is_letter && (digit < '0' || digit > '9')) {
            return false;
        }
        value = value << 4 | static_cast<std::uint64_t>(is_letter ? digit - 'a' + 10 : digit - '0');
    }
    address = value;
    return true;
}

bool ends_name(char letter)
{
    return letter == '\t' || letter == ' ' || letter == '[';
}

} // namespace

void SymbolTable::parse(std::string_view kallsyms)
{
    symbols_.clear();
    text_.clear();
    constexpr std::size_t usual_line = 45;
    // What of it is never written to takes no memory.
    symbols_.reserve(kallsyms.size() / usual_line);
    text_.reserve(kallsyms.size() / 2);
    for (std::size_t from = 0; from < kallsyms.size();) {
        const std::size_t end = std::min(kallsyms.find('\n', from), kallsyms.size());
        const std::string_view line = kallsyms.substr(from, end - from);
        from = end + 1;
        std::uint64_t address = 0;
        const bool is_usual = starts_with_address(line, address);
        const std::size_t space = is_usual ? 16 : line.find(' ');
        if (space == std::string_view::npos || space + 3 >= line.size()) {
            continue;
        }
        const char type = line[space + 1];
        if ((type != 't' && type != 'T' && type != 'w' && type != 'W') ||
            (!is_usual && !parse_number(line.substr(0, space), address, 16)) || address == 0) {
            continue;
        }
        const std::string_view rest = line.substr(space + 3);
        const auto name_end = std::ranges::find_if(rest, ends_name);
        const std::string_view name = rest.substr(0, static_cast<std::size_t>(name_end - rest.begin()));
        if (name.size() > 1024 || text_.size() > (std::size_t{1} << 30)) {
            continue; // no kernel's
        }
        symbols_.push_back({address, static_cast<std::uint32_t>(text_.size()),
                            static_cast<std::uint16_t>(name.size()), name_end != rest.end()});
        text_ += name;
    }
    if (!std::ranges::is_sorted(symbols_, {}, &Symbol::address)) {
        std::ranges::stable_sort(symbols_, {}, &Symbol::address);
    }
    const auto repeated = std::ranges::unique(symbols_, {}, &Symbol::address);
    symbols_.erase(repeated.begin(), repeated.end());
}

SymbolTable::Hit SymbolTable::find(std::uint64_t address) const
{
    const auto after = std::ranges::upper_bound(symbols_, address, {}, &Symbol::address);
    // A function longer than this is none: the address lies behind the last symbol of its region.
    constexpr std::uint64_t longest_function = 1 << 20;
    if (after == symbols_.begin() || address - std::prev(after)->address > longest_function) {
        return {};
    }
    const Symbol& symbol = *std::prev(after);
    return {name_of(symbol), symbol.address, symbol.in_module};
}

bool SymbolTable::contains(std::string_view name) const
{
    return std::ranges::any_of(symbols_, [&](const Symbol& symbol) { return name_of(symbol) == name; });
}

} // namespace skbscope
