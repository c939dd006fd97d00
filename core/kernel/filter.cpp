// Classic BPF: compiled by libpcap, checked and run here as net/core/filter.c does.

#include "core/kernel/filter.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <fmt/format.h>
#include <limits>
#include <memory>
#include <pcap/pcap.h>

namespace skbscope::kernel {

namespace {

// uapi/linux/bpf_common.h and filter.h
enum : std::uint16_t {
    LD = 0x00, LDX = 0x01, ST = 0x02, STX = 0x03, ALU = 0x04, JMP = 0x05, RET = 0x06, MISC = 0x07,
    W = 0x00, H = 0x08, B = 0x10,
    IMM = 0x00, ABS = 0x20, IND = 0x40, MEM = 0x60, LEN = 0x80, MSH = 0xa0,
    ADD = 0x00, SUB = 0x10, MUL = 0x20, DIV = 0x30, OR = 0x40, AND = 0x50, LSH = 0x60, RSH = 0x70, NEG = 0x80, MOD = 0x90, XOR = 0xa0,
    JA = 0x00, JEQ = 0x10, JGT = 0x20, JGE = 0x30, JSET = 0x40,
    K = 0x00, X = 0x08, A = 0x10, TAX = 0x00, TXA = 0x80,
};
constexpr std::uint32_t scratch_words = 16;
constexpr std::int32_t SKF_AD_OFF = -0x1000, SKF_NET_OFF = -0x100000, SKF_LL_OFF = -0x200000;
constexpr std::uint32_t SKF_AD_MAX = 64;

constexpr std::uint16_t size_of(std::uint16_t code) { return code & 0x18; }
constexpr std::uint16_t mode_of(std::uint16_t code) { return code & 0xe0; }
constexpr std::uint16_t op_of(std::uint16_t code) { return code & 0xf0; }
constexpr bool source_is_x(std::uint16_t code) { return (code & X) != 0; }

/// The instructions that chk_code_allowed() knows.
bool known(std::uint16_t code)
{
    switch (code & 7) {
    case LD:
        return (mode_of(code) == ABS || mode_of(code) == IND) ? size_of(code) <= B && code < 0x60
                                                              : code == (LD | IMM) || code == (LD | MEM) || code == (LD | W | LEN);
    case LDX: return code == (LDX | W | IMM) || code == (LDX | W | MEM) || code == (LDX | W | LEN) || code == (LDX | B | MSH);
    case ST: return code == ST;
    case STX: return code == STX;
    case ALU: return op_of(code) == NEG ? code == (ALU | NEG) : op_of(code) <= XOR && (code & 0xff00) == 0;
    case JMP: return op_of(code) == JA ? code == (JMP | JA) : op_of(code) <= JSET && (code & 0xff00) == 0;
    case RET: return code == (RET | K) || code == (RET | A);
    case MISC: return code == (MISC | TAX) || code == (MISC | TXA);
    default: return false;
    }
}

tl::unexpected<Error> bad(std::size_t at, std::string what)
{
    return fail(ErrorKind::invalid, fmt::format("filter, instruction {}", at), std::move(what));
}

/// check_load_and_stores(): no scratch word is read on any way that has not written it.
bool scratch_is_written(std::span<const SockFilter> program)
{
    std::vector<std::uint16_t> valid_at(program.size(), 0xffff);
    std::uint16_t valid = 0;
    for (std::size_t pc = 0; pc < program.size(); ++pc) {
        const SockFilter& in = program[pc];
        valid &= valid_at[pc];
        if (in.code == ST || in.code == STX) {
            valid |= static_cast<std::uint16_t>(1U << in.k);
        } else if (in.code == (LD | MEM) || in.code == (LDX | MEM)) {
            if ((valid & (1U << in.k)) == 0) {
                return false;
            }
        } else if ((in.code & 7) == JMP) {
            const bool always = op_of(in.code) == JA;
            const std::size_t first = pc + 1 + (always ? in.k : in.jt);
            valid_at[first] &= valid;
            if (!always) {
                valid_at[pc + 1 + in.jf] &= valid;
            }
            valid = 0xffff;
        }
    }
    return true;
}

struct Machine {
    const BpfPacket& packet;
    std::uint32_t a = 0, x = 0;
    std::array<std::uint32_t, scratch_words> words{};

    static std::uint32_t big_endian(const std::uint8_t* at, std::uint32_t bytes)
    {
        std::uint32_t value = 0;
        for (std::uint32_t i = 0; i < bytes; ++i) {
            value = value << 8 | at[i];
        }
        return value;
    }

    bool ancillary(std::uint32_t which, std::uint32_t& value) const
    {
        switch (which) {
        case 0: value = packet.protocol; return true;
        case 4: value = packet.pkt_type; return true;
        case 8: value = packet.ifindex; return packet.ifindex != 0;
        case 20: value = packet.mark; return true;
        case 24: value = packet.queue; return true;
        case 28: value = 1; return true; // ARPHRD_ETHER
        case 32: value = packet.hash; return true;
        case 36: value = packet.cpu; return true;
        default: return false; // neither VLAN tags nor packed extensions exist here: such a program ends with 0
        }
    }

    /// bpf_skb_load_helper_*(): from skb->data on, or with a negative offset from a header.
    bool load(std::uint32_t k, std::uint32_t bytes, std::uint32_t& value) const
    {
        const auto offset = static_cast<std::int32_t>(k);
        std::int64_t at = 0;
        if (offset >= 0) {
            if (std::int64_t{offset} + bytes > packet.len) {
                return false;
            }
            at = std::int64_t{packet.data} + offset;
        } else if (offset >= SKF_NET_OFF) {
            at = packet.network_header == ~0U ? -1 : std::int64_t{packet.network_header} + offset - SKF_NET_OFF;
        } else if (offset >= SKF_LL_OFF) {
            at = packet.mac_header == ~0U ? -1 : std::int64_t{packet.mac_header} + offset - SKF_LL_OFF;
        } else {
            return false;
        }
        if (at < 0 || at + bytes > static_cast<std::int64_t>(packet.buffer.size())) {
            return false;
        }
        value = big_endian(packet.buffer.data() + at, bytes);
        return true;
    }

    bool load_absolute(const SockFilter& in)
    {
        const auto offset = static_cast<std::int32_t>(in.k);
        if (offset >= SKF_AD_OFF && offset < SKF_AD_OFF + static_cast<std::int32_t>(SKF_AD_MAX)) {
            return ancillary(in.k - static_cast<std::uint32_t>(SKF_AD_OFF), a);
        }
        return load(in.k, bytes_of(in.code), a);
    }

    static std::uint32_t bytes_of(std::uint16_t code) { return size_of(code) == W ? 4 : size_of(code) == H ? 2 : 1; }

    /// False: division by zero, which ends the program.
    bool alu(const SockFilter& in)
    {
        const std::uint32_t by = source_is_x(in.code) ? x : in.k;
        switch (op_of(in.code)) {
        case ADD: a += by; break;
        case SUB: a -= by; break;
        case MUL: a *= by; break;
        case DIV:
        case MOD:
            if (by == 0) {
                return false;
            }
            a = op_of(in.code) == DIV ? a / by : a % by;
            break;
        case OR: a |= by; break;
        case AND: a &= by; break;
        case LSH: a <<= by & 31; break;
        case RSH: a >>= by & 31; break;
        case NEG: a = 0U - a; break;
        case XOR: a ^= by; break;
        default: return false;
        }
        return true;
    }

    [[nodiscard]] bool jump(const SockFilter& in) const
    {
        const std::uint32_t with = source_is_x(in.code) ? x : in.k;
        switch (op_of(in.code)) {
        case JEQ: return a == with;
        case JGT: return a > with;
        case JGE: return a >= with;
        default: return (a & with) != 0;
        }
    }
};

/// Words that may stand in an expression; all others would be names to look up.
bool is_filter_word(std::string_view word)
{
    static constexpr std::string_view words[] = {
        "and", "or", "not", "host", "net", "mask", "port", "portrange", "src", "dst", "gateway", "proto", "protochain", "less",
        "greater", "len", "length", "broadcast", "multicast", "ether", "ip", "ip6", "arp", "rarp", "tcp", "udp", "icmp", "icmp6",
        "igmp", "igrp", "pim", "vrrp", "carp", "sctp", "ah", "esp", "vlan", "mpls", "pppoed", "pppoes", "geneve", "link", "stp",
        "ipx", "iso", "llc", "tcpflags", "tcp-fin", "tcp-syn", "tcp-rst", "tcp-push", "tcp-ack", "tcp-urg", "tcp-ece", "tcp-cwr",
        "icmptype", "icmpcode", "icmp6type", "icmp6code"};
    return std::ranges::find(words, word) != std::end(words) || word.starts_with("icmp-") || word.starts_with("icmp6-");
}

/// The first word that libpcap would look up, or nothing.
std::string_view first_name(std::string_view text)
{
    const auto part_of_word = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || std::string_view("-_.:").find(c) != std::string_view::npos; };
    for (std::size_t at = 0; at < text.size();) {
        if (!part_of_word(text[at])) {
            // A backslash only says that the next word is meant as a protocol's name.
            ++at;
            continue;
        }
        std::size_t end = at;
        while (end < text.size() && part_of_word(text[end])) {
            ++end;
        }
        std::string_view word = text.substr(at, end - at);
        at = end;
        const bool address = word.find("::") != std::string_view::npos || std::ranges::count(word, ':') >= 2;
        const std::size_t colon = address ? std::string_view::npos : word.find(':'); // ip[0:2]
        const std::string_view name = word.substr(0, colon);
        if (!address && std::isalpha(static_cast<unsigned char>(name.empty() ? '0' : name[0])) != 0 && !is_filter_word(name)) {
            return name;
        }
    }
    return {};
}

struct Compiled {
    bpf_program program{};
    ~Compiled() { pcap_freecode(&program); }
};

/// From "byte n of the frame" to "byte n from the network header", as libpcap itself does for cooked sockets.
void move_to_network_header(BpfProgram& program)
{
    for (SockFilter& in : program) {
        const bool loads = ((in.code & 7) == LD && (mode_of(in.code) == ABS || mode_of(in.code) == IND)) || in.code == (LDX | B | MSH);
        if (loads) {
            in.k += static_cast<std::uint32_t>(SKF_NET_OFF);
        }
    }
}

} // namespace

Result<void> bpf_check_classic(std::span<const SockFilter> program)
{
    if (program.empty() || program.size() > BPF_MAXINSNS) {
        return fail(ErrorKind::invalid, "filter", fmt::format("{} instructions", program.size()), fmt::format("1 … {}", BPF_MAXINSNS));
    }
    for (std::size_t pc = 0; pc < program.size(); ++pc) {
        const SockFilter& in = program[pc];
        const std::size_t after = program.size() - pc - 1;
        if (!known(in.code)) {
            return bad(pc, fmt::format("code {:#x} is unknown", in.code));
        }
        const std::uint16_t kind = in.code & 7;
        if (kind == ALU && !source_is_x(in.code) && (op_of(in.code) == DIV || op_of(in.code) == MOD) && in.k == 0) {
            return bad(pc, "divides by zero");
        }
        if (kind == ALU && !source_is_x(in.code) && (op_of(in.code) == LSH || op_of(in.code) == RSH) && in.k >= 32) {
            return bad(pc, "shifts by 32 or more");
        }
        if ((in.code == (LD | MEM) || in.code == (LDX | MEM) || in.code == ST || in.code == STX) && in.k >= scratch_words) {
            return bad(pc, fmt::format("there is no scratch word {}", in.k));
        }
        if (kind == JMP && (op_of(in.code) == JA ? in.k >= after : in.jt >= after || in.jf >= after)) {
            return bad(pc, "jumps out of the program");
        }
    }
    if ((program.back().code & 7) != RET) {
        return bad(program.size() - 1, "the last one does not return");
    }
    if (!scratch_is_written(program)) {
        return fail(ErrorKind::invalid, "filter", "a scratch word is read before it is written");
    }
    return {};
}

std::uint32_t bpf_prog_run(std::span<const SockFilter> program, const BpfPacket& packet)
{
    if (program.empty()) {
        return std::numeric_limits<std::uint32_t>::max();
    }
    Machine m{packet};
    // Jumps go forward only: the counter rises at every step, so this ends.
    for (std::size_t pc = 0; pc < program.size(); ++pc) {
        const SockFilter& in = program[pc];
        switch (in.code & 7) {
        case LD:
            if (in.code == (LD | IMM)) {
                m.a = in.k;
            } else if (in.code == (LD | MEM)) {
                m.a = m.words[in.k];
            } else if (mode_of(in.code) == LEN) {
                m.a = packet.len;
            } else if (mode_of(in.code) == ABS ? !m.load_absolute(in) : !m.load(m.x + in.k, Machine::bytes_of(in.code), m.a)) {
                return 0;
            }
            break;
        case LDX:
            if (mode_of(in.code) == MSH) {
                std::uint32_t byte = 0;
                if (!m.load(in.k, 1, byte)) {
                    return 0;
                }
                m.x = (byte & 0xf) << 2;
            } else {
                m.x = mode_of(in.code) == IMM ? in.k : mode_of(in.code) == MEM ? m.words[in.k] : packet.len;
            }
            break;
        case ST: m.words[in.k] = m.a; break;
        case STX: m.words[in.k] = m.x; break;
        case ALU:
            if (!m.alu(in)) {
                return 0;
            }
            break;
        case JMP: pc += op_of(in.code) == JA ? in.k : m.jump(in) ? in.jt : in.jf; break;
        case RET: return in.code == (RET | A) ? m.a : in.k;
        default: (in.code == (MISC | TAX) ? m.x : m.a) = in.code == (MISC | TAX) ? m.a : m.x; break;
        }
    }
    return 0;
}

Result<BpfProgram> compile_filter(std::string_view expression, std::uint32_t keep, FilterBase base)
{
    const std::string text(expression);
    const std::string where = fmt::format("filter '{}'", text);
    if (text.size() > 4096 || text.find('\0') != std::string::npos) {
        return fail(ErrorKind::invalid, "filter", "too long, or it holds a NUL", "at most 4096 characters");
    }
    if (keep == 0 || keep > static_cast<std::uint32_t>(std::numeric_limits<std::int32_t>::max())) {
        return fail(ErrorKind::invalid, where, fmt::format("it would keep {} bytes", keep), "1 … 2147483647");
    }
    if (const std::string_view name = first_name(text); !name.empty()) {
        return fail(ErrorKind::invalid, where, fmt::format("'{}' is a name, and names are not looked up here", name),
                    "write addresses and ports as numbers");
    }
    const int link = base == FilterBase::mac_header ? DLT_EN10MB : DLT_RAW;
    const std::unique_ptr<pcap_t, decltype(&pcap_close)> handle(pcap_open_dead(link, static_cast<int>(keep)), pcap_close);
    Compiled compiled;
    if (pcap_compile(handle.get(), &compiled.program, text.c_str(), 1, PCAP_NETMASK_UNKNOWN) != 0) {
        std::string reason = pcap_geterr(handle.get());
        std::ranges::replace(reason, '\n', ' ');
        return fail(ErrorKind::invalid, where, reason, "pcap-filter(7) has the language");
    }
    BpfProgram program;
    for (u_int i = 0; i < compiled.program.bf_len; ++i) {
        const bpf_insn& in = compiled.program.bf_insns[i];
        program.push_back({in.code, in.jt, in.jf, in.k});
    }
    if (base == FilterBase::network_header) {
        move_to_network_header(program);
    }
    if (auto checked = bpf_check_classic(program); !checked) {
        return tl::unexpected(checked.error());
    }
    return program;
}

} // namespace skbscope::kernel
