#pragma once
// What `/` finds: packets by number and flow, functions, settings, rooms, sockets and other queues, and moments ("40 µs").

#include "core/catalog/ids.h"
#include "core/trace/event.h"

#include <QString>
#include <vector>

namespace skbscope::ui {

class Session;

struct Found {
    enum class Kind { packet, function, setting, room, queue, moment } kind = Kind::function;
    QString title;
    QString detail;
    PacketId packet = PacketId::none;
    FunctionId function = FunctionId::none;
    RoomId room = RoomId::none;
    QueueId queue = QueueId::none;
    SimTime time;   ///< of a moment
    int weight = 0; ///< lower is better

    [[nodiscard]] QString kindText() const;
};

/// The best `limit` answers, best first. session may be null: then only the catalog is searched.
[[nodiscard]] std::vector<Found> search(const Session* session, const QString& words, std::size_t limit = 12);

} // namespace skbscope::ui
