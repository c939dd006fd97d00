#include "ui/search/search_index.h"

#include "core/catalog/catalog.h"
#include "ui/player/format.h"
#include "ui/player/session.h"

#include <QObject>
#include <QRegularExpression>
#include <algorithm>
#include <cmath>
#include <iterator>
#include <optional>

namespace skbscope::ui {

namespace {

/// How well the name fits: 0 the name itself, then its beginning, a word's beginning, any part; -1 not at all.
int fit(const QString& name, const QString& words)
{
    if (name.compare(words, Qt::CaseInsensitive) == 0) {
        return 0;
    }
    const auto at = name.indexOf(words, 0, Qt::CaseInsensitive);
    if (at < 0) {
        return -1;
    }
    if (at == 0) {
        return 1;
    }
    return name[at - 1].isLetterOrNumber() ? 3 : 2;
}

constexpr std::size_t most_packets = 5;
/// Flow text is made to be compared; a trace of millions is not searched to its end at every key.
constexpr std::size_t most_looked_at = 200'000;

void findPackets(const Session& session, const QString& words, std::vector<Found>& found)
{
    const Trace& trace = session.trace();
    const auto add = [&](const PacketRecord& packet, int weight) {
        Found item;
        item.kind = Found::Kind::packet;
        item.packet = packet.id;
        item.title = QStringLiteral("#%1").arg(to_index(packet.id));
        item.detail = flowText(packet);
        item.weight = weight;
        found.push_back(item);
    };
    bool isNumber = false;
    const uint number = QString(words).remove('#').toUInt(&isNumber);
    if (isNumber && trace.has_packet(static_cast<PacketId>(number))) {
        add(trace.packet(static_cast<PacketId>(number)), 0);
    }
    if (words.startsWith('#') || (isNumber && words.size() < 3)) {
        return;
    }
    std::size_t looked = 0;
    std::size_t taken = 0;
    for (const PacketRecord& packet : trace.packets()) {
        if (++looked > most_looked_at || taken >= most_packets) {
            return;
        }
        if (to_index(packet.id) != number && flowText(packet).contains(words, Qt::CaseInsensitive)) {
            add(packet, 20);
            ++taken;
        }
    }
}

/// "40us", "t = 1 284.316 µs", "2 ms" as the window writes times, from the origin on.
std::optional<SimTime> momentOf(const QString& words, SimTime origin)
{
    static const QRegularExpression form(QStringLiteral("^(?:t\\s*=\\s*)?(\\d+(?:\\.\\d+)?)(ns|us|µs|μs|ms|s)$"));
    QString bare;
    std::ranges::remove_copy_if(words, std::back_inserter(bare), [](QChar letter) { return letter.isSpace(); }); // narrow ones, too
    const QRegularExpressionMatch match = form.match(bare);
    if (!match.hasMatch()) {
        return std::nullopt;
    }
    const QString unit = match.captured(2);
    const double ns = match.captured(1).toDouble() * (unit == "ns" ? 1 : unit == "ms" ? 1e6 : unit == "s" ? 1e9 : 1e3);
    constexpr double most = 9e18;
    return ns > most ? std::nullopt : std::optional(SimTime{origin.ns + static_cast<std::uint64_t>(std::llround(ns))});
}

} // namespace

QString Found::kindText() const
{
    switch (kind) {
    case Kind::packet: return QObject::tr("packet");
    case Kind::function: return QObject::tr("function");
    case Kind::setting: return QObject::tr("setting");
    case Kind::room: return QObject::tr("room");
    case Kind::queue: return QObject::tr("queue");
    case Kind::moment: return QObject::tr("moment");
    }
    return {};
}

std::vector<Found> search(const Session* session, const QString& typed, std::size_t limit)
{
    const QString words = typed.trimmed();
    std::vector<Found> found;
    if (words.isEmpty()) {
        return found;
    }
    if (session != nullptr) {
        if (const auto moment = momentOf(words, session->origin())) {
            Found item;
            item.kind = Found::Kind::moment;
            item.time = *moment;
            item.title = QStringLiteral("t = %1").arg(timeText(*moment, session->origin()));
            found.push_back(item);
        }
        findPackets(*session, words, found);
        const auto queues = session->trace().queues();
        for (std::size_t i = 1; i < queues.size(); ++i) {
            const QString name = text(queues[i].name);
            if (const int how = fit(name, words); how >= 0) {
                Found item;
                item.kind = Found::Kind::queue;
                item.queue = static_cast<QueueId>(i);
                item.room = queues[i].room;
                item.title = name;
                item.detail = queues[i].kind == QueueKind::socket ? QObject::tr("socket") : text(to_string(queues[i].kind));
                item.weight = how * 10 + 2;
                found.push_back(item);
            }
        }
    }
    for (const Room& room : Catalog::rooms()) {
        if (room.id == RoomId::none) {
            continue;
        }
        if (const int how = fit(text(room.title), words); how >= 0) {
            Found item;
            item.kind = Found::Kind::room;
            item.room = room.id;
            item.title = text(room.title);
            item.detail = text(room.function);
            item.weight = how * 10 + 3;
            found.push_back(item);
        }
    }
    for (const Function& function : Catalog::functions()) {
        if (function.id == FunctionId::none) {
            continue;
        }
        if (const int how = fit(text(function.name), words); how >= 0) {
            Found item;
            item.kind = Found::Kind::function;
            item.function = function.id;
            item.room = Catalog::room_of(function.id);
            item.title = text(function.name);
            item.detail = text(Catalog::stage(function.stage).title);
            item.weight = how * 10 + 4;
            found.push_back(item);
        }
    }
    for (const Setting& setting : Catalog::settings()) {
        if (const int how = fit(text(setting.name), words); how >= 0) {
            Found item;
            item.kind = Found::Kind::setting;
            item.title = text(setting.name);
            item.detail = text(setting.value);
            item.weight = how * 10 + 5;
            found.push_back(item);
        }
    }
    // Shorter names first among equals: the whole of "ip_rcv" before its longer cousins.
    std::stable_sort(found.begin(), found.end(), [](const Found& a, const Found& b) {
        return a.weight != b.weight ? a.weight < b.weight : a.kind != Found::Kind::packet && a.title.size() < b.title.size();
    });
    if (found.size() > limit) {
        found.resize(limit);
    }
    return found;
}

} // namespace skbscope::ui
