// net/ipv4/ip_options.c: the options of an IP header: looked through on receipt, carried on when forwarded, turned round in
// an answer.

#include "core/kernel/functions.h"
#include "core/packet/build.h"
#include "core/packet/bytes.h"
#include "core/packet/views.h"

#include <algorithm>

namespace skbscope::kernel {

namespace {

// include/uapi/linux/ip.h
constexpr std::uint8_t IPOPT_END = 0, IPOPT_NOOP = 1, IPOPT_RR = 7, IPOPT_TIMESTAMP = 68, IPOPT_LSRR = 131, IPOPT_CIPSO = 134, IPOPT_SSRR = 137,
                       IPOPT_RA = 148;
constexpr std::uint8_t IPOPT_TS_TSONLY = 0, IPOPT_TS_TSANDADDR = 1, IPOPT_TS_PRESPEC = 3;
constexpr std::uint8_t ip_header = 20;

/// inet_current_timestamp(): milliseconds since midnight.
std::uint32_t timestamp(Kernel& k) { return static_cast<std::uint32_t>(k.cpu().now.ns / 1'000'000 % 86'400'000); }

/// One pass over the options of a received header. `at` counts from the header's start, as the kernel's pointers do.
class Compiler {
public:
    Compiler(Kernel& k, SkbIndex skb) : k_(k), skb_(skb), h_(skb_network_writable(k, skb)), opt_(k.skb(skb).ipcb.opt) {}

    /// 0: good; else where the header is wrong.
    std::uint8_t run()
    {
        std::uint32_t at = ip_header;
        const std::uint32_t end = ip_header + opt_.optlen;
        while (at < end) {
            if (h_[at] == IPOPT_END) {
                clear_rest(at + 1, end);
                return 0;
            }
            if (h_[at] == IPOPT_NOOP) {
                ++at;
                continue;
            }
            if (end - at < 2 || h_[at + 1] < 2 || h_[at + 1] > end - at) {
                return static_cast<std::uint8_t>(at);
            }
            if (const std::uint8_t wrong = one(at, h_[at + 1]); wrong != 0) {
                return wrong;
            }
            at += h_[at + 1];
        }
        return 0;
    }

private:
    void clear_rest(std::uint32_t from, std::uint32_t end)
    {
        for (; from < end; ++from) {
            if (h_[from] != IPOPT_END) {
                h_[from] = IPOPT_END;
                opt_.is_changed = true;
            }
        }
    }

    std::uint8_t one(std::uint32_t at, std::uint8_t length)
    {
        const auto here = static_cast<std::uint8_t>(at);
        switch (h_[at]) {
        case IPOPT_SSRR:
        case IPOPT_LSRR:
            if (length < 3) {
                return here + 1;
            }
            if (h_[at + 2] < 4) {
                return here + 2;
            }
            if (opt_.srr != 0) {
                return here;
            }
            opt_.is_strictroute = h_[at] == IPOPT_SSRR;
            opt_.srr = here;
            return 0;
        case IPOPT_RR: return record_route(here, length);
        case IPOPT_TIMESTAMP: return time_stamp(here, length);
        case IPOPT_RA:
            if (length < 4) {
                return here + 1;
            }
            if (h_[at + 2] == 0 && h_[at + 3] == 0) {
                opt_.router_alert = here;
            }
            return 0;
        case IPOPT_CIPSO: return here + (length < 8 ? 1 : 2); // cipso_v4_validate(): nobody defined a domain of interpretation
        default: return 0;
        }
    }

    std::uint8_t record_route(std::uint8_t at, std::uint8_t length)
    {
        if (opt_.rr != 0) {
            return at;
        }
        if (length < 3) {
            return at + 1;
        }
        if (h_[at + 2] < 4) {
            return at + 2;
        }
        if (h_[at + 2] <= length) {
            if (h_[at + 2] + 3 > length) {
                return at + 2;
            }
            put_address(at + h_[at + 2] - 1U);
            h_[at + 2] = static_cast<std::uint8_t>(h_[at + 2] + 4);
            opt_.rr_needaddr = true;
        }
        opt_.rr = at;
        return 0;
    }

    std::uint8_t time_stamp(std::uint8_t at, std::uint8_t length)
    {
        if (opt_.ts != 0) {
            return at;
        }
        if (length < 4) {
            return at + 1;
        }
        if (h_[at + 2] < 5) {
            return at + 2;
        }
        const std::uint8_t pointer = h_[at + 2];
        const std::uint8_t kind = h_[at + 3] & 0xf;
        if (pointer > length) { // full: one more that missed it
            if (kind != IPOPT_TS_PRESPEC) {
                const std::uint8_t overflow = h_[at + 3] >> 4;
                if (overflow == 15) {
                    return at + 3;
                }
                h_[at + 3] = static_cast<std::uint8_t>(kind | (overflow + 1) << 4);
                opt_.is_changed = true;
            }
            opt_.ts = at;
            return 0;
        }
        if (pointer + 3 > length || (kind != IPOPT_TS_TSONLY && pointer + 7 > length && kind <= IPOPT_TS_PRESPEC)) {
            return at + 2;
        }
        stamp(at, pointer, kind);
        opt_.ts = at;
        return 0;
    }

    void stamp(std::uint8_t at, std::uint8_t pointer, std::uint8_t kind)
    {
        std::uint32_t time_at = 0;
        if (kind == IPOPT_TS_TSONLY) {
            time_at = at + pointer - 1U;
            opt_.ts_needtime = true;
            h_[at + 2] = static_cast<std::uint8_t>(pointer + 4);
        } else if (kind == IPOPT_TS_TSANDADDR) {
            put_address(at + pointer - 1U);
            time_at = at + pointer + 3U;
            opt_.ts_needaddr = opt_.ts_needtime = true;
            h_[at + 2] = static_cast<std::uint8_t>(pointer + 8);
        } else if (kind == IPOPT_TS_PRESPEC) {
            const std::uint32_t address = load_be32(&h_[at + pointer - 1U]);
            if (inet_addr_type_dev_table(k_, k_.skb_net(skb_), address, k_.skb(skb_).packet) == RouteType::unicast) {
                return; // somebody else's turn
            }
            time_at = at + pointer + 3U;
            opt_.ts_needtime = true;
            h_[at + 2] = static_cast<std::uint8_t>(pointer + 8);
        }
        if (time_at != 0) {
            store_be32(&h_[time_at], timestamp(k_));
            opt_.is_changed = true;
        }
    }

    void put_address(std::uint32_t at)
    {
        store_be32(&h_[at], fib_compute_spec_dst(k_, skb_));
        opt_.is_changed = true;
    }

    Kernel& k_;
    SkbIndex skb_;
    std::span<std::uint8_t> h_;
    IpOptions& opt_;
};

/// net/ipv4/route.c: ip_rt_get_source: the address that we have towards where the packet goes.
std::uint32_t ip_rt_get_source(Kernel& k, SkbIndex skb)
{
    const Destination& dst = k.skb(skb).dst;
    return dst.source != 0 ? dst.source : inet_select_addr(k, dst.device, dst.gateway, false);
}

} // namespace

bool __ip_options_compile(Kernel& k, SkbIndex skb, std::uint8_t& pointer)
{
    pointer = Compiler(k, skb).run();
    return pointer == 0;
}

bool ip_options_compile(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::ip_options_compile, skb);
    std::uint8_t pointer = 0;
    if (__ip_options_compile(k, skb, pointer)) {
        return true;
    }
    icmp_send(k, skb, ICMP_PARAMETERPROB, 0, std::uint32_t{pointer} << 24);
    return false;
}

bool ip_options_rcv_srr(Kernel& k, SkbIndex skb, DeviceIndex device)
{
    Call call(k, fn::ip_options_rcv_srr, skb);
    const Destination dst = k.skb(skb).dst;
    IpOptions opt = k.skb(skb).ipcb.opt;
    if (k.skb(skb).pkt_type != PktType::host) {
        return false;
    }
    if (dst.type == RouteType::unicast) {
        if (!opt.is_strictroute) {
            return true;
        }
        icmp_send(k, skb, ICMP_PARAMETERPROB, 0, 16U << 24);
        return false;
    }
    if (dst.type != RouteType::local) {
        return false;
    }
    const auto header = skb_network_writable(k, skb);
    const std::uint32_t saddr = Ipv4View::unchecked(header).saddr();
    std::uint32_t pointer = header[opt.srr + 2U];
    const std::uint32_t space = header[opt.srr + 1U];
    std::uint32_t next = 0;
    for (; pointer <= space; pointer += 4) {
        if (pointer + 3 > space) {
            icmp_send(k, skb, ICMP_PARAMETERPROB, 0, (opt.srr + 2U) << 24);
            return false;
        }
        next = load_be32(&header[opt.srr + pointer - 1U]);
        const Destination before = k.skb(skb).dst;
        const int error = ip_route_input_noref(k, skb, next, saddr, device);
        const RouteType type = k.skb(skb).dst.type;
        if (error != 0 || (type != RouteType::unicast && type != RouteType::local)) {
            k.skb(skb).dst = before;
            return false;
        }
        if (type != RouteType::local) {
            break;
        }
        MutableIpv4View::unchecked(header).set_daddr(next); // one of ours again: the next one
        opt.is_changed = true;
    }
    if (pointer <= space) {
        opt.srr_is_hit = true;
        opt.nexthop = next;
        opt.is_changed = true;
    }
    k.skb(skb).ipcb.opt = opt;
    return true;
}

void ip_forward_options(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::ip_forward_options, skb);
    IpOptions& opt = k.skb(skb).ipcb.opt;
    const auto header = skb_network_writable(k, skb);
    if (opt.rr_needaddr) {
        store_be32(&header[opt.rr + header[opt.rr + 2U] - 5U], ip_rt_get_source(k, skb));
        opt.is_changed = true;
    }
    if (opt.srr_is_hit) {
        std::uint32_t pointer = header[opt.srr + 2U];
        const std::uint32_t space = header[opt.srr + 1U];
        while (pointer + 3 <= space && load_be32(&header[opt.srr + pointer - 1U]) != opt.nexthop) {
            pointer += 4;
        }
        if (pointer + 3 <= space) {
            opt.is_changed = true;
            MutableIpv4View::unchecked(header).set_daddr(opt.nexthop);
            store_be32(&header[opt.srr + pointer - 1U], ip_rt_get_source(k, skb));
            header[opt.srr + 2U] = static_cast<std::uint8_t>(pointer + 4);
        }
        if (opt.ts_needaddr) {
            store_be32(&header[opt.ts + header[opt.ts + 2U] - 9U], ip_rt_get_source(k, skb));
            opt.is_changed = true;
        }
    }
    if (opt.is_changed) {
        opt.is_changed = false;
        fill_ipv4_checksum(header.first(Ipv4View::unchecked(header).header_length()));
    }
}

bool ip_options_echo(Kernel& k, SkbIndex skb, std::vector<std::uint8_t>& options)
{
    const IpOptions& opt = k.skb(skb).ipcb.opt;
    options.clear();
    if (opt.optlen == 0) {
        return true;
    }
    const auto header = skb_network(k, skb);
    const auto append = [&](std::uint8_t at) {
        const auto bytes = header.subspan(at, header[at + 1U]);
        const std::size_t begin = options.size();
        options.insert(options.end(), bytes.begin(), bytes.end());
        return begin;
    };
    if (opt.rr != 0) {
        const std::size_t begin = append(opt.rr);
        if (opt.rr_needaddr && options[begin + 2] >= 8) {
            options[begin + 2] = static_cast<std::uint8_t>(options[begin + 2] - 4); // our own entry is written when it leaves
        }
    }
    if (opt.ts != 0) {
        append(opt.ts);
    }
    if (opt.srr != 0) { // the way back: the same hops, last first
        const std::uint8_t length = header[opt.srr + 1U];
        const std::uint8_t pointer = std::min<std::uint8_t>(header[opt.srr + 2U], static_cast<std::uint8_t>(length + 1));
        if (pointer < 4) {
            return false;
        }
        std::vector<std::uint8_t> back{header[opt.srr], 3, 4};
        for (int at = pointer - 8; at >= 3; at -= 4) {
            const auto hop = header.subspan(opt.srr + static_cast<std::size_t>(at), 4);
            back.insert(back.end(), hop.begin(), hop.end());
        }
        if (back.size() > 3) {
            back[1] = static_cast<std::uint8_t>(back.size());
            options.insert(options.end(), back.begin(), back.end());
        }
    }
    while (options.size() % 4 != 0) {
        options.push_back(IPOPT_END);
    }
    return true;
}

} // namespace skbscope::kernel
