#include "ui/player/format.h"

#include "core/catalog/catalog.h"
#include "core/trace/flow_text.h"

#include <array>
#include <cmath>

namespace skbscope::ui {

namespace {

constexpr QChar narrow_space(0x202f);
constexpr QChar no_break_space(0x00a0); // a figure and its unit stay on one line

QString grouped(QString digits)
{
    if (digits.size() < 5) {
        return digits;
    }
    for (auto at = digits.size() - 3; at > 0; at -= 3) {
        digits.insert(at, narrow_space);
    }
    return digits;
}

/// Three significant digits: 6.82, 12.4, 940.
QString significant(double value)
{
    const double magnitude = std::abs(value);
    return QString::number(value, 'f', magnitude < 9.995 ? 2 : magnitude < 99.95 ? 1 : 0);
}

/// Drops ".0" and ".00": speeds are round numbers mostly.
QString plain(double value)
{
    QString digits = significant(value);
    if (digits.contains('.')) {
        while (digits.endsWith('0')) {
            digits.chop(1);
        }
        if (digits.endsWith('.')) {
            digits.chop(1);
        }
    }
    return digits;
}

} // namespace

QString text(std::string_view utf8)
{
    return QString::fromUtf8(utf8.data(), static_cast<qsizetype>(utf8.size()));
}

QString countText(std::uint64_t count)
{
    return grouped(QString::number(count));
}

QString timeText(SimTime t, SimTime origin)
{
    const bool before = t < origin;
    const auto ns = before ? origin.ns - t.ns : t.ns - origin.ns;
    if (ns >= 1'000'000'000) { // a microsecond count of that length nobody reads
        QString rest = QStringLiteral("%1").arg(ns % 1'000'000'000, 9, 10, QChar('0'));
        rest.insert(6, narrow_space);
        rest.insert(3, narrow_space);
        return QStringLiteral("%1%2.%3 s").arg(before ? "−" : "").arg(ns / 1'000'000'000).arg(rest);
    }
    QString whole = QString::number(ns / 1000);
    for (auto at = whole.size() - 3; at > 0; at -= 3) {
        whole.insert(at, narrow_space);
    }
    return QStringLiteral("%1%2.%3 µs").arg(before ? "−" : "", whole).arg(ns % 1000, 3, 10, QChar('0'));
}

QString durationText(Duration d)
{
    const double ns = static_cast<double>(d.ns);
    const double magnitude = std::abs(ns);
    const auto with = [](const QString& figure, const char* unit) { return figure + no_break_space + QString::fromUtf8(unit); };
    if (magnitude < 1000) {
        return with(QString::number(d.ns), "ns");
    }
    if (magnitude < 999.5e3) {
        return with(significant(ns / 1e3), "µs");
    }
    if (magnitude < 999.5e6) {
        return with(significant(ns / 1e6), "ms");
    }
    return with(significant(ns / 1e9), "s");
}

QString speedText(double nsPerSecond)
{
    const double ns = nsPerSecond;
    if (ns < 999.5) {
        return QStringLiteral("1 s = %1 ns").arg(plain(ns));
    }
    if (ns < 999.5e3) {
        return QStringLiteral("1 s = %1 µs").arg(plain(ns / 1e3));
    }
    if (ns < 999.5e6) {
        return QStringLiteral("1 s = %1 ms").arg(plain(ns / 1e6));
    }
    return QStringLiteral("1 s = %1 s").arg(plain(ns / 1e9));
}

QString rateText(double perSecond)
{
    if (perSecond < 1000) {
        return QString::number(std::round(perSecond));
    }
    return perSecond < 1e6 ? QStringLiteral("%1 k").arg(significant(perSecond / 1e3)) : QStringLiteral("%1 M").arg(significant(perSecond / 1e6));
}

QString bytesText(std::uint64_t bytes)
{
    if (bytes < 1024) {
        return QStringLiteral("%1 B").arg(bytes);
    }
    if (bytes < 1024 * 1024) {
        return plain(static_cast<double>(bytes) / 1024) + QStringLiteral(" KB");
    }
    return plain(static_cast<double>(bytes) / (1024 * 1024)) + QStringLiteral(" MB");
}

QString levelText(std::uint64_t level, std::uint64_t limit, QueueUnit unit)
{
    if (unit == QueueUnit::bytes) {
        if (limit == 0) {
            return bytesText(level);
        }
        if (limit < 1024) {
            return QStringLiteral("%1/%2 B").arg(level).arg(limit);
        }
        return QStringLiteral("%1/%2 KB")
            .arg(plain(static_cast<double>(level) / 1024), plain(static_cast<double>(limit) / 1024));
    }
    if (limit == 0) {
        return countText(level);
    }
    if (level > limit) {
        return QStringLiteral("%1 (limit %2)").arg(countText(level), countText(limit));
    }
    return QStringLiteral("%1/%2").arg(countText(level), countText(limit));
}

QString flowText(const PacketRecord& packet)
{
    if (packet.flow) {
        return text(flow_text(packet));
    }
    return packet.length == 0 ? QStringLiteral("packet of unknown content")
                              : QStringLiteral("packet of %1 bytes").arg(packet.length);
}

QString packetTitle(const Trace& trace, PacketId packet)
{
    if (!trace.has_packet(packet)) {
        return QStringLiteral("no packet");
    }
    return QStringLiteral("#%1 %2").arg(to_index(packet)).arg(flowText(trace.packet(packet)));
}

QString counted(std::uint64_t count, const char* one, const char* many)
{
    return QStringLiteral("%1 %2").arg(countText(count), QString::fromUtf8(count == 1 ? one : many));
}

QString contextText(Context context)
{
    static const std::array<QString, 4> words{QStringLiteral("process"), QStringLiteral("softirq"),
                                              QStringLiteral("hard interrupt"), QStringLiteral("NMI")};
    return words[static_cast<std::size_t>(context)];
}

QString dropClause(const Trace& trace, DropReasonId reason, FunctionId function)
{
    if (reason == DropReasonId::none) {
        return QStringLiteral("of a reason that the trace does not name, in %1").arg(text(trace.function_name(function)));
    }
    const DropReason& why = Catalog::drop_reason(reason);
    QString words = text(why.what).trimmed().section(QStringLiteral(". "), 0, 0); // what else there is to say of it stands in the inspector
    while (words.endsWith('.')) {
        words.chop(1);
    }
    if (words.isEmpty() || why.name == "NOT_SPECIFIED") {
        return QStringLiteral("of no stated reason, in %1").arg(text(trace.function_name(function)));
    }
    // A sentence's capital goes, a name's (UDP, ARP, TTL, RPS) stays.
    if (words.size() > 1 && words[0].isUpper() && (words[1].isLower() || words[1].isSpace())) {
        words[0] = words[0].toLower();
    }
    return words;
}

bool isHeldInBatch(const Trace& trace, const PacketState& packet)
{
    return packet.where == PacketState::Where::parked && packet.function != FunctionId::none && !trace.info.observed && packet.context != Context::process;
}

const DropSite* dropSite(FunctionId function, DropReasonId reason)
{
    if (const DropSite* exact = Catalog::find_drop_site(function, reason)) {
        return exact;
    }
    if (reason == DropReasonId::none) {
        return nullptr;
    }
    const DropSite* found = nullptr;
    const RoomId room = Catalog::room_of(function);
    for (const DropSite& site : Catalog::drop_sites()) {
        if (site.reason != reason) {
            continue;
        }
        if (room != RoomId::none && Catalog::room_of(site.function) == room) {
            return &site;
        }
        if (found != nullptr && (found->control != site.control || found->counters != site.counters)) {
            return nullptr; // several causes: not ours to guess
        }
        found = found == nullptr ? &site : found;
    }
    return found;
}

} // namespace skbscope::ui
