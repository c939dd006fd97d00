#pragma once
// The generated tables as catalog.cpp and resolve.cpp see them. Nobody else includes this.

#include "core/catalog/catalog.h"

namespace skbscope::catalog_data {

struct RoomData {
    RoomId id = RoomId::none;
    std::string_view key, title, function;
    RoomKind kind = RoomKind::function;
    std::uint8_t row = 0, column = 0;
    std::string_view text, limits;
    std::string_view settings; ///< one a line
};

/// A drop site can lie in several functions.
struct SiteFunction {
    FunctionId function;
    std::size_t site;
};

/// A name that articles use, and what it is today.
struct NameRow {
    std::string_view name;
    Resolution::Kind kind;
    FunctionId function; ///< today's, may be none
    std::string_view today;
    std::string_view text;
};

/// A function's symbol in some version that differs from the catalog's name for it.
struct Alias {
    std::string_view name;
    FunctionId function;
};

struct Counts {
    std::size_t functions, stages, rooms, drop_reasons, drop_sites, site_functions, settings, names, aliases;
};

extern const Function functions[];
extern const RoomId function_rooms[];
extern const Stage stages[];
extern const RoomData rooms[];
extern const DropReason drop_reasons[];
extern const DropSite drop_sites[];
extern const SiteFunction site_functions[];
extern const Setting settings[];
extern const NameRow names[];
extern const Alias aliases[];
extern const Counts counts;
extern const std::string_view version;

/// A symbol without the compiler's clone suffix: "ip_rcv.constprop.0" -> "ip_rcv".
[[nodiscard]] constexpr std::string_view without_clone_suffix(std::string_view symbol)
{
    return symbol.substr(0, symbol.find('.'));
}

} // namespace skbscope::catalog_data
