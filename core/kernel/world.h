#pragma once
// All state of the modelled hosts, as one copyable value: a copy is a snapshot. Things refer to each other by index,
// never by pointer, so that a copy stands on its own. Seeded and deterministic: same input, same trace.

#include "core/catalog/ids.h"
#include "core/kernel/containers.h"
#include "core/kernel/costs.h"
#include "core/kernel/filter.h"
#include "core/kernel/ipv4.h"
#include "core/kernel/ipv6_state.h"
#include "core/kernel/mib.h"
#include "core/kernel/netfilter/state.h"
#include "core/kernel/nic.h"
#include "core/kernel/packet_sock.h"
#include "core/kernel/qdisc.h"
#include "core/kernel/skb_head.h"
#include "core/kernel/tcp.h"
#include "core/packet/ip_address.h"
#include "core/packet/mac.h"
#include "core/trace/trace.h"

#include <array>
#include <cstdint>
#include <deque>
#include <iterator>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace skbscope::kernel {

using SkbIndex = std::int32_t;    ///< row of World::skbs; -1: none
using SocketIndex = std::int32_t; ///< row of World::sockets; -1: none
using DeviceIndex = std::int32_t; ///< row of World::devices; -1: none
using NapiIndex = std::int32_t;   ///< row of World::napis; -1: none
using NetIndex = std::uint32_t;   ///< row of World::nets
inline constexpr std::int32_t nothing = -1;

/// Which kernel's chains and rules hold where they differ.
enum class Profile : std::uint8_t { v5_10, v6_1, v6_12, v6_18 };

/// net/core/skbuff.c and include/linux/skbuff.h: what the model uses of it, in bytes.
inline constexpr std::uint32_t sizeof_sk_buff = 256;         ///< 232, aligned as the slab does
inline constexpr std::uint32_t sizeof_skb_shared_info = 320;
inline constexpr std::uint16_t header_unset = 0xffff;

enum class IpSummed : std::uint8_t { none = 0, unnecessary = 1, complete = 2, partial = 3 };
enum class PktType : std::uint8_t { host = 0, broadcast = 1, multicast = 2, other_host = 3, outgoing = 4, loopback = 5 };

/// Where a routed packet goes: what skb_dst() points to.
struct Destination {
    enum class Input : std::uint8_t { none, local_deliver, forward, error } input = Input::none;
    enum class Output : std::uint8_t { none, ip_output, ip_mc_output, rt_bug } output = Output::none;
    RouteType type = RouteType::unspec; ///< rt_type
    std::uint32_t flags = 0;       ///< RTCF_*
    std::int32_t error = 0;        ///< positive errno: of Input::error, or of a lookup that found nothing (not valid)
    bool is_input = false;
    bool uses_gateway = false;
    std::uint32_t mtu = 0;         ///< of the route; 0: the device's
    std::uint64_t identity = 0;    ///< which dst_entry this is: equal for two packets that share one
    DeviceIndex device = nothing;  ///< of output
    std::uint32_t gateway = 0;     ///< next hop, host order; 0: the destination itself (on link)
    std::uint32_t source = 0;      ///< preferred source address
    std::uint32_t destination = 0;
    bool valid = false;
    /// Of an IPv6 packet: struct rt6_info's ends and the row of Ipv6Net::routes it was made of (nothing: of none).
    enum class Input6 : std::uint8_t { none, ip6_input, ip6_mc_input, ip6_forward, ip6_pkt_discard, ip6_pkt_prohibit, dst_discard } input6 = Input6::none;
    enum class Output6 : std::uint8_t { none, ip6_output, ip6_pkt_discard_out, ip6_pkt_prohibit_out, dst_discard_out } output6 = Output6::none;
    std::int32_t rt6 = nothing;
    std::int32_t error6 = 0; ///< negative errno of a route that refuses
    bool v6 = false;
};

/// struct napi_gro_cb: what GRO knows of an skb while it looks at it or holds it.
struct GroCb {
    std::uint32_t data_offset = 0; ///< of the header that the next callback looks at, from skb->data
    std::uint64_t age = 0;         ///< jiffy in which it was held
    std::uint16_t count = 0;       ///< segments merged in it
    std::uint16_t flush_id = 0;    ///< IP id does not follow: what tcp_gro_receive() tests
    std::uint8_t last_frags = 0;   ///< fragments of the last skb of a held packet's chain
    bool flush = false;            ///< not to be merged, hand it up
    bool same_flow = false;
    bool is_atomic = true;         ///< DF is set
    bool csum_valid = false;       ///< its checksum has been verified
    bool free = false;             ///< its data has moved: the shell is left to free
};

/// struct sk_buff, with the buffer it owns.
struct SkBuff {
    PacketId packet = PacketId::none;
    SkbHead head;                     ///< head … end; clones share it
    std::uint32_t users = 1;          ///< references to this row: skb_get() adds one, each free takes one
    std::uint32_t data = 0, tail = 0; ///< offsets from head
    std::uint32_t len = 0;            ///< linear and paged bytes from data on
    std::uint32_t data_len = 0;       ///< of them paged (not linear)
    std::uint32_t truesize = 0;
    std::uint16_t mac_header = header_unset, network_header = header_unset, transport_header = header_unset;
    std::uint16_t protocol = 0;
    PktType pkt_type = PktType::host;
    IpSummed ip_summed = IpSummed::none;
    bool checksum_verified = false; ///< csum_valid: software has looked at it
    DeviceIndex device = nothing;
    std::uint32_t hash = 0;          ///< flow hash; 0: not computed yet
    std::uint16_t queue_mapping = 0; ///< transmit queue
    std::int16_t rx_queue = -1;      ///< receive queue it came in by; -1: not recorded
    GroCb gro;
    std::uint32_t mark = 0;
    CtRef ct; ///< the connection that it belongs to (_nfct)
    std::uint8_t priority = 0;
    std::uint32_t qdisc_pkt_len = 0;      ///< qdisc_skb_cb: bytes that a qdisc counts it for
    std::uint32_t codel_enqueue_time = 0; ///< codel_skb_cb
    Destination dst;
    Ipcb ipcb;
    bool ignore_df = false;        ///< may be fragmented locally although DF is set
    std::vector<SkbIndex> frag_list; ///< skb_shinfo()->frag_list: pieces of the same datagram, already cut to size
    Ip6Cb ip6cb;
    SocketIndex sk = nothing;  ///< whose send buffer it is charged to
    SocketIndex demuxed = nothing; ///< skb->sk as early demux left it
    SimTime visible_from;      ///< when it was put where it is: a CPU whose clock is behind must not see it earlier
    bool in_use = false;
    bool mine = false;         ///< PacketRecord::sent_here
    /// skb->destructor: how `sk` gets its bytes back.
    enum class Destructor : std::uint8_t { sock_wfree, tcp_wfree, __sock_wfree, sock_rfree } destructor = Destructor::sock_wfree;
    std::uint16_t gso_size = 0, gso_segs = 0; ///< payload bytes of one packet on the wire; 0: it is one
    std::uint8_t gso_type = 0;  ///< SKB_GSO_TCPV4 = 1
    std::uint8_t nr_frags = 0;  ///< page fragments that data_len is made of
    bool head_frag = false;     ///< the head is a page fragment: another skb can take it over
    bool goes_on_as_clone = false; ///< whoever gets it next took a clone for the packet (skb_share_check): this one is somebody's former reference
    bool fclone = false;        ///< one of a pair that is allocated together
    SkbIndex fclone_origin = nothing; ///< of the second of the pair: the first
    std::uint32_t alloc_cpu = 0; ///< row of World::cpus
    TcpCb tcp;                  ///< TCP_SKB_CB
};
/// include/linux/skbuff.h
inline constexpr std::uint8_t SKB_GSO_TCPV4 = 1;

// ---- devices ------------------------------------------------------------------------------------------------------------

enum class DeviceKind : std::uint8_t { loopback, e1000, e1000e, virtio_net, veth };

/// drivers/net/ethernet/intel/e1000 and e1000e: what of the hardware and its driver's private data matters here.
struct E1000 {
    std::uint32_t rx_ring_size = 256, tx_ring_size = 256; ///< E1000_DEFAULT_RXD/TXD
    std::uint32_t copybreak = 256;
    Fifo<RxSlot> rx_filled;      ///< DD set, not yet cleaned
    std::uint32_t rx_available = 0;    ///< empty descriptors that the hardware owns
    std::uint32_t rx_to_refill = 0;    ///< cleaned, not yet given back
    Fifo<TxSlot> tx;             ///< from next_to_clean to next_to_use
    bool interrupts_masked = false;    ///< IMC; of e1000e with MSI-X: the receive vector
    bool cause = false;                ///< ICR: something to tell
    bool line_asserted = false;        ///< delivered to the CPU, not handled yet
    bool tx_interrupt_masked = false;  ///< e1000e: the transmit vector …
    bool tx_cause = false;             ///< … has something to tell …
    bool tx_line_asserted = false;     ///< … and was delivered
    NapiIndex napi = nothing;
    bool rx_checksum = true;           ///< the hardware checks TCP and UDP checksums
    std::uint64_t coalesce_usecs = 0;  ///< ethtool -C rx-usecs: least time between two interrupts of a vector; 0: none
    /// ITR; of e1000e with MSI-X an EITR for each vector, all with the same time (e1000e_write_itr).
    struct Throttle {
        SimTime next_interrupt; ///< not before …
        bool armed = false;     ///< … and the hardware will try then
    };
    Throttle throttles[2]; ///< by vector
    bool tso_empty_tail = false;       ///< an empty segment follows a TSO packet whose payload is a multiple of the MSS (QEMU's e1000)
    bool last_tx_tso = false;          ///< the packet queued last was one for TSO; until a linear one has followed
    QueueId rx_queue{}, tx_queue{};
};

struct InterfaceAddress {
    std::uint32_t address = 0;
    std::uint8_t prefix = 24;
};

struct NetDevice {
    std::string name;
    std::uint32_t host = 0;
    NetIndex net = 0;
    DeviceKind kind = DeviceKind::e1000;
    DeviceId id{};
    MacAddress mac;
    std::uint32_t mtu = 1500;
    std::vector<InterfaceAddress> addresses;
    Ipv4DevConf conf = Ipv4DevConf::initial();
    std::vector<std::uint32_t> mc_list; ///< IPv4 groups joined; 224.0.0.1 always is
    Inet6Device in6;
    bool tx_checksum = true; ///< NETIF_F_HW_CSUM or IP_CSUM
    bool tso = true;         ///< NETIF_F_TSO
    bool up = true;          ///< IFF_UP
    bool gro = true;         ///< NETIF_F_GRO (ethtool -K gro)
    bool promiscuous = false; ///< frames for others come up, too
    bool arp = true;          ///< not IFF_NOARP
    std::int64_t gro_flush_timeout = 0;    ///< ns that GRO may hold packets across polls
    std::int64_t napi_defer_hard_irqs = 0; ///< empty polls before the interrupt is enabled again
    std::uint32_t gro_max_size = 65536;    ///< bytes of a merged packet
    std::uint32_t tx_queue_len = 1000; ///< packets: what pfifo, bfifo and pfifo_fast take for their limit
    QdiscIndex qdisc = nothing;        ///< the root: a queue's own, or mq above them
    std::vector<NetdevQueue> tx_queues{1}; ///< real_num_tx_queues of them
    std::vector<NetdevRxQueue> rx_queues{1};
    Link link;               ///< of devices with a wire
    E1000 e1000;             ///< of e1000 and e1000e
    VirtioNet virtio;        ///< of virtio_net
    DeviceIndex veth_peer = nothing;
    std::uint32_t irq_cpu = 0; ///< within its host
    Duration irq_delay;        ///< its interrupts reach their CPU that late (a busy host of a virtual machine)
    std::vector<std::int32_t> ptype_all; ///< taps of this device: rows of World::packet_socks, the newest first
    std::array<std::uint64_t, device_stat_count> stats{};
    std::array<CounterId, device_stat_count> stat_ids{}; ///< named in the trace at the first change
    std::uint32_t output_note = 0; ///< row of the trace's notes: "output ip_output via …"; 0: not looked up yet
};

/// struct napi_struct. The backlog of a CPU is one of them.
struct Napi {
    /// napi->poll
    enum class Poll : std::uint8_t { process_backlog, e1000_clean, e1000e_poll, virtnet_poll, virtnet_poll_tx } poll = Poll::process_backlog;
    DeviceIndex device = nothing; ///< nothing: a backlog
    std::uint32_t queue = 0;      ///< of the device: which pair
    std::uint32_t cpu = 0;        ///< of a backlog
    bool scheduled = false;       ///< NAPI_STATE_SCHED
    bool missed = false;          ///< NAPI_STATE_MISSED
    std::uint32_t weight = 64;    ///< NAPI_POLL_WEIGHT
    std::vector<SkbIndex> gro_hash[8]; ///< held skbs by flow hash (GRO_HASH_BUCKETS), the youngest first
    SmallList<SkbIndex, 8> rx_list; ///< GRO_NORMAL skbs, waiting for their batch
    std::uint32_t rx_count = 0;    ///< segments in it
    std::int64_t defer_hard_irqs_count = 0;
    std::uint64_t watchdog = 0;    ///< generation of napi->timer; 0: not armed
    QueueId rx_list_queue{};
};

// ---- neighbours, routes, sockets -------------------------------------------------------------------------------------------

/// include/uapi/linux/neighbour.h
enum class Nud : std::uint8_t {
    none,
    incomplete = 0x01,
    reachable = 0x02,
    stale = 0x04,
    delay = 0x08,
    probe = 0x10,
    failed = 0x20,
    noarp = 0x40,
    permanent = 0x80,
};
/// include/net/neighbour.h: NUD_CONNECTED, NUD_VALID, NUD_IN_TIMER.
[[nodiscard]] constexpr bool nud_connected(Nud state) { return (static_cast<unsigned>(state) & 0xc2u) != 0; }
[[nodiscard]] constexpr bool nud_valid(Nud state) { return (static_cast<unsigned>(state) & 0xdeu) != 0; }
[[nodiscard]] constexpr bool nud_in_timer(Nud state) { return (static_cast<unsigned>(state) & 0x1bu) != 0; }

/// An entry of arp_tbl or, where its address is of IPv6, of nd_tbl.
struct Neighbour {
    IpAddress address;
    DeviceIndex device = nothing;
    Nud state = Nud::none;
    MacAddress lladdr;
    bool header_cached = false; ///< hh_cache filled
    Fifo<SkbIndex> arp_queue;
    std::uint32_t arp_queue_bytes = 0; ///< truesize
    std::uint32_t probes = 0;
    std::uint64_t timer = 0; ///< generation of its armed timer; 0: none
    SimTime updated, used, confirmed;
    bool is_confirmed = false; ///< it has shown, at `confirmed`, that it is there
    bool is_router = false; ///< NTF_ROUTER
    QueueId queue{};
};

struct Route {
    std::uint32_t prefix = 0;
    std::uint8_t length = 0;
    using Kind = RouteType;
    RouteType kind = RouteType::unicast;
    DeviceIndex device = nothing; ///< nothing: of those that refuse (unreachable, blackhole, prohibit, throw)
    std::uint32_t gateway = 0;
    std::uint32_t source = 0;     ///< preferred source; 0: the device's
    std::uint32_t metric = 0;     ///< the smaller wins
    std::uint32_t mtu = 0;        ///< RTAX_MTU; 0: the device's
};

/// struct fib_result
struct FibResult {
    int error = -ENETUNREACH; ///< 0: a way; else a negative errno
    bool found = false;
    Route route;
};

enum class SocketKind : std::uint8_t { udp, tcp, raw, packet, ping };

/// struct inet_cork with sk_write_queue: a datagram that is being put together.
struct IpCork {
    Destination dst;
    std::uint32_t fragsize = 0; ///< MTU it is cut for
    std::uint32_t length = 0;
    std::uint16_t gso_size = 0;
    std::uint8_t ttl = 0;       ///< 0: the socket's
    std::int16_t tos = -1;      ///< -1: the socket's
    std::uint32_t address = 0;  ///< the destination as the options mean it
    std::vector<std::uint8_t> options; ///< padded to four
    SmallList<SkbIndex, 4> queue; ///< a datagram has few pieces, most have one
    std::uint64_t call_sequence = 0; ///< the system call's first record: its calls belong to the datagram
};

struct Socket {
    SocketKind kind = SocketKind::udp;
    bool inet6 = false;
    std::int32_t tcp = nothing; ///< of a TCP socket: row of World::tcp.socks
    std::uint32_t host = 0;
    NetIndex net = 0;
    std::uint32_t rcv_saddr = 0; ///< 0: any
    std::uint16_t num = 0;       ///< local port; 0: not bound
    std::uint32_t daddr = 0;     ///< 0: not connected
    IpAddress v6_rcv_saddr = IpAddress::any6(), v6_saddr = IpAddress::any6(); ///< of an AF_INET6 socket: sk_v6_rcv_saddr, np->saddr
    IpAddress v6_daddr = IpAddress::any6();                                   ///< "::": not connected
    bool ipv6only = false;                                                    ///< IPV6_V6ONLY
    std::uint16_t dport = 0;
    DeviceIndex bound_device = nothing;
    std::uint32_t sk_rcvbuf = 212992, sk_sndbuf = 212992;
    std::uint32_t sk_rmem_alloc = 0, sk_wmem_alloc = 0; ///< bytes of truesize
    std::uint32_t forward_deficit = 0;                  ///< struct udp_sock: read, not yet given back
    std::int64_t sk_forward_alloc = 0;                  ///< bytes taken from net.ipv4.udp_mem, not yet used
    bool reuseport = false, reuseaddr = false;          ///< SO_REUSEPORT, SO_REUSEADDR
    std::int32_t incoming_cpu = -1;
    std::uint32_t sk_rxhash = 0;                        ///< flow hash of what it received last, where it is connected
    Fifo<SkbIndex> receive_queue, reader_queue;
    std::uint32_t sk_drops = 0;
    BpfProgram filter; ///< SO_ATTACH_FILTER; empty: none
    std::int32_t waiting_task = nothing; ///< blocked in recvmsg or poll
    bool wait_in_poll = false;
    std::uint8_t protocol = 0;     ///< of a raw socket
    bool hashed = true;            ///< false: the kernel's own (ICMP), no packet finds it
    bool hdrincl = false;          ///< IP_HDRINCL: the application writes the IP header
    bool recverr = false;          ///< IP_RECVERR
    bool broadcast = false;        ///< SO_BROADCAST
    std::uint32_t icmp_filter = 0; ///< ICMP_FILTER: types that do not come up
    std::array<std::uint32_t, 8> icmp6_filter{}; ///< ICMPV6_FILTER: the same, a bit a type
    std::uint8_t pmtudisc = IP_PMTUDISC_WANT;
    std::uint8_t tos = 0;
    std::int16_t uc_ttl = -1, mc_ttl = 1; ///< IP_TTL (-1: the default), IP_MULTICAST_TTL
    bool mc_loop = true;
    std::vector<std::uint32_t> groups; ///< IP_ADD_MEMBERSHIP
    std::int32_t sk_err = 0;       ///< positive errno that the next call reports
    IpCork cork;
    std::int32_t sleeping_sender = nothing; ///< blocked for send buffer
    Destination cached_route;               ///< sk_dst_cache of a connected socket
    Destination rx_route;                   ///< sk_rx_dst, for early demux
    QueueId queue{};
    bool in_use = false;
};

// ---- CPUs and tasks ---------------------------------------------------------------------------------------------------------

/// A call that lasts over several quanta: its record's place in the lane, and what closing it must restore.
struct OpenHandle {
    std::uint64_t sequence = 0;
    SimTime start;
    std::uint32_t lasting = 0; ///< row of the lane's calls of this kind
    Context context = Context::process;
};

/// Calls that are open over several quanta, outermost first. The deepest chain is a system call that sleeps.
using OpenCalls = SmallStack<OpenHandle, 24>;

/// Which of the loops below is at what point. Explicit, not on a C++ stack, so that a World can be copied between quanta.
struct PollRun {
    NapiIndex napi = nothing;
    std::uint32_t work = 0;
    enum class Phase : std::uint8_t { begin, packets, complete } phase = Phase::begin;
    OpenCalls calls; ///< napi_poll, __napi_poll, the driver's poll, its receive loop
    /// As new, without touching the calls' memory.
    void reset()
    {
        napi = nothing;
        work = 0;
        phase = Phase::begin;
        calls.clear();
    }
};

struct NetRxRun {
    std::int32_t budget = 0;
    SimTime time_limit;
    Fifo<NapiIndex> list, repoll;
    OpenCalls calls;
    /// As new, but for the lists' memory.
    void reset()
    {
        budget = 0;
        time_limit = {};
        list.clear();
        repoll.clear();
        calls.clear();
    }
};

/// One run of handle_softirqs (kernel/softirq.c).
struct SoftirqRun {
    enum class From : std::uint8_t { irq_exit, local_bh_enable, ksoftirqd } from = From::irq_exit;
    enum class Phase : std::uint8_t { pick, net_rx, poll, end } phase = Phase::pick;
    std::uint16_t pending = 0; ///< vectors of this round still to serve
    std::uint32_t rounds_left = 10; ///< MAX_SOFTIRQ_RESTART
    SimTime deadline;               ///< MAX_SOFTIRQ_TIME
    OpenCalls outer;  ///< irq_exit_rcu … handle_softirqs
    NetRxRun net_rx;
    PollRun poll;
    /// As new, but for the lists' memory.
    void reset()
    {
        from = From::irq_exit;
        phase = Phase::pick;
        pending = 0;
        rounds_left = 10;
        deadline = {};
        outer.clear();
        net_rx.reset();
        poll.reset();
    }
};

/// The softirqs that a CPU runs: none, or one run, which nothing can begin a second time (handle_softirqs() takes the pending vectors before
/// it lets interrupts in). One that ended keeps its memory for the next, as every packet begins and ends one.
class SoftirqRuns {
public:
    [[nodiscard]] bool empty() const { return !running_; }
    [[nodiscard]] SoftirqRun& current() { return run_; } ///< precondition: there is one
    SoftirqRun& begin(SoftirqRun::From from)
    {
        run_.reset();
        run_.from = from;
        running_ = true;
        return run_;
    }
    void end() { running_ = false; }

private:
    bool running_ = false;
    SoftirqRun run_;
};

/// What one CPU (or the hardware) has recorded and what has not been merged into the trace yet, in order of time. Records
/// count up from 0 by sequence. They lie in one piece of memory, which is used from its beginning again after each merge: the cache
/// holds it. A copy is of what it holds.
class Lane {
public:
    Lane() = default;
    Lane(const Lane& other) : quantum(other.quantum), specials(other.specials), first_(other.first_), lasting_(other.lasting_), free_lasting_(other.free_lasting_)
    {
        for (const Event& event : other.waiting()) {
            push() = event;
        }
    }
    Lane(Lane&& other) noexcept { swap(other); }
    Lane& operator=(Lane other) noexcept
    {
        swap(other);
        return *this;
    }
    ~Lane() = default;
    [[nodiscard]] bool empty() const { return next_ == slots_.get(); }
    [[nodiscard]] std::uint64_t next_sequence() const { return first_ + static_cast<std::uint64_t>(next_ - slots_.get()); }
    [[nodiscard]] std::uint64_t first_sequence() const { return first_; }
    [[nodiscard]] bool holds(std::uint64_t sequence) const { return sequence >= first_; }
    [[nodiscard]] Event& at(std::uint64_t sequence) { return slots_[sequence - first_]; }
    /// Until the next merge, whatever else is pushed: the record that the next push() makes is at().
    using Place = std::uint64_t;
    [[nodiscard]] Place next_place() const
    {
        return static_cast<Place>(reinterpret_cast<const unsigned char*>(next_) - reinterpret_cast<const unsigned char*>(slots_.get()));
    }
    [[nodiscard]] Event& at_place(Place place) { return *reinterpret_cast<Event*>(reinterpret_cast<unsigned char*>(slots_.get()) + place); }
    /// The next push() must make room.
    [[nodiscard]] bool full() const { return next_ == end_; }
    void grow()
    {
        const auto held = static_cast<std::size_t>(next_ - slots_.get());
        const std::size_t room = std::max<std::size_t>(held * 2, 64);
        auto larger = std::make_unique<Event[]>(room);
        std::copy(slots_.get(), next_, larger.get());
        slots_ = std::move(larger);
        next_ = slots_.get() + held;
        end_ = slots_.get() + room;
    }
    /// One more, to be filled by the caller.
    Event& push()
    {
        if (full()) [[unlikely]] {
            grow();
        }
        return *next_++;
    }
    /// Of the hardware, which may be told of a moment that lies a little behind.
    void insert_in_order(const Event& event)
    {
        Event* at = &push();
        for (; at != slots_.get() && at[-1].time_ns > event.time_ns; --at) {
            *at = at[-1];
        }
        *at = event;
    }
    /// From the first on.
    [[nodiscard]] std::span<const Event> waiting() const { return {slots_.get(), static_cast<std::size_t>(next_ - slots_.get())}; }
    [[nodiscard]] std::span<Event> waiting() { return {slots_.get(), static_cast<std::size_t>(next_ - slots_.get())}; }
    /// Those have been merged.
    void take(std::size_t count)
    {
        next_ = std::copy(slots_.get() + count, next_, slots_.get());
        first_ += count;
    }

    std::uint64_t quantum = 0; ///< sequence of the first record of the current quantum
    /// A record that the merge must look at: a call that may outlive its quantum, or the exit of one that has not gone out.
    struct Special {
        std::uint64_t sequence = 0;
        std::uint32_t lasting = 0;
        bool is_exit = false;
    };
    std::vector<Special> specials; ///< that have not gone out, by sequence
    /// A call that may outlive its quantum: from its beginning until it is known that its place will not be asked for any more.
    struct Lasting {
        std::uint64_t ordinal = 0; ///< in the trace, once it has gone out
        bool has_exit = false;     ///< one that waits here for that place
    };
    [[nodiscard]] Lasting& lasting(std::uint32_t row) { return lasting_[row]; }
    [[nodiscard]] std::uint32_t begin_lasting()
    {
        if (free_lasting_.empty()) {
            lasting_.emplace_back();
            return static_cast<std::uint32_t>(lasting_.size() - 1);
        }
        const std::uint32_t row = free_lasting_.back();
        free_lasting_.pop_back();
        lasting_[row] = {};
        return row;
    }
    void end_lasting(std::uint32_t row) { free_lasting_.push_back(row); }

private:
    void swap(Lane& other) noexcept
    {
        std::swap(quantum, other.quantum);
        specials.swap(other.specials);
        slots_.swap(other.slots_);
        std::swap(next_, other.next_);
        std::swap(end_, other.end_);
        std::swap(first_, other.first_);
        lasting_.swap(other.lasting_);
        free_lasting_.swap(other.free_lasting_);
    }

    std::unique_ptr<Event[]> slots_;
    Event* next_ = nullptr; ///< where the next will be
    Event* end_ = nullptr;  ///< of the slots
    std::uint64_t first_ = 0; ///< sequence of the first: those before have been merged
    std::vector<Lasting> lasting_;
    std::vector<std::uint32_t> free_lasting_; ///< rows of it
};

/// What waits for this CPU to take an interrupt.
struct PendingIrq {
    enum class Kind : std::uint8_t { device, timer, rps_ipi } kind = Kind::device;
    std::int32_t index = nothing; ///< of a device: its row; of an RPS IPI: the backlog's napi
    std::uint32_t vector = 0;     ///< of a device: which of its interrupts (MSI-X)
};

/// Handlers in timer.cpp. Those marked hard run in the timer interrupt itself (hrtimers), those marked soft in HRTIMER_SOFTIRQ
/// (hrtimers of HRTIMER_MODE_SOFT), the others in TIMER_SOFTIRQ.
enum class TimerKind : std::uint8_t {
    neighbour,      ///< index: World::neighbours
    qdisc_watchdog, ///< hard; index: qdisc
    ip_expire,      ///< index: a reassembly queue
    tcp_write,      ///< index: socket
    tcp_delack,     ///< index: socket
    tcp_keepalive,  ///< index: socket (also SYN-ACKs of a listener)
    tcp_time_wait,  ///< index: a time-wait socket
    tcp_compressed_ack, ///< soft; index: socket
    conntrack,      ///< index: a conntrack entry
    coalesce,       ///< hard; index: device
    packet_ring,    ///< index: World::packet_socks
    napi_watchdog,  ///< hard; index: napi
    ip6_frag_expire, ///< index: World::frag6_queues
};

struct ExpiredTimer {
    TimerKind kind{};
    std::int32_t index = nothing;
    std::uint64_t argument = 0;
    std::uint64_t generation = 0;
};

/// How often a CPU took the interrupt of a device's vector.
struct InterruptCount {
    DeviceIndex device = nothing;
    std::uint32_t vector = 0;
    std::uint64_t count = 0;
};

struct Cpu {
    // What every call and every search for the CPU whose turn it is reads comes first: it lies together.
    SimTime now;
    std::uint32_t task_id = 0; ///< TaskId of the running task, as events bear it
    CpuId id{};                ///< this and host_id: by set_place() alone
    HostId host_id{};
    Context context = Context::process;
    std::int32_t task = nothing; ///< running; nothing: idle
    /// By context: the last eight bytes of the next call's event, read as a little-endian number, but for the function: place, context
    /// and depth.
    std::uint64_t event_marks[4] = {};
    bool irq_waits = false;    ///< pending_irqs is not empty
    bool on_cpp_stack = false; ///< a system call of this CPU is being interrupted: it cannot be stepped now
    SoftirqRuns softirq;
    Fifo<std::int32_t> run_queue;
    Lane lane;
    void set_place(CpuId cpu, HostId on)
    {
        id = cpu;
        host_id = on;
        for (std::uint64_t of = 0; of < std::size(event_marks); ++of) { // the flags are the context alone
            event_marks[of] = static_cast<std::uint64_t>(cpu) << 16 | of << 40 | static_cast<std::uint64_t>(on) << 56;
        }
    }
    static constexpr std::uint64_t one_deeper = std::uint64_t{1} << 48; ///< of event_marks
    static constexpr std::uint64_t no_depth = ~(std::uint64_t{0xff} << 48);
    [[nodiscard]] std::uint8_t process_depth() const { return static_cast<std::uint8_t>(event_marks[0] >> 48); }
    void set_process_depth(std::uint8_t depth) { event_marks[0] = (event_marks[0] & no_depth) | static_cast<std::uint64_t>(depth) << 48; }
    std::uint32_t host = 0;
    std::uint32_t index = 0; ///< within its host
    std::uint32_t preempted_by_hardirq = 0; ///< nesting
    std::uint16_t softirq_pending = 0;
    std::uint32_t bh_disabled = 0;
    bool xmit_more = false; ///< softnet_data.xmit.more: the driver will get another packet right behind this one
    bool in_softirq = false;
    SimTime slice_end;
    std::int32_t ksoftirqd = nothing;
    Fifo<NapiIndex> poll_list;
    Fifo<SkbIndex> input_pkt_queue, process_queue;
    std::uint32_t input_queue_head = 0, input_queue_tail = 0; ///< packets ever taken out of, put into the backlog (RFS)
    std::vector<std::uint32_t> rps_ipi_list; ///< CPUs (rows) whose backlog this one has scheduled and not yet told
    FlowLimit flow_limit;
    bool in_net_rx_action = false;           ///< 6.12: a NAPI scheduled meanwhile needs no softirq raised
    NapiIndex backlog = nothing;
    QueueId backlog_queue{};
    SocketIndex icmp_sk = nothing; ///< ipv4_icmp_sk: what this CPU sends its ICMP with; made when it first does
    Fifo<SocketIndex> tsq_tasklet; ///< TCP sockets whose packets have left the device (tcp_tasklet_func)
    Fifo<SkbIndex> defer_list;     ///< read by other CPUs, to be freed by this one, which allocated them
    Fifo<QdiscIndex> output_queue; ///< qdiscs to restart in net_tx_action
    std::vector<SkbIndex> completion_queue; ///< sent skbs that a hard interrupt gave back, freed in net_tx_action
    Fifo<PendingIrq> pending_irqs; ///< by interrupt() and take_irq() alone
    /// Of Kernel::interrupt() alone, which knows when the running CPU must look up.
    void interrupt(PendingIrq irq)
    {
        pending_irqs.push_back(irq);
        irq_waits = true;
    }
    /// Precondition: irq_waits.
    PendingIrq take_irq()
    {
        const PendingIrq irq = pending_irqs.front();
        pending_irqs.pop_front();
        irq_waits = !pending_irqs.empty();
        return irq;
    }
    Fifo<ExpiredTimer> expired_hard, expired_hrsoft, expired_soft; ///< due, not yet run
    std::array<std::uint64_t, softnet_stat_count> softnet{};
    std::int64_t udp_fw_alloc = 0; ///< pages of UDP memory that this CPU has taken or given back, not yet in the sum
    std::vector<InterruptCount> interrupts; ///< of devices, in order of their first
    std::uint64_t timer_interrupts = 0, ipis = 0;
};

/// False: it sleeps until something outside wakes it.
[[nodiscard]] inline bool has_work(const Cpu& cpu)
{
    return cpu.task != nothing || cpu.irq_waits || !cpu.softirq.empty() || !cpu.run_queue.empty();
}

enum class Program : std::uint8_t { ksoftirqd, pktgen, udp_receiver, udp_sender, packet_reader, tc, ping, frame_sender, tcp_client, tcp_server };

/// What an application that speaks TCP wants, and how far it has come (tasks_tcp.cpp).
struct TcpApp {
    std::uint64_t to_send = 0;    ///< bytes of each connection
    std::uint64_t to_receive = 0; ///< 0: a server reads to the end of the stream, a client does not read
    bool wait_for_end = false;    ///< a client that reads to the end of the stream
    std::uint64_t chunk = 0;      ///< bytes of one send(); 0: all that is left
    std::uint32_t read_size = 65536;
    Duration work_per_read;       ///< between two recv(), and behind each send()
    Duration steal;               ///< its CPU stands still that long in each call that holds the socket
    std::uint64_t connections_left = 1;
    std::uint32_t backlog = 128;  ///< of listen()
    bool accepts = true;          ///< else connections stay in the accept queue
    bool nodelay = false;
    std::uint32_t rcvbuf = 0, sndbuf = 0; ///< as getsockopt() reports them; 0: the kernel's own tuning
    enum class Phase : std::uint8_t { start, connecting, talking, close } phase = Phase::start;
    SocketIndex listener = nothing, connection = nothing;
    std::uint64_t sent = 0, received = 0; ///< of the connection in hand
    bool end_of_stream = false;
    std::uint64_t bytes_sent = 0, bytes_received = 0, wrong_bytes = 0, done = 0, errors = 0;
};

struct Task {
    std::string name;
    std::uint32_t host = 0;
    NetIndex net = 0;
    std::uint32_t cpu = 0; ///< global row of World::cpus
    TaskId id{};
    Program program = Program::udp_receiver;
    enum class State : std::uint8_t { sleeping, runnable, finished } state = State::runnable;
    std::uint8_t depth = 0; ///< process-level depth, kept while it is off the CPU

    SocketIndex socket = nothing;
    enum class Stage : std::uint8_t { start, loop, working } stage = Stage::start;
    OpenCalls calls; ///< of a system call that sleeps

    // receiver
    bool use_poll = true;                 ///< waits in poll(), then calls recvfrom(); else sleeps inside recvfrom()
    Duration work_per_datagram;           ///< what the application does with one
    Duration work_left;                   ///< of the datagram in hand
    std::uint64_t received = 0;
    std::int32_t packet_sock = nothing; ///< of a packet_reader

    // sender
    std::uint32_t destination = 0;
    IpAddress destination6 = IpAddress::any6(), bind_address6 = IpAddress::any6(); ///< of an AF_INET6 socket
    bool inet6 = false, ipv6only = false;
    std::uint16_t destination_port = 0;
    bool connect = false;
    bool reuseport = false, reuseaddr = false, so_broadcast = false; ///< socket options
    std::uint32_t wanted_sndbuf = 0;                                 ///< SO_SNDBUF as getsockopt() reports it; 0: as it is
    std::uint32_t size = 64;  ///< payload bytes
    std::uint64_t to_send = 0;
    std::uint64_t sent = 0, failed = 0;
    Duration gap;             ///< between two sends
    DeviceIndex device = nothing; ///< of a pktgen
    MacAddress destination_mac;   ///< of a pktgen
    SkbIndex held = nothing;      ///< of a pktgen: pkt_dev->skb, which it gives back when it makes the next
    SimTime next_send;               ///< of a receiver: it does not read before this
    std::vector<SimTime> send_times; ///< when to send each datagram; empty: by gap
    std::uint64_t ordinal = 0; ///< of the next datagram, in its payload
    std::vector<std::uint8_t> payload; ///< of the last

    std::int16_t ttl = -1;           ///< setsockopt(IP_TTL); -1: the default
    bool ping_socket = false;        ///< of ping: SOCK_DGRAM, else SOCK_RAW
    std::uint16_t identifier = 0;    ///< of its echo requests
    std::vector<std::vector<std::uint8_t>> frames; ///< of a frame_sender
    DeviceIndex frame_device = nothing;

    TcpApp tcp;
    BpfProgram wanted_filter; ///< setsockopt(SO_ATTACH_FILTER); empty: none
    std::int32_t wanted_rcvbuf = -1; ///< setsockopt(SO_RCVBUF), value as given; -1: none
    std::uint32_t bind_address = 0;
    std::uint16_t bind_port = 0;
};

// ---- the world outside ---------------------------------------------------------------------------------------------------------

/// Something on the far end of a wire that is not modelled function by function: it sends what a scenario or a capture
/// says, answers ARP requests for its address, and swallows the rest.
struct Station {
    std::string name;
    MacAddress mac;
    std::uint32_t address = 0;
    IpAddress address6; ///< with v6 set: it has this one, too
    bool answers_arp = true; ///< … and neighbour solicitations
    bool answers_ping = true;
    Duration reply_delay{20'000};
    DeviceIndex device = nothing; ///< on the other end of its wire
    SimTime wire_free;
    std::uint64_t frames_seen = 0;
};

/// Hardware and timers: they happen at a time, on no CPU.
struct DeviceEvent {
    enum class Kind : std::uint8_t {
        flow_sends,          ///< index: WireFlow
        frame_leaves,        ///< index: station; the frame
        frame_enters_wire,   ///< index: device at the far end; the frame, whose turn on the wire it is
        frame_arrives,       ///< index: device; the frame, and its packet
        tx_done,             ///< index: device; argument: its queue
        throttle_over,       ///< index: device; argument: its interrupt
        late_interrupt,      ///< index: device; argument: its interrupt, and above 32 bits the CPU's row
        task_wakes,          ///< index: task
        timer,               ///< timer, index, argument; cpu: where; generation: order
    } kind{};
    SimTime at;
    std::uint64_t order = 0;
    std::int32_t index = nothing; ///< device, task, station or what the timer is of
    TimerKind timer{};
    std::uint32_t cpu = 0; ///< row
    std::uint64_t argument = 0;
    PacketId packet = PacketId::none;
    std::vector<std::uint8_t> frame;
    std::uint32_t wire_length = 0; ///< where a capture cut the frame: its real length
};

/// When a DeviceEvent happens: what its heap is made of, as it is much smaller than the event.
struct EventTurn {
    SimTime at;
    std::uint64_t order = 0; ///< at the same time, the smaller first
    std::uint32_t event = 0; ///< row of World::events
};

/// Datagrams that a station sends, one after the other.
struct WireFlow {
    std::int32_t station = nothing;
    std::uint32_t destination = 0;
    IpAddress destination6; ///< with v6 set it counts, not `destination`
    std::uint16_t source_port = 0, destination_port = 0;
    std::uint32_t size = 64; ///< payload bytes
    std::uint64_t remaining = 0;
    std::uint64_t ordinal = 0; ///< of the next datagram, in its payload
    Duration gap;
};

/// net.ipv4.tcp_*, with the kernel's defaults (net/ipv4/tcp_ipv4.c: tcp_sk_init; net/ipv4/tcp.c: tcp_init).
struct TcpSysctls {
    std::int64_t tcp_timestamps = 1, tcp_sack = 1, tcp_dsack = 1, tcp_window_scaling = 1;
    std::int64_t somaxconn = 4096, tcp_max_syn_backlog = 128, tcp_syncookies = 1, tcp_abort_on_overflow = 0;
    std::int64_t tcp_syn_retries = 6, tcp_synack_retries = 5, tcp_retries1 = 3, tcp_retries2 = 15, tcp_orphan_retries = 0;
    std::int64_t tcp_fin_timeout = 60; ///< seconds
    std::int64_t tcp_rmem_min = 4096, tcp_rmem_default = 131072, tcp_rmem_max = 6291456;
    std::int64_t tcp_wmem_min = 4096, tcp_wmem_default = 16384, tcp_wmem_max = 4194304;
    std::int64_t tcp_limit_output_bytes = 1048576, tcp_min_tso_segs = 2, tcp_tso_win_divisor = 3, tcp_tso_rtt_log = 9;
    std::int64_t tcp_autocorking = 1, tcp_slow_start_after_idle = 1, tcp_moderate_rcvbuf = 1, tcp_adv_win_scale = 1, tcp_app_win = 31;
    std::int64_t tcp_recovery = 1, tcp_early_retrans = 3, tcp_reordering = 3, tcp_frto = 2;
    std::int64_t tcp_pacing_ss_ratio = 200, tcp_pacing_ca_ratio = 120; ///< percent
    std::int64_t tcp_invalid_ratelimit = 500; ///< milliseconds
    std::int64_t tcp_rfc1337 = 0, tcp_early_demux = 1, tcp_base_mss = 1024, tcp_min_snd_mss = 48;
    std::int64_t tcp_comp_sack_nr = 44, tcp_comp_sack_delay_ns = 1'000'000, tcp_comp_sack_slack_ns = 100'000;
    std::int64_t skb_defer_max = 64; ///< net.core.skb_defer_max
};

/// net.netfilter.nf_conntrack_*; timeouts in seconds.
struct ConntrackSysctls {
    std::int64_t nf_conntrack_max = 65536, nf_conntrack_checksum = 1, nf_conntrack_tcp_loose = 1;
    std::int64_t nf_conntrack_generic_timeout = 600, nf_conntrack_icmp_timeout = 30;
    std::int64_t nf_conntrack_udp_timeout = 30, nf_conntrack_udp_timeout_stream = 120;
    std::int64_t nf_conntrack_tcp_timeout_syn_sent = 120, nf_conntrack_tcp_timeout_syn_recv = 60, nf_conntrack_tcp_timeout_established = 432000;
    std::int64_t nf_conntrack_tcp_timeout_fin_wait = 120, nf_conntrack_tcp_timeout_close_wait = 60, nf_conntrack_tcp_timeout_last_ack = 30;
    std::int64_t nf_conntrack_tcp_timeout_time_wait = 120, nf_conntrack_tcp_timeout_close = 10, nf_conntrack_tcp_timeout_unacknowledged = 300;
};

/// net.ipv6.*, with the kernel's defaults (net/ipv6/af_inet6.c: inet6_net_init). The tables of neighbours and of fragments
/// have their own; conf.DEVICE stands with the devices.
struct Ipv6Sysctls {
    std::int64_t ip6_icmp_ratelimit = 1000; ///< ms of tokens that one error costs its destination
    std::int64_t ip6_icmp_echo_ignore_all = 0, ip6_icmp_echo_ignore_multicast = 0, ip6_icmp_echo_ignore_anycast = 0;
    std::int64_t ip6_bindv6only = 0, ip6_auto_flowlabels = 1;
    std::int64_t ip6frag_high_thresh = 4194304, ip6frag_low_thresh = 3145728, ip6frag_time = 60;
    std::int64_t ip6_max_hbh_opts_number = 8, ip6_max_dst_opts_number = 8;
    // net.ipv6.neigh.default (nd_tbl.parms)
    std::int64_t neigh6_mcast_solicit = 3, neigh6_ucast_solicit = 3, neigh6_app_solicit = 0;
    std::int64_t neigh6_retrans_time_ms = 1000, neigh6_base_reachable_time_ms = 30000;
    std::int64_t neigh6_delay_first_probe_time = 5, neigh6_gc_stale_time = 60;
    std::int64_t neigh6_unres_qlen_bytes = 212992;
    std::int64_t neigh6_gc_thresh1 = 128, neigh6_gc_thresh2 = 512, neigh6_gc_thresh3 = 1024;
};

struct Sysctls : TcpSysctls, ConntrackSysctls, Ipv6Sysctls {
    std::int64_t netdev_max_backlog = 1000;
    std::int64_t netdev_budget = 300;
    std::int64_t netdev_budget_usecs = 8000;
    std::int64_t dev_weight = 64, dev_weight_rx_bias = 1, dev_weight_tx_bias = 1;
    std::int64_t flow_limit_cpu_bitmap = 0, flow_limit_table_len = 4096;
    std::int64_t gro_normal_batch = 8;
    std::int64_t rmem_default = 212992, rmem_max = 212992, wmem_default = 212992, wmem_max = 212992;
    std::int64_t ip_default_ttl = 64;
    std::int64_t ip_local_port_low = 32768, ip_local_port_high = 60999;
    std::int64_t unres_qlen_bytes = 212992;
    std::int64_t ip_early_demux = 1;
    std::int64_t ip_forward = 0;
    std::int64_t udp_mem_max = 46'875; ///< pages; the last of net.ipv4.udp_mem's three, on a machine of 1 GiB
    std::int64_t udp_rmem_min = 4096;
    std::int64_t udp_early_demux = 1, tcp_early_demux = 1;
    std::int64_t icmp_ratelimit = 1000;  ///< ms of tokens that one error costs its destination
    std::int64_t icmp_ratemask = 0x1818; ///< types that are limited: 3, 4, 11, 12
    std::int64_t icmp_msgs_per_sec = 1000, icmp_msgs_burst = 50;
    std::int64_t icmp_echo_ignore_all = 0, icmp_echo_ignore_broadcasts = 1;
    std::int64_t icmp_errors_use_inbound_ifaddr = 0, icmp_ignore_bogus_error_responses = 1;
    std::int64_t ip_no_pmtu_disc = 0, ip_forward_use_pmtu = 0, ip_forward_update_priority = 1;
    std::int64_t ipfrag_high_thresh = 4194304, ipfrag_low_thresh = 3145728, ipfrag_time = 30, ipfrag_max_dist = 64;
    std::int64_t ip_nonlocal_bind = 0;
    std::int64_t rps_sock_flow_entries = 0; ///< 0: no RFS
    // net.ipv4.route.*, in jiffies (net/ipv4/route.c)
    std::int64_t redirect_number = 9, redirect_load = HZ / 50, redirect_silence = (HZ / 50) << 10;
    std::int64_t error_cost = HZ, error_burst = 5 * HZ;
    // net.ipv4.neigh.default (arp_tbl.parms); times in ms where the kernel has a *_ms file, else in seconds
    std::int64_t neigh_mcast_solicit = 3, neigh_ucast_solicit = 3, neigh_app_solicit = 0;
    std::int64_t neigh_retrans_time_ms = 1000, neigh_base_reachable_time_ms = 30000;
    std::int64_t neigh_delay_first_probe_time = 5, neigh_gc_stale_time = 60, neigh_locktime_jiffies = 250;
    std::int64_t neigh_gc_thresh1 = 128, neigh_gc_thresh2 = 512, neigh_gc_thresh3 = 1024;
};

/// struct net: a network namespace. net.core.* settings are the host's and stand in its first net.
struct Net {
    std::string name; ///< empty: the host's initial namespace
    std::uint32_t host = 0;
    DeviceIndex loopback = nothing;
    Sysctls sysctl;
    std::vector<Route> fib;
    Ipv4Net ipv4;
    Ipv6Net ipv6;
    std::uint16_t ip_id = 1;
    NfState nf;
    std::array<std::uint64_t, mib_count> mib{};
    std::array<CounterId, mib_count> mib_ids{}; ///< named in the trace at the first change
};

/// A machine: CPUs, and one or more namespaces on them.
struct Host {
    std::string name;
    HostId id{};
    NetIndex init_net = 0;
    std::uint32_t first_cpu = 0, cpus = 1;
    std::int64_t udp_memory_allocated = 0; ///< pages, of all UDP sockets
    std::vector<std::int32_t> ptype_all; ///< taps of all devices: rows of World::packet_socks, the newest first
    bool rps_needed = false; ///< some receive queue has an RPS map
    std::vector<std::uint32_t> rps_sock_flow_table; ///< by flow hash: CPU of the last recvmsg() with the hash's upper bits; empty: no RFS
    std::array<CounterId, softnet_stat_count> softnet_ids{};
};

struct World {
    std::uint64_t seed = 1;
    std::uint64_t random_state = 1;
    Profile profile = Profile::v6_1;
    Costs costs;
    std::vector<Costs> host_costs; ///< by host; empty: World::costs for all
    std::vector<Host> hosts;
    std::vector<Net> nets;
    std::deque<Frag6Queue> frag6_queues; ///< IPv6 datagrams in reassembly
    StableRows<Neighbour> neighbours; ///< arp_tbl and nd_tbl; rows keep their address while others are added
    std::deque<FragQueue> frag_queues; ///< datagrams in reassembly (ip4_frags)
    std::vector<Cpu> cpus;
    std::vector<Task> tasks;
    std::vector<NetDevice> devices;
    std::vector<Qdisc> qdiscs; ///< those taken off keep their row
    std::vector<QdiscChange> qdisc_changes; ///< of a task that runs tc: Task::socket is its row
    std::vector<Napi> napis;
    StableRows<Socket> sockets; ///< rows keep their address while others are added
    std::vector<PacketSock> packet_socks;
    std::vector<SocketIndex> free_sockets; ///< rows of closed TCP sockets
    TcpTables tcp;
    StableRows<SkBuff> skbs; ///< rows keep their address while others are added
    std::vector<SkbIndex> free_skbs;
    std::vector<Station> stations;
    std::vector<WireFlow> flows;
    StableRows<DeviceEvent> events; ///< to come; rows that event_queue does not name are free. A row stays where it is while it happens
    std::vector<EventTurn> event_queue; ///< a heap, earliest on top
    std::vector<std::uint32_t> free_events;
    std::array<std::uint32_t, 4> input_notes{}; ///< by Destination::Input: row of the trace's notes; 0: not looked up yet
    std::uint64_t next_order = 1;
    std::uint64_t frames_fed = 0; ///< of a capture: those that have been put on their way
    SimTime next_event = never; ///< time of the earliest
    Lane hardware; ///< what the NICs and wires do
    SimTime now;   ///< everything before has been merged into the trace
};

} // namespace skbscope::kernel
