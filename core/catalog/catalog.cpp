// Look-ups in the catalog's tables.

#include "core/catalog/catalog.h"

#include "core/catalog/data.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <unordered_map>

namespace skbscope {

namespace data = catalog_data;

namespace {

using Index = std::unordered_map<std::string_view, std::uint32_t>;

/// Clamps foreign ids (of a damaged recording, say) to "none" instead of reading past a table.
template <typename Id>
std::size_t row_of(Id id, std::size_t count)
{
    const std::size_t row = to_index(id);
    return row < count ? row : 0;
}

const Index& function_index()
{
    static const Index index = [] {
        Index made;
        made.reserve(data::counts.functions + data::counts.aliases);
        for (const Function& f : Catalog::functions().subspan(1)) {
            made.emplace(f.name, to_index(f.id));
        }
        for (std::size_t i = 0; i < data::counts.aliases; ++i) {
            made.emplace(data::aliases[i].name, to_index(data::aliases[i].function));
        }
        return made;
    }();
    return index;
}

template <typename Rows, typename Key>
Index index_of(const Rows& rows, Key key)
{
    Index made;
    for (std::uint32_t i = 0; i < rows.size(); ++i) {
        made.emplace(key(rows[i]), i);
    }
    return made;
}

std::uint32_t find(const Index& index, std::string_view name)
{
    const auto found = index.find(name);
    return found == index.end() ? 0 : found->second;
}

std::vector<Room> make_rooms()
{
    std::vector<Room> made;
    for (std::size_t i = 0; i < data::counts.rooms; ++i) {
        const data::RoomData& from = data::rooms[i];
        Room room{from.id,  from.key,    from.title, from.function, from.kind,
                  from.row, from.column, from.text,  from.limits,   {}};
        for (std::string_view rest = from.settings; !rest.empty();) {
            const std::size_t end = std::min(rest.find('\n'), rest.size());
            room.settings.push_back(rest.substr(0, end));
            rest.remove_prefix(std::min(end + 1, rest.size()));
        }
        made.push_back(std::move(room));
    }
    return made;
}

} // namespace

std::span<const Function> Catalog::functions()
{
    return {data::functions, data::counts.functions};
}
std::span<const Stage> Catalog::stages()
{
    return {data::stages, data::counts.stages};
}
std::span<const DropReason> Catalog::drop_reasons()
{
    return {data::drop_reasons, data::counts.drop_reasons};
}
std::span<const DropSite> Catalog::drop_sites()
{
    return {data::drop_sites, data::counts.drop_sites};
}
std::span<const Setting> Catalog::settings()
{
    return {data::settings, data::counts.settings};
}

std::span<const Room> Catalog::rooms()
{
    static const std::vector<Room> made = make_rooms();
    return made;
}

const Function& Catalog::function(FunctionId id)
{
    return data::functions[row_of(id, data::counts.functions)];
}
const Stage& Catalog::stage(StageId id)
{
    return data::stages[row_of(id, data::counts.stages)];
}
const Room& Catalog::room(RoomId id)
{
    return rooms()[row_of(id, data::counts.rooms)];
}
const DropReason& Catalog::drop_reason(DropReasonId id)
{
    return data::drop_reasons[row_of(id, data::counts.drop_reasons)];
}
RoomId Catalog::room_of(FunctionId id)
{
    return data::function_rooms[row_of(id, data::counts.functions)];
}

FunctionId Catalog::find_function(std::string_view name)
{
    if (const std::uint32_t row = find(function_index(), name); row != 0) {
        return static_cast<FunctionId>(row);
    }
    return static_cast<FunctionId>(find(function_index(), data::without_clone_suffix(name)));
}

StageId Catalog::find_stage(std::string_view key)
{
    static const Index index = index_of(stages(), [](const Stage& s) { return s.key; });
    return static_cast<StageId>(find(index, key));
}

RoomId Catalog::find_room(std::string_view key)
{
    static const Index index = index_of(rooms(), [](const Room& r) { return r.key; });
    return static_cast<RoomId>(find(index, key));
}

DropReasonId Catalog::find_drop_reason(std::string_view name)
{
    static const Index index = index_of(drop_reasons(), [](const DropReason& r) { return r.name; });
    constexpr std::string_view prefix = "SKB_DROP_REASON_";
    if (name.starts_with(prefix)) {
        name.remove_prefix(prefix.size());
    }
    return static_cast<DropReasonId>(find(index, name));
}

DropReasonId Catalog::drop_reason_of(KernelVersion version, int value)
{
    for (const DropReason& reason : drop_reasons().subspan(1)) {
        if (value >= 0 && reason.value[static_cast<std::size_t>(version)] == value) {
            return reason.id;
        }
    }
    return DropReasonId::none;
}

const Setting* Catalog::find_setting(std::string_view name)
{
    for (const Setting& setting : settings()) {
        if (setting.name == name) {
            return &setting;
        }
    }
    // "net.ipv4.conf.eth0.rp_filter" for "net.ipv4.conf.*.rp_filter"
    for (const Setting& setting : settings()) {
        const std::size_t star = setting.name.find('*');
        if (star != std::string_view::npos && name.size() >= setting.name.size() &&
            name.starts_with(setting.name.substr(0, star)) && name.ends_with(setting.name.substr(star + 1))) {
            return &setting;
        }
    }
    // "netdev_max_backlog" for "net.core.netdev_max_backlog"
    for (const Setting& setting : settings()) {
        const std::size_t dot = setting.name.rfind('.');
        if (dot != std::string_view::npos && setting.name.starts_with("net.") &&
            setting.name.substr(dot + 1) == name) {
            return &setting;
        }
    }
    return nullptr;
}

const DropSite* Catalog::find_drop_site(FunctionId function, DropReasonId reason)
{
    for (std::size_t i = 0; i < data::counts.site_functions; ++i) {
        const data::SiteFunction& entry = data::site_functions[i];
        if (entry.function == function &&
            (reason == DropReasonId::none || data::drop_sites[entry.site].reason == reason)) {
            return &data::drop_sites[entry.site];
        }
    }
    if (function != FunctionId::none || reason == DropReasonId::none) {
        return nullptr;
    }
    // What the hardware drops no function sees.
    const auto sites = drop_sites();
    const auto found = std::ranges::find_if(sites, [&](const DropSite& site) { return site.function == FunctionId::none && site.reason == reason; });
    return found == sites.end() ? nullptr : &*found;
}

std::string_view Catalog::name_in(FunctionId id, KernelVersion version)
{
    const Function& f = function(id);
    const std::string_view symbol = f.symbol[static_cast<std::size_t>(version)];
    return symbol.empty() ? f.name : data::without_clone_suffix(symbol);
}

std::string_view Catalog::version()
{
    return data::version;
}

KernelVersion kernel_version_of(std::string_view release)
{
    unsigned major = 0;
    unsigned minor = 0;
    const char* const end = release.data() + release.size();
    const auto [after_major, bad] = std::from_chars(release.data(), end, major);
    if (bad == std::errc() && after_major != end && *after_major == '.') {
        std::from_chars(after_major + 1, end, minor);
    }
    const unsigned number = major * 1000 + std::min(minor, 999U);
    if (number >= 6018) {
        return KernelVersion::v6_18;
    }
    if (number >= 6012) {
        return KernelVersion::v6_12;
    }
    if (number >= 6001) {
        return KernelVersion::v6_1;
    }
    return number >= 5010 ? KernelVersion::v5_10 : KernelVersion::v4_1;
}

std::string_view to_string(KernelVersion version)
{
    static constexpr std::array<std::string_view, 5> names = {"4.1", "5.10", "6.1", "6.12", "6.18"};
    return names[std::min<std::size_t>(static_cast<std::size_t>(version), names.size() - 1)];
}

std::string_view to_string(Context context)
{
    static constexpr std::array<std::string_view, 4> names = {"process", "softirq", "hardirq", "nmi"};
    return names[std::min<std::size_t>(static_cast<std::size_t>(context), names.size() - 1)];
}

std::string_view to_string(Direction direction)
{
    static constexpr std::array<std::string_view, 3> names = {"rx", "tx", "both"};
    return names[std::min<std::size_t>(static_cast<std::size_t>(direction), names.size() - 1)];
}

} // namespace skbscope
