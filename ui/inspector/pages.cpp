#include "ui/inspector/pages.h"

#include "core/catalog/catalog.h"
#include "ui/inspector/page_html.h"
#include "ui/player/format.h"
#include "ui/player/session.h"

#include <algorithm>
#include <map>
#include <optional>

namespace skbscope::ui {

namespace {

QString contextsText(std::uint8_t contexts)
{
    QStringList words;
    for (const Context context : {Context::process, Context::softirq, Context::hardirq, Context::nmi}) {
        if ((contexts & (1U << static_cast<unsigned>(context))) != 0) {
            words << contextText(context);
        }
    }
    if ((contexts & 0x80U) != 0) {
        words << QObject::tr("hardware");
    }
    return words.isEmpty() ? QObject::tr("any context") : words.join(QStringLiteral(", "));
}

/// The knob that stands for that setting, if the source has one: "net.core.x" exactly, ":5001.SO_RCVBUF" by its end,
/// "eth0.rx_ring" for the ethtool words.
const Knob* knobOf(const std::vector<Knob>& knobs, std::string_view setting)
{
    const auto found = std::find_if(knobs.begin(), knobs.end(), [&](const Knob& knob) {
        const std::string_view key = knob.key;
        if (key == setting) {
            return true;
        }
        if (key.size() > setting.size() && key.ends_with(setting) && key[key.size() - setting.size() - 1] == '.') {
            return true;
        }
        return (key.ends_with("rx_ring") && setting.starts_with("ethtool -G rx")) ||
               (key.ends_with("tx_ring") && setting.starts_with("ethtool -G tx"));
    });
    return found == knobs.end() ? nullptr : &*found;
}

QString settingRow(std::string_view name, const std::vector<Knob>& knobs)
{
    const Setting* setting = Catalog::find_setting(name);
    const Knob* knob = knobOf(knobs, name);
    QString value;
    if (knob != nullptr) {
        value = QStringLiteral("<b>%1</b> %2").arg(countText(static_cast<std::uint64_t>(std::max<std::int64_t>(0, knob->value))), escaped(knob->unit));
        if (knob->value != knob->kernel_default) {
            value += QStringLiteral(" <span class='f'>(default %1)</span>").arg(knob->kernel_default);
        }
    } else if (setting != nullptr) {
        value = QStringLiteral("<span class='m'>%1</span>").arg(escaped(setting->value));
    }
    const QString label = setting != nullptr
                              ? QStringLiteral("<a href='setting:%1'>%2</a>").arg(escaped(name), kernelName(name))
                              : kernelName(name);
    return QStringLiteral("<p style='margin: 2px 0'>%1<br>&nbsp;&nbsp;%2</p>").arg(label, value);
}

QString dropParts(const DropSite& site)
{
    QString html = paragraph(QStringLiteral("<span class='d'>%1</span><br>%2")
                                 .arg(site.reason == DropReasonId::none ? QObject::tr("dropped without a reason")
                                                                        : kernelName(Catalog::drop_reason(site.reason).name),
                                      escaped(site.condition)));
    if (!site.counters.empty() && site.counters != "none" && site.counters != "-") {
        html += paragraph(QStringLiteral("<span class='m'>%1</span> %2").arg(QObject::tr("Counted in"), escaped(site.counters)));
    }
    if (!site.remedy.empty()) {
        html += paragraph(QStringLiteral("<span class='m'>%1</span> %2").arg(QObject::tr("Remedy:"), escaped(site.remedy)));
    } else if (!site.control.empty() && site.control != "-") {
        html += paragraph(QStringLiteral("<span class='m'>%1</span> %2").arg(QObject::tr("Governed by"), escaped(site.control)));
    }
    return html;
}

} // namespace

QString emptyPage(const QString& words)
{
    return pageStyle() + QStringLiteral("<p class='m'>%1</p>").arg(words.toHtmlEscaped());
}

namespace {

const Event* dropBefore(const Session& session, PacketId packet)
{
    const Trace& trace = session.trace();
    const Event* drop = nullptr;
    for (const std::uint32_t ordinal : session.journeys().events_of(packet)) {
        if (ordinal < session.position() && trace[ordinal].event_kind() == EventKind::drop) {
            drop = &trace[ordinal];
        }
    }
    return drop;
}

/// The value in force: a knob's as it is turned now, else as it was found out.
QString governedBy(const DropExplanation& why, const std::vector<Knob>& knobs)
{
    QString html;
    for (const GoverningSetting& setting : why.settings) {
        if (knobOf(knobs, setting.name) != nullptr || setting.value.empty()) {
            html += settingRow(setting.name, knobs);
            continue;
        }
        const QString label = Catalog::find_setting(setting.name) != nullptr
                                  ? QStringLiteral("<a href='setting:%1'>%2</a>").arg(escaped(setting.name), kernelName(setting.name))
                                  : kernelName(setting.name);
        html += QStringLiteral("<p style='margin: 2px 0'>%1<br>&nbsp;&nbsp;<b>%2</b> <span class='f'>%3</span></p>")
                    .arg(label, escaped(setting.value), escaped(setting.where));
    }
    if (!html.isEmpty() || why.site == nullptr || why.site->control.empty() || why.site->control == "-") {
        return html;
    }
    const std::string_view usual = why.site->default_value;
    return paragraph(escaped(why.site->control) +
                     (usual.empty() || usual == "-" ? QString()
                                                    : QStringLiteral(" <span class='m'>%1</span>").arg(QObject::tr("(default %1)").arg(escaped(usual)))));
}

/// Before and after of what the catalog names as such a drop's counters.
QString countedIn(const Session& session, PacketId packet, const DropExplanation& why)
{
    const Trace& trace = session.trace();
    QString html;
    for (const std::uint32_t ordinal : session.journeys().events_of(packet)) {
        if (trace[ordinal].event_kind() != EventKind::counter) {
            continue;
        }
        const CounterChange& change = trace.counter_changes()[trace[ordinal].arg];
        const std::string& name = trace.counter(change.counter).name;
        if (std::ranges::find(why.moved, name, &MovedCounter::name) != why.moved.end()) {
            html += QStringLiteral("<p style='margin: 2px 0'>%1 <span class='m'>%2 → %3</span></p>")
                        .arg(kernelName(name), countText(change.before), countText(change.after));
        }
    }
    const bool ofHost = std::ranges::any_of(why.moved, &MovedCounter::of_host);
    if (ofHost) {
        html += paragraph(QStringLiteral("<span class='m'>%1</span>").arg(QObject::tr("On the whole host, while it was recorded:")));
    }
    for (const MovedCounter& counter : why.moved) {
        if (counter.of_host) {
            html += QStringLiteral("<p style='margin: 2px 0'>%1 <span class='d'>+%2</span></p>").arg(kernelName(counter.name), countText(static_cast<std::uint64_t>(counter.by)));
        }
    }
    if (!why.counters.empty() && why.counters != "-") {
        html += paragraph(QStringLiteral("%1<span class='m'>%2</span>").arg(html.isEmpty() ? QObject::tr("Such a drop is counted in ") : QString(), escaped(why.counters)));
    }
    return html;
}

} // namespace

QString dropPage(const Session& session, PacketId packet, const ExplainDrop& explain)
{
    const Trace& trace = session.trace();
    const Event* drop = dropBefore(session, packet);
    if (drop == nullptr) {
        return {};
    }
    const auto why = explain ? explain(trace, session.journeys(), packet) : std::nullopt;
    const DropReason& reason = Catalog::drop_reason(drop->reason());
    const bool named = drop->reason() != DropReasonId::none && reason.name != "NOT_SPECIFIED";
    QString html = pageStyle() + QStringLiteral("<p class='t'>%1</p>").arg(QObject::tr("Why was packet %1 dropped?").arg(to_index(packet)));
    html += paragraph(QStringLiteral("<span class='d'>%1</span>").arg(named ? kernelName(reason.name) : QObject::tr("The kernel gave no reason")) +
                      QStringLiteral(" <span class='m'>%1</span> <a href='function:%2'>%3</a>")
                          .arg(QObject::tr("in"), escaped(trace.function_name(drop->function_id())), kernelName(trace.function_name(drop->function_id()))));
    if (named && !reason.what.empty()) {
        html += paragraph(escaped(reason.what));
    }
    if (!why) {
        return html;
    }
    if (named && why->reason_concluded) {
        html += paragraph(QStringLiteral("<span class='m'>%1</span>").arg(QObject::tr("This kernel tells no reasons; concluded from the place.")));
    }
    if (!why->condition.empty()) {
        html += heading(QObject::tr("The kernel's test")) + paragraph(escaped(why->condition));
        if (why->site != nullptr && !why->site->source.empty() && why->site->source != "-") {
            html += paragraph(QStringLiteral("<span class='f'>%1</span>").arg(escaped(why->site->source)));
        }
    }
    if (const QString counted = countedIn(session, packet, *why); !counted.isEmpty()) {
        html += heading(QObject::tr("Counted in")) + counted;
    }
    if (const QString governed = governedBy(*why, const_cast<Session&>(session).source().knobs()); !governed.isEmpty()) {
        html += heading(QObject::tr("Governed by")) + governed;
    }
    html += heading(QObject::tr("What helps"));
    html += !why->remedy.empty()
                ? paragraph(escaped(why->remedy))
                : paragraph(QStringLiteral("<span class='m'>%1</span>")
                                .arg(QObject::tr("The catalog has no advice for this place. Its function's page says what it does; lay the journey beside "
                                                 "one that arrived: the first difference is the answer.")));
    if (!why->command.empty()) {
        html += commandLine(text(why->command));
    }
    return html;
}

QString functionPage(const Session* session, FunctionId id)
{
    if (id == FunctionId::none) {
        return emptyPage(QObject::tr("No function is selected. Click a room on the map or a line of the journey."));
    }
    if (to_index(id) >= Catalog::function_count()) {
        const QString name = session == nullptr ? QString() : text(session->trace().function_name(id));
        return pageStyle() + QStringLiteral("<p class='t'><span class='k' style='font-size:15px'>%1</span></p>").arg(name.toHtmlEscaped()) +
               paragraph(QObject::tr("This recording saw the function; the catalog does not know it."));
    }
    const Function& f = Catalog::function(id);
    const KernelVersion here = session == nullptr ? KernelVersion::v6_1 : session->trace().info.kernel;
    QString html = pageStyle() + QStringLiteral("<p class='t'><span class='k' style='font-size:15px'>%1</span></p>").arg(escaped(f.name));
    const Stage& stage = Catalog::stage(f.stage);
    const RoomId room = Catalog::room_of(id);
    QString where = QStringLiteral("%1 · %2").arg(escaped(stage.title), contextsText(f.contexts));
    if (room != RoomId::none) {
        where += QStringLiteral(" · <a href='room:%1'>%2</a>").arg(escaped(Catalog::room(room).key), QObject::tr("its room"));
    }
    html += QStringLiteral("<p class='m'>%1</p>").arg(where);
    html += paragraph(escaped(f.what));
    if (!f.goes_wrong.empty()) {
        html += heading(QObject::tr("What can go wrong")) + paragraph(escaped(f.goes_wrong));
    }

    QString drops;
    for (const DropSite& site : Catalog::drop_sites()) {
        if (site.function == id) {
            drops += dropParts(site);
        }
    }
    if (!drops.isEmpty()) {
        html += heading(QObject::tr("Packets can be dropped here")) + drops;
    }

    html += heading(QObject::tr("Its name, and whether ftrace shows it"));
    html += QStringLiteral("<table cellspacing='0'>");
    static constexpr KernelVersion versions[] = {KernelVersion::v4_1, KernelVersion::v5_10, KernelVersion::v6_1,
                                                 KernelVersion::v6_12, KernelVersion::v6_18};
    for (const KernelVersion version : versions) {
        const auto i = static_cast<std::size_t>(version);
        QString shown;
        if (!f.symbol[i].empty()) {
            shown = kernelName(f.symbol[i]) +
                    (f.traceable[i] ? QStringLiteral(" <span class='m'>%1</span>").arg(QObject::tr("visible"))
                                    : QStringLiteral(" <span class='f'>%1</span>").arg(QObject::tr("not visible")));
        } else if (f.in_source[i]) {
            shown = QStringLiteral("<span class='f'>%1</span>").arg(version == KernelVersion::v4_1 ? QObject::tr("in the source") : QObject::tr("in the source, inlined: not visible"));
        } else {
            shown = QStringLiteral("<span class='f'>%1</span>").arg(version == KernelVersion::v6_18 ? QObject::tr("not seen") : QObject::tr("not there"));
        }
        const QString number = text(to_string(version));
        html += QStringLiteral("<tr><td class='%1'>%2</td><td>%3</td></tr>")
                    .arg(version == here ? "" : "m", version == here ? QStringLiteral("<b>%1</b>").arg(number) : number, shown);
    }
    html += QStringLiteral("</table>");
    if (!f.other_names.empty()) {
        html += paragraph(QStringLiteral("<span class='m'>%1</span>").arg(escaped(f.other_names)));
    }
    if (!f.note.empty() && f.note != "traceable") {
        html += paragraph(QStringLiteral("<span class='m'>%1</span>").arg(escaped(f.note)));
    }
    if (!f.source.empty()) {
        html += heading(QObject::tr("Source (6.1)")) + paragraph(kernelName(f.source));
    }
    if (room != RoomId::none && !Catalog::room(room).settings.empty()) {
        html += heading(QObject::tr("Settings of its room"));
        const std::vector<Knob> knobs = session == nullptr ? std::vector<Knob>{} : const_cast<Session*>(session)->source().knobs();
        for (const std::string_view name : Catalog::room(room).settings) {
            html += settingRow(name, knobs);
        }
    }
    return html;
}

QString roomPage(const Session* session, RoomId id)
{
    const Room& room = Catalog::room(id);
    QString html = pageStyle() + QStringLiteral("<p class='t'>%1</p>").arg(escaped(room.title));
    if (!room.function.empty()) {
        html += QStringLiteral("<p class='m'><a href='function:%1'>%2</a> · %3</p>")
                    .arg(escaped(room.function), kernelName(room.function),
                         room.kind == RoomKind::queue      ? QObject::tr("a queue: packets wait here")
                         : room.kind == RoomKind::hardware ? QObject::tr("hardware")
                                                           : QObject::tr("code: packets pass through, none waits"));
    }
    html += paragraph(escaped(room.text));
    if (session != nullptr) {
        const Trace& trace = session->trace();
        const StackState& state = session->state();
        QString queues;
        for (std::size_t i = 1; i < trace.queues().size() && i < state.queues().size(); ++i) {
            const QueueRecord& queue = trace.queues()[i];
            if (queue.room != id) {
                continue;
            }
            const QueueState& now = state.queues()[i];
            queues += QStringLiteral("<tr><td>%1</td><td><b>%2</b></td><td class='m'>%3 %4</td></tr>")
                          .arg(escaped(queue.name), levelText(now.level(queue.unit), now.limit, queue.unit), QObject::tr("peak"),
                               queue.unit == QueueUnit::bytes ? bytesText(now.peak) : countText(now.peak));
        }
        if (!queues.isEmpty()) {
            html += heading(QObject::tr("At this moment")) + QStringLiteral("<table cellspacing='0'>%1</table>").arg(queues);
        }
    }
    if (!room.limits.empty()) {
        html += heading(QObject::tr("Limits")) + paragraph(escaped(room.limits));
    }
    if (!room.settings.empty()) {
        html += heading(QObject::tr("Settings"));
        const std::vector<Knob> knobs = session == nullptr ? std::vector<Knob>{} : const_cast<Session*>(session)->source().knobs();
        for (const std::string_view name : room.settings) {
            html += settingRow(name, knobs);
        }
    }
    // Which functions live here.
    QStringList functions;
    for (const Function& f : Catalog::functions()) {
        if (f.id != FunctionId::none && Catalog::room_of(f.id) == id) {
            functions << QStringLiteral("<a href='function:%1'>%2</a>").arg(escaped(f.name), kernelName(f.name));
        }
    }
    if (!functions.isEmpty()) {
        html += heading(QObject::tr("Functions")) + paragraph(functions.join(QStringLiteral("&nbsp; ")));
    }
    return html;
}

QString settingPage(const Session* session, const QString& name)
{
    const std::string key = name.toStdString();
    const Setting* setting = Catalog::find_setting(key);
    if (setting == nullptr) {
        return emptyPage(QObject::tr("The catalog does not know %1.").arg(name));
    }
    QString html = pageStyle() + QStringLiteral("<p class='t'><span class='k' style='font-size:14px'>%1</span></p>").arg(escaped(setting->name));
    html += paragraph(escaped(setting->meaning));
    html += heading(QObject::tr("Value")) + paragraph(escaped(setting->value));
    if (session != nullptr) {
        const std::vector<Knob> knobs = const_cast<Session*>(session)->source().knobs();
        if (const Knob* knob = knobOf(knobs, key)) {
            html += paragraph(QObject::tr("Here: <b>%1</b> %2").arg(knob->value).arg(escaped(knob->unit)));
        }
    }
    if (!setting->notes.empty()) {
        html += paragraph(QStringLiteral("<span class='m'>%1</span>").arg(escaped(setting->notes)));
    }
    if (!setting->source.empty()) {
        html += heading(QObject::tr("Source")) + paragraph(kernelName(setting->source));
    }
    QStringList rooms;
    for (const Room& room : Catalog::rooms()) {
        if (std::find(room.settings.begin(), room.settings.end(), key) != room.settings.end()) {
            rooms << QStringLiteral("<a href='room:%1'>%2</a>").arg(escaped(room.key), escaped(room.title));
        }
    }
    if (!rooms.isEmpty()) {
        html += heading(QObject::tr("Governs")) + paragraph(rooms.join(QStringLiteral(", ")));
    }
    return html;
}

} // namespace skbscope::ui
