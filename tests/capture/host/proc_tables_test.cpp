// Tables of /proc, as kernels print them.

#include "capture/host/proc_tables.h"

#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sstream>

namespace skbscope::host {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Key;
using testing::Not;
using testing::Pair;

std::string recorded(const std::string& name)
{
    std::ifstream in(std::string(SKBSCOPE_SOURCE_DIR) + "/tests/data/procfs/" + name);
    std::ostringstream text;
    text << in.rdbuf();
    EXPECT_FALSE(text.str().empty()) << name;
    return text.str();
}

TEST(ProcTables, NamesAndValuesOfSnmpBelongTogether)
{
    const auto counters = parse_snmp("Udp: InDatagrams NoPorts RcvbufErrors\nUdp: 20 10 3\nTcp: MaxConn InSegs\nTcp: -1 7\n");
    EXPECT_THAT(counters, testing::ElementsAre(Pair("Tcp.InSegs", 7), Pair("Udp.InDatagrams", 20), Pair("Udp.NoPorts", 10), Pair("Udp.RcvbufErrors", 3)));
}

TEST(ProcTables, RecordedTablesOfFourKernelsAreRead)
{
    // The newest table is of a machine with two CPUs, the others of machines with three.
    for (const auto& [kernel, last_cpu] : {std::pair<std::string, std::string>{"5.10", "2"}, {"6.1", "2"}, {"6.12", "2"}, {"6.18", "1"}}) {
        EXPECT_THAT(parse_snmp(recorded(kernel + "-snmp")), Contains(Key("Udp.RcvbufErrors"))) << kernel;
        EXPECT_THAT(parse_snmp(recorded(kernel + "-netstat")), Contains(Key("IpExt.InNoRoutes"))) << kernel;
        EXPECT_THAT(parse_snmp6(recorded(kernel + "-snmp6")), Contains(Key("Udp6NoPorts"))) << kernel;
        EXPECT_THAT(parse_softnet_stat(recorded(kernel + "-softnet_stat")), Contains(Key("softnet_stat.dropped CPU " + last_cpu))) << kernel;
        EXPECT_THAT(parse_dev(recorded(kernel + "-dev")), Contains(Key("eth0.rx_packets"))) << kernel;
    }
}

TEST(ProcTables, ColumnsOfSoftnetStatAreHexadecimal)
{
    const auto counters = parse_softnet_stat("00000014 00000003 00000001 00000000 00000000 00000000 00000000 00000000 00000000 0000000a 00000002 00000000 00000005\n");
    EXPECT_THAT(counters, Contains(Pair("softnet_stat.processed CPU 5", 20)));
    EXPECT_THAT(counters, Contains(Pair("softnet_stat.dropped CPU 5", 3)));
    EXPECT_THAT(counters, Contains(Pair("softnet_stat.received_rps CPU 5", 10)));
    EXPECT_THAT(counters, Contains(Pair("softnet_stat.flow_limit_count CPU 5", 2)));
}

TEST(ProcTables, InterruptsOfDevicesAreCountedByCpu)
{
    const auto counters = parse_interrupts("           CPU0       CPU1\n  24:        100          7   PCI-MSI 49152-edge      virtio0-input.0\nLOC:     123     456   Local timer interrupts\n");
    EXPECT_THAT(counters, testing::ElementsAre(Pair("interrupt 24 virtio0-input.0 CPU 0", 100), Pair("interrupt 24 virtio0-input.0 CPU 1", 7)));
}

TEST(ProcTables, PortsOfSocketsThatTakeDatagramsToAnAddress)
{
    const char* udp = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n"
                      " 1000: 00000000:1389 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 17 2 0000000000000000 0\n"
                      " 1001: 0200000A:138A 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 18 2 0000000000000000 0\n"
                      " 1002: 0100007F:138B 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 19 2 0000000000000000 0\n";
    const char* udp6 = "  sl  local_address                         remote_address                        st\n"
                       " 2000: 00000000000000000000000000000000:0035 00000000000000000000000000000000:0000 07\n"
                       " 2001: 0000000000000000FFFF00000200000A:138C 00000000000000000000000000000000:0000 07\n"
                       " 2002: 00000000000000000000000001000000:138D 00000000000000000000000000000000:0000 07\n 2003: cut";
    EXPECT_THAT(bound_udp_ports(udp, udp6, 0x0a000002), testing::ElementsAre(53, 5001, 5002, 5004));
    EXPECT_THAT(bound_udp_ports("", "", 0x0a000002), IsEmpty());
}

TEST(ProcTables, WhatIsCutGivesWhatThereIs)
{
    EXPECT_THAT(parse_snmp("Ip: Forwarding DefaultTTL\nIp: 1 64\nUdp: InDatagrams\n"), Contains(Key("Ip.DefaultTTL")));
    EXPECT_THAT(parse_snmp("Ip:"), IsEmpty());
    EXPECT_THAT(parse_softnet_stat("zz\n"), IsEmpty());
    EXPECT_THAT(parse_dev("Inter-|\n eth0"), IsEmpty());
    EXPECT_THAT(parse_interrupts(""), IsEmpty());
}

TEST(ProcTables, AHostWithoutATableSaysSo)
{
    const auto sample = read_counters("/no/such/proc");
    EXPECT_THAT(sample.counters, IsEmpty());
    EXPECT_THAT(sample.missing, Contains(HasSubstr("net/snmp6")));
}

TEST(ProcTables, OnlyWhatMovedBecomesEvents)
{
    Trace trace;
    add_moves(trace, {{"Udp.InDatagrams", 5}, {"Udp.NoPorts", 1}, {"eth0.rx_packets", 9}}, {{"Udp.InDatagrams", 25}, {"Udp.NoPorts", 1}, {"eth0.rx_packets", 2}},
              SimTime{100});
    ASSERT_EQ(trace.size(), 1U);
    EXPECT_EQ(trace[0].event_kind(), EventKind::counter);
    const CounterChange& change = trace.counter_changes()[trace[0].arg];
    EXPECT_EQ(trace.counter(change.counter).name, "Udp.InDatagrams");
    EXPECT_EQ(change.after - change.before, 20U);
}

} // namespace
} // namespace skbscope::host
