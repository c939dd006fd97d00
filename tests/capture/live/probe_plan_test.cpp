// The plan for made-up hosts: what is used, what is said to be missing, and with which remedy.

#include "capture/probe_plan.h"

#include <algorithm>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace skbscope {
namespace {

using testing::Contains;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

HostFacts host_with_everything()
{
    HostFacts facts;
    facts.kernel_release = "6.1.0-56-amd64";
    facts.machine = "x86_64";
    facts.cpus = 4;
    facts.memory_kb = 8 << 20;
    facts.capabilities = {"net_raw", "dac_override", "syslog"};
    facts.tracefs = "/sys/kernel/tracing";
    facts.tracing = Access::usable;
    facts.events = {"net:net_dev_queue", "net:netif_receive_skb", "skb:kfree_skb", "irq:softirq_entry", "napi:napi_poll"};
    facts.drop_reasons = true;
    facts.clocks = {"local", "global", "mono"};
    facts.tracers = {"function", "nop"};
    facts.function_filter = Access::usable;
    facts.kprobe_events = Access::usable;
    facts.symbols = Access::usable;
    facts.btf = Access::usable;
    facts.layout = SkbLayout{232, 16, 112, 116, 200, 208, 180, 184, 216, 0};
    facts.functions = {"ip_rcv", "schedule", "udp_rcv", "__udp_enqueue_schedule_skb", "ip_rcv_core.isra.0"};
    return facts;
}

const HostFinding& finding_of(const ProbePlan& plan, const std::string& piece)
{
    const auto found = std::ranges::find(plan.findings, piece, &HostFinding::piece);
    EXPECT_NE(found, plan.findings.end()) << piece;
    return *found;
}

TEST(ProbePlan, OfAHostWithEverythingTracesTheCatalogsFunctionsAndNoOthers)
{
    const ProbePlan plan = plan_probes(host_with_everything());
    EXPECT_EQ(plan.detail, Detail::functions);
    EXPECT_TRUE(plan.frames);
    EXPECT_EQ(plan.clock, "mono");
    EXPECT_THAT(plan.functions, Contains("ip_rcv"));
    EXPECT_THAT(plan.functions, Contains("ip_rcv_core.isra.0"));
    EXPECT_THAT(plan.functions, Not(Contains("schedule")));
}

TEST(ProbePlan, StampsWithCyclesOnlyWhereTheKernelsOwnClockIsMadeOfThem)
{
    HostFacts facts = host_with_everything();
    facts.clocks.push_back("x86-tsc");
    EXPECT_EQ(plan_probes(facts).clock, "mono") << "the CPUs' cycles may differ";
    facts.clocksource = "tsc";
    EXPECT_EQ(plan_probes(facts).clock, "x86-tsc");
    facts.machine = "aarch64";
    EXPECT_EQ(plan_probes(facts).clock, "mono");
}

TEST(ProbePlan, FetchesFromTheArgumentThatHoldsTheSkbAndFromTheOffsetsOfThisKernel)
{
    const ProbePlan plan = plan_probes(host_with_everything());
    const auto of = [&](const char* name) { return *std::ranges::find(plan.probes, name, &PlannedProbe::function); };
    EXPECT_THAT(of("ip_rcv").fetch, HasSubstr("skb=$arg1:x64"));
    EXPECT_THAT(of("ip_rcv").fetch, HasSubstr("saddr=+12(+208($arg1)):x32"));
    EXPECT_THAT(of("__udp_enqueue_schedule_skb").fetch, HasSubstr("skb=$arg2:x64"));
    EXPECT_THAT(of("__udp_enqueue_schedule_skb").fetch, HasSubstr("len=+112($arg2):u32"));
}

TEST(ProbePlan, ProbesNoFunctionThatTheKernelDoesNotList)
{
    const ProbePlan plan = plan_probes(host_with_everything());
    EXPECT_THAT(plan.probes, Not(Contains(Field(&PlannedProbe::function, "ip_output"))));
}

TEST(ProbePlan, OfAKernelThatRefusesTheFunctionFilterFallsBackToEventsAndSaysSo)
{
    HostFacts facts = host_with_everything();
    facts.function_filter = Access::denied;
    facts.functions.clear();
    facts.kprobe_events = Access::absent;
    const ProbePlan plan = plan_probes(facts);
    EXPECT_EQ(plan.detail, Detail::tracepoints);
    EXPECT_THAT(plan.functions, IsEmpty());
    EXPECT_THAT(plan.probes, IsEmpty());
    EXPECT_FALSE(finding_of(plan, "function tracer").available);
    EXPECT_THAT(finding_of(plan, "kprobe events").remedy, HasSubstr("CONFIG_KPROBE_EVENTS"));
}

TEST(ProbePlan, WithoutTypeInformationProbesNothingAndNamesThePrice)
{
    HostFacts facts = host_with_everything();
    facts.layout.reset();
    facts.btf = Access::absent;
    const ProbePlan plan = plan_probes(facts);
    EXPECT_THAT(plan.probes, IsEmpty());
    EXPECT_EQ(plan.detail, Detail::functions);
    EXPECT_THAT(finding_of(plan, "BTF (the kernel's type information)").costs, HasSubstr("addresses"));
}

TEST(ProbePlan, OfAnotherMachineThanX86FetchesNoArguments)
{
    HostFacts facts = host_with_everything();
    facts.machine = "aarch64";
    EXPECT_THAT(plan_probes(facts).probes, IsEmpty());
}

TEST(ProbePlan, OfAnUnmountedTracefsIsFramesAndTheCommandThatMountsIt)
{
    HostFacts facts = host_with_everything();
    facts.tracefs.clear();
    facts.tracing = Access::unmounted;
    facts.events.clear();
    const ProbePlan plan = plan_probes(facts);
    EXPECT_EQ(plan.detail, Detail::frames);
    EXPECT_THAT(plan.events, IsEmpty());
    EXPECT_EQ(finding_of(plan, "tracefs").remedy, "sudo mount -t tracefs nodev /sys/kernel/tracing");
    EXPECT_TRUE(finding_of(plan, "tracefs").is_command);
}

TEST(ProbePlan, OfAReadOnlyTracefsNamesTheRemount)
{
    HostFacts facts = host_with_everything();
    facts.tracing = Access::read_only;
    const ProbePlan plan = plan_probes(facts);
    EXPECT_EQ(plan.detail, Detail::frames);
    EXPECT_EQ(finding_of(plan, "tracefs").remedy, "sudo mount -o remount,rw /sys/kernel/tracing");
}

TEST(ProbePlan, UnderLockdownSaysThatNoCommandLiftsIt)
{
    HostFacts facts = host_with_everything();
    facts.tracing = Access::denied;
    facts.lockdown = "confidentiality";
    const ProbePlan plan = plan_probes(facts);
    const HostFinding& finding = finding_of(plan, "tracefs");
    EXPECT_FALSE(finding.is_command);
    EXPECT_THAT(finding.remedy, HasSubstr("lockdown=confidentiality"));
}

TEST(ProbePlan, OfAHostWithNothingIsNothingAndEveryMissingPieceHasPriceAndRemedy)
{
    const ProbePlan plan = plan_probes(HostFacts{});
    EXPECT_EQ(plan.detail, Detail::nothing);
    EXPECT_FALSE(plan.frames);
    for (const HostFinding& finding : plan.findings) {
        EXPECT_EQ(finding.available, finding.costs.empty()) << finding.piece;
        EXPECT_EQ(finding.available, finding.remedy.empty()) << finding.piece;
    }
}

TEST(ProbePlan, FiltersInTheKernelByDeviceAndVector)
{
    const ProbePlan plan = plan_probes(host_with_everything(), {{"eth0"}, Detail::functions});
    EXPECT_THAT(plan.events, Contains(PlannedEvent{"net", "net_dev_queue", "name == \"eth0\""}));
    EXPECT_THAT(plan.events, Contains(PlannedEvent{"irq", "softirq_entry", ""}));
    EXPECT_THAT(plan.events, Contains(PlannedEvent{"skb", "kfree_skb", ""}));
}

TEST(ProbePlan, QuotesADevicesNameSoThatTheKernelReadsItWhole)
{
    const auto filter_of = [](const std::string& device) {
        const ProbePlan plan = plan_probes(host_with_everything(), {{device}, Detail::functions});
        const auto event = std::ranges::find(plan.events, "net_dev_queue", &PlannedEvent::name);
        return event == plan.events.end() ? std::string("none") : event->filter;
    };
    EXPECT_EQ(filter_of("*"), R"(name == "*")");
    EXPECT_EQ(filter_of(R"(a"b)"), R"(name == 'a"b')");
    EXPECT_EQ(filter_of(R"(q'"*x)"), R"(name ~ "q'??x")") << "no quote takes both";
}

TEST(ProbePlan, TakesNoMoreThanIsWished)
{
    const ProbePlan plan = plan_probes(host_with_everything(), {{}, Detail::tracepoints});
    EXPECT_EQ(plan.detail, Detail::tracepoints);
    EXPECT_THAT(plan.probes, IsEmpty());
    EXPECT_THAT(plan.functions, IsEmpty());
}

TEST(ProbePlan, SizesBuffersByMemory)
{
    HostFacts facts = host_with_everything();
    facts.memory_kb = 256 << 10; // 256 MiB, 4 CPUs
    EXPECT_EQ(plan_probes(facts).buffer_kb, 4096U);
    facts.cpus = 64;
    EXPECT_EQ(plan_probes(facts).buffer_kb, 256U);
}

} // namespace
} // namespace skbscope
