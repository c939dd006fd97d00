#include "ui/map/map_scene.h"

#include "core/catalog/room_on_way.h"

#include <algorithm>
#include <cmath>

namespace skbscope::ui {

namespace {

constexpr qreal slot_preferred = 21; // at scale 1: three digits
constexpr qreal slot_least = 14;     // two digits
constexpr int lookahead_events = 48; // a step writes some field and counter events before the next call
constexpr std::uint64_t longest_move_paces = 5;
constexpr std::uint64_t linger_paces = 24;

qreal smooth(qreal t)
{
    t = std::clamp<qreal>(t, 0, 1);
    return t * t * (3 - 2 * t);
}

/// Both directions of a conversation are one flow.
FlowKey conversation(const FlowKey& key)
{
    FlowKey turned = key;
    std::swap(turned.source, turned.destination);
    std::swap(turned.source_port, turned.destination_port);
    return std::min(key, turned);
}

} // namespace

QRectF MapTray::slot(int index) const
{
    return {slotRow.left() + index * slotWidth, slotRow.top(), slotWidth, slotRow.height()};
}

int MapTray::hiddenPackets() const
{
    const auto drawn = static_cast<std::uint64_t>(slotCount);
    return packets > drawn ? static_cast<int>(packets - drawn) + moreSlots : 0;
}

MapScene::MapScene(const Session& session) : m_session(session)
{
    const auto functions = Catalog::functions();
    m_roomOf.reserve(functions.size());
    for (const Function& function : functions) {
        m_roomOf.push_back(Catalog::room_of(function.id));
    }
    m_memory = Catalog::find_room("skb_memory");
    m_wire = Catalog::find_room("wire");
    m_routeIn = Catalog::find_room("route_in");
    m_preRouting = Catalog::find_room("pre_routing");
    m_hookSlow = Catalog::find_function("nf_hook_slow");
    m_hookSlowList = Catalog::find_function("nf_hook_slow_list");
    for (const char* caller : {"ip_rcv", "ip_list_rcv", "ip_sublist_rcv", "ipv6_rcv", "ipv6_list_rcv", "ip6_sublist_rcv"}) {
        if (const FunctionId id = Catalog::find_function(caller); id != FunctionId::none) {
            m_preRoutingCallers.push_back(id);
        }
    }
    reset();
}

void MapScene::reset()
{
    m_learnt = 0;
    m_anyCall = false;
    m_use.assign(Catalog::rooms().size(), {});
    m_hidden.assign(Catalog::rooms().size(), 0);
    m_lastRoom.clear();
    m_visited.assign(m_use.size(), false);
    m_went.assign(m_use.size() * m_use.size(), false);
    m_queueUsed.clear();
    m_isKsoftirqd.clear();
    m_flows.clear();
    m_flowIndex.clear();
    m_pace = 150;
    m_paceFixed = false;
}

bool MapScene::shows(HostId host) const
{
    return to_index(m_session.host()) == 0 || host == m_session.host();
}

RoomId MapScene::roomOf(FunctionId function, RoomId before, Context context) const
{
    if (to_index(function) >= m_roomOf.size()) {
        return RoomId::none;
    }
    const RoomId room = m_roomOf[to_index(function)];
    return room == m_routeIn ? room_on_way(function, before, context) : room;
}

RoomId MapScene::placeOf(const Event& event, RoomId before) const
{
    if (event.event_kind() == EventKind::enqueue) {
        const std::size_t queue = event.arg;
        return queue < m_session.trace().queues().size() ? m_session.trace().queues()[queue].room : RoomId::none;
    }
    const RoomId room = roomOf(event.function_id(), before, event.context());
    // Getting and giving back memory is help on the way, not a place where a packet stands.
    return room == m_memory ? RoomId::none : room;
}

bool MapScene::learn()
{
    const Trace& trace = m_session.trace();
    bool changed = false;
    m_queueUsed.resize(trace.queues().size());
    for (std::size_t i = m_isKsoftirqd.size(); i < trace.tasks().size(); ++i) {
        m_isKsoftirqd.push_back(trace.tasks()[i].name.starts_with("ksoftirqd"));
    }
    for (; m_learnt < trace.size(); ++m_learnt) {
        const Event& event = trace[m_learnt];
        if (!shows(event.host_id())) {
            continue;
        }
        if (event.packet != 0 && (event.is_call() || event.event_kind() == EventKind::enqueue)) {
            if (event.packet >= m_lastRoom.size()) {
                m_lastRoom.resize(std::max<std::size_t>(event.packet + std::size_t{1}, trace.packet_count() + 1), RoomId::none);
            }
            RoomId& last = m_lastRoom[event.packet];
            const RoomId room = placeOf(event, last);
            if (room != RoomId::none && room != last) {
                const std::size_t way = to_index(last) * m_use.size() + to_index(room);
                changed |= !m_went[way];
                m_went[way] = true;
                m_visited[to_index(room)] = true;
                last = room;
            }
        }
        switch (event.event_kind()) {
        case EventKind::call:
        case EventKind::drop: {
            const RoomId before_this = event.packet < m_lastRoom.size() ? m_lastRoom[event.packet] : RoomId::none;
            const RoomId room = roomOf(event.function_id(), before_this, event.context());
            if (room == RoomId::none) {
                break;
            }
            RoomUse& use = m_use[to_index(room)];
            const RoomUse before = use;
            m_anyCall = true;
            use.used = true;
            use.contexts |= static_cast<std::uint8_t>(1U << static_cast<unsigned>(event.context()));
            if (use.first == FunctionId::none) {
                use.first = event.function_id();
            }
            const std::string_view name = Catalog::function(event.function_id()).name;
            const std::string_view shown = Catalog::room(room).function;
            use.shownSeen |= name == shown;
            if (!use.alike && !shown.empty() && name.find(shown) != std::string_view::npos) {
                use.alike = true; // "__sys_sendto" says "sendto" better than "__sys_socket" does
                use.first = event.function_id();
            }
            if (event.context() == Context::process && event.task != 0) {
                if (use.task == TaskId::none) {
                    use.task = event.task_id();
                } else if (use.task != event.task_id()) {
                    use.severalTasks = true;
                }
            }
            changed |= use != before;
            if (runsPreRouting(m_learnt)) {
                RoomUse& hook = m_use[to_index(m_preRouting)];
                const RoomUse was = hook;
                hook.used = true;
                hook.contexts |= static_cast<std::uint8_t>(1U << static_cast<unsigned>(event.context()));
                if (hook.first == FunctionId::none) {
                    hook.first = event.function_id();
                    hook.alike = true;
                }
                changed |= hook != was;
            }
            break;
        }
        case EventKind::enqueue:
            if (event.arg < m_queueUsed.size() && !m_queueUsed[event.arg]) {
                m_queueUsed[event.arg] = true;
                m_use[to_index(trace.queues()[event.arg].room)].used = true;
                changed = true;
            }
            break;
        case EventKind::irq_raise: {
            const RoomId irq = Catalog::find_room("irq");
            changed |= !m_use[to_index(irq)].used;
            m_use[to_index(irq)].used = true;
            break;
        }
        default: break;
        }
    }
    measurePace();
    return changed;
}

bool MapScene::runsPreRouting(std::size_t ordinal) const
{
    // The hook's functions all bear the same names, whichever hook it is: the caller tells. Lists exist at PRE_ROUTING alone
    // (net/ipv4/ip_input.c: ip_sublist_rcv, net/ipv6/ip6_input.c: ip6_sublist_rcv).
    const Trace& trace = m_session.trace();
    const Event& hook = trace[ordinal];
    if (!hook.is_call() || (hook.function_id() != m_hookSlow && hook.function_id() != m_hookSlowList)) {
        return false;
    }
    if (hook.function_id() == m_hookSlowList) {
        return true;
    }
    constexpr std::size_t most_back = 64;
    for (std::size_t back = 1; back <= most_back && back <= ordinal; ++back) {
        const Event& event = trace[ordinal - back];
        if (!event.is_call() || event.cpu != hook.cpu || event.context() != hook.context() || event.host != hook.host || event.depth >= hook.depth) {
            continue;
        }
        return std::ranges::find(m_preRoutingCallers, event.function_id()) != m_preRoutingCallers.end();
    }
    return false;
}

bool MapScene::wentFrom(RoomId from, RoomId to) const
{
    return m_went[to_index(from) * m_use.size() + to_index(to)];
}

void MapScene::measurePace()
{
    if (m_paceFixed) {
        return;
    }
    constexpr std::size_t sample = 4096;
    const Trace& trace = m_session.trace();
    const std::size_t count = std::min(trace.size(), sample);
    std::map<std::uint32_t, std::uint64_t> last;
    std::vector<std::uint64_t> gaps;
    for (std::size_t i = 0; i < count; ++i) {
        const Event& event = trace[i];
        if (!event.is_call() || event.packet == 0) {
            continue;
        }
        const auto [at, first] = last.try_emplace(event.packet, event.time_ns);
        if (!first && event.time_ns > at->second) {
            gaps.push_back(event.time_ns - at->second);
        }
        at->second = event.time_ns;
    }
    if (gaps.size() >= 8) {
        const auto middle = gaps.begin() + static_cast<std::ptrdiff_t>(gaps.size() / 2);
        std::nth_element(gaps.begin(), middle, gaps.end());
        m_pace = std::clamp<std::uint64_t>(*middle, 20, 1'000'000);
    }
    m_paceFixed = count == sample;
}

std::uint8_t MapScene::flowOf(PacketId packet) const
{
    const auto packets = m_session.trace().packets();
    const std::size_t row = to_index(packet);
    while (m_flows.size() <= row) {
        std::uint8_t index = 0;
        if (!m_flows.empty() && m_flows.size() - 1 < packets.size()) {
            const PacketRecord& record = packets[m_flows.size() - 1];
            if (record.flow) {
                const auto next = static_cast<std::uint8_t>(m_flowIndex.size() % 4);
                index = m_flowIndex.try_emplace(conversation(*record.flow), next).first->second;
            }
        }
        m_flows.push_back(index);
    }
    return m_flows[row];
}

void MapScene::build(const MapLayout& layout)
{
    const StackState& state = m_session.state();
    buildTrays(layout, state);
    buildActivity(state);
    buildTokens(layout, state);
    buildEnded(layout, state);
    buildDrops(state);
    m_irqMasked = false;
    const auto devices = m_session.trace().devices();
    for (std::size_t i = 1; i < devices.size(); ++i) {
        m_irqMasked |= shows(devices[i].host) && state.irq_masked(static_cast<DeviceId>(i));
    }
}

void MapScene::buildTrays(const MapLayout& layout, const StackState& state)
{
    const Trace& trace = m_session.trace();
    const auto queues = trace.queues();
    const qreal s = layout.scale();
    m_trays.clear();
    m_trayOf.assign(queues.size(), -1);

    std::vector<std::vector<QueueId>> byRoom(m_use.size());
    for (std::size_t i = 1; i < queues.size(); ++i) {
        const bool drawable = queues[i].kind != QueueKind::wire && queues[i].room != RoomId::none && queues[i].room != m_memory;
        if (drawable && shows(queues[i].host)) {
            byRoom[to_index(queues[i].room)].push_back(static_cast<QueueId>(i));
        }
    }
    for (std::size_t room = 1; room < byRoom.size(); ++room) {
        auto& here = byRoom[room];
        if (here.empty()) {
            continue;
        }
        // Those in use first; unused ones only where there is nothing better, and small.
        std::stable_partition(here.begin(), here.end(), [&](QueueId q) { return m_queueUsed[to_index(q)]; });
        const auto used = static_cast<std::size_t>(std::count_if(here.begin(), here.end(), [&](QueueId q) { return m_queueUsed[to_index(q)]; }));
        const QRectF card = layout.room(static_cast<RoomId>(room));
        // An idle CPU's backlog or device's ring says something; neighbours and sockets that nobody asked for do not.
        const QueueKind kind = queues[to_index(here.front())].kind;
        const bool idleOnes = kind != QueueKind::arp_queue && kind != QueueKind::socket && kind != QueueKind::other;
        const std::size_t most = std::max<std::size_t>(1, static_cast<std::size_t>(card.width() / (92 * s)));
        const std::size_t shown = std::min({here.size(), std::max<std::size_t>(used, 1) + (used == 1 && most > 1 && idleOnes ? 1 : 0), most});
        qreal weights = 0;
        const auto weight = [&](std::size_t i) { return used > 0 && i >= used ? 0.42 : 1.0; };
        for (std::size_t i = 0; i < shown; ++i) {
            weights += weight(i);
        }
        const qreal gap = 6 * s;
        const qreal free = card.width() - gap * static_cast<qreal>(shown - 1);
        qreal left = card.left();
        for (std::size_t i = 0; i < shown; ++i) {
            MapTray tray;
            tray.queue = here[i];
            tray.room = static_cast<RoomId>(room);
            tray.card = QRectF(left, card.top(), free * weight(i) / weights, card.height());
            left = tray.card.right() + gap;
            tray.used = m_queueUsed[to_index(here[i])];
            const QueueRecord& record = queues[to_index(here[i])];
            tray.limit = record.limit;
            if (to_index(here[i]) < state.queues().size()) {
                const QueueState& queue = state.queues()[to_index(here[i])];
                tray.limit = queue.limit;
                tray.level = queue.level(record.unit);
                tray.packets = queue.packets.size();
                tray.peak = queue.peak;
            }
            tray.full = tray.limit > 0 && tray.level >= tray.limit;
            tray.low = tray.card.height() < MapLayout::two_lines;
            const qreal slotHeight = std::min(15 * s, tray.card.height() * (tray.low ? 0.62 : 0.42));
            const qreal besideName = tray.card.width() * (tray.card.width() < 90 * s ? 0.3 : 0.45);
            tray.slotRow = tray.low ? QRectF(tray.card.right() - besideName, tray.card.center().y() - slotHeight / 2, besideName - 5 * s, slotHeight)
                                    : QRectF(tray.card.left() + 10 * s, tray.card.bottom() - slotHeight - 4 * s, tray.card.width() - 18 * s, slotHeight);
            const int preferred = std::max(1, static_cast<int>(tray.slotRow.width() / (slot_preferred * s)));
            const int most_slots = std::max(1, static_cast<int>(tray.slotRow.width() / (slot_least * s)));
            int wanted = preferred;
            const bool countable = record.unit == QueueUnit::packets && tray.limit > 0;
            if (static_cast<int>(tray.packets) > preferred) {
                wanted = std::min<int>(most_slots, static_cast<int>(tray.packets));
            } else if (countable && tray.limit < static_cast<std::uint64_t>(preferred)) {
                wanted = static_cast<int>(std::max(tray.limit, tray.packets));
            }
            tray.slotCount = wanted;
            tray.slotWidth = std::min(tray.slotRow.width() / wanted, 26 * s);
            tray.moreSlots = wanted >= 3 && tray.slotWidth < 22 * s ? 2 : 1;
            m_trayOf[to_index(tray.queue)] = static_cast<int>(m_trays.size());
            m_trays.push_back(tray);
        }
    }
}

void MapScene::buildActivity(const StackState& state)
{
    m_activity.clear();
    // A call whose return no record shows is taken to run for some steps' time, not until the next packet comes.
    const std::uint64_t now = m_session.now().ns;
    const std::uint64_t patience = std::max<std::uint64_t>(50'000, 20 * m_pace);
    const auto over = [&](const OpenCall& call) { return call.end == never && m_session.trace().info.observed && now > call.start.ns + patience; };
    for (std::size_t i = 0; i < state.cpus().size(); ++i) {
        const CpuState& cpu = state.cpus()[i];
        const auto running = cpu.running();
        if (!running || !shows(cpu.host) || over(*cpu.innermost())) {
            continue;
        }
        for (std::size_t level = 0; level < cpu.levels.size(); ++level) {
            const auto& calls = cpu.levels[level];
            for (std::size_t c = 0; c < calls.size(); ++c) {
                const auto packet = state.packets().find(calls[c].packet);
                const RoomId before = packet != state.packets().end() ? packet->second.room
                                      : !m_activity.empty() && m_activity.back().cpu == static_cast<CpuId>(i) ? m_activity.back().room
                                                                                                             : RoomId::none;
                const RoomId room = roomOf(calls[c].function, before, static_cast<Context>(level));
                const bool last = level == static_cast<std::size_t>(*running) && c + 1 == calls.size();
                if (room == RoomId::none) {
                    // A call without a room runs in that of its caller.
                    if (last && !m_activity.empty() && m_activity.back().cpu == static_cast<CpuId>(i)) {
                        m_activity.back().innermost = true;
                    }
                    continue;
                }
                const std::size_t task = to_index(calls[c].task);
                const bool thread = level == static_cast<std::size_t>(Context::softirq) && task < m_isKsoftirqd.size() && m_isKsoftirqd[task];
                m_activity.push_back({room, static_cast<CpuId>(i), static_cast<Context>(level), calls[c].function, last, thread});
            }
        }
    }
}

MapScene::Target MapScene::nextMove(PacketId packet, const PacketState& state) const
{
    const Trace& trace = m_session.trace();
    const auto events = m_session.journeys().events_of(packet);
    const auto next = std::lower_bound(events.begin(), events.end(), m_session.position());
    Target target;
    if (next != events.begin()) {
        // The last thing that placed it: did it just come out of a queue?
        for (auto at = next; at != events.begin();) {
            --at;
            const Event& event = trace[*at];
            const EventKind kind = event.event_kind();
            if (kind == EventKind::dequeue) {
                target.leftQueue = true;
                target.from = event.queue_id();
                target.since = event.time_ns;
                break;
            }
            if (kind == EventKind::call || kind == EventKind::enqueue || kind == EventKind::birth) {
                target.since = event.time_ns;
                break;
            }
        }
    }
    int looked = 0;
    for (auto at = next; at != events.end() && looked < lookahead_events; ++at, ++looked) {
        const Event& event = trace[*at];
        switch (event.event_kind()) {
        case EventKind::enqueue:
        case EventKind::call: {
            const RoomId room = placeOf(event, state.room);
            if (room == RoomId::none) {
                continue;
            }
            target.room = room;
            target.at = event.time_ns;
            target.queue = event.event_kind() == EventKind::enqueue ? event.queue_id() : QueueId::none;
            return target;
        }
        case EventKind::dequeue:
        case EventKind::drop:
        case EventKind::free: return target;
        default: break;
        }
    }
    return target;
}

QPointF MapScene::standAt(const MapLayout& layout, RoomId room, int index) const
{
    QPointF spot = layout.spot(room, index);
    for (const MapTray& tray : m_trays) {
        if (tray.room == room) {
            spot.setY(tray.slotRow.center().y());
            break;
        }
    }
    return spot;
}

QPointF MapScene::along(const MapLayout& layout, QPointF from, RoomId a, RoomId b, QPointF to, qreal share) const
{
    const std::vector<QPointF>& way = layout.way(a, b);
    // Straight where no line is drawn between the two.
    const bool drawn = way.size() > 2 || (!way.empty() && way.front() != layout.room(a).center());
    std::array<QPointF, 10> points;
    std::size_t count = 0;
    points[count++] = from;
    if (drawn) {
        for (const QPointF& point : way) {
            if (count + 1 < points.size()) {
                points[count++] = point;
            }
        }
    }
    points[count++] = to;
    qreal total = 0;
    std::array<qreal, 10> lengths{};
    for (std::size_t i = 1; i < count; ++i) {
        lengths[i] = std::hypot(points[i].x() - points[i - 1].x(), points[i].y() - points[i - 1].y());
        total += lengths[i];
    }
    qreal left = total * share;
    for (std::size_t i = 1; i < count; ++i) {
        if (left <= lengths[i] || i + 1 == count) {
            return lengths[i] <= 0 ? points[i] : points[i - 1] + (points[i] - points[i - 1]) * (left / lengths[i]);
        }
        left -= lengths[i];
    }
    return to;
}

void MapScene::buildTokens(const MapLayout& layout, const StackState& state)
{
    const Trace& trace = m_session.trace();
    m_tokens.clear();
    std::fill(m_hidden.begin(), m_hidden.end(), 0);
    m_tokens.reserve(state.packets().size() + 64);

    // 1. Waiting ones: in their slots, in the order of the queue.
    for (std::size_t q = 1; q < state.queues().size(); ++q) {
        const auto& waiting = state.queues()[q].packets;
        const QueueRecord& record = trace.queues()[q];
        if (waiting.empty() || !shows(record.host)) {
            continue;
        }
        const MapTray* tray = m_trayOf[q] >= 0 ? &m_trays[static_cast<std::size_t>(m_trayOf[q])] : nullptr;
        const int overflow = tray != nullptr ? tray->hiddenPackets() : 0;
        int index = 0;
        for (const PacketId packet : waiting) {
            MapToken token;
            token.packet = packet;
            token.queue = static_cast<QueueId>(q);
            token.room = record.room;
            token.kind = MapToken::Kind::waiting;
            token.flow = flowOf(packet);
            if (tray != nullptr) {
                const int last = overflow > 0 ? tray->slotCount - tray->moreSlots : tray->slotCount;
                token.hidden = index >= last;
                token.centre = tray->slot(std::min(index, tray->slotCount - 1)).center();
            } else if (record.kind == QueueKind::wire) {
                // On its way to the ring, whatever room the queue is said to stand in.
                const int fit = layout.spots(m_wire);
                token.hidden = index >= fit;
                token.centre = layout.spot(m_wire, std::min(index, fit - 1));
            } else {
                token.hidden = true;
                token.centre = layout.room(record.room).center();
            }
            m_hidden[to_index(record.room)] += token.hidden ? 1 : 0;
            m_tokens.push_back(token);
            ++index;
        }
    }

    // 2. The others: side by side in their room, the one at work first.
    struct Standing {
        PacketId packet;
        const PacketState* state;
        RoomId room;
    };
    std::vector<std::vector<Standing>> standing(m_use.size());
    for (const auto& [id, packet] : state.packets()) {
        if (packet.queue != QueueId::none || (trace.has_packet(id) && !shows(trace.packet(id).host))) {
            continue;
        }
        // Where its memory is made or given back it stands in the room that asks for that; a recorded one may begin there.
        const RoomId room = packet.room == m_memory && packet.previous_room != RoomId::none ? packet.previous_room : packet.room;
        // One that no function has touched is still in the cable or the card.
        const bool outside = room == RoomId::none && packet.function == FunctionId::none && packet.where != PacketState::Where::running;
        standing[to_index(outside ? m_wire : room)].push_back({id, &packet, outside ? m_wire : room});
    }
    const std::uint64_t now = m_session.now().ns;
    const std::uint64_t longest = longest_move_paces * m_pace;
    for (std::size_t r = 0; r < standing.size(); ++r) {
        auto& here = standing[r];
        if (here.empty()) {
            continue;
        }
        const RoomId room = static_cast<RoomId>(r);
        std::stable_partition(here.begin(), here.end(), [](const Standing& s) { return s.state->where == PacketState::Where::running; });
        const int fit = room == RoomId::none ? 0 : layout.spots(room);
        int index = 0;
        for (const Standing& s : here) {
            MapToken token;
            token.packet = s.packet;
            token.room = s.state->room;
            token.kind = s.state->where == PacketState::Where::running ? MapToken::Kind::running : MapToken::Kind::parked;
            token.context = s.state->context;
            token.verdict = s.state->verdict;
            token.flow = flowOf(s.packet);
            token.centre = room == RoomId::none ? QPointF() : standAt(layout, room, std::min(index, std::max(0, fit - 1)));
            token.hidden = index >= fit;
            const Target target = nextMove(s.packet, *s.state);
            if (target.leftQueue && target.from != QueueId::none && to_index(target.from) < m_trayOf.size()) {
                // Out of its slot, into the room that handles it next (or where the state already has it).
                const QueueKind queueKind = trace.queue(target.from).kind;
                const RoomId queueRoom = queueKind == QueueKind::wire ? m_wire : trace.queue(target.from).room;
                const RoomId goal = target.room != RoomId::none ? target.room : room;
                const int row = m_trayOf[to_index(target.from)];
                // The head of the queue goes straight on; the others of its batch stand in the room until it is their turn.
                QPointF start = token.centre;
                if (index == 0 || queueKind == QueueKind::wire) {
                    start = row >= 0 ? m_trays[static_cast<std::size_t>(row)].slot(0).center()
                            : queueKind == QueueKind::wire ? layout.spot(m_wire, 0)
                                                           : standAt(layout, queueRoom, 0);
                }
                const std::uint64_t end = target.room != RoomId::none ? target.at : target.since + longest;
                const std::uint64_t begin = std::max(target.since, end - std::min(end, longest));
                if (now < end && now >= begin && end > begin && goal != RoomId::none) {
                    const qreal share = smooth(static_cast<qreal>(now - begin) / static_cast<qreal>(end - begin));
                    token.centre = along(layout, start, queueRoom, goal, standAt(layout, goal, 0), share);
                    token.moving = share > 0;
                    token.hidden = false;
                } else if (now < begin) {
                    token.centre = start;
                }
            } else if (target.room != RoomId::none && target.at > now && (target.room != room || target.queue != QueueId::none)) {
                const std::uint64_t length = std::min(target.at - target.since, longest);
                const std::uint64_t start = target.at - length;
                if (length > 0 && now > start) {
                    QPointF goal = standAt(layout, target.room, 0);
                    if (target.queue != QueueId::none && to_index(target.queue) < m_trayOf.size() && m_trayOf[to_index(target.queue)] >= 0) {
                        const MapTray& tray = m_trays[static_cast<std::size_t>(m_trayOf[to_index(target.queue)])];
                        goal = tray.slot(std::min(static_cast<int>(tray.packets), tray.slotCount - 1)).center();
                    }
                    const qreal share = smooth(static_cast<qreal>(now - start) / static_cast<qreal>(length));
                    const QPointF from = room == RoomId::none ? goal : token.centre;
                    token.centre = along(layout, from, room, target.room, goal, share);
                    token.moving = true;
                    token.hidden = false;
                }
            }
            m_hidden[r] += token.hidden ? 1 : 0;
            m_tokens.push_back(token);
            ++index;
        }
    }
}

void MapScene::buildEnded(const MapLayout& layout, const StackState& state)
{
    const Trace& trace = m_session.trace();
    const std::uint64_t now = m_session.now().ns;
    const std::uint64_t linger = linger_paces * m_pace;
    const auto& ended = state.recently_ended();
    for (auto it = ended.rbegin(); it != ended.rend(); ++it) {
        if (!trace.has_packet(*it) || !shows(trace.packet(*it).host)) {
            continue;
        }
        const auto events = m_session.journeys().events_of(*it);
        const auto end = std::lower_bound(events.begin(), events.end(), m_session.position());
        if (end == events.begin()) {
            continue;
        }
        const std::uint64_t died = trace[*std::prev(end)].time_ns;
        if (now > died + linger) {
            break; // older ones ended earlier
        }
        RoomId room = RoomId::none;
        Context context = Context::process;
        bool dropped = false;
        RoomId dropRoom = RoomId::none;
        int looked = 0;
        for (auto at = end; at != events.begin() && room == RoomId::none && looked < lookahead_events; ++looked) {
            const Event& event = trace[*--at];
            if (event.event_kind() == EventKind::drop) {
                dropped = true;
                dropRoom = event.function_id() != FunctionId::none ? placeOf(event, RoomId::none)
                                                                   : room_of_drop(FunctionId::none, static_cast<DropReasonId>(event.arg));
                context = event.context();
            }
            if (event.is_call() || event.event_kind() == EventKind::enqueue) {
                room = placeOf(event, RoomId::none);
                context = event.context();
            }
        }
        if (dropRoom != RoomId::none) {
            room = dropRoom;
        }
        if (room == RoomId::none) {
            continue;
        }
        const qreal age = static_cast<qreal>(now - died) / static_cast<qreal>(linger);
        MapToken token;
        token.packet = *it;
        token.room = RoomId::none;
        token.kind = MapToken::Kind::ended;
        token.context = context;
        token.flow = flowOf(*it);
        token.verdict = dropped ? Verdict::dropped : trace.packet(*it).verdict;
        const QPointF start = standAt(layout, room, 0);
        if (dropped) {
            // Sideways out of the room, to where it is counted.
            const QPointF goal = layout.drops(room).center();
            token.centre = start + (goal - start) * smooth(age * 1.6);
            token.opacity = static_cast<float>(1 - smooth((age - 0.3) / 0.4));
        } else {
            token.centre = start + QPointF(0, -layout.scale() * 10 * smooth(age));
            token.opacity = static_cast<float>(1 - smooth(age));
        }
        m_tokens.push_back(token);
    }
}

void MapScene::buildDrops(const StackState& state)
{
    m_drops.clear();
    std::map<std::size_t, std::uint64_t> largest; // by row of m_drops
    for (const auto& [key, count] : state.drops()) {
        if (!shows(key.host) || count == 0) {
            continue;
        }
        RoomId room = room_of_drop(key.function, key.reason);
        if (room == RoomId::none) {
            room = m_memory; // a function that the catalog cannot place: counted where memory is given back
        }
        auto found = std::find_if(m_drops.begin(), m_drops.end(), [&](const MapDrops& d) { return d.room == room; });
        if (found == m_drops.end()) {
            m_drops.push_back({room, 0, key.reason, key.function, 0});
            found = std::prev(m_drops.end());
        }
        const auto row = static_cast<std::size_t>(found - m_drops.begin());
        found->count += count;
        ++found->reasons;
        if (count > largest[row]) {
            largest[row] = count;
            found->reason = key.reason;
            found->function = key.function;
        }
    }
}

std::size_t MapScene::shownTokens() const
{
    return static_cast<std::size_t>(std::ranges::count(m_tokens, false, &MapToken::hidden));
}

std::vector<PacketId> MapScene::tokensIn(RoomId room) const
{
    std::vector<PacketId> found;
    for (const MapToken& token : m_tokens) {
        if (token.room == room && token.kind != MapToken::Kind::ended) {
            found.push_back(token.packet);
        }
    }
    std::sort(found.begin(), found.end());
    return found;
}

const MapToken* MapScene::token(PacketId packet) const
{
    const auto found = std::find_if(m_tokens.begin(), m_tokens.end(), [&](const MapToken& t) { return t.packet == packet; });
    return found == m_tokens.end() ? nullptr : &*found;
}

} // namespace skbscope::ui
