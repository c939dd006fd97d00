#include "capture/symbol_table.h"

#include "capture/parse_number.h"

#include <algorithm>

namespace skbscope {

void SymbolTable::parse(std::string_view kallsyms)
{
    symbols_.clear();
    text_.clear();
    for (std::size_t from = 0; from < kallsyms.size();) {
        const std::size_t end = std::min(kallsyms.find('\n', from), kallsyms.size());
        const std::string_view line = kallsyms.substr(from, end - from);
        from = end + 1;
        const std::size_t space = line.find(' ');
        std::uint64_t address = 0;
        if (space == std::string_view::npos || space + 3 >= line.size()) {
            continue;
        }
        const char type = line[space + 1];
        if ((type != 't' && type != 'T' && type != 'w' && type != 'W') ||
            !parse_number(line.substr(0, space), address, 16) || address == 0) {
            continue;
        }
        const std::string_view rest = line.substr(space + 3);
        const std::size_t name_end = rest.find_first_of("\t [");
        const std::string_view name = rest.substr(0, name_end);
        if (name.size() > 1024 || text_.size() > (std::size_t{1} << 30)) {
            continue; // no kernel's
        }
        symbols_.push_back({address, static_cast<std::uint32_t>(text_.size()),
                            static_cast<std::uint16_t>(name.size()), name_end != std::string_view::npos});
        text_ += name;
    }
    if (!std::ranges::is_sorted(symbols_, {}, &Symbol::address)) {
        std::ranges::stable_sort(symbols_, {}, &Symbol::address);
    }
    const auto repeated = std::ranges::unique(symbols_, {}, &Symbol::address);
    symbols_.erase(repeated.begin(), repeated.end());
    symbols_.shrink_to_fit();
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
