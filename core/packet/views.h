#pragma once
// Headers as they are on the wire, odd ones too: views over bytes that somebody else owns. Each has two doors:
// checked() verifies the lengths once and then no accessor can fail; unchecked() is for whoever has just built the
// header or tests it field by field as the kernel does, and only needs its fixed part (`minimum` bytes) to be there.
//
// All numbers come and go in host byte order. Reading views: EthernetView, VlanView, ArpView, Ipv4View, Ipv6View,
// UdpView, TcpView, IcmpView; the same with Mutable in front can be written through.

#include "core/packet/bytes.h"
#include "core/packet/flow.h"
#include "core/packet/mac.h"

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <type_traits>

namespace skbscope {

/// What all views share. `Byte` is std::uint8_t or const std::uint8_t.
template <typename Derived, typename Byte, std::size_t Minimum>
class HeaderView {
public:
    static constexpr std::size_t minimum = Minimum; ///< bytes of the fixed part

    /// Precondition: bytes.size() >= minimum.
    [[nodiscard]] static Derived unchecked(std::span<Byte> bytes)
    {
        assert(bytes.size() >= Minimum);
        Derived view;
        view.bytes_ = bytes;
        return view;
    }
    /// Everything from the first byte of this header on.
    [[nodiscard]] std::span<Byte> bytes() const { return bytes_; }

protected:
    [[nodiscard]] std::uint8_t u8(std::size_t at) const { return bytes_[at]; }
    [[nodiscard]] std::uint16_t u16(std::size_t at) const { return load_be16(bytes_.data() + at); }
    [[nodiscard]] std::uint32_t u32(std::size_t at) const { return load_be32(bytes_.data() + at); }
    void put8(std::size_t at, std::uint8_t value) const { bytes_[at] = value; }
    void put16(std::size_t at, std::uint16_t value) const { store_be16(bytes_.data() + at, value); }
    void put32(std::size_t at, std::uint32_t value) const { store_be32(bytes_.data() + at, value); }
    [[nodiscard]] MacAddress mac(std::size_t at) const
    {
        MacAddress address;
        std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(at), 6, address.bytes.begin());
        return address;
    }
    void put_mac(std::size_t at, const MacAddress& address) const
    {
        std::copy_n(address.bytes.begin(), 6, bytes_.begin() + static_cast<std::ptrdiff_t>(at));
    }
    /// What lies behind the first `header` bytes, at most up to `end`.
    [[nodiscard]] std::span<Byte> behind(std::size_t header, std::size_t end = SIZE_MAX) const
    {
        end = std::min(end, bytes_.size());
        return header >= end ? std::span<Byte>{} : bytes_.subspan(header, end - header);
    }

    std::span<Byte> bytes_;
};

/// Ethernet II: destination, source, type.
template <typename Byte>
class BasicEthernetView : public HeaderView<BasicEthernetView<Byte>, Byte, 14> {
public:
    [[nodiscard]] static std::optional<BasicEthernetView> checked(std::span<Byte> bytes)
    {
        return bytes.size() < 14 ? std::nullopt : std::optional(BasicEthernetView::unchecked(bytes));
    }
    [[nodiscard]] MacAddress dst() const { return this->mac(0); }
    [[nodiscard]] MacAddress src() const { return this->mac(6); }
    /// Below 1536 it is the length of an 802.3 frame.
    [[nodiscard]] std::uint16_t ethertype() const { return this->u16(12); }
    [[nodiscard]] std::span<Byte> payload() const { return this->behind(14); }
    void set_dst(const MacAddress& address) const { this->put_mac(0, address); }
    void set_src(const MacAddress& address) const { this->put_mac(6, address); }
    void set_ethertype(std::uint16_t type) const { this->put16(12, type); }
};

/// The four bytes behind an ethertype of 0x8100 or 0x88a8.
template <typename Byte>
class BasicVlanView : public HeaderView<BasicVlanView<Byte>, Byte, 4> {
public:
    [[nodiscard]] static std::optional<BasicVlanView> checked(std::span<Byte> bytes)
    {
        return bytes.size() < 4 ? std::nullopt : std::optional(BasicVlanView::unchecked(bytes));
    }
    [[nodiscard]] std::uint16_t tci() const { return this->u16(0); }
    [[nodiscard]] std::uint16_t id() const { return this->u16(0) & 0x0fff; }
    [[nodiscard]] std::uint8_t priority() const { return static_cast<std::uint8_t>(this->u8(0) >> 5); }
    [[nodiscard]] bool drop_eligible() const { return (this->u8(0) & 0x10) != 0; }
    [[nodiscard]] std::uint16_t ethertype() const { return this->u16(2); }
    [[nodiscard]] std::span<Byte> payload() const { return this->behind(4); }
    void set_tci(std::uint16_t tci) const { this->put16(0, tci); }
    void set_ethertype(std::uint16_t type) const { this->put16(2, type); }
};

/// ARP for IPv4 over Ethernet (the only kind that arp_process() in net/ipv4/arp.c works on here).
template <typename Byte>
class BasicArpView : public HeaderView<BasicArpView<Byte>, Byte, 28> {
public:
    /// Empty if it is cut, or of another hardware or protocol.
    [[nodiscard]] static std::optional<BasicArpView> checked(std::span<Byte> bytes)
    {
        if (bytes.size() < 28) {
            return std::nullopt;
        }
        auto view = BasicArpView::unchecked(bytes);
        bool known = view.hardware_type() == 1 && view.protocol_type() == 0x0800 && view.hardware_length() == 6 &&
                     view.protocol_length() == 4;
        return known ? std::optional(view) : std::nullopt;
    }
    [[nodiscard]] std::uint16_t hardware_type() const { return this->u16(0); }
    [[nodiscard]] std::uint16_t protocol_type() const { return this->u16(2); }
    [[nodiscard]] std::uint8_t hardware_length() const { return this->u8(4); }
    [[nodiscard]] std::uint8_t protocol_length() const { return this->u8(5); }
    [[nodiscard]] std::uint16_t operation() const { return this->u16(6); }
    [[nodiscard]] MacAddress sender_mac() const { return this->mac(8); }
    [[nodiscard]] std::uint32_t sender_address() const { return this->u32(14); }
    [[nodiscard]] MacAddress target_mac() const { return this->mac(18); }
    [[nodiscard]] std::uint32_t target_address() const { return this->u32(24); }
    void set_operation(std::uint16_t operation) const { this->put16(6, operation); }
    void set_sender_mac(const MacAddress& address) const { this->put_mac(8, address); }
    void set_sender_address(std::uint32_t address) const { this->put32(14, address); }
    void set_target_mac(const MacAddress& address) const { this->put_mac(18, address); }
    void set_target_address(std::uint32_t address) const { this->put32(24, address); }
};

/// IPv4 with options.
template <typename Byte>
class BasicIpv4View : public HeaderView<BasicIpv4View<Byte>, Byte, 20> {
public:
    /// Verifies version 4, ihl >= 5 and that the whole header is there. Total length and checksum may still be wrong.
    [[nodiscard]] static std::optional<BasicIpv4View> checked(std::span<Byte> bytes)
    {
        if (bytes.size() < 20) {
            return std::nullopt;
        }
        auto view = BasicIpv4View::unchecked(bytes);
        bool whole = view.version() == 4 && view.ihl() >= 5 && view.header_length() <= bytes.size();
        return whole ? std::optional(view) : std::nullopt;
    }
    [[nodiscard]] std::uint8_t version() const { return static_cast<std::uint8_t>(this->u8(0) >> 4); }
    [[nodiscard]] std::uint8_t ihl() const { return this->u8(0) & 0x0f; } ///< in words of 4 bytes
    [[nodiscard]] std::size_t header_length() const { return ihl() * std::size_t{4}; } ///< in bytes, options included
    [[nodiscard]] std::uint8_t tos() const { return this->u8(1); }
    [[nodiscard]] std::uint16_t total_length() const { return this->u16(2); } ///< header and payload, bytes
    [[nodiscard]] std::uint16_t id() const { return this->u16(4); }
    [[nodiscard]] bool dont_fragment() const { return (this->u8(6) & 0x40) != 0; }
    [[nodiscard]] bool more_fragments() const { return (this->u8(6) & 0x20) != 0; }
    [[nodiscard]] std::size_t fragment_offset() const { return (this->u16(6) & 0x1fffu) * std::size_t{8}; } ///< bytes
    /// As ip_is_fragment() in include/net/ip.h.
    [[nodiscard]] bool is_fragment() const { return (this->u16(6) & 0x3fff) != 0; }
    [[nodiscard]] std::uint8_t ttl() const { return this->u8(8); }
    [[nodiscard]] std::uint8_t protocol() const { return this->u8(9); }
    [[nodiscard]] std::uint16_t checksum() const { return this->u16(10); }
    [[nodiscard]] std::uint32_t saddr() const { return this->u32(12); } ///< host order: 10.0.0.1 = 0x0a000001
    [[nodiscard]] std::uint32_t daddr() const { return this->u32(16); }
    [[nodiscard]] IpAddress source() const { return IpAddress::v4(saddr()); }
    [[nodiscard]] IpAddress destination() const { return IpAddress::v4(daddr()); }
    /// The header's bytes with options, as far as they are there.
    [[nodiscard]] std::span<Byte> header() const { return this->behind(0, header_length()); }
    [[nodiscard]] std::span<Byte> options() const { return this->behind(20, header_length()); }
    /// Behind the header, up to total_length (an Ethernet trailer is not part of it), as far as it is there.
    [[nodiscard]] std::span<Byte> payload() const { return this->behind(header_length(), total_length()); }
    void set_version_ihl(std::uint8_t version, std::uint8_t ihl) const
    {
        this->put8(0, static_cast<std::uint8_t>(version << 4 | ihl));
    }
    void set_tos(std::uint8_t tos) const { this->put8(1, tos); }
    void set_total_length(std::uint16_t length) const { this->put16(2, length); }
    void set_id(std::uint16_t id) const { this->put16(4, id); }
    /// `offset` in bytes, a multiple of 8.
    void set_fragment(bool dont_fragment, bool more_fragments, std::size_t offset) const
    {
        this->put16(6, static_cast<std::uint16_t>((dont_fragment ? 0x4000u : 0u) | (more_fragments ? 0x2000u : 0u) |
                                                  (offset / 8 & 0x1fffu)));
    }
    void set_ttl(std::uint8_t ttl) const { this->put8(8, ttl); }
    void set_protocol(std::uint8_t protocol) const { this->put8(9, protocol); }
    void set_checksum(std::uint16_t checksum) const { this->put16(10, checksum); }
    void set_saddr(std::uint32_t address) const { this->put32(12, address); }
    void set_daddr(std::uint32_t address) const { this->put32(16, address); }
};

/// The fixed header of IPv6; extension headers are part of its payload (see transport.h).
template <typename Byte>
class BasicIpv6View : public HeaderView<BasicIpv6View<Byte>, Byte, 40> {
public:
    [[nodiscard]] static std::optional<BasicIpv6View> checked(std::span<Byte> bytes)
    {
        if (bytes.size() < 40) {
            return std::nullopt;
        }
        auto view = BasicIpv6View::unchecked(bytes);
        return view.version() == 6 ? std::optional(view) : std::nullopt;
    }
    [[nodiscard]] std::uint8_t version() const { return static_cast<std::uint8_t>(this->u8(0) >> 4); }
    [[nodiscard]] std::uint8_t traffic_class() const { return static_cast<std::uint8_t>(this->u16(0) >> 4); }
    [[nodiscard]] std::uint32_t flow_label() const { return this->u32(0) & 0xfffff; }
    [[nodiscard]] std::uint16_t payload_length() const { return this->u16(4); }
    [[nodiscard]] std::uint8_t next_header() const { return this->u8(6); }
    [[nodiscard]] std::uint8_t hop_limit() const { return this->u8(7); }
    [[nodiscard]] IpAddress source() const { return address(8); }
    [[nodiscard]] IpAddress destination() const { return address(24); }
    [[nodiscard]] std::span<Byte> payload() const { return this->behind(40, std::size_t{40} + payload_length()); }
    void set_version_class_label(std::uint8_t traffic_class, std::uint32_t flow_label) const
    {
        this->put32(0, 0x60000000u | static_cast<std::uint32_t>(traffic_class) << 20 | (flow_label & 0xfffff));
    }
    void set_payload_length(std::uint16_t length) const { this->put16(4, length); }
    void set_next_header(std::uint8_t protocol) const { this->put8(6, protocol); }
    void set_hop_limit(std::uint8_t limit) const { this->put8(7, limit); }
    void set_source(const IpAddress& value) const { put_address(8, value); }
    void set_destination(const IpAddress& value) const { put_address(24, value); }

private:
    [[nodiscard]] IpAddress address(std::size_t at) const
    {
        IpAddress result;
        result.v6 = true;
        std::copy_n(this->bytes_.begin() + static_cast<std::ptrdiff_t>(at), 16, result.bytes.begin());
        return result;
    }
    void put_address(std::size_t at, const IpAddress& value) const
    {
        std::copy_n(value.bytes.begin(), 16, this->bytes_.begin() + static_cast<std::ptrdiff_t>(at));
    }
};

template <typename Byte>
class BasicUdpView : public HeaderView<BasicUdpView<Byte>, Byte, 8> {
public:
    [[nodiscard]] static std::optional<BasicUdpView> checked(std::span<Byte> bytes)
    {
        return bytes.size() < 8 ? std::nullopt : std::optional(BasicUdpView::unchecked(bytes));
    }
    [[nodiscard]] std::uint16_t source_port() const { return this->u16(0); }
    [[nodiscard]] std::uint16_t destination_port() const { return this->u16(2); }
    [[nodiscard]] std::uint16_t length() const { return this->u16(4); } ///< header and payload; may be wrong
    [[nodiscard]] std::uint16_t checksum() const { return this->u16(6); } ///< 0: none
    [[nodiscard]] std::span<Byte> payload() const { return this->behind(8, length()); }
    void set_source_port(std::uint16_t port) const { this->put16(0, port); }
    void set_destination_port(std::uint16_t port) const { this->put16(2, port); }
    void set_length(std::uint16_t length) const { this->put16(4, length); }
    void set_checksum(std::uint16_t checksum) const { this->put16(6, checksum); }
};

template <typename Byte>
class BasicTcpView : public HeaderView<BasicTcpView<Byte>, Byte, 20> {
public:
    enum Flag : std::uint8_t { fin = 1, syn = 2, rst = 4, psh = 8, ack = 16, urg = 32, ece = 64, cwr = 128 };

    /// Verifies the data offset, and that the whole header is there.
    [[nodiscard]] static std::optional<BasicTcpView> checked(std::span<Byte> bytes)
    {
        if (bytes.size() < 20) {
            return std::nullopt;
        }
        auto view = BasicTcpView::unchecked(bytes);
        bool whole = view.header_length() >= 20 && view.header_length() <= bytes.size();
        return whole ? std::optional(view) : std::nullopt;
    }
    [[nodiscard]] std::uint16_t source_port() const { return this->u16(0); }
    [[nodiscard]] std::uint16_t destination_port() const { return this->u16(2); }
    [[nodiscard]] std::uint32_t sequence() const { return this->u32(4); }
    [[nodiscard]] std::uint32_t acknowledgement() const { return this->u32(8); }
    [[nodiscard]] std::size_t header_length() const { return (this->u8(12) >> 4) * std::size_t{4}; }
    [[nodiscard]] std::uint8_t flags() const { return this->u8(13); }
    [[nodiscard]] bool has(Flag flag) const { return (flags() & flag) != 0; }
    [[nodiscard]] std::uint16_t window() const { return this->u16(14); }
    [[nodiscard]] std::uint16_t checksum() const { return this->u16(16); }
    [[nodiscard]] std::uint16_t urgent_pointer() const { return this->u16(18); }
    [[nodiscard]] std::span<Byte> options() const { return this->behind(20, header_length()); }
    [[nodiscard]] std::span<Byte> payload() const { return this->behind(header_length()); }
    void set_source_port(std::uint16_t port) const { this->put16(0, port); }
    void set_destination_port(std::uint16_t port) const { this->put16(2, port); }
    void set_sequence(std::uint32_t sequence) const { this->put32(4, sequence); }
    void set_acknowledgement(std::uint32_t acknowledgement) const { this->put32(8, acknowledgement); }
    /// In bytes: 20 … 60, a multiple of 4.
    void set_header_length(std::size_t length) const { this->put8(12, static_cast<std::uint8_t>(length / 4 << 4)); }
    void set_flags(std::uint8_t flags) const { this->put8(13, flags); }
    void set_window(std::uint16_t window) const { this->put16(14, window); }
    void set_checksum(std::uint16_t checksum) const { this->put16(16, checksum); }
    void set_urgent_pointer(std::uint16_t pointer) const { this->put16(18, pointer); }
};

/// ICMP, and ICMPv6, whose first eight bytes have the same places.
template <typename Byte>
class BasicIcmpView : public HeaderView<BasicIcmpView<Byte>, Byte, 8> {
public:
    [[nodiscard]] static std::optional<BasicIcmpView> checked(std::span<Byte> bytes)
    {
        return bytes.size() < 8 ? std::nullopt : std::optional(BasicIcmpView::unchecked(bytes));
    }
    [[nodiscard]] std::uint8_t type() const { return this->u8(0); }
    [[nodiscard]] std::uint8_t code() const { return this->u8(1); }
    [[nodiscard]] std::uint16_t checksum() const { return this->u16(2); }
    [[nodiscard]] std::uint16_t identifier() const { return this->u16(4); } ///< of an echo
    [[nodiscard]] std::uint16_t sequence() const { return this->u16(6); }   ///< of an echo
    [[nodiscard]] std::span<Byte> payload() const { return this->behind(8); }
    void set_type(std::uint8_t type) const { this->put8(0, type); }
    void set_code(std::uint8_t code) const { this->put8(1, code); }
    void set_checksum(std::uint16_t checksum) const { this->put16(2, checksum); }
    void set_identifier(std::uint16_t identifier) const { this->put16(4, identifier); }
    void set_sequence(std::uint16_t sequence) const { this->put16(6, sequence); }
};

using EthernetView = BasicEthernetView<const std::uint8_t>;
using VlanView = BasicVlanView<const std::uint8_t>;
using ArpView = BasicArpView<const std::uint8_t>;
using Ipv4View = BasicIpv4View<const std::uint8_t>;
using Ipv6View = BasicIpv6View<const std::uint8_t>;
using UdpView = BasicUdpView<const std::uint8_t>;
using TcpView = BasicTcpView<const std::uint8_t>;
using IcmpView = BasicIcmpView<const std::uint8_t>;

using MutableEthernetView = BasicEthernetView<std::uint8_t>;
using MutableVlanView = BasicVlanView<std::uint8_t>;
using MutableArpView = BasicArpView<std::uint8_t>;
using MutableIpv4View = BasicIpv4View<std::uint8_t>;
using MutableIpv6View = BasicIpv6View<std::uint8_t>;
using MutableUdpView = BasicUdpView<std::uint8_t>;
using MutableTcpView = BasicTcpView<std::uint8_t>;
using MutableIcmpView = BasicIcmpView<std::uint8_t>;

} // namespace skbscope
