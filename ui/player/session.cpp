#include "ui/player/session.h"

#include "core/catalog/catalog.h"
#include "ui/player/format.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace skbscope::ui {

namespace {

constexpr int tick_ms = 16;
constexpr int arrivals_ms = 40;
/// A stall (a laptop lid, a breakpoint) must not make the playhead leap.
constexpr double longest_tick_s = 0.1;
constexpr double slowest = 100;           // 1 s = 100 ns
constexpr double fastest = 1'000'000'000; // 1 s = 1 s
/// How far a step looks ahead in all before it says that nothing more comes.
constexpr Duration farthest_look{20'000'000'000};
/// … and how many events it lets come: a busy model must not hold the window up.
constexpr std::size_t most_events_ahead = 2'000'000;
/// A piece of the run that brings more than this is not made longer.
constexpr std::size_t busy_piece = 50'000;

} // namespace

Session::Session(std::unique_ptr<Source> source, QObject* parent)
    : QObject(parent), m_source(std::move(source)), m_states(std::make_unique<StateCache>(m_source->trace())),
      m_journeys(m_source->trace()), m_generation(m_source->generation())
{
    m_timer.setInterval(tick_ms);
    m_timer.setTimerType(Qt::PreciseTimer);
    connect(&m_timer, &QTimer::timeout, this, &Session::tick);
    m_journeys.update();
    m_seenEvents = trace().size();
    m_now = origin();
    m_arrivals.setInterval(arrivals_ms);
    connect(&m_arrivals, &QTimer::timeout, this, &Session::takeArrivals);
    if (m_source->kind() == Source::Kind::live && !m_source->exhausted()) {
        m_following = true;
        m_arrivals.start();
    }
}

void Session::takeArrivals()
{
    if (m_working) {
        return;
    }
    m_source->advance_to(never);
    refresh();
    if (m_following && !trace().empty()) {
        m_atEdge = true;
        moveTo(trace().size(), lastMoment());
        m_atEdge = false;
    }
    if (m_source->exhausted()) {
        m_arrivals.stop();
        setFollowing(false);
    }
    emit liveChanged();
}

void Session::setFollowing(bool following)
{
    following = following && isLive();
    if (following == m_following) {
        return;
    }
    m_following = following;
    if (following) {
        pause();
    }
    emit followingChanged(following);
}

void Session::stopLive()
{
    m_source->close();
    emit liveChanged();
}

SimTime Session::origin() const
{
    return m_source->kind() == Source::Kind::model ? SimTime{} : trace().begin_time();
}

SimTime Session::lastMoment() const
{
    const Trace& events = trace();
    SimTime last = std::max(events.end_time(), origin());
    // Only a late call can outlast the last event; an outer one is never far above its inner ones.
    const std::size_t first = events.size() > 512 ? events.size() - 512 : 0;
    for (std::size_t i = first; i < events.size(); ++i) {
        if (events[i].is_call() && events[i].has_end()) {
            last = std::max(last, events[i].end());
        }
    }
    return last;
}

const StackState& Session::state() const
{
    // Between events the calls that have returned are settled; within one nanosecond only the count tells.
    return positionAt(m_now) == m_position ? m_states->at(m_now) : m_states->after(m_position);
}

std::size_t Session::positionAt(SimTime t) const
{
    return t == never ? trace().size() : trace().lower_bound(t + Duration{1});
}

void Session::moveTo(std::size_t position, SimTime t)
{
    if (!m_atEdge) {
        setFollowing(false);
    }
    m_position = position;
    m_now = t;
    m_furthest = std::max(m_furthest, t);
    m_fraction = 0;
    emit playheadMoved();
}

Session::Change Session::takeIn()
{
    if (m_source->generation() != m_generation) {
        m_generation = m_source->generation();
        m_states = std::make_unique<StateCache>(trace());
        m_journeys = JourneyIndex(trace());
        m_journeys.update();
        m_seenEvents = trace().size();
        m_flowsSeen = 0;
        m_firstOther = PacketId::none;
        m_now = std::min(m_now, std::max(m_source->known_until(), lastMoment()));
        m_position = positionAt(m_now);
        return Change::replaced;
    }
    if (trace().size() != m_seenEvents) {
        m_seenEvents = trace().size();
        m_journeys.update();
        m_now = std::max(m_now, origin()); // the clock of what is observed is known with its first event
        return Change::grown;
    }
    return Change::none;
}

void Session::announce(Change change)
{
    if (change == Change::grown) {
        emit traceGrown();
    }
    if (change != Change::replaced) {
        return;
    }
    emit traceReplaced();
    if (m_selection.packet != PacketId::none && !trace().has_packet(m_selection.packet)) {
        Selection without = m_selection;
        without.packet = PacketId::none;
        select(without);
    }
    emit playheadMoved();
}

void Session::run(const QString& what, const std::function<void(Work&)>& work)
{
    Change change = Change::none;
    const auto whole = [&](Work& state) {
        work(state);
        change = takeIn();
        (void)m_states->at(m_now); // the long way to there is gone here and not while painting
    };
    m_working = true;
    if (m_runner) {
        m_runner(what, whole);
    } else {
        Work state;
        whole(state);
    }
    m_working = false;
    announce(change);
}

void Session::holdStillFor(const std::function<void()>& reading)
{
    const bool before = std::exchange(m_working, true);
    reading();
    m_working = before;
}

void Session::runSource(Work& work)
{
    Duration by{50'000};
    Duration looked{};
    const std::size_t start = trace().size();
    while (!work.cancelled && !m_source->exhausted() && looked <= farthest_look && trace().size() <= start + most_events_ahead) {
        const std::size_t before = trace().size();
        const SimTime from = m_source->known_until();
        m_source->advance_to(from + by);
        looked += by;
        work.events = trace().size();
        work.at_ns = m_source->known_until().ns;
        if (m_source->known_until() == from && trace().size() == before) {
            return; // a live source has nothing more now
        }
        if (trace().size() < before + busy_piece) {
            by = std::min(by * 2, Duration{1'000'000'000});
        }
    }
}

bool Session::extend(Duration by)
{
    if (m_source->exhausted()) {
        return false;
    }
    const SimTime before = m_source->known_until();
    const std::size_t events = trace().size();
    m_source->advance_to(before + by);
    refresh();
    return m_source->known_until() > before || trace().size() > events;
}

template <typename Found>
bool Session::extendUntil(Found found)
{
    Duration by{50'000};
    Duration looked{};
    const std::size_t start = trace().size();
    while (!found()) {
        const std::size_t before = trace().size();
        if (looked > farthest_look || before > start + most_events_ahead || !extend(by)) {
            return found();
        }
        looked += by;
        if (trace().size() < before + busy_piece) {
            by = std::min(by * 2, Duration{1'000'000'000});
        }
    }
    return true;
}

void Session::seek(SimTime t)
{
    t = std::max(t, origin());
    if (t > m_source->known_until() && !m_source->exhausted() && !isLive()) {
        run(tr("Running to that moment"), [this, t](Work& work) {
            // In pieces, so that it can be stopped.
            for (SimTime at = m_source->known_until(); at < t && !work.cancelled && !m_source->exhausted();) {
                const SimTime next = std::min(t, at + Duration{5'000'000});
                m_source->advance_to(next);
                work.events = trace().size();
                work.at_ns = next.ns;
                at = next;
            }
        });
    }
    t = std::min(t, std::max(m_source->known_until(), lastMoment()));
    moveTo(positionAt(t), t);
}

void Session::seekToEvent(std::size_t position)
{
    extendUntil([&] { return trace().size() >= position; });
    position = std::min(position, trace().size());
    moveTo(position, position == 0 ? origin() : trace()[position - 1].time());
}

void Session::stepEvent(int direction)
{
    if (direction < 0) {
        if (m_position > 0) {
            seekToEvent(m_position - 1);
        }
        return;
    }
    seekToEvent(m_position + 1);
}

void Session::stepFunction(int direction)
{
    const PacketId packet = m_selection.packet;
    const auto wanted = [&](std::size_t ordinal) {
        const Event& event = trace()[ordinal];
        return event.is_call() && (to_index(m_host) == 0 || event.host_id() == m_host);
    };
    // Of one packet: its journey knows the shared calls too.
    std::vector<std::uint32_t> steps;
    const auto load = [&] {
        steps.clear();
        for (const Step& step : m_journeys.journey(packet).steps) {
            steps.push_back(step.ordinal);
        }
        std::sort(steps.begin(), steps.end());
    };
    std::size_t scanned = m_position;
    std::size_t next = 0;
    const auto findNext = [&] {
        if (packet != PacketId::none) {
            load();
            const auto at = std::lower_bound(steps.begin(), steps.end(), m_position);
            next = at == steps.end() ? 0 : *at + std::size_t{1};
            return at != steps.end();
        }
        for (; scanned < trace().size(); ++scanned) {
            if (wanted(scanned)) {
                next = scanned + 1;
                return true;
            }
        }
        return false;
    };
    if (direction > 0) {
        const bool done = packet != PacketId::none && trace().has_packet(packet) && trace().packet(packet).death != never;
        if (done ? findNext() : extendUntil(findNext)) {
            seekToEvent(next);
            return;
        }
        emit remarked(packet == PacketId::none ? tr("Nothing more happens")
                                               : tr("Packet %1 has no later step").arg(to_index(packet)));
        return;
    }
    if (m_position == 0) {
        return;
    }
    // The step we stand on ends at m_position; the one before it is wanted.
    if (packet != PacketId::none) {
        load();
        const auto at = std::lower_bound(steps.begin(), steps.end(), m_position - 1);
        if (at != steps.begin()) {
            seekToEvent(*std::prev(at) + std::size_t{1});
            return;
        }
        emit remarked(tr("Packet %1 has no earlier step").arg(to_index(packet)));
        return;
    }
    for (std::size_t i = m_position - 1; i-- > 0;) {
        if (wanted(i)) {
            seekToEvent(i + 1);
            return;
        }
    }
    toBegin();
}

void Session::seekToFunction(FunctionId function)
{
    const auto calls = [&](const Event& event) { return event.is_call() && event.function_id() == function; };
    if (m_selection.packet != PacketId::none) {
        std::optional<std::size_t> first;
        for (const Step& step : m_journeys.journey(m_selection.packet).steps) {
            if (!calls(trace()[step.ordinal])) {
                continue;
            }
            first = first ? first : std::optional<std::size_t>(step.ordinal);
            if (step.ordinal >= m_position) {
                first = step.ordinal;
                break;
            }
        }
        if (first) {
            seekToEvent(*first + 1);
            return;
        }
    }
    const std::size_t count = trace().size();
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t ordinal = (m_position + i) % count;
        if (calls(trace()[ordinal])) {
            seekToEvent(ordinal + 1);
            return;
        }
    }
    emit remarked(tr("%1 is not called in what is known so far").arg(text(trace().function_name(function))));
}

std::optional<std::size_t> Session::birthOf(PacketId packet) const
{
    const auto events = m_journeys.events_of(packet);
    for (const std::uint32_t ordinal : events) {
        if (trace()[ordinal].event_kind() == EventKind::birth) {
            return ordinal;
        }
    }
    return events.empty() ? std::nullopt : std::optional<std::size_t>(events.front());
}

void Session::stepPacket(int direction)
{
    std::uint32_t target = 0;
    if (m_selection.packet != PacketId::none) {
        const std::uint32_t here = to_index(m_selection.packet);
        if (direction < 0 && here <= 1) {
            emit remarked(tr("This is the first packet"));
            return;
        }
        target = direction > 0 ? here + 1 : here - 1;
    } else {
        // Packets stand in order of birth.
        const auto all = trace().packets();
        const auto later = std::partition_point(all.begin(), all.end(), [&](const PacketRecord& p) {
            const auto birth = birthOf(p.id);
            return !birth || *birth < m_position;
        });
        const auto born = static_cast<std::uint32_t>(later - all.begin());
        if (direction < 0 && born == 0) {
            emit remarked(tr("No packet was born before this moment"));
            return;
        }
        target = direction > 0 ? born + 1 : born;
    }
    const PacketId packet = static_cast<PacketId>(target);
    if (!extendUntil([&] { return trace().has_packet(packet) && birthOf(packet).has_value(); })) {
        emit remarked(tr("This is the last packet"));
        return;
    }
    selectPacket(packet);
    seekToEvent(*birthOf(packet) + 1);
}

void Session::seekToEndOf(PacketId packet)
{
    const auto events = m_journeys.events_of(packet);
    if (!events.empty()) {
        seekToEvent(events.back() + std::size_t{1});
    }
}

void Session::toBegin()
{
    moveTo(0, origin());
}

void Session::toEnd()
{
    if (isLive()) {
        setFollowing(true);
        takeArrivals();
        return;
    }
    if (!m_source->exhausted()) {
        run(tr("Running to the end"), [this](Work& work) { runSource(work); });
    }
    moveTo(trace().size(), lastMoment());
}

void Session::play()
{
    if (isPlaying()) {
        return;
    }
    // Pressing play at the end plays again from the start.
    if (m_source->exhausted() && m_position >= trace().size() && m_now >= lastMoment() && !trace().empty()) {
        toBegin();
    }
    m_clock.start();
    m_timer.start();
    emit playingChanged(true);
}

void Session::pause()
{
    if (!isPlaying()) {
        return;
    }
    m_timer.stop();
    emit playingChanged(false);
}

void Session::toggle()
{
    if (m_following) {
        setFollowing(false);
        return;
    }
    isPlaying() ? pause() : play();
}

void Session::tick()
{
    if (m_working) {
        return;
    }
    const double passed = std::min(static_cast<double>(m_clock.nsecsElapsed()) / 1e9, longest_tick_s);
    m_clock.start();
    advance(passed);
}

bool Session::isIdle() const
{
    // A call whose return nobody saw is no work to watch: what counts is the next event.
    const auto& cpus = state().cpus();
    return std::all_of(cpus.begin(), cpus.end(),
                       [](const CpuState& cpu) { return cpu.innermost() == nullptr || cpu.innermost()->end == never; });
}

bool Session::leap()
{
    // Nothing for a second and a half of watching: go to just before the next event. Look for it in small pieces, so that
    // a model is not run farther than needed.
    const Duration patience{static_cast<std::int64_t>(m_speed * 1.5)};
    if (m_position < trace().size() && trace()[m_position].time() - m_now < patience) {
        return false;
    }
    if (!isIdle()) {
        return false;
    }
    for (int looks = 0; m_position >= trace().size() && looks < 12; ++looks) {
        if (!extend(std::max(patience, Duration{20'000}) * (std::int64_t{1} << looks))) {
            return false;
        }
    }
    if (m_position >= trace().size()) {
        return false;
    }
    const SimTime next = trace()[m_position].time();
    const Duration lead{static_cast<std::int64_t>(m_speed * 0.25)};
    if (next - m_now < patience) {
        return false;
    }
    const Duration idle = next - lead - m_now;
    moveTo(m_position, next - lead);
    emit skipped(idle);
    return true;
}

void Session::advance(double passed)
{
    if (m_skipIdle && leap()) {
        return;
    }
    const double by = passed * m_speed + m_fraction;
    const double whole = std::floor(by);
    const SimTime target = m_now + Duration{static_cast<std::int64_t>(whole)};
    if (isLive() && target >= lastMoment()) { // at the edge: from here on as it comes
        toEnd();
        return;
    }
    if (target > m_source->known_until() && !m_source->exhausted()) {
        m_source->advance_to(target);
        refresh();
    }
    if (m_source->exhausted() && target >= lastMoment()) {
        moveTo(trace().size(), std::max(m_now, lastMoment()));
        pause();
        return;
    }
    moveTo(positionAt(target), target);
    m_fraction = by - whole;
}

void Session::setSpeed(double nsPerSecond)
{
    nsPerSecond = std::clamp(nsPerSecond, slowest, fastest);
    if (nsPerSecond == m_speed) {
        return;
    }
    m_speed = nsPerSecond;
    emit speedChanged(m_speed);
}

void Session::select(const Selection& selection)
{
    if (selection == m_selection) {
        return;
    }
    m_selection = selection;
    emit selectionChanged();
}

void Session::selectPacket(PacketId packet)
{
    Selection selection;
    selection.packet = packet;
    select(selection);
}

void Session::setHost(HostId host)
{
    if (host == m_host) {
        return;
    }
    m_host = host;
    emit playheadMoved();
}

void Session::turn(const QString& words, const std::function<Result<void>(bool branching)>& what)
{
    // In the past: what has been seen stays, as a line of its own. Where a branch parts, its settings are its name.
    const auto branches = m_source->branches();
    const std::size_t chosen = m_source->chosen_branch();
    const bool parting = chosen != 0 && chosen < branches.size() && branches[chosen].at == m_now;
    const bool past = (m_now < m_furthest && !branches.empty()) || parting;
    Result<void> done;
    run(words, [&](Work&) {
        done = what(past);
        if (done) {
            m_source->advance_to(m_now);
        }
    });
    if (!done) {
        emit failed(text(done.error().describe()));
        return;
    }
    m_furthest = m_now;
    emit knobsTurned();
    emit playheadMoved();
}

void Session::setKnob(const QString& key, qint64 value)
{
    turn(tr("Running again with %1 = %2").arg(key).arg(value), [&](bool branching) {
        return branching ? m_source->branch(key.toStdString(), value, m_now) : m_source->set_knob(key.toStdString(), value, m_now);
    });
}

void Session::setText(const QString& key, const QString& written)
{
    turn(tr("Running again with other rules"), [&](bool branching) {
        return branching ? m_source->branch_text(key.toStdString(), written.toStdString(), m_now)
                         : m_source->set_text(key.toStdString(), written.toStdString(), m_now);
    });
}

void Session::act(const QString& key)
{
    Result<void> done;
    run(tr("Running again"), [&](Work&) {
        done = m_source->act(key.toStdString(), m_now);
        if (done) {
            m_source->advance_to(m_now);
        }
    });
    if (!done) {
        emit failed(text(done.error().describe()));
        return;
    }
    emit playheadMoved();
}

void Session::chooseBranch(std::size_t index)
{
    if (index >= m_source->branches().size() || index == m_source->chosen_branch()) {
        return;
    }
    pause();
    run(tr("Going to the other line"), [&](Work&) { m_source->choose_branch(index); });
    m_furthest = std::min(m_source->known_until(), m_source->trace().end_time());
    emit playheadMoved();
}

void Session::runToEnd(std::size_t one, std::size_t other)
{
    const std::size_t count = m_source->branches().size();
    if (one >= count || other >= count) {
        return;
    }
    pause();
    run(tr("Running both lines to their end"), [&](Work& work) {
        const std::size_t shown = m_source->chosen_branch();
        for (const std::size_t line : {one, other}) {
            m_source->choose_branch(line);
            runSource(work);
        }
        m_source->choose_branch(shown);
    });
}

Session::Difference Session::compare(std::size_t before, std::size_t after) const
{
    const Trace& line = m_source->branch_trace(before);
    const Trace& branch = m_source->branch_trace(after);
    const auto lines = m_source->branches();
    const SimTime until = std::min(lines[before].until, lines[after].until);
    const bool whole = lines[before].over && lines[after].over;
    return {what_changed(line, branch, whole ? never : until), until, whole};
}

void Session::startOver()
{
    pause();
    m_furthest = origin();
    m_now = origin();
    m_position = 0;
    run(tr("Starting over"), [this](Work&) { m_source->start_over(); });
    select({});
    toBegin();
}

void Session::sourceChanged()
{
    refresh();
    m_now = std::min(m_now, std::max(m_source->known_until(), lastMoment()));
    moveTo(positionAt(m_now), m_now);
}

std::optional<std::uint32_t> Session::lastEventOf(PacketId packet) const
{
    const auto events = m_journeys.events_of(packet);
    const auto at = std::lower_bound(events.begin(), events.end(), m_position);
    return at == events.begin() ? std::nullopt : std::optional(*std::prev(at));
}

std::optional<std::uint32_t> Session::currentCallOf(PacketId packet) const
{
    const auto events = m_journeys.events_of(packet);
    auto at = std::lower_bound(events.begin(), events.end(), m_position);
    std::optional<std::uint32_t> last;
    // The innermost call still open; else the last begun. Calls far back cannot be the innermost: look at 64.
    for (int looked = 0; at != events.begin() && looked < 64;) {
        --at;
        const Event& event = trace()[*at];
        if (!event.is_call()) {
            continue;
        }
        ++looked;
        if (!last) {
            last = *at;
        }
        if (event.has_end() ? event.end() > m_now || event.time() == m_now : *at == *last) {
            return *at;
        }
    }
    return last;
}

bool Session::allDatagrams() const
{
    const auto all = trace().packets();
    for (; m_firstOther == PacketId::none && m_flowsSeen < all.size(); ++m_flowsSeen) {
        const PacketRecord& packet = all[m_flowsSeen];
        if (!packet.flow || packet.flow->protocol != 17) {
            m_firstOther = packet.id;
        }
    }
    return m_firstOther == PacketId::none || trace().packet(m_firstOther).birth > m_now;
}

QString Session::whyDropped(const DropKey& key) const
{
    // A full backlog has a CPU. The kernel tests "longer than the limit" before it adds, so only a queue that has stood above
    // its limit can have refused a packet; if there is just one, it was that one (net/core/dev.c, enqueue_to_backlog).
    static const DropReasonId cpu_backlog = Catalog::find_drop_reason("CPU_BACKLOG");
    if (key.reason == cpu_backlog) {
        const auto& now = state().queues();
        const auto queues = trace().queues();
        std::vector<std::size_t> full;
        for (std::size_t i = 1; i < queues.size() && i < now.size(); ++i) {
            if (queues[i].kind == QueueKind::backlog && now[i].limit != 0 && now[i].peak > now[i].limit) {
                full.push_back(i);
            }
        }
        if (full.size() == 1) {
            QString name = text(queues[full.front()].name);
            return tr("%1 is full").arg(name.replace(QStringLiteral("backlog "), tr("the backlog of ")));
        }
    }
    return dropClause(trace(), key.reason, key.function);
}

QString Session::sentence() const
{
    const StackState& now = state();
    const Accounting& sum = now.accounting();
    if (sum.born == 0) {
        return m_position == 0 ? tr("Nothing has happened yet") : tr("No packet yet");
    }
    const QString noun = allDatagrams() ? counted(sum.born, "datagram", "datagrams") : counted(sum.born, "packet", "packets");
    const bool single = sum.born == 1;

    QStringList parts;
    const auto add = [&](std::uint64_t count, const QString& words) {
        if (count == 0) {
            return;
        }
        if (single) {
            parts << words;
        } else if (count == sum.born) {
            parts << (sum.born == 2 ? tr("both %1") : tr("all %1")).arg(words);
        } else {
            parts << QStringLiteral("%1 %2").arg(countText(count), words);
        }
    };
    add(sum.of(Verdict::delivered), tr("delivered"));
    add(sum.of(Verdict::forwarded), tr("forwarded"));
    add(sum.of(Verdict::sent), tr("sent"));
    add(sum.of(Verdict::consumed), tr("consumed by the kernel itself"));

    const std::uint64_t dropped = sum.of(Verdict::dropped);
    if (dropped != 0) {
        // Reasons by weight, so that the first named is the one that matters.
        std::vector<std::pair<QString, std::uint64_t>> reasons;
        for (const auto& [key, count] : now.drops()) {
            const QString clause = whyDropped(key);
            const auto same = std::find_if(reasons.begin(), reasons.end(), [&](const auto& r) { return r.first == clause; });
            if (same == reasons.end()) {
                reasons.emplace_back(clause, count);
            } else {
                same->second += count;
            }
        }
        std::stable_sort(reasons.begin(), reasons.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
        if (reasons.empty()) {
            add(dropped, tr("dropped"));
        } else if (reasons.size() == 1) {
            add(dropped, tr("dropped because %1").arg(reasons[0].first));
        } else {
            QStringList each;
            std::uint64_t named = 0;
            for (std::size_t i = 0; i < reasons.size() && i < 2; ++i) {
                each << tr("%1 because %2").arg(countText(reasons[i].second), reasons[i].first);
                named += reasons[i].second;
            }
            if (reasons.size() > 2) {
                each << tr("%1 for other reasons").arg(countText(dropped > named ? dropped - named : 0));
            }
            add(dropped, tr("dropped (%1)").arg(each.join(QStringLiteral(", "))));
        }
    }
    add(sum.of(Verdict::merged), tr("merged into others"));
    add(sum.of(Verdict::split), tr("cut into pieces"));
    add(sum.of(Verdict::lost), tr("with an end that the trace did not see"));

    if (sum.in_flight() != 0) {
        QString words = tr("on the way");
        if (single && !now.packets().empty()) {
            const PacketState& where = now.packets().begin()->second;
            if (where.where == PacketState::Where::waiting && where.queue != QueueId::none) {
                words = tr("on the way, waiting in %1").arg(text(trace().queue(where.queue).name));
            } else if (where.function != FunctionId::none) {
                words = tr("on the way, in %1").arg(text(trace().function_name(where.function)));
            }
        }
        add(sum.in_flight(), words);
    }
    QString sentence = QStringLiteral("%1: %2").arg(noun, parts.join(QStringLiteral(", ")));
    if (now.lost_events() != 0) {
        sentence += tr("; %1 lost before this moment").arg(counted(now.lost_events(), "record", "records"));
    }
    return sentence;
}

} // namespace skbscope::ui
