#include "core/recording/pcapng.h"

#include "core/recording/format.h"
#include "core/recording/wire.h"

#include <algorithm>

namespace skbscope::pcapng {

namespace {

using Bytes = std::vector<std::uint8_t>;

void pad(Bytes& out)
{
    out.resize((out.size() + 3) / 4 * 4);
}

void put_option(Bytes& out, std::uint16_t code, std::span<const std::uint8_t> value)
{
    put(out, code);
    put(out, static_cast<std::uint16_t>(value.size()));
    put_bytes(out, value);
    pad(out);
}

void put_option(Bytes& out, std::uint16_t code, std::string_view text)
{
    constexpr std::size_t longest = 0xfff0;
    text = text.substr(0, longest);
    put_option(out, code, {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

template <typename Number>
void put_number_option(Bytes& out, std::uint16_t code, Number value)
{
    Bytes number;
    put(number, value);
    put_option(out, code, number);
}

void end_options(Bytes& out)
{
    put(out, std::uint32_t{0});
}

} // namespace

Bytes block(std::uint32_t type, std::span<const std::uint8_t> body)
{
    const auto padded = (body.size() + 3) / 4 * 4;
    const auto length = static_cast<std::uint32_t>(12 + padded);
    Bytes out;
    out.reserve(length);
    put(out, type);
    put(out, length);
    put_bytes(out, body);
    out.resize(8 + padded);
    put(out, length);
    return out;
}

Bytes section_header(std::string_view application, std::string_view system)
{
    Bytes body;
    put(body, format::byte_order_magic);
    put(body, std::uint16_t{1});
    put(body, std::uint16_t{0});
    put(body, ~std::uint64_t{0}); // length not known
    if (!system.empty()) {
        put_option(body, 3, system); // shb_os
    }
    put_option(body, 4, application); // shb_userappl
    end_options(body);
    return block(format::section_header, body);
}

Bytes interface_description(std::string_view name, std::string_view driver, const std::array<std::uint8_t, 6>& mac)
{
    Bytes body;
    put(body, format::linktype_ethernet);
    put(body, std::uint16_t{0});
    put(body, format::longest_frame);
    put_option(body, 2, name); // if_name
    if (!driver.empty()) {
        put_option(body, 3, driver); // if_description
    }
    if (mac != std::array<std::uint8_t, 6>{}) {
        put_option(body, 6, mac); // if_MACaddr
    }
    const std::uint8_t nanoseconds[] = {9};
    put_option(body, 9, nanoseconds); // if_tsresol: 10^-9
    end_options(body);
    return block(format::interface_description, body);
}

Bytes enhanced_packet(const Frame& frame)
{
    auto bytes = frame.bytes.first(std::min<std::size_t>(frame.bytes.size(), format::longest_frame));
    Bytes body;
    body.reserve(64 + bytes.size() + frame.comment.size());
    put(body, frame.interface);
    put(body, static_cast<std::uint32_t>(frame.wall_ns >> 32));
    put(body, static_cast<std::uint32_t>(frame.wall_ns));
    put(body, static_cast<std::uint32_t>(bytes.size()));
    put(body, std::max(frame.wire_length, static_cast<std::uint32_t>(bytes.size())));
    put_bytes(body, bytes);
    pad(body);
    put_option(body, 1, frame.comment);                                              // opt_comment
    put_number_option(body, 2, static_cast<std::uint32_t>(frame.outbound ? 2 : 1));  // epb_flags: direction
    put_number_option(body, 5, frame.packet_id);                                     // epb_packetid
    end_options(body);
    return block(format::enhanced_packet, body);
}

} // namespace skbscope::pcapng
