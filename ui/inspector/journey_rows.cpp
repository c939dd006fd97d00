#include "ui/inspector/journey_rows.h"

#include "core/catalog/catalog.h"
#include "ui/player/format.h"
#include "ui/player/session.h"

#include <algorithm>

namespace skbscope::ui {

namespace {

/// Indents count from the shallowest call of the segment, and a call without its callers stays beside its neighbours.
void indentSegments(std::vector<JourneyRow>& rows, const Trace& trace)
{
    for (std::size_t first = 0; first < rows.size();) {
        std::size_t last = first;
        int shallowest = 255;
        while (last < rows.size() && (last == first || rows[last].kind != JourneyRow::Kind::segment)) {
            if (rows[last].kind == JourneyRow::Kind::call) {
                shallowest = std::min<int>(shallowest, trace[rows[last].ordinal].depth);
            }
            ++last;
        }
        for (std::size_t i = first; i < last; ++i) {
            if (rows[i].kind == JourneyRow::Kind::call) {
                rows[i].indent = trace[rows[i].ordinal].depth - shallowest;
            }
        }
        first = last;
    }
}

std::optional<JourneyRow> verdictRow(const Trace& trace, std::span<const std::uint32_t> events)
{
    std::optional<JourneyRow> row;
    for (const std::uint32_t ordinal : events) {
        const Event& event = trace[ordinal];
        const bool drop = event.event_kind() == EventKind::drop;
        if (!drop && event.event_kind() != EventKind::verdict) {
            continue;
        }
        row.emplace();
        row->kind = JourneyRow::Kind::verdict;
        row->ordinal = ordinal;
        row->function = event.function_id();
        row->cpu = event.cpu_id();
        row->context = event.context();
        row->from = row->to = event.time();
        row->verdict = drop ? Verdict::dropped : event.verdict();
        row->reason = drop ? event.reason() : DropReasonId::none;
    }
    return row;
}

} // namespace

std::vector<JourneyRow> journeyRows(const Trace& trace, const JourneyIndex& index, PacketId packet)
{
    std::vector<JourneyRow> rows;
    const Journey journey = index.journey(packet);

    std::vector<JourneyRow> waits;
    std::size_t nextWait = 0;
    for (const std::uint32_t ordinal : journey.events) {
        const Event& event = trace[ordinal];
        if (event.event_kind() == EventKind::enqueue) {
            JourneyRow wait;
            wait.kind = JourneyRow::Kind::wait;
            wait.ordinal = ordinal;
            wait.queue = event.queue_id();
            wait.from = event.time();
            wait.cpu = event.cpu_id();
            wait.context = event.context();
            waits.push_back(wait);
        } else if (event.event_kind() == EventKind::dequeue) {
            const auto open = std::find_if(waits.rbegin(), waits.rend(), [&](const JourneyRow& w) {
                return w.queue == event.queue_id() && w.to == never;
            });
            if (open != waits.rend()) {
                open->to = event.time();
            }
        }
    }

    bool segmentOpen = false;
    const auto addWaitsBefore = [&](std::uint32_t ordinal) {
        while (nextWait < waits.size() && waits[nextWait].ordinal < ordinal) {
            rows.push_back(waits[nextWait++]);
            segmentOpen = false;
        }
    };
    for (const Step& step : journey.steps) {
        const Event& event = trace[step.ordinal];
        addWaitsBefore(step.ordinal);
        const auto before = std::find_if(rows.rbegin(), rows.rend(),
                                         [](const JourneyRow& r) { return r.kind == JourneyRow::Kind::call; });
        if (!segmentOpen || before == rows.rend() || before->cpu != event.cpu_id() || before->context != event.context()) {
            // A wait inside one run of a CPU (the packet joins a queue that the same call empties) needs no new heading.
            const bool sameRun = before != rows.rend() && before->cpu == event.cpu_id() && before->context == event.context();
            if (!sameRun || !segmentOpen) {
                JourneyRow segment;
                segment.kind = JourneyRow::Kind::segment;
                segment.ordinal = step.ordinal;
                segment.cpu = event.cpu_id();
                segment.context = event.context();
                segment.from = event.time();
                rows.push_back(segment);
            }
            segmentOpen = true;
        }
        JourneyRow row;
        row.kind = JourneyRow::Kind::call;
        row.ordinal = step.ordinal;
        row.function = event.function_id();
        row.cpu = event.cpu_id();
        row.context = event.context();
        row.from = event.time();
        row.to = event.end();
        row.shared = step.shared;
        row.derived = event.confidence() != Confidence::certain;
        rows.push_back(row);
    }
    addWaitsBefore(0xffffffff);
    indentSegments(rows, trace);
    if (const auto verdict = verdictRow(trace, journey.events)) {
        const auto behind = std::find_if(rows.begin(), rows.end(), [&](const JourneyRow& r) {
            return r.ordinal > verdict->ordinal && r.kind != JourneyRow::Kind::verdict;
        });
        rows.insert(behind, *verdict);
    }
    return rows;
}

int currentRow(const Session& session, PacketId packet, const std::vector<JourneyRow>& rows)
{
    const std::size_t position = session.position();
    const auto& live = session.state().packets();
    const auto where = live.find(packet);
    if (where != live.end() && where->second.where == PacketState::Where::waiting) {
        for (int i = static_cast<int>(rows.size()) - 1; i >= 0; --i) {
            const JourneyRow& row = rows[static_cast<std::size_t>(i)];
            if (row.kind == JourneyRow::Kind::wait && row.begun(position) && row.queue == where->second.queue) {
                return i;
            }
        }
    }
    const auto call = session.currentCallOf(packet);
    int current = -1;
    for (int i = 0; i < static_cast<int>(rows.size()); ++i) {
        const JourneyRow& row = rows[static_cast<std::size_t>(i)];
        if (row.kind != JourneyRow::Kind::call) {
            continue;
        }
        if (position > 0 && row.ordinal == position - 1) {
            return i;
        }
        if (call && row.ordinal == *call) {
            current = i;
        }
    }
    return current;
}

JourneySums journeySums(const Trace& trace, const JourneyIndex& index, PacketId packet, SimTime now)
{
    JourneySums sums;
    if (!trace.has_packet(packet)) {
        return sums;
    }
    const PacketRecord& record = trace.packet(packet);
    if (record.birth == never || record.birth >= now) {
        return sums;
    }
    const SimTime end = std::min(now, record.death);
    sums.age = end - record.birth;

    // Intervals of work and of waiting, each cut to the life and merged; a wait inside a call counts as waiting.
    std::vector<std::pair<SimTime, SimTime>> waits;
    std::vector<std::pair<SimTime, SimTime>> both;
    for (const JourneyRow& row : journeyRows(trace, index, packet)) {
        const bool wait = row.kind == JourneyRow::Kind::wait;
        if ((!wait && row.kind != JourneyRow::Kind::call) || row.shared || row.from >= end) {
            continue;
        }
        if (!wait && row.to == never) {
            continue;
        }
        const std::pair<SimTime, SimTime> span{std::max(row.from, record.birth), std::min(row.to, end)};
        if (span.first >= span.second) {
            continue;
        }
        both.push_back(span);
        if (wait) {
            waits.push_back(span);
        }
    }
    const auto total = [](std::vector<std::pair<SimTime, SimTime>>& spans) {
        std::sort(spans.begin(), spans.end());
        Duration sum;
        SimTime reached;
        for (const auto& [from, to] : spans) {
            const SimTime start = std::max(from, reached);
            if (to > start) {
                sum += to - start;
                reached = to;
            }
        }
        return sum;
    };
    sums.waited = total(waits);
    sums.worked = total(both) - sums.waited;
    sums.held = sums.age - sums.waited - sums.worked;
    return sums;
}

QString waitText(const QueueRecord& queue)
{
    return (queue.kind == QueueKind::wire ? QObject::tr("on the %1") : QObject::tr("waits in %1")).arg(text(queue.name));
}

QString verdictText(Verdict verdict, DropReasonId reason)
{
    if (verdict == Verdict::dropped && reason != DropReasonId::none) {
        return QStringLiteral("dropped: %1").arg(text(Catalog::drop_reason(reason).name));
    }
    return verdict == Verdict::in_flight ? QStringLiteral("on the way") : text(to_string(verdict));
}

QString journeyText(const Session& session, PacketId packet)
{
    const Trace& trace = session.trace();
    QString out = packetTitle(trace, packet) + QChar('\n');
    for (const JourneyRow& row : journeyRows(trace, session.journeys(), packet)) {
        const QString at = timeText(row.from, session.origin()).rightJustified(16);
        switch (row.kind) {
        case JourneyRow::Kind::segment:
            out += QStringLiteral("%1  CPU %2, %3\n").arg(at).arg(static_cast<int>(row.cpu)).arg(contextText(row.context));
            break;
        case JourneyRow::Kind::call:
            out += QStringLiteral("%1    %2%3%4%5\n")
                       .arg(at, QString(row.indent * 2, QChar(' ')), text(trace.function_name(row.function)),
                            row.shared ? QStringLiteral("  (shared)") : QString(),
                            row.to == never || !trace.info.times_trustworthy
                                ? QString()
                                : QStringLiteral("  %1").arg(durationText(row.to - row.from)));
            break;
        case JourneyRow::Kind::wait:
            out += QStringLiteral("%1    %2%3\n")
                       .arg(at, waitText(trace.queue(row.queue)),
                            row.to == never || !trace.info.times_trustworthy
                                ? QString()
                                : QStringLiteral("  %1").arg(durationText(row.to - row.from)));
            break;
        case JourneyRow::Kind::verdict:
            out += QStringLiteral("%1  %2\n").arg(at, verdictText(row.verdict, row.reason));
            break;
        }
    }
    return out;
}

} // namespace skbscope::ui
