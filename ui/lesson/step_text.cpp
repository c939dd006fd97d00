#include "ui/lesson/step_text.h"

#include "core/catalog/catalog.h"
#include "lessons/reader/lesson.h"
#include "ui/player/format.h"
#include "ui/player/session.h"

namespace skbscope::ui {

namespace {

QString ordinal(unsigned n)
{
    const unsigned tens = n % 100;
    const char* end = tens >= 11 && tens <= 13 ? "th" : n % 10 == 1 ? "st" : n % 10 == 2 ? "nd" : n % 10 == 3 ? "rd" : "th";
    return QString::number(n) + QLatin1String(end);
}

/// How many events of the packet up to and with this one are like it.
template <typename Alike>
unsigned countUpTo(const Session& session, PacketId packet, std::size_t last, Alike alike)
{
    unsigned count = 0;
    for (const std::uint32_t at : session.journeys().events_of(packet)) {
        if (at > last) {
            break;
        }
        count += alike(session.trace()[at]) ? 1 : 0;
    }
    return count;
}

/// What the last event is for its packet, in the words of a stop; empty: nothing that a stop can name.
QString packetStop(const Session& session, std::size_t at)
{
    const Trace& trace = session.trace();
    const Event& event = trace[at];
    const PacketId packet = event.packet_id() != PacketId::none ? event.packet_id() : session.selection().packet;
    if (packet == PacketId::none) {
        return {};
    }
    QString what;
    unsigned nth = 1;
    if (event.is_call()) {
        what = QStringLiteral("enters %1").arg(text(trace.function_name(event.function_id())));
        nth = countUpTo(session, packet, at, [&](const Event& e) { return e.is_call() && e.function_id() == event.function_id(); });
    } else if (event.event_kind() == EventKind::enqueue || event.event_kind() == EventKind::dequeue) {
        what = QStringLiteral("%1 %2").arg(event.event_kind() == EventKind::enqueue ? "joins" : "leaves", text(trace.queue(event.queue_id()).name));
        nth = countUpTo(session, packet, at,
                        [&](const Event& e) { return e.event_kind() == event.event_kind() && e.queue_id() == event.queue_id(); });
    } else if (event.event_kind() == EventKind::drop) {
        what = QStringLiteral("dropped");
        nth = countUpTo(session, packet, at, [](const Event& e) { return e.event_kind() == EventKind::drop; });
    } else if (event.event_kind() == EventKind::verdict) {
        what = text(to_string(event.verdict()));
        nth = countUpTo(session, packet, at, [&](const Event& e) { return e.event_kind() == EventKind::verdict && e.verdict() == event.verdict(); });
    }
    if (what.isEmpty()) {
        return {};
    }
    const QString words = QStringLiteral("packet %1 %2").arg(to_index(packet)).arg(what);
    return nth > 1 ? QStringLiteral("%1, %2 time").arg(words, ordinal(nth)) : words;
}

/// The reader finds this very moment by these words.
bool leadsHere(const Session& session, const QString& words)
{
    const auto stop = words.isEmpty() ? fail(ErrorKind::invalid, {}, {}) : parse_stop(words.toStdString());
    return stop && resolve_stop(*stop, session.trace()) == session.position();
}

} // namespace

QString stopText(const Session& session)
{
    if (session.position() == 0) {
        return QStringLiteral("begin");
    }
    const std::size_t last = session.position() - 1;
    if (const QString words = packetStop(session, last); leadsHere(session, words)) {
        return words;
    }
    if (session.trace()[last].is_call()) {
        const QString words = QStringLiteral("%1 runs").arg(text(session.trace().function_name(session.trace()[last].function_id())));
        if (leadsHere(session, words)) {
            return words;
        }
    }
    return QStringLiteral("%1 ns").arg((session.now() - session.trace().begin_time()).ns);
}

QString lessonStepText(const Session& session, const QStringList& panels)
{
    const PacketId packet = session.selection().packet;
    FunctionId function = FunctionId::none;
    if (const auto call = packet == PacketId::none ? std::nullopt : session.currentCallOf(packet)) {
        function = session.trace()[*call].function_id();
    } else if (session.position() > 0 && session.trace()[session.position() - 1].is_call()) {
        function = session.trace()[session.position() - 1].function_id();
    }
    const bool known = function != FunctionId::none && to_index(function) < Catalog::function_count();
    QString step = QStringLiteral("## %1\n\n").arg(function == FunctionId::none ? QObject::tr("What happens here")
                                                                                : text(session.trace().function_name(function)));
    step += known && !Catalog::function(function).what.empty() ? text(Catalog::function(function).what) : QObject::tr("Say here what there is to see.");
    step += QStringLiteral("\n\n```stop\nat: %1\n").arg(stopText(session));
    if (packet != PacketId::none) {
        step += QStringLiteral("select: %1\n").arg(to_index(packet));
    }
    if (known) {
        step += QStringLiteral("functions: [%1]\n").arg(text(Catalog::function(function).name));
    }
    if (!panels.isEmpty()) {
        step += QStringLiteral("unfold: [%1]\n").arg(panels.join(QStringLiteral(", ")));
    }
    return step + QStringLiteral("```\n");
}

} // namespace skbscope::ui
