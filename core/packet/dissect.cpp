#include "core/packet/dissect.h"

#include "core/packet/checksum.h"
#include "core/packet/protocols.h"
#include "core/packet/transport.h"
#include "core/packet/views.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace skbscope {

namespace {

using Bytes = std::span<const std::uint8_t>;

std::string_view ethertype_name(std::uint16_t type)
{
    switch (type) {
    case proto::eth_p_ip: return "IPv4";
    case proto::eth_p_arp: return "ARP";
    case proto::eth_p_ipv6: return "IPv6";
    case proto::eth_p_8021q: return "802.1Q VLAN";
    case proto::eth_p_8021ad: return "802.1ad VLAN";
    default: return type < 1536 ? "802.3 length" : "unknown";
    }
}

std::string_view ip_protocol_name(std::uint8_t protocol)
{
    switch (protocol) {
    case 0: return "hop-by-hop options";
    case proto::ipproto_icmp: return "ICMP";
    case proto::ipproto_igmp: return "IGMP";
    case proto::ipproto_tcp: return "TCP";
    case proto::ipproto_udp: return "UDP";
    case 43: return "routing header";
    case 44: return "fragment header";
    case 47: return "GRE";
    case 50: return "ESP";
    case 51: return "AH";
    case proto::ipproto_icmpv6: return "ICMPv6";
    case 59: return "nothing";
    case 60: return "destination options";
    default: return "unknown";
    }
}

std::string_view icmp_name(std::uint8_t type)
{
    switch (type) {
    case proto::icmp_echoreply: return "echo reply";
    case proto::icmp_dest_unreach: return "destination unreachable";
    case 5: return "redirect";
    case proto::icmp_echo: return "echo request";
    case proto::icmp_time_exceeded: return "time exceeded";
    case 12: return "parameter problem";
    default: return "other";
    }
}

std::string_view icmpv6_name(std::uint8_t type)
{
    switch (type) {
    case 1: return "destination unreachable";
    case 2: return "packet too big";
    case 3: return "time exceeded";
    case 128: return "echo request";
    case 129: return "echo reply";
    case 133: return "router solicitation";
    case 134: return "router advertisement";
    case 135: return "neighbour solicitation";
    case 136: return "neighbour advertisement";
    default: return "other";
    }
}

std::string tcp_flags(std::uint8_t flags)
{
    static constexpr std::string_view names[8] = {"FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"};
    std::vector<std::string_view> set;
    for (unsigned bit = 0; bit < 8; ++bit) {
        if ((flags >> bit & 1) != 0) {
            set.push_back(names[bit]);
        }
    }
    return set.empty() ? "none" : fmt::format("{}", fmt::join(set, " "));
}

/// Printable ASCII of the first bytes, other bytes as dots; empty if hardly any of it is text.
std::string text_of(Bytes bytes)
{
    constexpr std::size_t longest = 48;
    std::string text;
    std::size_t printable = 0;
    for (std::uint8_t byte : bytes.first(std::min(bytes.size(), longest))) {
        bool ok = byte >= 0x20 && byte < 0x7f;
        printable += ok ? 1 : 0;
        text += ok ? static_cast<char>(byte) : '.';
    }
    if (text.empty() || printable * 2 < text.size()) {
        return {};
    }
    return bytes.size() > longest ? text + "…" : text;
}

class Dissector {
public:
    Dissector(Bytes frame, std::size_t wire_length) : frame_(frame), cut_(wire_length > frame.size()) {}

    std::vector<DissectedLayer> run()
    {
        ethernet();
        if (next_ < frame_.size()) {
            trailer();
        }
        return std::move(layers_);
    }

private:
    Bytes rest() const { return frame_.subspan(next_, end_ - next_); }

    DissectedLayer& begin(std::string name, std::size_t length)
    {
        layers_.push_back({std::move(name), {}, next_, length, {}});
        next_ += length;
        return layers_.back();
    }

    /// Adds a field at `offset` of the layer; the layer is always the newest.
    void field(std::string name, std::string value, std::size_t offset, std::size_t length, bool odd = false)
    {
        DissectedLayer& layer = layers_.back();
        layer.fields.push_back({std::move(name), std::move(value), layer.offset + offset, length, odd});
    }

    void too_short(std::string name, std::size_t needed)
    {
        std::size_t have = rest().size();
        DissectedLayer& layer = begin(std::move(name), have);
        layer.summary = cut_ ? fmt::format("cut: {} of {} header bytes were captured", have, needed)
                             : fmt::format("too short: {} bytes, the header needs {}", have, needed);
    }

    void checksum_field(std::uint16_t value, bool right, bool whole, std::size_t offset)
    {
        if (!whole) {
            field("Checksum", fmt::format("0x{:04x} (cannot be verified: the frame is cut)", value), offset, 2);
        } else if (right) {
            field("Checksum", fmt::format("0x{:04x} (right)", value), offset, 2);
        } else {
            // A sender's own capture lies before the NIC, which may be the one to fill it in.
            field("Checksum", fmt::format("0x{:04x} (wrong, or left to the NIC)", value), offset, 2, true);
        }
    }

    void ethernet()
    {
        end_ = frame_.size();
        auto view = EthernetView::checked(frame_);
        if (!view) {
            too_short("Ethernet", 14);
            return;
        }
        begin("Ethernet", 14).summary = fmt::format("{} → {}", view->src().text(), view->dst().text());
        field("Destination", view->dst().text() + (view->dst().is_broadcast() ? " (broadcast)" : ""), 0, 6);
        field("Source", view->src().text(), 6, 6);
        ethertype_field(view->ethertype(), 12);
        behind(view->ethertype());
    }

    void ethertype_field(std::uint16_t type, std::size_t offset)
    {
        field("Type", fmt::format("0x{:04x} ({})", type, ethertype_name(type)), offset, 2);
    }

    void behind(std::uint16_t type)
    {
        switch (type) {
        case proto::eth_p_ip: ipv4(); return;
        case proto::eth_p_ipv6: ipv6(); return;
        case proto::eth_p_arp: arp(); return;
        case proto::eth_p_8021q:
        case proto::eth_p_8021ad: vlan(); return;
        default: data(); return;
        }
    }

    void vlan()
    {
        auto view = VlanView::checked(rest());
        if (!view) {
            too_short("VLAN", 4);
            return;
        }
        begin("VLAN", 4).summary = fmt::format("id {}, priority {}", view->id(), view->priority());
        field("Priority", fmt::format("{}", view->priority()), 0, 2);
        field("VLAN id", fmt::format("{}", view->id()), 0, 2);
        ethertype_field(view->ethertype(), 2);
        behind(view->ethertype());
    }

    void arp()
    {
        auto view = ArpView::checked(rest());
        if (!view) {
            if (rest().size() < 28) {
                too_short("ARP", 28);
            } else {
                begin("ARP", rest().size()).summary = "not for IPv4 over Ethernet";
            }
            return;
        }
        std::string sender = IpAddress::v4(view->sender_address()).text();
        std::string target = IpAddress::v4(view->target_address()).text();
        std::string operation = fmt::format("{}", view->operation());
        std::string summary = fmt::format("operation {}", view->operation());
        if (view->operation() == proto::arpop_request) {
            operation = "1 (request)";
            summary = fmt::format("who has {}? tell {}", target, sender);
        } else if (view->operation() == proto::arpop_reply) {
            operation = "2 (reply)";
            summary = fmt::format("{} is at {}", sender, view->sender_mac().text());
        }
        begin("ARP", 28).summary = summary;
        field("Hardware type", "1 (Ethernet)", 0, 2);
        field("Protocol type", "0x0800 (IPv4)", 2, 2);
        field("Operation", operation, 6, 2);
        field("Sender MAC", view->sender_mac().text(), 8, 6);
        field("Sender address", sender, 14, 4);
        field("Target MAC", view->target_mac().text(), 18, 6);
        field("Target address", target, 24, 4);
    }

    void ipv4()
    {
        auto view = Ipv4View::checked(rest());
        if (!view) {
            bad_ipv4();
            return;
        }
        std::size_t start = next_;
        std::size_t header = view->header_length();
        bool short_total = view->total_length() < header;
        bool whole = start + view->total_length() <= frame_.size();
        begin("IPv4", header).summary =
            fmt::format("{} → {}, {}", view->source().text(), view->destination().text(),
                        ip_protocol_name(view->protocol()));
        field("Version", "4", 0, 1);
        field("Header length", fmt::format("{} bytes", header), 0, 1);
        field("Type of service", fmt::format("0x{:02x}", view->tos()), 1, 1);
        field("Total length", fmt::format("{} bytes{}", view->total_length(), length_remark(short_total, whole)), 2, 2,
              short_total || (!whole && !cut_));
        field("Identification", fmt::format("{} (0x{:04x})", view->id(), view->id()), 4, 2);
        field("Don't fragment", view->dont_fragment() ? "yes" : "no", 6, 1);
        field("More fragments", view->more_fragments() ? "yes" : "no", 6, 1);
        field("Fragment offset", fmt::format("{} bytes", view->fragment_offset()), 6, 2);
        field("Time to live", fmt::format("{}", view->ttl()), 8, 1);
        field("Protocol", fmt::format("{} ({})", view->protocol(), ip_protocol_name(view->protocol())), 9, 1);
        ipv4_checksum_field(*view);
        field("Source", view->source().text(), 12, 4);
        field("Destination", view->destination().text(), 16, 4);
        if (header > 20) {
            field("Options", fmt::format("{:02x}", fmt::join(view->options(), " ")), 20, header - 20);
        }
        source_ = view->source();
        destination_ = view->destination();
        transport_whole_ = whole && !view->is_fragment();
        limit(start + view->total_length());
        if (view->fragment_offset() != 0) {
            data("Fragment");
            return;
        }
        transport(view->protocol());
    }

    std::string_view length_remark(bool short_total, bool whole) const
    {
        if (short_total) {
            return " (less than its header)";
        }
        if (whole) {
            return "";
        }
        return cut_ ? " (not all captured)" : " (more than there is)";
    }

    void ipv4_checksum_field(const Ipv4View& view)
    {
        if (ipv4_checksum_ok(view.header())) {
            field("Header checksum", fmt::format("0x{:04x} (right)", view.checksum()), 10, 2);
            return;
        }
        std::vector<std::uint8_t> copy(view.header().begin(), view.header().end());
        store_be16(copy.data() + 10, 0);
        field("Header checksum", fmt::format("0x{:04x} (wrong, should be 0x{:04x})", view.checksum(), ip_fast_csum(copy)),
              10, 2, true);
    }

    void bad_ipv4()
    {
        Bytes bytes = rest();
        if (bytes.size() < 20) {
            too_short("IPv4", 20);
            return;
        }
        auto view = Ipv4View::unchecked(bytes);
        if (view.version() == 4 && view.ihl() >= 5) {
            too_short("IPv4", view.header_length());
            return;
        }
        begin("IPv4", bytes.size()).summary =
            fmt::format("broken header: version {}, header length {} bytes", view.version(), view.header_length());
        field("Version", fmt::format("{}", view.version()), 0, 1, view.version() != 4);
        field("Header length", fmt::format("{} bytes", view.header_length()), 0, 1, view.ihl() < 5);
    }

    void ipv6()
    {
        auto view = Ipv6View::checked(rest());
        if (!view) {
            if (rest().size() < 40) {
                too_short("IPv6", 40);
            } else {
                unsigned version = rest()[0] >> 4;
                begin("IPv6", rest().size()).summary = fmt::format("broken header: version {}", version);
            }
            return;
        }
        std::size_t start = next_;
        bool whole = start + 40 + view->payload_length() <= frame_.size();
        begin("IPv6", 40).summary = fmt::format("{} → {}, {}", view->source().text(), view->destination().text(),
                                                ip_protocol_name(view->next_header()));
        field("Version", "6", 0, 1);
        field("Traffic class", fmt::format("0x{:02x}", view->traffic_class()), 0, 2);
        field("Flow label", fmt::format("0x{:05x}", view->flow_label()), 1, 3);
        field("Payload length", fmt::format("{} bytes{}", view->payload_length(), length_remark(false, whole)), 4, 2,
              !whole && !cut_);
        field("Next header", fmt::format("{} ({})", view->next_header(), ip_protocol_name(view->next_header())), 6, 1);
        field("Hop limit", fmt::format("{}", view->hop_limit()), 7, 1);
        field("Source", view->source().text(), 8, 16);
        field("Destination", view->destination().text(), 24, 16);
        source_ = view->source();
        destination_ = view->destination();
        transport_whole_ = whole;
        limit(start + 40 + view->payload_length());
        Transport found = find_transport(rest(), view->next_header());
        if (found.offset > 0) {
            std::size_t length = std::min(found.offset, rest().size());
            begin("IPv6 extension headers", length).summary =
                found.whole ? fmt::format("{} bytes, then {}", length, ip_protocol_name(found.protocol))
                            : "cut, or a chain that leads outside";
        }
        if (!found.whole || !found.first_fragment) {
            data(found.first_fragment ? "Data" : "Fragment");
            return;
        }
        transport(found.protocol);
    }

    /// What follows ends at `end` of the frame, as the IP header says; the rest is a trailer.
    void limit(std::size_t end) { end_ = std::max(next_, std::min(end, frame_.size())); }

    void transport(std::uint8_t protocol)
    {
        switch (protocol) {
        case proto::ipproto_udp: udp(); return;
        case proto::ipproto_tcp: tcp(); return;
        case proto::ipproto_icmp: icmp("ICMP"); return;
        case proto::ipproto_icmpv6: icmp("ICMPv6"); return;
        default: data(); return;
        }
    }

    void udp()
    {
        Bytes segment = rest();
        auto view = UdpView::checked(segment);
        if (!view) {
            too_short("UDP", 8);
            return;
        }
        bool bad_length = view->length() < 8 || (view->length() > segment.size() && transport_whole_);
        begin("UDP", 8).summary = fmt::format("{} → {}, {} bytes", view->source_port(), view->destination_port(),
                                              view->length() < 8 ? 0 : view->length() - 8);
        field("Source port", fmt::format("{}", view->source_port()), 0, 2);
        field("Destination port", fmt::format("{}", view->destination_port()), 2, 2);
        field("Length", fmt::format("{} bytes", view->length()), 4, 2, bad_length);
        if (view->checksum() == 0) {
            field("Checksum", "0x0000 (none)", 6, 2, source_.v6);
        } else {
            bool whole = transport_whole_ && !bad_length;
            bool right = whole && udp_checksum_ok(source_, destination_, segment.first(view->length()));
            checksum_field(view->checksum(), right, whole || bad_length, 6);
        }
        data("Payload");
    }

    void tcp()
    {
        Bytes segment = rest();
        auto view = TcpView::checked(segment);
        if (!view) {
            std::size_t needed =
                segment.size() < 20 ? 20 : std::max<std::size_t>(TcpView::unchecked(segment).header_length(), 20);
            if (segment.size() >= needed) {
                begin("TCP", segment.size()).summary = "broken header: data offset below 20 bytes";
            } else {
                too_short("TCP", needed);
            }
            return;
        }
        std::string flags = tcp_flags(view->flags());
        begin("TCP", view->header_length()).summary =
            fmt::format("{} → {}, {}, {} bytes", view->source_port(), view->destination_port(), flags,
                        view->payload().size());
        field("Source port", fmt::format("{}", view->source_port()), 0, 2);
        field("Destination port", fmt::format("{}", view->destination_port()), 2, 2);
        field("Sequence number", fmt::format("{}", view->sequence()), 4, 4);
        field("Acknowledgement", fmt::format("{}", view->acknowledgement()), 8, 4);
        field("Header length", fmt::format("{} bytes", view->header_length()), 12, 1);
        field("Flags", flags, 13, 1);
        field("Window", fmt::format("{}", view->window()), 14, 2);
        checksum_field(view->checksum(), transport_whole_ && tcp_checksum_ok(source_, destination_, segment),
                       transport_whole_, 16);
        field("Urgent pointer", fmt::format("{}", view->urgent_pointer()), 18, 2);
        if (!view->options().empty()) {
            field("Options", fmt::format("{:02x}", fmt::join(view->options(), " ")), 20, view->options().size());
        }
        data("Payload");
    }

    void icmp(std::string name)
    {
        Bytes message = rest();
        auto view = IcmpView::checked(message);
        if (!view) {
            too_short(std::move(name), 8);
            return;
        }
        bool v6 = source_.v6;
        std::string_view type = v6 ? icmpv6_name(view->type()) : icmp_name(view->type());
        bool echo = type == "echo request" || type == "echo reply";
        begin(std::move(name), 8).summary = std::string(type);
        field("Type", fmt::format("{} ({})", view->type(), type), 0, 1);
        field("Code", fmt::format("{}", view->code()), 1, 1);
        bool right = v6 ? transport_checksum(source_, destination_, proto::ipproto_icmpv6, message) == 0
                        : icmp_checksum_ok(message);
        checksum_field(view->checksum(), right, transport_whole_, 2);
        if (echo) {
            field("Identifier", fmt::format("{}", view->identifier()), 4, 2);
            field("Sequence number", fmt::format("{}", view->sequence()), 6, 2);
        }
        data("Payload");
    }

    void data(std::string name = "Data")
    {
        Bytes bytes = rest();
        if (bytes.empty()) {
            return;
        }
        std::string text = text_of(bytes);
        std::size_t size = bytes.size();
        begin(std::move(name), size).summary = fmt::format("{} bytes", size);
        if (!text.empty()) {
            field("Text", text, 0, size);
        }
    }

    void trailer()
    {
        end_ = frame_.size();
        std::size_t size = rest().size();
        begin("Padding", size).summary = fmt::format("{} bytes behind the packet", size);
    }

    Bytes frame_;
    bool cut_;
    std::size_t next_ = 0; ///< first byte that no layer has claimed
    std::size_t end_ = 0;  ///< where the packet ends
    IpAddress source_, destination_;
    bool transport_whole_ = false; ///< the whole segment is there, so that its checksum can be verified
    std::vector<DissectedLayer> layers_;
};

} // namespace

std::vector<DissectedLayer> dissect(std::span<const std::uint8_t> frame, std::size_t wire_length)
{
    return Dissector(frame, wire_length).run();
}

} // namespace skbscope
