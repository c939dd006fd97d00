#include "capture/btf.h"

#include <algorithm>
#include <cstring>

namespace skbscope {

namespace {

// include/uapi/linux/btf.h
constexpr std::uint16_t btf_magic = 0xeb9f;
constexpr std::size_t header_bytes = 24;
constexpr std::size_t type_bytes = 12;
constexpr std::size_t member_bytes = 12;
constexpr int deepest = 16; ///< unnamed structures within each other; the kernel has three

enum Kind : std::uint32_t {
    kind_int = 1, kind_ptr, kind_array, kind_struct, kind_union, kind_enum, kind_fwd, kind_typedef, kind_volatile,
    kind_const, kind_restrict, kind_func, kind_func_proto, kind_var, kind_datasec, kind_float, kind_decl_tag,
    kind_type_tag, kind_enum64,
};

std::uint32_t kind_of(std::uint32_t info) { return info >> 24 & 0x1f; }
std::uint32_t count_of(std::uint32_t info) { return info & 0xffff; }

/// What follows the twelve bytes of a type; empty: a kind that is not known, so that nothing behind it can be read.
std::optional<std::size_t> tail_bytes(std::uint32_t info)
{
    const std::size_t count = count_of(info);
    switch (kind_of(info)) {
    case kind_ptr:
    case kind_fwd:
    case kind_typedef:
    case kind_volatile:
    case kind_const:
    case kind_restrict:
    case kind_func:
    case kind_float:
    case kind_type_tag: return 0;
    case kind_int:
    case kind_var:
    case kind_decl_tag: return 4;
    case kind_array: return 12;
    case kind_struct:
    case kind_union:
    case kind_datasec:
    case kind_enum64: return count * 12;
    case kind_enum:
    case kind_func_proto: return count * 8;
    default: return std::nullopt;
    }
}

} // namespace

std::uint32_t Btf::word(std::size_t at) const
{
    std::uint32_t value = 0;
    if (at + sizeof value <= types_.size()) {
        std::memcpy(&value, types_.data() + at, sizeof value);
    }
    return value;
}

std::string_view Btf::text(std::uint32_t offset) const
{
    if (offset >= strings_.size()) {
        return {};
    }
    const auto* begin = reinterpret_cast<const char*>(strings_.data()) + offset;
    return {begin, strnlen(begin, strings_.size() - offset)};
}

Result<Btf> Btf::parse(std::span<const std::uint8_t> bytes)
{
    constexpr auto name = "BTF";
    std::uint16_t magic = 0;
    if (bytes.size() < header_bytes) {
        return fail(ErrorKind::cut, name, "ends within its header");
    }
    std::memcpy(&magic, bytes.data(), sizeof magic);
    if (magic != btf_magic) {
        return magic == 0x9feb ? fail(ErrorKind::unsupported, name, "is of a machine with the other byte order")
                               : fail(ErrorKind::foreign, name, "is no type information of a kernel");
    }
    std::uint32_t header[5] = {}; // hdr_len, type_off, type_len, str_off, str_len
    std::memcpy(header, bytes.data() + 4, sizeof header);
    const auto section = [&](std::uint64_t offset, std::uint64_t length) {
        const std::uint64_t begin = header[0] + offset;
        return begin + length <= bytes.size() ? bytes.subspan(begin, length) : std::span<const std::uint8_t>();
    };
    Btf btf;
    btf.types_ = section(header[1], header[2]);
    btf.strings_ = section(header[3], header[4]);
    if (btf.types_.empty() || btf.strings_.empty()) {
        return fail(ErrorKind::cut, name, "ends before its types do");
    }
    btf.starts_.push_back(0);
    for (std::size_t at = 0; at + type_bytes <= btf.types_.size();) {
        btf.starts_.push_back(static_cast<std::uint32_t>(at));
        const auto tail = tail_bytes(btf.word(at + 4));
        if (!tail) {
            return fail(ErrorKind::unsupported, name, "has a kind of type that is not known here");
        }
        at += type_bytes + *tail;
    }
    return btf;
}

std::uint32_t Btf::find(std::string_view structure) const
{
    for (std::uint32_t type = 1; type < starts_.size(); ++type) {
        const std::uint32_t kind = kind_of(word(starts_[type] + 4));
        if ((kind == kind_struct || kind == kind_union) && text(word(starts_[type])) == structure) {
            return type;
        }
    }
    return 0;
}

std::uint32_t Btf::resolved(std::uint32_t type) const
{
    for (int step = 0; step < deepest && type < starts_.size(); ++step) {
        const std::uint32_t kind = kind_of(word(starts_[type] + 4));
        if (kind != kind_typedef && kind != kind_const && kind != kind_volatile && kind != kind_type_tag) {
            return type;
        }
        type = word(starts_[type] + 8);
    }
    return 0;
}

std::optional<Btf::Member> Btf::member_of(std::uint32_t type, std::string_view name, int depth) const
{
    type = resolved(type);
    if (type == 0 || type >= starts_.size() || depth > deepest) {
        return std::nullopt;
    }
    const std::size_t start = starts_[type];
    const std::uint32_t info = word(start + 4);
    if (kind_of(info) != kind_struct && kind_of(info) != kind_union) {
        return std::nullopt;
    }
    const bool has_bit_fields = (info >> 31) != 0;
    for (std::uint32_t i = 0; i < count_of(info); ++i) {
        const std::size_t at = start + type_bytes + i * member_bytes;
        const std::uint32_t offset = word(at + 8);
        const std::uint32_t bits = has_bit_fields ? offset & 0xffffff : offset;
        const std::string_view called = text(word(at));
        if (called == name) {
            return has_bit_fields && offset >> 24 != 0 ? std::nullopt : std::optional(Member{word(at + 4), bits});
        }
        if (called.empty()) {
            if (auto inner = member_of(word(at + 4), name, depth + 1)) {
                inner->bits += bits;
                return inner;
            }
        }
    }
    return std::nullopt;
}

std::optional<std::uint32_t> Btf::offset_of(std::string_view structure, std::string_view member) const
{
    std::uint32_t type = find(structure);
    std::uint32_t bits = 0;
    while (type != 0) {
        const std::size_t dot = member.find('.');
        const auto found = member_of(type, member.substr(0, dot), 0);
        if (!found) {
            return std::nullopt;
        }
        bits += found->bits;
        if (dot == std::string_view::npos) {
            return bits % 8 == 0 ? std::optional(bits / 8) : std::nullopt;
        }
        member.remove_prefix(dot + 1);
        type = found->type;
    }
    return std::nullopt;
}

std::optional<std::uint32_t> Btf::size_of(std::string_view structure) const
{
    const std::uint32_t type = find(structure);
    return type == 0 ? std::nullopt : std::optional(word(starts_[type] + 8));
}

std::optional<SkbLayout> skb_layout(const Btf& btf)
{
    SkbLayout layout;
    const auto size = btf.size_of("sk_buff");
    if (!size) {
        return std::nullopt;
    }
    layout.size = *size;
    bool whole = true;
    const auto read = [&](std::uint32_t& to, std::string_view structure, std::string_view member) {
        const auto offset = btf.offset_of(structure, member);
        whole = whole && offset.has_value();
        to = offset.value_or(0);
    };
    read(layout.dev, "sk_buff", "dev");
    read(layout.len, "sk_buff", "len");
    read(layout.data_len, "sk_buff", "data_len");
    read(layout.head, "sk_buff", "head");
    read(layout.data, "sk_buff", "data");
    read(layout.protocol, "sk_buff", "protocol");
    read(layout.network_header, "sk_buff", "network_header");
    read(layout.truesize, "sk_buff", "truesize");
    read(layout.device_name, "net_device", "name");
    return whole ? std::optional(layout) : std::nullopt;
}

} // namespace skbscope
