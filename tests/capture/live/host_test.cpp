// Facts of made-up hosts, and what dead sessions leave behind.

#include "capture/session/leftovers.h"
#include "capture/session/tracefs_files.h"
#include "tests/capture/live/made_up_host.h"

#include <algorithm>
#include <gmock/gmock.h>

namespace skbscope {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(SessionMark, IsReadFromTheNamesThatItGives)
{
    const SessionMark mark{1234, 567890};
    EXPECT_EQ(mark.text(), "skbscope_1234_567890");
    EXPECT_EQ(SessionMark::parse("skbscope_1234_567890"), mark);
    EXPECT_EQ(SessionMark::parse("skbscope_1234_567890_drops"), mark);
}

TEST(SessionMark, IsNotReadFromNamesThatOthersGive)
{
    for (const char* name : {"", "skbscope", "skbscope_", "skbscope_12", "skbscope_12_", "skbscope_0_5", "skbscope_-4_5",
                             "skbscope_12_5x", "skbscope_x_5", "bpftrace_1234_567890"}) {
        EXPECT_EQ(SessionMark::parse(name), std::nullopt) << name;
    }
}

TEST(Leftovers, AreThoseOfProcessesThatAreGoneOrWhosePidHasANewOwner)
{
    MadeUpHost host;
    host.process(100, 5000);
    host.process(200, 9999);
    for (const char* name : {"skbscope_100_5000", "skbscope_100_5000_drops", "skbscope_200_7000", "skbscope_300_1", "foo"}) {
        host.folder(std::string("tracing/instances/") + name);
    }
    host.file("tracing/kprobe_events", "p:skbscope_100_5000/ip_rcv ip_rcv\n"
                                       "p:skbscope_300_1/ip_rcv ip_rcv skb=$arg1:x64\n"
                                       "r16:skbscope_300_1/out ip_rcv\n"
                                       "p:kprobes/mine schedule\n");
    Leftovers found = find_leftovers(host.path("tracing"), host.path("proc"));
    std::ranges::sort(found.instances);
    EXPECT_THAT(found.instances, ElementsAre("skbscope_200_7000", "skbscope_300_1"));
    EXPECT_THAT(found.probes, ElementsAre("skbscope_300_1/ip_rcv", "skbscope_300_1/out"));
}

TEST(Leftovers, AreNotThoseThatSomebodyHoldsALockOnThoughHeCannotBeSeen)
{
    MadeUpHost host;
    host.folder("tracing/instances/skbscope_300_1");
    const int lock = lock_folder(host.path("tracing/instances/skbscope_300_1"));
    ASSERT_GE(lock, 0);
    EXPECT_TRUE(find_leftovers(host.path("tracing"), host.path("proc")).empty());
    (void)close(lock);
    EXPECT_FALSE(find_leftovers(host.path("tracing"), host.path("proc")).empty());
}

TEST(Leftovers, GoWithoutTouchingWhatIsNotOurs)
{
    MadeUpHost host;
    host.folder("tracing/instances/skbscope_300_1");
    host.folder("tracing/instances/foo");
    EXPECT_THAT(remove_leftovers(host.path("tracing"), find_leftovers(host.path("tracing"), host.path("proc"))), IsEmpty());
    EXPECT_FALSE(std::filesystem::exists(host.path("tracing/instances/skbscope_300_1")));
    EXPECT_TRUE(std::filesystem::exists(host.path("tracing/instances/foo")));
}

TEST(HostFacts, OfAHostWithNothingAreThatThereIsNothing)
{
    MadeUpHost host;
    const HostFacts facts = read_host_facts(host.places());
    EXPECT_EQ(facts.tracing, Access::absent);
    EXPECT_EQ(facts.symbols, Access::absent);
    EXPECT_EQ(facts.btf, Access::absent);
    EXPECT_THAT(facts.events, IsEmpty());
    EXPECT_THAT(facts.capabilities, IsEmpty());
}

TEST(HostFacts, OfAnEmptyTracingFolderAreThatNothingIsMounted)
{
    MadeUpHost host;
    host.folder("tracing");
    EXPECT_EQ(read_host_facts(host.places()).tracing, Access::unmounted);
}

TEST(HostFacts, AreReadFromWhatTheKernelSays)
{
    MadeUpHost host;
    host.file("proc/sys/kernel/osrelease", "6.1.0-56-amd64\n");
    host.file("proc/meminfo", "MemTotal:        8146316 kB\nMemFree: 1 kB\n");
    host.file("proc/self/status", "Name:\tx\nCapEff:\t0000000000002002\n");
    host.file("proc/kallsyms", "0000000000000000 A fixed_percpu_data\nffffffff81000000 T _text\n");
    host.file("sys/devices/system/cpu/possible", "0-3\n");
    host.file("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n");
    host.file("sys/kernel/security/lockdown", "none [integrity] confidentiality\n");
    host.folder("tracing/instances");
    host.file("tracing/events/skb/kfree_skb/format", "\tfield:enum skb_drop_reason reason;\toffset:28;\n");
    host.file("tracing/events/net/net_dev_queue/format", "");
    host.file("tracing/trace_clock", "local global [mono] boot\n");
    host.file("tracing/available_tracers", "function_graph function nop\n");
    host.file("tracing/available_filter_functions", "ip_rcv\ne1000_intr [e1000]\n");
    host.file("tracing/set_ftrace_filter", "");
    host.file("tracing/README", "tracing mini-HOWTO\n");
    const HostFacts facts = read_host_facts(host.places(), true);
    EXPECT_EQ(facts.kernel_release, "6.1.0-56-amd64");
    EXPECT_EQ(facts.memory_kb, 8146316U);
    EXPECT_THAT(facts.capabilities, ElementsAre("dac_override", "net_raw"));
    EXPECT_EQ(facts.symbols, Access::usable);
    EXPECT_EQ(facts.cpus, 4U);
    EXPECT_EQ(facts.lockdown, "integrity");
    EXPECT_EQ(facts.tracing, Access::usable);
    EXPECT_TRUE(facts.drop_reasons);
    EXPECT_THAT(facts.events, ElementsAre("net:net_dev_queue", "skb:kfree_skb"));
    EXPECT_THAT(facts.clocks, ElementsAre("local", "global", "mono", "boot"));
    EXPECT_EQ(facts.clocksource, "tsc");
    EXPECT_THAT(facts.functions, ElementsAre("ip_rcv", "e1000_intr"));
    EXPECT_EQ(facts.kprobe_events, Access::absent);
}

TEST(HostFacts, KnowHiddenSymbolsFromTheirZeros)
{
    MadeUpHost host;
    host.file("proc/kallsyms", "0000000000000000 T _text\n0000000000000000 T ip_rcv\n");
    EXPECT_EQ(read_host_facts(host.places()).symbols, Access::denied);
}

} // namespace
} // namespace skbscope
