// The modelled /proc files against files of real kernels (tests/data/procfs): same lines, same names, same columns.

#include "tests/core/kernel/model.h"

#include "core/kernel/procfs.h"

#include <fmt/format.h>
#include <fstream>
#include <regex>
#include <sstream>

namespace skbscope {
namespace {

using test::ModelRun;
using test::receive_scenario;

std::vector<std::string> lines_of(const std::string& text)
{
    std::vector<std::string> lines;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) {
        lines.push_back(line);
    }
    return lines;
}

std::string real(const std::string& kernel, const std::string& name)
{
    std::ifstream file(fmt::format("{}/tests/data/procfs/{}-{}", SKBSCOPE_SOURCE_DIR, kernel, name));
    std::stringstream text;
    text << file.rdbuf();
    EXPECT_FALSE(text.str().empty()) << kernel << name;
    return text.str();
}

std::string of(const Trace& trace, const std::string& name)
{
    const auto found = std::ranges::find(trace.files, name, &HostFile::name);
    return found == trace.files.end() ? "" : found->text;
}

std::string on_kernel(const std::string& kernel, const std::string& flow = "count: 3")
{
    return std::string(receive_scenario(flow)).replace(0, 12, "skbscope: 1\nkernel: \"" + kernel + "\"\n");
}

/// Names of the pairs of lines that snmp and netstat consist of; message types hang on what was sent.
std::vector<std::string> headers(const std::string& text)
{
    std::vector<std::string> names;
    for (const std::string& line : lines_of(text)) {
        const std::size_t colon = line.find(": ");
        if (colon != std::string::npos && line.size() > colon + 2 && std::isalpha(static_cast<unsigned char>(line[colon + 2])) != 0 &&
            !line.starts_with("IcmpMsg")) {
            names.push_back(line);
        }
    }
    return names;
}

class ProcFiles : public testing::TestWithParam<const char*> {};

TEST_P(ProcFiles, SnmpAndNetstatHaveTheNamesOfTheRealKernelInItsOrder)
{
    const ModelRun run(on_kernel(GetParam()));
    for (const char* name : {"snmp", "netstat"}) {
        EXPECT_EQ(headers(of(run.trace(), name)), headers(real(GetParam(), name))) << name;
        const auto lines = lines_of(of(run.trace(), name));
        for (std::size_t at = 0; at + 1 < lines.size(); at += 2) {
            EXPECT_EQ(std::ranges::count(lines[at], ' '), std::ranges::count(lines[at + 1], ' ')) << lines[at];
        }
    }
}

TEST_P(ProcFiles, Snmp6HasTheLinesOfTheRealKernel)
{
    const ModelRun run(on_kernel(GetParam()));
    const auto names = [](const std::string& text) {
        std::vector<std::string> list;
        for (const std::string& line : lines_of(text)) {
            const std::string name = line.substr(0, line.find('\t'));
            if (name.find("Type") == std::string::npos) {
                list.push_back(name);
            }
        }
        return list;
    };
    EXPECT_EQ(names(of(run.trace(), "snmp6")), names(real(GetParam(), "snmp6")));
}

TEST_P(ProcFiles, SoftnetStatAndDevHaveTheColumnsOfTheRealKernel)
{
    const ModelRun run(on_kernel(GetParam()));
    const auto softnet = lines_of(of(run.trace(), "softnet_stat"));
    ASSERT_EQ(softnet.size(), 2U) << "a line for each CPU";
    EXPECT_EQ(softnet[0].size(), lines_of(real(GetParam(), "softnet_stat"))[0].size());
    EXPECT_EQ(softnet[0].substr(0, 8), "00000003");
    EXPECT_EQ(softnet[1].substr(12 * 9, 8), "00000001") << "its number stands in the 13th column";
    const auto dev = lines_of(of(run.trace(), "dev"));
    const auto real_dev = lines_of(real(GetParam(), "dev"));
    ASSERT_GE(dev.size(), 4U);
    EXPECT_EQ(dev[0], real_dev[0]);
    EXPECT_EQ(dev[1], real_dev[1]);
    EXPECT_EQ(dev[2], real_dev[2]) << "lo did nothing on either";
    EXPECT_EQ(dev[3].size(), real_dev[3].size());
}

INSTANTIATE_TEST_SUITE_P(Kernels, ProcFiles, testing::Values("5.10", "6.1", "6.12", "6.18"), [](const auto& row) {
    std::string name = row.param;
    std::ranges::replace(name, '.', '_');
    return "v" + name;
});

TEST(ProcFilesOf, ARunCountWhatTheRunDid)
{
    const ModelRun run(receive_scenario("count: 30", "rcvbuf: 4608, work: 10ms"));
    EXPECT_NE(of(run.trace(), "snmp").find("Ip: 2 64 30 "), std::string::npos) << of(run.trace(), "snmp");
    const auto udp = lines_of(of(run.trace(), "udp"));
    ASSERT_EQ(udp.size(), 2U);
    EXPECT_EQ(udp[0].size(), 127U);
    EXPECT_EQ(udp[1].size(), 127U);
    EXPECT_TRUE(std::regex_search(udp[1], std::regex(R"(^ *\d+: 00000000:1389 00000000:0000 07 00000000:[0-9A-F]{8} 00:00000000 00000000 )"))) << udp[1];
    EXPECT_EQ(std::stoul(udp[1].substr(udp[1].find_last_not_of(' ') - 1)), run.drops(drop::SOCKET_RCVBUFF));
    const std::string interrupts = of(run.trace(), "interrupts");
    EXPECT_TRUE(std::regex_search(interrupts, std::regex(R"(\n 20: +\d+          0   IO-APIC  20-fasteoi   eth0\n)"))) << interrupts;
    EXPECT_NE(of(run.trace(), "ip-link").find("\n    RX:  bytes packets errors dropped  missed   mcast           \n"), std::string::npos);
    EXPECT_NE(of(run.trace(), "ethtool").find("NIC statistics:\n     rx_packets: 30\n"), std::string::npos) << of(run.trace(), "ethtool");
    EXPECT_NE(of(run.trace(), "tc").find("qdisc noqueue 0: dev lo root refcnt 2 \n Sent 0 bytes 0 pkt (dropped 0, overlimits 0 requeues 0) \n"),
              std::string::npos) << of(run.trace(), "tc");
}

/// Lines of /proc/interrupts as three kernels have written them (devices of a machine of QEMU's), and as the model does.
TEST(ProcFilesOf, InterruptsHaveTheLinesOfTheRealKernels)
{
    struct Row {
        const char* kernel;
        const char* driver;
        const char* line; ///< all behind the counts
    };
    for (const Row& row : {Row{"5.10", "virtio_net", "  PCI-MSI 49153-edge      virtio0-input.0"}, Row{"6.1", "virtio_net", "  PCI-MSI 49152-edge      virtio0-config"},
                           Row{"6.1", "virtio_net", "  PCI-MSI 49154-edge      virtio0-output.0"}, Row{"6.1", "e1000e", "  PCI-MSI 49152-edge      eth0-rx-0"},
                           Row{"6.1", "e1000e", "  PCI-MSI 49154-edge      eth0"}, Row{"6.12", "e1000", "  IO-APIC  20-fasteoi   eth0"},
                           Row{"6.12", "virtio_net", " PCI-MSIX-0000:00:03.0   1-edge      virtio0-input.0"}}) {
        const ModelRun run("kernel: \"" + std::string(row.kernel) + "\"\n" + receive_scenario("count: 3", "", "", std::string("driver: ") + row.driver));
        const std::string text = of(run.trace(), "interrupts");
        EXPECT_NE(text.find(std::string(" ") + row.line + "\n"), std::string::npos) << row.kernel << " " << row.line << "\n" << text;
        EXPECT_EQ(text.substr(0, text.find('\n')), "           CPU0       CPU1       ");
    }
}

} // namespace
} // namespace skbscope
