#include "capture/live/record_filter.h"

#include <algorithm>
#include <string_view>

namespace skbscope {

namespace {

struct Rule {
    std::string_view system, name;
    const char* field;
    std::uint64_t allowed;
};

// include/linux/interrupt.h: NET_TX_SOFTIRQ, NET_RX_SOFTIRQ.
constexpr std::uint64_t network_softirqs = 1U << 2 | 1U << 3;
// AF_INET, AF_INET6 and AF_PACKET: sockets of other families move no packets.
constexpr std::uint64_t packet_sockets = 1U << 2 | 1U << 10 | 1U << 17;

constexpr Rule rules[] = {
    {"irq", "softirq_raise", "vec", network_softirqs},   {"irq", "softirq_entry", "vec", network_softirqs},
    {"irq", "softirq_exit", "vec", network_softirqs},    {"sock", "sk_data_ready", "family", packet_sockets},
    {"sock", "sock_send_length", "family", packet_sockets}, {"sock", "sock_recv_length", "family", packet_sockets},
};

} // namespace

RecordFilter::RecordFilter(const TracedKernel& kernel)
{
    for (const EventFormat& format : kernel.formats()) {
        for (const Rule& rule : rules) {
            if (format.id < 0 || format.system != rule.system || format.name != rule.name) {
                continue;
            }
            const auto id = static_cast<std::size_t>(format.id);
            tests_.resize(std::max(tests_.size(), id + 1));
            tests_[id] = {format.field(rule.field), rule.allowed};
        }
    }
}

bool RecordFilter::passes(const Test& test, const RawRecord& record)
{
    const std::uint64_t value = test.field.read(record.data);
    return value < 64 && (test.allowed >> value & 1U) != 0;
}

} // namespace skbscope
