#include "core/catalog/room_on_way.h"

namespace skbscope {

namespace {

struct Rooms {
    RoomId route_in = Catalog::find_room("route_in");
    RoomId route_out = Catalog::find_room("route_out");
    RoomId arp = Catalog::find_room("arp");
    std::uint8_t row = Catalog::room(Catalog::find_room("route_in")).row;
};

/// Whether a packet that leaves this room for a route is on its way out. What is received comes from below the route's row,
/// in the column of receiving or beside it; an answer comes from above it, and who asks for a neighbour is sending.
bool leads_out(const Room& before, const Rooms& rooms)
{
    return before.column >= 2 || before.row < rooms.row || before.id == rooms.arp;
}

} // namespace

RoomId room_on_way(FunctionId function, RoomId before, Context context)
{
    static const Rooms rooms;
    const RoomId room = Catalog::room_of(function);
    if (room != rooms.route_in || Catalog::function(function).direction != Direction::both) {
        return room;
    }
    if (before == rooms.route_in || before == rooms.route_out) {
        return before;
    }
    // Received packets are routed in the softirq that took them in, whoever sends does it in its own system call.
    const bool out = context == Context::process || (before != RoomId::none && leads_out(Catalog::room(before), rooms));
    return out ? rooms.route_out : rooms.route_in;
}

RoomId room_of_drop(FunctionId function, DropReasonId reason)
{
    if (const RoomId room = Catalog::room_of(function); room != RoomId::none) {
        return room;
    }
    const DropSite* site = Catalog::find_drop_site(FunctionId::none, reason);
    return site == nullptr ? RoomId::none : Catalog::stage(site->stage).room;
}

} // namespace skbscope
