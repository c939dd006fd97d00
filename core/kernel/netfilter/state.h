#pragma once
// What a network namespace has of netfilter: its rules, what is registered on the five hooks, its connections. A value.

#include "core/kernel/netfilter/rules.h"
#include "core/trace/trace.h"

#include <array>
#include <cstdint>
#include <deque>
#include <vector>

namespace skbscope::kernel {

/// struct nf_conntrack_tuple of IPv4, in host order. ICMP: sport is the identifier, dport type and code.
struct NfTuple {
    std::uint32_t src = 0, dst = 0;
    std::uint16_t sport = 0, dport = 0;
    std::uint8_t protocol = 0;
    bool operator==(const NfTuple&) const = default;
};

/// include/uapi/linux/netfilter/nf_conntrack_common.h: enum ip_conntrack_info.
enum class CtInfo : std::uint8_t { established = 0, related = 1, new_ = 2, established_reply = 3, related_reply = 4, untracked = 7 };
[[nodiscard]] constexpr std::size_t ct_dir(CtInfo info) { return info >= CtInfo::established_reply && info != CtInfo::untracked ? 1 : 0; }

/// enum ip_conntrack_status
namespace ips {
inline constexpr std::uint32_t seen_reply = 1 << 1, assured = 1 << 2, confirmed = 1 << 3, src_nat = 1 << 4, dst_nat = 1 << 5,
                               src_nat_done = 1 << 7, dst_nat_done = 1 << 8, dying = 1 << 9;
}

/// skb->_nfct
struct CtRef {
    std::int32_t conn = -1; ///< row of the namespace's table
    std::uint32_t net = 0;
    CtInfo info = CtInfo::established;
};

/// struct nf_conn.
struct NfConn {
    NfTuple tuple[2];          ///< original, reply
    std::int32_t next[2] = {-1, -1}; ///< in the hash chain: row * 2 + direction
    std::uint32_t status = 0;
    std::uint32_t mark = 0;
    std::uint64_t timeout = 0; ///< nanoseconds: a duration until confirmed, then the moment it ends
    std::uint64_t stream_ns = 0; ///< UDP: from then on it is a stream
    std::uint32_t users = 0;   ///< sk_buffs that belong to it
    std::uint8_t tcp_state = 0;
    std::uint8_t tcp_last_dir = 0, tcp_last_index = 5;
    bool tcp_close_begun = false;   ///< IP_CT_TCP_FLAG_CLOSE_INIT
    bool tcp_simultaneous = false;  ///< IP_CT_TCP_SIMULTANEOUS_OPEN
    bool tcp_challenge_due = false; ///< IP_CT_EXP_CHALLENGE_ACK
    std::uint32_t tcp_last_end = 0; ///< the sequence number behind what was last acknowledged or ignored
    std::uint32_t tcp_maxack[2] = {}; ///< td_maxack: the highest acknowledgement of each direction
    bool tcp_maxack_set[2] = {};
    std::uint64_t packets[2] = {}, bytes[2] = {};
    bool in_use = false;
    [[nodiscard]] bool is_confirmed() const { return (status & ips::confirmed) != 0; }
};

/// nf_conntrack_hash. A row keeps its address while others are added: an interrupt may make a connection while one is in hand.
class NfConnTable {
public:
    [[nodiscard]] NfConn& at(std::int32_t row) { return rows_[static_cast<std::size_t>(row)]; }
    [[nodiscard]] const NfConn& at(std::int32_t row) const { return rows_[static_cast<std::size_t>(row)]; }
    /// row * 2 + direction, or -1.
    [[nodiscard]] std::int32_t find(const NfTuple& tuple) const;
    [[nodiscard]] std::int32_t allocate(); ///< a row that is not in the table yet
    void insert(std::int32_t row);         ///< under both its tuples
    void remove(std::int32_t row);         ///< from the table; the row stays until release()
    void release(std::int32_t row);
    /// Rows in the chain so many buckets behind the tuple's.
    [[nodiscard]] std::vector<std::int32_t> chain_of(const NfTuple& tuple, std::size_t distance) const;
    static constexpr std::size_t bucket_count = 65536; ///< nf_conntrack_buckets of a small machine
    [[nodiscard]] std::uint32_t count() const { return count_; } ///< rows in use, unconfirmed ones too
    [[nodiscard]] const std::deque<NfConn>& rows() const { return rows_; }

private:
    [[nodiscard]] std::size_t bucket(const NfTuple& tuple) const;
    std::deque<NfConn> rows_;
    std::vector<std::int32_t> free_, buckets_;
    std::uint32_t count_ = 0;
};

/// struct nf_hook_entry: what is called at a hook, in ascending priority.
struct NfHookEntry {
    enum class Fn : std::uint8_t {
        apparmor_ip_postroute, nft_chain, ipt_table, conntrack_defrag, conntrack_in, conntrack_local, confirm, nat,
    } fn{};
    std::int32_t priority = 0;
    std::uint16_t table = 0, chain = 0;
};

struct NfState {
    NfRuleset rules;
    std::array<std::array<std::vector<NfHookEntry>, hook_count>, 2> hooks; ///< by Pf, Hook
    std::array<std::vector<NfHookEntry>, hook_count> nat_lookups;          ///< IPv4: the chains that nf_nat_inet_fn() asks
    NfConnTable conns;
    std::uint64_t last_gc_ns = 0;
    QueueId conn_queue{}; ///< shows how full the table is; none until it is needed
};

} // namespace skbscope::kernel
