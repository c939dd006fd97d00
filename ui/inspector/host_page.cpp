// The Host tab: what the host counts and is set to, at the playhead, with its change since the trace began.

#include "core/catalog/catalog.h"
#include "ui/inspector/page_html.h"
#include "ui/inspector/pages.h"
#include "ui/player/format.h"
#include "ui/player/session.h"

#include <QObject>
#include <QStringList>
#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <vector>

namespace skbscope::ui {

namespace {

constexpr int most_rows = 40; ///< of one section
constexpr int most_rule_lines = 120;

struct Figure {
    std::uint64_t now = 0, begun = 0;
    [[nodiscard]] bool moved() const { return now != begun; }
};
using Figures = std::map<QString, Figure>; ///< by what they count

/// The host's counters, sorted by what they are about.
struct Sorted {
    std::map<QString, Figures> softnet;    ///< by CPU; "all" where the trace has the sum alone
    std::map<QString, Figures> interrupts; ///< by "38 virtio2-input.0", then CPU
    std::map<QString, Figure> interruptRates; ///< by "38 virtio2-input.0": a second, between the recorder's last two looks
    std::map<QString, Figures> driverStatistics; ///< by device
    std::map<QString, Figures> qdiscs, sockets, devices, protocols;
    Figures recorder;
};

/// A table of a recorded host: titles, then rows.
using Table = std::vector<QStringList>;

Table tableOf(const Trace& trace, const std::string& name)
{
    Table table;
    for (const HostFile& file : trace.files) {
        if (file.name == name) {
            for (const QString& line : text(file.text).split('\n', Qt::SkipEmptyParts)) {
                table.push_back(line.split('\t'));
            }
        }
    }
    return table;
}

QString fileText(const Trace& trace, const std::string& name)
{
    const auto found = std::ranges::find(trace.files, name, &HostFile::name);
    return found == trace.files.end() ? QString() : text(found->text);
}

bool isGauge(const QString& what)
{
    static const QStringList gauges{"rmem", "wmem", "receive_queue", "send_queue", "backlog", "backlog_bytes", "backlog_packets", "carrier", "per_second"};
    return gauges.contains(what);
}

bool isBad(const QString& what)
{
    return what.contains("drop") || what.contains("rr") || what.contains("Discard") || what.contains("missed") || what.contains("NoPorts") ||
           what.contains("Fail") || what.contains("squeeze") || what.contains("Drop") || what.contains("Overflow");
}

/// Which devices there are, by the trace and by what the recorder listed.
QStringList deviceNames(const Trace& trace)
{
    QStringList names;
    for (std::size_t row = 1; row < trace.devices().size(); ++row) {
        names << text(trace.devices()[row].name);
    }
    for (const QStringList& row : tableOf(trace, "devices")) {
        names << row.front();
    }
    names.removeDuplicates();
    return names;
}

void put(Sorted& sorted, const QString& name, const Figure& figure, const QStringList& devices)
{
    const QString thing = name.section('.', 0, -2);
    const QString what = name.section('.', -1);
    if (thing == "softnet_stat") {
        sorted.softnet[what.contains(" CPU ") ? what.section(" CPU ", 1) : QStringLiteral("all")][what.section(" CPU ", 0, 0)] = figure;
    } else if (name.startsWith("interrupt ") && what == "per_second") {
        sorted.interruptRates[thing.section(' ', 1)] = figure;
    } else if (name.startsWith("ethtool ")) {
        sorted.driverStatistics[thing.section(' ', 1)][what] = figure;
    } else if (name.startsWith("interrupt ") || name.startsWith("softirq ")) {
        const QString of = name.startsWith("interrupt ") ? name.section(' ', 1).section(" CPU ", 0, 0) : name.section(" CPU ", 0, 0);
        sorted.interrupts[of][name.section(" CPU ", 1)] = figure;
    } else if (name.startsWith("qdisc ")) {
        sorted.qdiscs[thing.section(' ', 1)][what] = figure;
    } else if (name.startsWith("socket ")) {
        sorted.sockets[thing][what] = figure;
    } else if (thing == "recorder") {
        sorted.recorder[what] = figure;
    } else if (devices.contains(thing.section(QStringLiteral(": "), -1))) {
        sorted.devices[thing][what] = figure;
    } else {
        sorted.protocols[thing][what] = figure;
    }
}

Sorted sorted(const Session& session)
{
    const Trace& trace = session.trace();
    const StackState& state = session.state();
    const QStringList devices = deviceNames(trace);
    std::vector<std::optional<std::uint64_t>> first(trace.counters().size());
    for (const CounterChange& change : trace.counter_changes()) {
        auto& begun = first[to_index(change.counter)];
        begun = begun ? begun : std::optional(change.before);
    }
    Sorted all;
    for (std::size_t row = 1; row < trace.counters().size(); ++row) {
        const CounterRecord& record = trace.counters()[row];
        if (to_index(session.host()) != 0 && record.host != session.host()) {
            continue;
        }
        QString name = text(record.name);
        if (trace.hosts().size() > 2) {
            name = QStringLiteral("%1: %2").arg(text(trace.hosts()[to_index(record.host)].name), name);
        }
        const std::uint64_t value = row < state.counters().size() ? state.counters()[row] : 0;
        const std::uint64_t begun = first[row].value_or(0);
        const bool unmoved = value == 0 && !isGauge(name.section('.', -1)); // as it was before its first change
        put(all, name, {unmoved ? begun : value, begun}, devices);
    }
    return all;
}

QString change(const Figure& figure, bool bad)
{
    if (!figure.moved()) {
        return {};
    }
    const bool up = figure.now > figure.begun;
    return QStringLiteral("<span class='%1'>%2%3</span>")
        .arg(bad && up ? "d" : "m", up ? "+" : "−", countText(up ? figure.now - figure.begun : figure.begun - figure.now));
}

Figure of(const Figures& figures, const QString& what)
{
    const auto found = figures.find(what);
    return found == figures.end() ? Figure{} : found->second;
}

QString cell(const QString& html, const char* attributes = "")
{
    return QStringLiteral("<td %1>%2</td>").arg(QLatin1String(attributes), html);
}

QString countCell(const Figures& figures, const QString& what)
{
    const Figure figure = of(figures, what);
    const QString moved = change(figure, isBad(what));
    return cell(QStringLiteral("%1%2").arg(countText(figure.now), moved.isEmpty() ? QString() : "<br>" + moved), "align='right'");
}

QString titles(const QStringList& words)
{
    QString html;
    for (const QString& word : words) {
        html += QStringLiteral("<td class='f' align='%1' style='white-space: nowrap'>%2</td>").arg(html.isEmpty() ? "left" : "right", word);
    }
    return "<tr>" + html + "</tr>";
}

QString faint(const QString& words) { return QStringLiteral("<p class='f' style='margin: 0 0 3px 0'>%1</p>").arg(words); }

QString table(const QString& rows) { return "<table cellspacing='0' width='100%'>" + rows + "</table>"; }

/// "and 12 that did not move"
QString quietText(int quiet) { return quiet == 0 ? QString() : faint(QObject::tr("and %1 on which nothing moved").arg(quiet)); }

/// The driver's own statistics that moved; a driver may have hundreds.
QString driverHtml(const Sorted& all, const QString& device)
{
    const auto figures = all.driverStatistics.find(device);
    if (figures == all.driverStatistics.end()) {
        return {};
    }
    QString rows;
    int told = 0;
    for (const auto& [what, figure] : figures->second) {
        if (figure.moved() && ++told <= most_rows) {
            rows += "<tr>" + cell(QStringLiteral("<span class='%1'>%2</span>").arg(isBad(what) ? "d" : "m", what.toHtmlEscaped())) +
                    cell(countText(figure.now), "align='right'") + cell(change(figure, isBad(what)), "align='right'") + "</tr>";
        }
    }
    if (rows.isEmpty()) {
        return {};
    }
    const QString more = told > most_rows ? faint(QObject::tr("and %1 more: skbscope report --proc ethtool").arg(told - most_rows)) : QString();
    return faint(QObject::tr("of its driver (ethtool -S)")) + table(rows) + more;
}

QString devicesHtml(const Session& session, const Sorted& all)
{
    const Table listed = tableOf(session.trace(), "devices");
    std::map<QString, QStringList> rows;
    for (std::size_t row = 1; row < listed.size(); ++row) {
        rows[listed[row].front()] = listed[row];
    }
    QStringList names;
    for (const auto& [name, figures] : all.devices) {
        names << name;
    }
    for (const auto& [name, row] : rows) {
        if (!names.contains(name)) {
            names << name;
        }
    }
    QString html;
    for (const QString& name : names) {
        const auto figures = all.devices.find(name);
        const auto row = rows.find(name);
        QStringList about;
        QString settings;
        if (row != rows.end() && row->second.size() >= 12) {
            const QStringList& r = row->second;
            about << (r[1] == "off" ? QObject::tr("switched off") : r[2] == "no" ? QObject::tr("%1, no carrier").arg(r[1]) : r[1]) << r[3] << QObject::tr("MTU %1").arg(r[5]);
            QStringList set;
            if (r[8] != "-") {
                set << QObject::tr("rings rx %1, tx %2").arg(r[8], r[9]);
            }
            if (r[10] != "-") {
                set << QObject::tr("channels %1").arg(r[10]);
            }
            if (r[11] != "-") {
                set << QObject::tr("coalescing %1").arg(QString(r[11]).replace(QStringLiteral(" us "), QStringLiteral(" µs ")));
            }
            set << QObject::tr("qdisc %1, txqueuelen %2").arg(r[7], r[6]);
            settings = set.join(QStringLiteral(" · "));
        }
        about.removeAll(QStringLiteral("-"));
        html += QStringLiteral("<p style='margin: 6px 0 0 0'><b>%1</b> <span class='m'>%2</span></p>").arg(name.toHtmlEscaped(), about.join(QStringLiteral(" · ")).toHtmlEscaped());
        if (figures != all.devices.end()) {
            QString lines;
            for (const char* way : {"rx", "tx"}) {
                const QString prefix = QLatin1String(way);
                const Figure packets = of(figures->second, prefix + "_packets");
                const Figure bytes = of(figures->second, prefix + "_bytes");
                if (packets.now == 0 && bytes.now == 0) {
                    continue;
                }
                lines += "<tr>" + cell(prefix) + cell(QObject::tr("%1 packets").arg(countText(packets.now)), "align='right'") + cell(change(packets, false), "align='right'") +
                         cell(bytesText(bytes.now), "align='right'") + "</tr>";
            }
            for (const auto& [what, figure] : figures->second) {
                if (figure.now != 0 && what != "carrier" && !what.endsWith("_packets") && !what.endsWith("_bytes")) {
                    lines += "<tr>" + cell(QStringLiteral("<span class='%1'>%2</span>").arg(isBad(what) ? "d" : "m", what.toHtmlEscaped())) +
                             cell(countText(figure.now), "align='right'") + cell(change(figure, isBad(what)), "align='right'") + cell({}) + "</tr>";
                }
            }
            html += lines.isEmpty() ? QString() : table(lines);
            if (lines.isEmpty()) {
                settings = settings.isEmpty() ? QObject::tr("no packets yet") : QObject::tr("no packets yet · %1").arg(settings);
            }
        }
        html += driverHtml(all, name);
        if (!settings.isEmpty()) {
            html += faint(settings.toHtmlEscaped());
        }
    }
    return html;
}

QString interruptsHtml(const Session& session, const Sorted& all)
{
    std::map<QString, QStringList> affinity; // by number
    const Table listed = tableOf(session.trace(), "irqs");
    for (std::size_t row = 1; row < listed.size(); ++row) {
        affinity[listed[row].front()] = listed[row];
    }
    QString rows;
    int quiet = 0;
    for (const auto& [name, cpus] : all.interrupts) {
        std::uint64_t moved = 0;
        QStringList where;
        for (const auto& [cpu, figure] : cpus) {
            moved += figure.now - std::min(figure.now, figure.begun);
            if (figure.moved()) {
                where << QObject::tr("CPU %1 %2").arg(cpu, change(figure, false));
            }
        }
        if (moved == 0) {
            ++quiet;
            continue;
        }
        const auto row = affinity.find(name.section(' ', 0, 0));
        const QString goes = row != affinity.end() && row->second.size() >= 4 ? QObject::tr("may go to CPUs %1, goes to %2").arg(row->second[2], row->second[3]) : QString();
        const auto lately = all.interruptRates.find(name);
        const bool isKnown = session.trace().info.times_trustworthy && lately != all.interruptRates.end();
        const QString rate = isKnown ? QObject::tr("%1/s").arg(rateText(static_cast<double>(lately->second.now))) : QString();
        rows += "<tr>" + cell(kernelName(name.toStdString()) + (goes.isEmpty() ? QString() : "<br><span class='f'>" + goes + "</span>")) +
                cell(where.join(QStringLiteral("<br>")), "align='right'") + cell(rate, "align='right'") + "</tr>";
    }
    return (rows.isEmpty() ? QString() : table(rows)) + quietText(quiet);
}

QString softnetHtml(const Sorted& all)
{
    QString rows;
    for (const auto& [cpu, figures] : all.softnet) {
        rows += "<tr>" + cell(cpu) + countCell(figures, "processed") + countCell(figures, "dropped") + countCell(figures, "time_squeeze") + "</tr>";
        QStringList more;
        for (const auto& [what, title] : {std::pair{"received_rps", QObject::tr("by RPS")}, std::pair{"flow_limit_count", QObject::tr("over the flow limit")}}) {
            if (const Figure figure = of(figures, what); figure.now != 0) {
                more << QStringLiteral("%1 %2 %3").arg(countText(figure.now), title, change(figure, false));
            }
        }
        if (!more.isEmpty()) {
            rows += "<tr><td></td><td colspan='3' align='right' class='m'>" + more.join(QStringLiteral(" · ")) + "</td></tr>";
        }
    }
    return rows.isEmpty() ? QString() : table(titles({QObject::tr("CPU"), QObject::tr("processed"), QObject::tr("dropped"), QObject::tr("squeezed")}) + rows);
}

/// To the byte: whether one more datagram fits hangs on it.
QString memoryText(const Figure& used, const QString& limit)
{
    return limit == "-" || limit.isEmpty() ? QObject::tr("%1 B").arg(countText(used.now))
                                           : QObject::tr("%1 of %2 B").arg(countText(used.now), countText(limit.toULongLong()));
}

QString socketsHtml(const Session& session, const Sorted& all)
{
    std::map<QString, QStringList> about;
    const Table listed = tableOf(session.trace(), "sockets");
    for (std::size_t row = 1; row < listed.size(); ++row) {
        about[listed[row].front()] = listed[row];
    }
    QString rows;
    int told = 0;
    int left = 0;
    for (const bool busy : {true, false}) {
        for (const auto& [name, figures] : all.sockets) {
            const bool has = std::ranges::any_of(figures, [](const auto& entry) { return entry.second.now != 0 || entry.second.moved(); });
            if (has != busy) {
                continue;
            }
            if (++told > most_rows) {
                ++left;
                continue;
            }
            const auto row = about.find(name);
            const QStringList r = row != about.end() && row->second.size() >= 5 ? row->second : QStringList{name, "-", "-", "-", "-"};
            QStringList words;
            const QString space = r.size() >= 6 && r[5] != "-" ? QObject::tr("in the network namespace %1").arg(r[5]) : QString();
            words << space << (r[1] == "-" ? QString() : r[1]) << (r[2] == "-" || r[2] == "unconnected" ? QString() : r[2]);
            words.removeAll(QString());
            const Figure drops = of(figures, "drops");
            QString state = QObject::tr("in %1").arg(memoryText(of(figures, "rmem"), r[3])) + "<br>" + QObject::tr("out %1").arg(memoryText(of(figures, "wmem"), r[4]));
            if (drops.now != 0) {
                state += QStringLiteral("<br><span class='d'>%1</span> %2").arg(QObject::tr("%1 dropped").arg(countText(drops.now)), change(drops, true));
            }
            const QString title = name.section(' ', 1).section(" #", 0, 0);
            rows += "<tr>" + cell(kernelName(title.toStdString()) + (words.isEmpty() ? QString() : "<br><span class='m'>" + words.join(QStringLiteral(" · ")).toHtmlEscaped() + "</span>")) +
                    cell(state, "align='right'") + "</tr>";
        }
    }
    return rows.isEmpty() ? QString() : table(rows) + (left == 0 ? QString() : faint(QObject::tr("and %1 more").arg(left)));
}

QString qdiscsHtml(const Sorted& all)
{
    QString html;
    for (const auto& [name, figures] : all.qdiscs) {
        QStringList words;
        words << QObject::tr("waiting %1, %2").arg(counted(of(figures, "backlog_packets").now, "packet", "packets"), bytesText(of(figures, "backlog_bytes").now));
        for (const auto& [what, title] : {std::pair{"drops", QObject::tr("drops")}, std::pair{"requeues", QObject::tr("requeues")}, std::pair{"overlimits", QObject::tr("overlimits")}}) {
            const Figure figure = of(figures, what);
            words << QStringLiteral("%1 %2 %3").arg(title, countText(figure.now), change(figure, isBad(what)));
        }
        html += QStringLiteral("<p style='margin: 4px 0 2px 0'>%1<br><span class='m'>%2</span></p>").arg(kernelName(name.toStdString()), words.join(QStringLiteral(" · ")));
    }
    return html;
}

QString protocolsHtml(const Sorted& all)
{
    QString html;
    int quiet = 0;
    for (const auto& [group, figures] : all.protocols) {
        QString rows;
        for (const auto& [what, figure] : figures) {
            if (!figure.moved()) {
                ++quiet;
                continue;
            }
            rows += "<tr>" + cell(kernelName(what.toStdString())) + cell(countText(figure.now), "align='right' width='28%'") +
                    cell(change(figure, isBad(what)), "align='right' width='24%'") + "</tr>";
        }
        if (!rows.isEmpty()) {
            html += QStringLiteral("<p style='margin: 6px 0 0 0'><b>%1</b></p>").arg(group.toHtmlEscaped()) + table(rows);
        }
    }
    return html + (quiet == 0 ? QString() : faint(QObject::tr("and %1 counters that have not moved").arg(quiet)));
}

QString queuesHtml(const Session& session)
{
    const Trace& trace = session.trace();
    const StackState& state = session.state();
    QString rows;
    for (std::size_t row = 1; row < trace.queues().size() && row < state.queues().size(); ++row) {
        const QueueRecord& record = trace.queues()[row];
        if ((to_index(session.host()) == 0 || record.host == session.host()) && record.kind != QueueKind::wire) {
            rows += "<tr>" + cell(escaped(record.name)) +
                    cell(levelText(state.queues()[row].level(record.unit), state.queues()[row].limit, record.unit).toHtmlEscaped(), "align='right'") + "</tr>";
        }
    }
    return rows.isEmpty() ? QString() : table(rows);
}

QString settingsHtml(const Session& session)
{
    QString rows;
    int left = 0;
    for (const QString& line : fileText(session.trace(), "sysctl").split('\n', Qt::SkipEmptyParts)) {
        const QString name = line.section(QStringLiteral(" = "), 0, 0);
        const bool ofDevice = (name.contains(".conf.") || name.contains(".neigh.")) && !name.contains(".all.") && !name.contains(".default.");
        if (ofDevice) {
            ++left; // they are many and mostly alike
            continue;
        }
        const QString label = Catalog::find_setting(name.toStdString()) != nullptr ? QStringLiteral("<a href='setting:%1'>%2</a>").arg(name.toHtmlEscaped(), kernelName(name.toStdString()))
                                                                                  : kernelName(name.toStdString());
        rows += QStringLiteral("<p style='margin: 2px 0'>%1<br>&nbsp;&nbsp;%2</p>").arg(label, line.section(QStringLiteral(" = "), 1).toHtmlEscaped());
    }
    return rows.isEmpty() ? QString() : rows + (left == 0 ? QString() : faint(QObject::tr("and %1 of single devices: skbscope report --proc sysctl").arg(left)));
}

QString rulesHtml(const Session& session)
{
    QString html;
    for (const char* tool : {"nft", "iptables-save", "ip6tables-save"}) {
        const auto found = std::ranges::find(session.trace().files, tool, &HostFile::name);
        if (found == session.trace().files.end()) {
            continue;
        }
        const QStringList lines = text(found->text).split('\n', Qt::SkipEmptyParts);
        const bool empty = std::ranges::all_of(lines, [](const QString& line) { return line.startsWith('#'); });
        html += QStringLiteral("<p style='margin: 6px 0 0 0'><b>%1</b>%2</p>").arg(QLatin1String(tool), empty ? " <span class='f'>" + QObject::tr("no rules") + "</span>" : QString());
        if (empty) {
            continue;
        }
        html += QStringLiteral("<pre style='margin: 2px 0; white-space: pre-wrap' class='k'>%1</pre>").arg(lines.mid(0, most_rule_lines).join('\n').toHtmlEscaped());
        if (lines.size() > most_rule_lines) {
            html += faint(QObject::tr("and %1 more lines: skbscope report --proc %2").arg(lines.size() - most_rule_lines).arg(QLatin1String(tool)));
        }
    }
    return html;
}

QString recorderHtml(const Session& session, const Sorted& all)
{
    const auto cpu = all.recorder.find(QStringLiteral("cpu_us"));
    if (cpu == all.recorder.end()) {
        return {};
    }
    const auto us = [&](const QString& what) {
        const Figure figure = of(all.recorder, what);
        return Duration{static_cast<std::int64_t>((figure.now - std::min(figure.now, figure.begun)) * 1000)};
    };
    return paragraph(fileText(session.trace(), "recorder").trimmed().toHtmlEscaped()) + table("<tr>" + cell(QObject::tr("CPU time of the recorder")) + cell(durationText(us(QStringLiteral("cpu_us"))), "align='right'") + "</tr><tr>" +
                 cell(QObject::tr("of the probes in the kernel, estimated")) + cell(durationText(us(QStringLiteral("probes_us_estimated"))), "align='right'") + "</tr>");
}

} // namespace

QString hostPage(const Session& session)
{
    const Trace& trace = session.trace();
    const Sorted all = sorted(session);
    QString html = pageStyle() + QStringLiteral("<table width='100%' cellspacing='0'><tr><td class='t'>%1</td><td align='right'><a href='copypage:'>%2</a></td></tr></table>")
                                     .arg(QObject::tr("The host's own figures"), QObject::tr("Copy all"));
    html += QStringLiteral("<p class='m'>%1</p>").arg(QObject::tr(trace.info.observed ? "As the recorder saw them last before the playhead, with what has come since it began."
                                                                                                    : "As they are at the playhead, with what has come since the trace began."));
    const auto section = [&](const QString& title, const QString& body) {
        if (!body.isEmpty()) {
            html += heading(title) + body;
        }
    };
    section(QObject::tr("Devices"), devicesHtml(session, all));
    section(QObject::tr("Queues"), queuesHtml(session));
    section(QObject::tr("Queueing disciplines"), qdiscsHtml(all));
    section(QObject::tr("Sockets"), socketsHtml(session, all));
    section(QObject::tr("Softnet, by CPU"), softnetHtml(all));
    section(QObject::tr("Interrupts"), interruptsHtml(session, all));
    section(QObject::tr("Protocol counters"), protocolsHtml(all));
    section(QObject::tr("Rules"), rulesHtml(session));
    section(QObject::tr("What the recorder took"), recorderHtml(session, all));
    QString missing;
    for (const QString& line : fileText(trace, "missing").split('\n', Qt::SkipEmptyParts)) {
        missing += paragraph(QStringLiteral("<span class='m'>%1</span>").arg(line.toHtmlEscaped()));
    }
    section(QObject::tr("Could not be read"), missing);
    section(QObject::tr("Settings"), settingsHtml(session)); // the longest comes last
    const bool hasOwn = !all.softnet.empty() || !all.protocols.empty() || !all.devices.empty() || !all.sockets.empty();
    if (!hasOwn) {
        section(QObject::tr("Counters"),
                paragraph(QStringLiteral("<span class='m'>%1</span>")
                              .arg(trace.info.observed ? QObject::tr("This trace carries none of the host's counters, settings or rules. skbscope record takes them along; a trace.dat has none.")
                                                       : QObject::tr("No counter has moved by this moment."))));
    }
    return html;
}

} // namespace skbscope::ui
