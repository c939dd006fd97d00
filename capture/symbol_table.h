#pragma once
// The kernel's functions by address, from the text of /proc/kallsyms (live, or as a recording carries it).

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace skbscope {

/// Kernel symbols by address.
class SymbolTable {
public:
    /// Takes the text of /proc/kallsyms; lines that do not parse are left out.
    void parse(std::string_view kallsyms);
    /// Name of the function that holds the address (without module), and how far into it; empty if unknown.
    struct Hit {
        std::string_view name;
        std::uint64_t start = 0;
        bool in_module = false;
    };
    [[nodiscard]] Hit find(std::uint64_t address) const;
    [[nodiscard]] bool empty() const { return symbols_.empty(); }
    [[nodiscard]] bool contains(std::string_view name) const; ///< looks at each symbol

private:
    struct Symbol {
        std::uint64_t address;
        std::uint32_t name; ///< offset in text_
        std::uint16_t length;
        bool in_module;
    };
    [[nodiscard]] std::string_view name_of(const Symbol& symbol) const
    {
        return std::string_view(text_).substr(symbol.name, symbol.length);
    }
    std::vector<Symbol> symbols_; ///< by address, one each
    std::string text_;            ///< names of all of them, one behind the other
};

} // namespace skbscope
