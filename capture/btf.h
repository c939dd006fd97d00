#pragma once
// Where members lie in the running kernel's structures, from its own type information (BTF, /sys/kernel/btf/vmlinux).
// Read here in a few lines rather than through libbpf: of that library only this would be used.
// Format: Documentation/bpf/btf.rst.

#include "core/result.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace skbscope {

/// One kernel's types. The bytes outlive it.
class Btf {
public:
    /// Errors: foreign (no BTF), cut, unsupported (the other byte order, a kind of type that is not known).
    [[nodiscard]] static Result<Btf> parse(std::span<const std::uint8_t> bytes);

    /// Bytes from the start of the structure to its member; members of unnamed structures and unions inside it are
    /// found, too, and "a.b" names a member of a member. Empty: there is no such structure or member, or it is a bit
    /// field.
    [[nodiscard]] std::optional<std::uint32_t> offset_of(std::string_view structure, std::string_view member) const;
    /// Bytes; empty: no such structure.
    [[nodiscard]] std::optional<std::uint32_t> size_of(std::string_view structure) const;

private:
    struct Member {
        std::uint32_t type = 0;
        std::uint32_t bits = 0;
    };
    [[nodiscard]] std::uint32_t word(std::size_t at) const;
    [[nodiscard]] std::string_view text(std::uint32_t offset) const;
    [[nodiscard]] std::uint32_t find(std::string_view structure) const;
    [[nodiscard]] std::optional<Member> member_of(std::uint32_t type, std::string_view name, int depth) const;
    [[nodiscard]] std::uint32_t resolved(std::uint32_t type) const;

    std::span<const std::uint8_t> strings_;
    std::span<const std::uint8_t> types_;
    std::vector<std::uint32_t> starts_; ///< of each type's record in types_; type 0 is void
};

/// What the probes need to know of struct sk_buff and its neighbours; bytes.
struct SkbLayout {
    std::uint32_t size = 0, dev = 0, len = 0, data_len = 0, head = 0, data = 0, protocol = 0, network_header = 0,
                  truesize = 0;
    std::uint32_t device_name = 0; ///< of net_device
};

/// Empty: the type information lacks one of them.
[[nodiscard]] std::optional<SkbLayout> skb_layout(const Btf& btf);

} // namespace skbscope
