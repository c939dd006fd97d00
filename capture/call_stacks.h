#pragma once
// Which kernel functions are open where: one stack of calls for each (CPU, interrupt level) and for each
// task. The function tracer says only who called whom, so a call's place is found from its caller: the caller
// is open, or it is not traced and runs below a function that is (hosts_of), or the call begins anew.

#include "capture/function_kinds.h"
#include "capture/packet_book.h"

#include <algorithm>
#include <deque>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

namespace skbscope {

/// Row of Correlator's table of functions.
using Symbol = std::uint32_t;

/// A few packets in order. Unlike a deque it costs nothing while it is empty, and most of these are.
struct SlotQueue : std::vector<Slot> {
    void pop_front() { erase(begin()); }
};

/// Packets that a batch function still has to serve, in order.
struct BatchLists {
    SlotQueue cored;      ///< through __netif_receive_skb_core, not handed to a protocol
    SlotQueue to_check;   ///< ip_list_rcv: before ip_rcv_core
    SlotQueue checked;    ///< … after it
    SlotQueue to_route;   ///< ip_sublist_rcv: before ip_rcv_finish_core
    SlotQueue to_deliver; ///< … after it
    SlotQueue listed;     ///< netif_receive_skb_list_internal: as the driver handed them up
    SlotQueue to_stamp;   ///< … of those: before skb_defer_rx_timestamp
    std::vector<std::uint32_t>
        dequeues;          ///< calls of a qdisc's dequeue that wait for the event naming the packet
    std::vector<std::uint32_t> dequeued; ///< of a bulk: the calls that gave its packets, but the first, whom the event named
    SlotQueue bulk; ///< validated, waiting for the event that names them
    SlotQueue completed; ///< net_tx_action: left to it by interrupts, in the order in which it frees them
    bool single = false; ///< the list held one packet: its order cannot be wrong
    bool many = false;   ///< dev_hard_start_xmit and above serve a bulk
};

struct Frame {
    Symbol symbol = 0;
    std::uint32_t item = 0; ///< its call; 0: the function is not traced and stands here for its callees
    FunctionKind kind = FunctionKind::carry;
    Slot packet = 0; ///< whom the call itself serves
    Slot child = 0;  ///< whom its callees serve
    Slot follow = 0; ///< whom its tail callees serve (the clone, the packet just made)
    Slot wait = 0;   ///< of completion: the packet freed next
    Slot freed = 0;  ///< freed last below this call
    Slot in_driver = 0; ///< between net_dev_start_xmit and net_dev_xmit
    std::uint64_t in_driver_address = 0;
    bool has_freed = false;
    bool free_seen = false;  ///< the free event of this very call
    bool released = false;   ///< of a freeing call: it was seen to release, so it gave the last reference back
    bool by_jump = false;    ///< its caller ended in a jump to it, and has returned with it
    bool passed_on = false;  ///< of gro_receive: its packet was the last of a list that went up below this very call
    bool owns_slot = false;  ///< of an untraced caller: the slot was opened for it
    bool is_loose = false;   ///< an untraced caller of which nobody knows below what it runs: what it calls serves no packet
    Symbol first_callee = 0; ///< of an untraced caller: what it was first seen to call
    std::uint8_t rank = 0;   ///< how far the driver is with the received frame
    int graph_depth = -1;    ///< of function_graph
    std::unique_ptr<BatchLists> lists;

    BatchLists& batch()
    {
        if (!lists) {
            lists = std::make_unique<BatchLists>();
        }
        return *lists;
    }
};

/// What TCP holds. Its functions name neither sockets nor packets, so the order in these queues, over all connections, is
/// what tells whom a call serves.
struct TcpQueues {
    std::deque<Slot> unsent;   ///< written by applications
    std::deque<Slot> unacked;  ///< sent at least once (clones of them, that is)
    std::deque<Slot> backlog;  ///< arrived while an application held the socket
    std::deque<Slot> received; ///< in receive queues
    std::deque<Slot> out_of_order; ///< accepted, before what comes first
    Slot reading = 0;          ///< taken last from a receive queue
};

/// With events alone: a socket was told that it has a packet.
struct ReadyCall {
    std::uint32_t item = 0;
    std::uint64_t socket = 0; ///< struct sock
    bool holds_datagrams = false;
};

/// One (CPU, interrupt level), or one task.
struct Lane {
    Lane() = default;
    Lane(Lane&&) noexcept = default;
    Lane& operator=(Lane&&) noexcept = default;

    std::vector<Frame> stack; ///< changed by push() and pop() alone
    std::uint32_t traced = 0; ///< calls of it that were recorded
    std::vector<Slot> clones;   ///< made here, address not known yet
    std::deque<Slot> received; ///< through __netif_receive_skb_core in this softirq, no protocol's call of theirs seen yet
    std::vector<std::pair<Slot, std::uint32_t>> completed; ///< freed in this poll by calls that nothing names, with those calls' items
    std::vector<Slot> list;       ///< with events alone: received one behind the other, before any protocol's event came
    bool list_is_whole = false;   ///< … which has come since: the next one received begins another list
    std::vector<ReadyCall> ready; ///< that may be any's of that list
    SlotQueue handed_up; ///< by napi_gro_receive, not yet taken by netif_receive_skb_list_internal
    Slot sending = 0; ///< of tracepoints alone: whom the last route was looked up for, not handed to a device yet
    std::uint16_t cpu = 0;
    bool is_task = false;
    std::string neighbour;            ///< that __neigh_update is about
    std::optional<FlowKey> icmp_flow; ///< of the last route lookup for an ICMP message
    DeviceId talks_by = DeviceId::none; ///< of a task: the device by which the last segment left that it sent itself
    Slot new_original = 0;            ///< made by TCP just now; the next call tells where it goes
    SlotQueue fragments;              ///< that __ip_append_data made behind its first packet, not yet sent by ip_do_fragment
    SlotQueue to_join;                ///< received fragments that become one datagram just now, not yet freed
    Slot joined_into = 0;             ///< … and that datagram
    SlotQueue pieces;                 ///< that skb_segment made, not yet handed to a driver

    [[nodiscard]] Frame* top() { return stack.empty() ? nullptr : &stack.back(); }
    void push(Frame&& frame)
    {
        traced += frame.item != 0 ? 1 : 0;
        stack.push_back(std::move(frame));
    }
    void pop()
    {
        traced -= stack.back().item != 0 ? 1 : 0;
        stack.pop_back();
    }
    [[nodiscard]] std::uint8_t depth() const { return static_cast<std::uint8_t>(std::min<std::uint32_t>(traced, 255)); } ///< of the next call
};

} // namespace skbscope
