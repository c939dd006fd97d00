#pragma once
// From raw records to a Trace: which packet each call served, and what became of each packet. Owns the rules;
// the identity of packets is PacketBook's, the nesting of calls CallStacks'. No output knows more than the
// records prove: certain where a record carries the sk_buff, derived between such records, assumed where only
// the order tells.

#include "capture/call_stacks.h"
#include "capture/names.h"
#include "capture/packet_book.h"
#include "capture/ring_pages.h"
#include "capture/traced_kernel.h"

#include <array>
#include <map>
#include <utility>

namespace skbscope {

/// The passage of a packet through a packet socket (a capture), for matching with the frames of a pcap file.
struct TapPassage {
    Slot packet = 0; ///< the original, not its clone
    DeviceId device = DeviceId::none;
    std::uint64_t time_ns = 0;
    bool outgoing = false;
    std::uint32_t length = 0; ///< bytes with Ethernet header, as they were then; 0: not told
};

class Correlator {
public:
    /// Which drops make a packet of an sk_buff that no record has named before.
    enum class UnseenDrops : std::uint8_t {
        ignored,     ///< none: it may be older than the recording
        with_reason, ///< those whose reason the kernel tells: refused before any record could name it, by a rule for what is sent
        all,         ///< each: not everything is recorded
    };
    struct Options {
        bool use_kprobes =
            true; ///< false: leave kprobe events out (they are then only what attribution is held against)
        UnseenDrops unseen_drops = UnseenDrops::ignored;
        Trace* items = nullptr; ///< for hand_on(): where what is not written yet stands; outlives the correlator
    };
    /// What a kprobe event says of a call, for holding attribution against it.
    struct Probed {
        std::uint32_t item = 0; ///< of the call that the probe sits on; 0: none was seen
        std::uint64_t address = 0;
        Slot living = 0; ///< whom the address named when the probe fired, as far as known by then
    };

    /// Both must outlive it.
    Correlator(const TracedKernel& kernel, Trace& trace, Options options);
    void take(const RawRecord& record)
    {
        if (record.cpu >= last_call_.size() || record.lost_before != 0) [[unlikely]] {
            prepare_for(record);
        }
        if (record.event_id >= decoders_.size()) [[unlikely]] {
            ++unknown_events_;
            return;
        }
        const Decoder& decoder = decoders_[record.event_id];
        (this->*decoder.handler)(record, decoder);
    }
    /// After the last record.
    void finish();
    /// While records still come: what stands before that item (of PacketBook::last_item()) becomes part of the trace. What
    /// can be known of it must be known by then: a tenth of a second is plenty. finish(), then hand_on() of everything,
    /// ends it.
    void hand_on(std::uint32_t until, bool everything = false);
    /// Recording pauses now (from here on only drops are recorded), or has paused until now: nothing is open any more, and
    /// what became of the packets that lived is not known.
    void resume(std::uint64_t time_ns, bool drops_only = false);
    /// After hand_on(), now and then: memory of packets that have ended, or were born before `oldest`, is given back.
    void let_go(SimTime oldest);

    [[nodiscard]] PacketBook& book() { return book_; }
    /// A captured frame of the packet, as it was received: where no record tells of its end, what TCP does with such a segment
    /// may. Before its events are written.
    void frame_tells(Slot packet, std::span<const std::uint8_t> frame);
    [[nodiscard]] const std::vector<TapPassage>& tap_passages() const { return passages_; }
    [[nodiscard]] const std::vector<TapPassage>& device_passages() const { return device_passages_; }
    /// A graph shows functions below its roots only: a tap's elsewhere are not there.
    [[nodiscard]] bool shows_roots_only() const { return graph_seen_; }
    /// Passages since the last call: of taps where their functions are traced, else of devices.
    [[nodiscard]] std::vector<TapPassage> take_passages()
    {
        std::vector<TapPassage> taken = std::exchange(device_passages_, {});
        std::vector<TapPassage> of_taps = std::exchange(passages_, {});
        return of_taps.empty() ? taken : of_taps;
    }
    [[nodiscard]] const std::vector<Probed>& probed() const { return probed_; }
    /// Nanoseconds between calls that follow each other directly on one lane: how fast the machine ran.
    [[nodiscard]] const std::vector<std::uint32_t>& gaps() const { return gaps_; }

private:
    struct Function {
        KnownName name; ///< without compiler suffix
        std::vector<std::uint64_t> hosts, jumpers; ///< hosts_of(), jumpers_to(): numbers of names
        bool is_caller = false;                    ///< it was seen to call others
        FunctionId id = FunctionId::none;
        FunctionKind kind = FunctionKind::carry;
        bool is_entry = false; ///< what it calls is outermost
        /// Begins or ends an interrupt while records still (or again) name the context that it hits, whose calls stay open: a task's …
        bool interrupts = false;
        bool interrupts_softirq = false; ///< … and a softirq's
        bool is_receive = false; ///< a netif_receive_skb of any kind
        bool is_bh_enable = false; ///< __local_bh_enable_ip: whoever gives a lock back calls it
    };
    /// How an event is read; one for each event id.
    struct Decoder {
        void (Correlator::*handler)(const RawRecord&, const Decoder&) = &Correlator::on_unknown;
        KnownName event;           ///< its name
        EventField skb, name, length, protocol, location, reason, number, address_a, address_b, port_a,
            port_b, family, socket, call_flags, key6;
        /// What it tells of the sk_buff itself.
        [[nodiscard]] std::span<const std::pair<SkbField, EventField>> told() const { return std::span(told_fields).first(told_count); }
        std::array<std::pair<SkbField, EventField>, 6> told_fields;
        std::size_t told_count = 0;
        std::vector<DropReasonId> reasons; ///< by number
        std::vector<bool> reason_is_none;  ///< numbers that are no drop
        std::unordered_map<std::string, EventField> fields;
    };
    enum class Evidence : std::uint8_t { receive, transmit, free, kprobe };
    /// What kfree_skb says of why; none before 5.17.
    struct ToldReason {
        DropReasonId reason = DropReasonId::none;
        bool is_no_drop = false;
    };

    // ---- set up
    void prepare(const EventFormat& format);
    void prepare_for(const RawRecord& record);

    // ---- places
    Symbol symbol_of_function(std::uint64_t address);
    Symbol symbol_of_caller(std::uint64_t address);
    Symbol symbol_of_text(std::string_view name);
    Symbol symbol_named(const Name& name)
    {
        const auto& [number, symbol] = recent_names_[name.number >> 56];
        return number == name.number ? symbol : symbol_looked_up(name);
    }
    Symbol symbol_looked_up(const Name& name);
    Lane& lane_of(const RawRecord& record);
    Lane& lane_looked_up(std::int32_t pid);
    void leave_interrupts(Lane& lane);
    [[nodiscard]] bool interrupts(const Lane& lane, Symbol function) const;
    static Context context_of(const RawRecord& record);
    void pop(Lane& lane);
    void pop_to(Lane& lane, std::size_t count);
    void place(Lane& lane, const RawRecord& record, Symbol function, Symbol caller);
    Frame& push_call(Lane& lane, const RawRecord& record, Symbol function, std::uint8_t via);
    void push_untraced(Lane& lane, const RawRecord& record, Symbol function, Symbol callee);
    static void push_loose(Lane& lane, Symbol function);
    void pop_loose(Lane& lane);
    bool enter_softirq_loop(Lane& lane, const RawRecord& record);
    void note_gap(const RawRecord& record);
    /// The open call of one of these functions nearest to the top; what lies above it has returned.
    Frame* open_call(Lane& lane, std::initializer_list<NameNumber> names);
    std::uint32_t add_item(Lane& lane, const RawRecord& record, EventKind kind, FunctionId function,
                           Slot packet, Confidence confidence, std::uint8_t via, std::uint32_t arg = 0);

    // ---- attribution
    void attribute(Lane& lane, const RawRecord& record, Frame* host, Frame& frame);
    Slot inherited(Frame* host);
    void receive_step(Frame& host, Frame& frame, std::uint8_t rank);
    void assumes_order(const Frame& frame, Frame& list);
    void oldest_received(Lane& lane, Frame& frame);
    void release_by_answer(Lane& lane, const RawRecord& record, Frame& frame, std::uint64_t address);
    Frame* completes_list(Lane& lane);
    static Frame* outermost_sublist(Lane& lane);
    static void received_ethertype(SlotRecord& known, const RawRecord& record, const Decoder& decoder);
    void list_step(Lane& lane, Frame& host, Frame& frame);
    void send_step(Lane& lane, Frame* host, Frame& frame);
    void tail_step(Frame* host, Frame& frame);
    template <typename Queue>
    Slot next_living(Queue& list);
    void leave_to_softirq(Lane& lane, Slot slot);
    void free_left_over(Frame& host, Frame& frame);
    // ---- a call of each kind (correlator_steps.cpp)
    void held_step(Lane& lane, Frame& frame);
    void stream_step(Frame* host, Frame& frame);
    void nested_make(Lane& lane, Frame* host, Frame& frame);
    void reader_step(Lane& lane, Frame* host, Frame& frame);
    void allocate_step(Lane& lane, Frame* host, Frame& frame);
    void driver_step(Lane& lane, Frame* host, Frame& frame);
    void stamp_step(Frame* host, Frame& frame);
    void steer_step(const RawRecord& record, Frame* host, Frame& frame);
    void arp_step(Frame* host, Frame& frame);
    void neighbour_output_step(Lane& lane, Frame* host, Frame& frame);
    void qdisc_step(Frame* host, Frame& frame);
    void transmit_step(Lane& lane, Frame* host, Frame& frame);
    void validate_step(Lane& lane, Frame* host, Frame& frame);
    void tap_step(const RawRecord& record, Frame* host, Frame& frame);
    void clone_taker_step(Lane& lane, Frame* host, Frame& frame);
    void clone_step(Lane& lane, Frame* host, Frame& frame);
    void free_step(Lane& lane, Frame* host, Frame& frame);
    void free_tail_step(Lane& lane, Frame* host, Frame& frame);
    void ready_step(Frame* host, Frame& frame);
    // ---- TCP (correlator_tcp.cpp)
    Slot next_by_device(std::deque<Slot>& queue, DeviceId device);
    void note_talk(Lane& lane, Slot segment, DeviceId device);
    [[nodiscard]] DeviceId came_by(const Frame* host);
    [[nodiscard]] bool makes_original(const Frame* host) const;
    Slot tcp_original(Lane& lane, std::uint32_t item);
    void place_original(Lane& lane, bool behind_first);
    void tcp_clone(Lane& lane, Slot clone);
    void tcp_step(Lane& lane, Frame* host, Frame& frame);
    void keeps_out_of_order(const Frame& frame);
    Slot joins_stream(const Frame& call);
    void assumes_taken(const Frame& frame);
    bool completes_sent(const Lane& lane) const;
    bool silent_free(Lane& lane, Frame* host, Frame& frame);
    void note_freed(Lane& lane, Slot slot);
    void end_silently(Lane& lane, Slot slot, std::uint32_t item, bool in_backlog);
    // ---- fragments (correlator_fragments.cpp)
    void next_fragment(Lane& lane, Frame& frame);
    void send_fragment(Lane& lane, Frame& host, Frame& frame);
    [[nodiscard]] bool reassembles(const Lane& lane) const;
    void fragment_arrives(Lane& lane, const Frame& frame);
    Slot begin_joining(Lane& lane, std::uint32_t item);
    void join(Slot piece, Slot whole, std::uint32_t item);
    bool clones_last_fragment(Lane& lane, const Frame& host, Frame& frame);
    bool gives_its_bytes(Lane& lane, Slot slot, std::uint32_t item);
    Slot next_joined(Lane& lane, std::uint32_t item);
    Slot part_in_frag_list(const Lane& lane);
    // ---- segments of a large packet
    Slot piece_of(Lane& lane, Slot whole, std::uint32_t item);
    Frame* find_host(Lane& lane, std::initializer_list<FunctionKind> kinds);
    /// The record names the sk_buff of this call.
    Slot prove(Lane& lane, const RawRecord& record, std::size_t frame, std::uint64_t address,
               Evidence evidence);
    [[nodiscard]] Slot read_as_clone(const Lane& lane);
    Slot match(Lane& lane, Slot current, std::uint64_t address, Evidence evidence, std::uint32_t item,
               bool foreign);

    // ---- events
    void on_function(const RawRecord& record, const Decoder& decoder);
    void on_graph_entry(const RawRecord& record, const Decoder& decoder);
    void on_graph_exit(const RawRecord& record, const Decoder& decoder);
    void on_kprobe(const RawRecord& record, const Decoder& decoder);
    void on_irq_entry(const RawRecord& record, const Decoder& decoder);
    void on_irq_exit(const RawRecord& record, const Decoder& decoder);
    void on_softirq_raise(const RawRecord& record, const Decoder& decoder);
    void on_softirq_entry(const RawRecord& record, const Decoder& decoder);
    void on_softirq_exit(const RawRecord& record, const Decoder& decoder);
    void on_gro_entry(const RawRecord& record, const Decoder& decoder);
    void on_gro_exit(const RawRecord& record, const Decoder& decoder);
    void on_netif_receive(const RawRecord& record, const Decoder& decoder);
    void on_netif_rx(const RawRecord& record, const Decoder& decoder);
    void on_dev_queue(const RawRecord& record, const Decoder& decoder);
    void on_start_xmit(const RawRecord& record, const Decoder& decoder);
    void on_xmit(const RawRecord& record, const Decoder& decoder);
    void on_qdisc_enqueue(const RawRecord& record, const Decoder& decoder);
    void on_qdisc_dequeue(const RawRecord& record, const Decoder& decoder);
    void on_consume(const RawRecord& record, const Decoder& decoder);
    void on_kfree(const RawRecord& record, const Decoder& decoder);
    void on_fib(const RawRecord& record, const Decoder& decoder);
    void on_icmp_send(const RawRecord& record, const Decoder& decoder);
    void on_neigh_update(const RawRecord& record, const Decoder& decoder);
    void on_neigh_sent(const RawRecord& record, const Decoder& decoder);
    void on_return_marker(const RawRecord& record, const Decoder& decoder);
    void on_merge_only(const RawRecord& record, const Decoder& decoder);
    void on_data_ready(const RawRecord& record, const Decoder& decoder);
    void on_sent(const RawRecord& record, const Decoder& decoder);
    void on_received(const RawRecord& record, const Decoder& decoder);
    void on_unknown(const RawRecord& record, const Decoder& decoder);  ///< the file has no format for it
    void on_anything(const RawRecord& record, const Decoder& decoder); ///< known, but tells nothing that is used here

    void raise_interrupts(std::uint32_t until);

    // ---- tracepoints alone (correlator_events.cpp)
    void pop_returned(Lane& lane);
    void route_looked_up(const RawRecord& record, const FlowKey& flow);
    std::size_t queue_call(Lane& lane, const RawRecord& record, std::uint64_t address, const Decoder& decoder);
    static void pop_frees(Lane& lane);
    void end_former_owner(Lane& lane, std::uint64_t address, std::uint32_t item, bool also_served);
    std::vector<Slot> received_undecided(const Lane& lane);
    void name_ready(Lane& lane);
    void told_ready(Slot slot, const ReadyCall& call, std::uint64_t begun, std::uint64_t now);
    void note_cut(Lane& lane, std::uint64_t address, bool is_drop);
    void read_from_socket(Lane& lane, const RawRecord& record, std::uint64_t address);
    static bool is_served_by(PacketBook& book, const Lane& lane, Slot slot);

    [[nodiscard]] ToldReason told_reason(const RawRecord& record, const Decoder& decoder) const;
    [[nodiscard]] bool makes_a_packet(const RawRecord& record, const Decoder& decoder) const;
    // ---- kfree_skb and consume_skb, and the steps of what they tell
    void free_event(const RawRecord& record, const Decoder& decoder, bool is_drop);
    void end_calls_before_free(Lane& lane, std::uint64_t address, bool is_drop);
    std::size_t freeing_call(Lane& lane, const RawRecord& record, bool is_drop);
    Slot freed_packet(Lane& lane, const RawRecord& record, const Decoder& decoder, std::size_t index,
                      bool is_drop);
    [[nodiscard]] std::string_view told_location(const RawRecord& record, const Decoder& decoder) const;
    bool gives_back_a_reference(Slot slot, const RawRecord& record, const Decoder& decoder, bool is_drop);
    void sent_before_free(const Lane& lane, Slot slot, std::uint32_t item);
    [[nodiscard]] bool refuses_for_socket(const Lane& lane) const;
    bool kfree_decides(const Lane& lane, const RawRecord& record, const Decoder& decoder, std::size_t index,
                       Slot slot);
    void ends_undropped(Lane& lane, Slot slot, std::uint32_t item);
    void note_released(Lane& lane);
    void leaves_backlog(Lane& lane, Frame& core);
    void completed_unnamed(Lane& lane, Slot slot, std::uint32_t item);
    void name_completed(Lane& lane, DeviceId device);
    void end_by_call(Lane& lane, std::size_t index);
    std::string_view dropping_place(const Lane& lane, std::size_t index, std::string_view place) const;
    DropReasonId reason_without_field(Slot slot, std::string_view where, std::uint32_t item);
    bool was_called_for(Slot slot, std::string_view name, std::uint32_t before);
    std::size_t frame_for(Lane& lane, const RawRecord& record, std::initializer_list<NameNumber> names,
                          const Name& fallback);
    void device_facts(Slot slot, const RawRecord& record, const Decoder& decoder, bool length_has_ethernet);
    void wait_for_neighbour(Slot packet, std::uint32_t item, const std::string& neighbour, bool queues);
    void field_facts(Slot slot, std::uint32_t item, const RawRecord& record, const Decoder& decoder);
    void lost(const RawRecord& record);
    void forget_lane(Lane& lane);
    void forget_orders(const std::vector<Slot>& served, std::uint32_t item);
    [[nodiscard]] std::vector<Slot> served_elsewhere(std::uint16_t cpu) const;
    Slot owner_of(std::uint64_t address, std::uint32_t item);
    TaskId task_of(std::int32_t pid)
    {
        const auto& [known, task] = recent_tasks_[static_cast<std::uint32_t>(pid) % recent_tasks_.size()];
        return pid == known ? task : task_looked_up(pid);
    }
    TaskId task_looked_up(std::int32_t pid);
    DeviceId device_of(const RawRecord& record, const Decoder& decoder)
    {
        const bool is_known = record.device_name < device_by_number_.size() && device_by_number_[record.device_name] != DeviceId::none;
        return is_known ? device_by_number_[record.device_name] : device_looked_up(record, decoder);
    }
    DeviceId device_looked_up(const RawRecord& record, const Decoder& decoder);
    DeviceId device_named(std::string_view name);
    void tap_passed(Slot slot, std::uint64_t time_ns, bool outgoing);
    std::string neighbour_name(const RawRecord& record, const Decoder& decoder);

    const TracedKernel& kernel_;
    Trace& trace_;
    Options options_;
    bool drops_only_ = false; ///< nothing else is recorded now
    PacketBook book_;
    std::vector<Decoder> decoders_; ///< by event id
    std::vector<Function> functions_;
    struct NameHash {
        using is_transparent = void;
        std::size_t operator()(std::string_view name) const { return std::hash<std::string_view>()(name); }
    };
    std::unordered_map<std::string, Symbol, NameHash, std::equal_to<>> symbol_by_name_;
    std::array<std::pair<std::uint64_t, Symbol>, 256> recent_names_{}; ///< of symbol_named(), by a part of the number: that, and whose it is
    AddressMap symbol_by_address_, symbol_by_call_site_;
    bool gro_results_seen_ = false; ///< napi_gro_receive_exit and its like were recorded
    Symbol softirq_loop_ = 0;
    Symbol raise_softirq_ = 0;
    Symbol net_tx_action_ = 0;
    bool consume_is_recorded_ = false; ///< the event, not a probe of the same name
    bool graph_seen_ = false;
    bool functions_seen_ = false;      ///< the function or graph tracer ran: calls are known, not only events
    bool reads_end_with_event_ = false; ///< a datagram's reader was seen to free it; since 6.18 no event tells
    struct SocketQueue {
        std::deque<Slot> waiting;
        std::deque<RawRecord> early; ///< reads that found nothing told to wait (without their data): a reader on another CPU may be faster than the event
    };
    [[nodiscard]] Slot next_of(SocketQueue& queue);
    [[nodiscard]] SocketQueue& queue_of(std::uint64_t socket)
    {
        if (recent_queue_.second == nullptr || recent_queue_.first != socket) {
            recent_queue_ = {socket, &socket_queues_[socket]}; // rows of this table never move
        }
        return *recent_queue_.second;
    }
    std::pair<std::uint64_t, SocketQueue*> recent_queue_{0, nullptr}; ///< null: none, or it was taken out
    void end_read(const RawRecord& record, Slot slot);
    std::unordered_map<std::uint64_t, SocketQueue> socket_queues_; ///< of datagrams, by struct sock, as their events tell
    bool leaving_is_recorded_ = false; ///< net_dev_queue was recorded
    bool next_by_jump_ = false;        ///< of the call that place() made room for
    bool xmit_result_is_seen_ = false; ///< net_dev_xmit was recorded
    std::unordered_map<std::uint16_t, SlotQueue> completed_; ///< by CPU: softnet_data's completion_queue
    std::vector<Lane> cpu_lanes_;      ///< cpu * 4 + context; process level only for the idle task
    std::unordered_map<std::int32_t, Lane> task_lanes_;
    std::unordered_map<std::int32_t, TaskId> tasks_;
    std::map<std::string, DeviceId, std::less<>> devices_;
    // Records of one task, one device come in rows: what was found for those before.
    std::array<std::pair<std::int32_t, Lane*>, 16> recent_lanes_{}; ///< by the lowest bits of the pid; of none where that is 0
    std::array<std::pair<std::int32_t, TaskId>, 16> recent_tasks_{}; ///< by the lowest bits of the pid; 0: the idle task
    std::vector<DeviceId> device_by_number_; ///< by RawRecord::device_name; none: not met yet, as number 0 never is
    std::array<std::pair<ShortBytes, DeviceId>, 16> recent_devices_; ///< by ShortBytes::place() of the field with the name
    struct Waiting {
        Slot slot;
        std::string neighbour;
    };
    std::vector<Waiting> unresolved_; ///< packets that wait for a neighbour, oldest first
    std::deque<Slot> tap_queue_;      ///< clones in packet sockets' queues
    std::deque<Slot> share_checked_;  ///< packets that went on as a clone, whose address only their end tells
    std::unordered_map<Slot, Slot> in_frag_lists_; ///< by datagram: the clone of its last fragment, which no record has named
    std::deque<Slot> unnamed_in_backlog_; ///< in a CPU's backlog, before a record named them
    std::map<DeviceId, std::deque<Slot>> rings_; ///< handed to a device, oldest first; only while no event of freeing is recorded
    bool forgets_ = false;                       ///< what is open is left because records are missing, not because it returned
    bool frees_seen_ = false;                    ///< consume_skb or kfree_skb was recorded
    std::deque<Slot> fragments_waiting_; ///< received, for the others of their datagrams; in order of arrival
    TcpQueues tcp_;
    std::deque<Slot> requeued_; ///< segments cut from a large packet that the device did not take: before they have addresses
    std::vector<TapPassage> passages_, device_passages_;
    std::unordered_map<Slot, std::uint64_t> stamped_; ///< in a CPU's backlog: received at, which is what taps see
    std::vector<Probed> probed_;
    std::vector<std::pair<std::uint32_t, std::string>> interrupts_; ///< item and name
    std::vector<std::uint32_t> gaps_;
    std::vector<std::pair<std::uint64_t, Context>> last_call_; ///< per cpu
    std::vector<std::uint32_t> loop_calls_; ///< per cpu: the item of the softirq loop's last call that the tracer showed; 0: none
    std::uint64_t foreign_frees_ = 0;
    std::uint64_t unknown_events_ = 0;
    std::uint64_t lost_records_ = 0;
    bool loss_not_counted_ = false;
};

/// Takes from the front until one of them lives; 0: none does.
template <typename Queue>
Slot Correlator::next_living(Queue& list)
{
    while (!list.empty()) {
        const Slot slot = book_.resolve(list.front());
        list.pop_front();
        if (!book_.at(slot).dead) {
            return slot;
        }
    }
    return 0;
}

} // namespace skbscope
