// Records that are not about packets are left out, whatever number their event has.

#include "capture/live/record_filter.h"

#include <cstring>
#include <gtest/gtest.h>

namespace skbscope {
namespace {

constexpr auto softirq_format = "name: softirq_entry\nID: 63\nformat:\n"
                                "\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n"
                                "\tfield:unsigned int vec;\toffset:8;\tsize:4;\tsigned:0;\n\nprint fmt: \"vec=%u\", REC->vec\n";
constexpr auto queue_format = "name: net_dev_queue\nID: 500\nformat:\n"
                              "\tfield:void * skbaddr;\toffset:8;\tsize:8;\tsigned:0;\n\nprint fmt: \"skbaddr=%p\", REC->skbaddr\n";

struct Made {
    std::vector<std::uint8_t> bytes;
    RawRecord record;
};

Made record_of(std::uint16_t id, std::uint32_t number)
{
    Made made;
    made.bytes.resize(16);
    std::memcpy(made.bytes.data() + 8, &number, sizeof number);
    made.record.event_id = id;
    made.record.data = made.bytes;
    return made;
}

TEST(RecordFilter, KeepsTheNetworksSoftirqsAndWhatItHasNoRuleFor)
{
    TracedKernel kernel;
    ASSERT_TRUE(kernel.add_format("irq", softirq_format));
    ASSERT_TRUE(kernel.add_format("net", queue_format));
    const RecordFilter filter(kernel);
    EXPECT_TRUE(filter.wants(record_of(63, 2).record)) << "NET_TX";
    EXPECT_TRUE(filter.wants(record_of(63, 3).record)) << "NET_RX";
    EXPECT_FALSE(filter.wants(record_of(63, 1).record)) << "TIMER";
    EXPECT_FALSE(filter.wants(record_of(63, 9).record)) << "RCU";
    EXPECT_FALSE(filter.wants(record_of(63, 1'000'000).record));
    EXPECT_TRUE(filter.wants(record_of(500, 1).record));
    EXPECT_TRUE(filter.wants(record_of(9999, 1).record)) << "an event without a format";
}

} // namespace
} // namespace skbscope
