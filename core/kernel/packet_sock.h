#pragma once
// net/packet/internal.h: struct packet_sock, with its prot_hook and its mapped ring, as a value.

#include "core/kernel/filter.h"
#include "core/trace/trace.h"

#include <cstdint>
#include <deque>
#include <vector>

namespace skbscope::kernel {

/// A frame in a mapped ring, filled and not yet given back by the program that reads it.
struct RingFrame {
    std::uint32_t length = 0;   ///< bytes of it that were kept
    std::uint32_t block = 0;    ///< TPACKET_V3: in which block it lies
    SimTime visible_from;
};

/// struct packet_ring_buffer. V2 has slots of one size; V3 has blocks that are filled and handed over whole.
struct PacketRing {
    std::uint32_t frame_size = 0, frame_nr = 0; ///< V2
    std::uint32_t block_size = 0, block_nr = 0; ///< V3
    std::deque<RingFrame> frames;
    std::uint64_t bytes = 0; ///< of the ring that the frames hold
    // V3: struct tpacket_kbdq_core
    std::vector<std::uint8_t> block_is_users; ///< TP_STATUS_USER
    std::uint32_t active = 0, last_active = 0; ///< kactive_blk_num
    std::uint32_t next_offset = 0;             ///< where the next frame goes in the active block
    std::uint32_t active_packets = 0;          ///< BLOCK_NUM_PKTS
    bool frozen = false;                       ///< the program lags: the next block is still its
    Duration retire;                           ///< a block that is not full is handed over after that time
    std::uint64_t timer = 0;                   ///< generation
};

struct PacketSock {
    std::int32_t socket = -1;    ///< row of World::sockets; -1: not open
    std::uint32_t host = 0;
    std::uint32_t net = 0;
    std::int32_t device = -1;    ///< bound to; -1: all devices
    std::uint8_t tp_version = 0; ///< 0: no ring (packet_rcv); 2, 3: TPACKET_V2, V3 (tpacket_rcv)
    BpfProgram filter;
    std::uint32_t tp_reserve = 0;
    PacketRing ring;
    std::uint64_t tp_packets = 0, tp_drops = 0;
    CounterId packets_counter{}, drops_counter{};
    QueueId queue{};
    std::int64_t rcvbuf = -1;    ///< as the program asks for, -1: rmem_default
    SimTime opens, closes = never;
};

} // namespace skbscope::kernel
