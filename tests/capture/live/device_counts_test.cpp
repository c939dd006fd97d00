// Which devices' names say too little: those that several network namespaces use.

#include "capture/live/device_counts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace skbscope {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(DeviceCounts, ANameThatTwoNamespacesUsedIsTold)
{
    EXPECT_THAT(names_of_several({{"ca/eth0.rx_packets", 1}, {"cb/eth0.tx_packets", 7}},
                                 {{"ca/eth0.rx_packets", 2}, {"cb/eth0.tx_packets", 8}}),
                ElementsAre("eth0"));
}

TEST(DeviceCounts, ThisMachinesOwnNamespaceCountsAsOne)
{
    EXPECT_THAT(names_of_several({}, {{"eth0.rx_packets", 2}, {"net:[4026532008]/eth0.rx_packets", 1}}), ElementsAre("eth0"));
}

TEST(DeviceCounts, ADeviceThatCarriedNothingIsNotMixedUpWithItsNamesake)
{
    EXPECT_THAT(names_of_several({{"ca/eth0.rx_packets", 1}, {"cb/eth0.rx_packets", 7}},
                                 {{"ca/eth0.rx_packets", 1}, {"cb/eth0.rx_packets", 8}}),
                IsEmpty());
}

TEST(DeviceCounts, ANameWithADotIsOneName)
{
    EXPECT_THAT(names_of_several({}, {{"eth0.rx_packets", 1}, {"ca/eth0.5.rx_packets", 1}}), IsEmpty());
    EXPECT_THAT(names_of_several({}, {{"eth0.5.rx_packets", 1}, {"ca/eth0.5.tx_packets", 1}}), ElementsAre("eth0.5"));
}

TEST(DeviceCounts, BothDirectionsOfOneDeviceAreOneDevice)
{
    EXPECT_THAT(names_of_several({}, {{"ca/eth0.rx_packets", 1}, {"ca/eth0.tx_packets", 1}}), IsEmpty());
}

TEST(DeviceCounts, LoopbackIsNoNews)
{
    EXPECT_THAT(names_of_several({}, {{"lo.rx_packets", 1}, {"ca/lo.rx_packets", 1}}), IsEmpty());
}

} // namespace
} // namespace skbscope
