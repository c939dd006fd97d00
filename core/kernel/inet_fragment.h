#pragma once
// net/ipv4/inet_fragment.c: what reassembly of IPv4 and of IPv6 have in common. Pieces lie by offset in their queue.

#include "core/kernel/functions.h"

#include <vector>

namespace skbscope::kernel {

/// The queue's lock (ip_defrag() and the timers take it): a CPU whose clock is behind gets it no earlier than the one that
/// put the last piece there has let it go.
void inet_frag_lock(Kernel& k, const std::vector<FragPiece>& pieces);

enum class FragInserted : std::uint8_t { ok, duplicate, overlap };

/// Puts the piece at its place. Pieces that came in order form a run; what lies within a run is a duplicate, what lies
/// across its ends an overlap: then the skb stays the caller's.
FragInserted inet_frag_queue_insert(Kernel& k, std::vector<FragPiece>& pieces, SkbIndex skb, std::uint32_t offset, std::uint32_t end);

/// Which ECN marks may meet in one datagram (ip_frag_ecn_table): the bits to set; -1: that is no honest datagram. `seen` has
/// bit n for mark n.
[[nodiscard]] int ip_frag_ecn(std::uint8_t seen);

/// `skb`, the piece that came last, is to become the datagram: if it is not the first, it takes over the contents of that
/// one, and a clone stands for it among the pieces.
void inet_frag_reasm_prepare(Kernel& k, std::vector<FragPiece>& pieces, SkbIndex skb, FunctionId by);
/// Appends the others to the first, which is `skb`; its data begins at its network header then.
void inet_frag_reasm_finish(Kernel& k, const std::vector<FragPiece>& pieces, SkbIndex skb, FunctionId by);

} // namespace skbscope::kernel
