// report --proc beside the real tools and files: two namespaces on a veth, made by hand and as a scenario, and the same words and columns
// in both. Needs root, iproute2 and ethtool; skips elsewhere and says why.

#include "tests/e2e/program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <regex>
#include <unistd.h>

namespace skbscope::e2e {
namespace {

/// What is left of a table when its numbers, addresses and the names of namespaces are taken out: words, signs and their order.
std::vector<std::string> words_of(std::string text)
{
    text = std::regex_replace(text, std::regex("([0-9a-f]{2}:){5}[0-9a-f]{2}"), "MAC");
    text = std::regex_replace(text, std::regex("[0-9A-F]{8}:[0-9A-F]{4}"), "ADDRESS");
    text = std::regex_replace(text, std::regex("skbscope-[a-z]+-[0-9]+"), "far");
    text = std::regex_replace(text, std::regex("(qdisc [a-z_]+ )[0-9a-f]+:"),
                              "$1N:"); // a handle is a hexadecimal number
    std::vector<std::string> lines;
    std::istringstream in(std::regex_replace(text, std::regex("\\b[0-9]+\\b"), "N"));
    for (std::string line; std::getline(in, line);) {
        lines.push_back(std::regex_replace(line, std::regex(" +"), " "));
    }
    return lines;
}

/// Names and columns alone: what stands in a table's first line of each pair.
std::vector<std::string> odd_lines(const std::string& text)
{
    std::vector<std::string> lines;
    std::istringstream in(text);
    std::string line;
    for (int n = 0; std::getline(in, line); ++n) {
        if (n % 2 == 0 && !line.starts_with("IcmpMsg")) { // which messages there were
            lines.push_back(line);
        }
    }
    return lines;
}

struct QdiscCase {
    const char* name;
    const char* tc;       ///< for tc(8)
    const char* scenario; ///< the same for the model
};

void PrintTo(const QdiscCase& row, std::ostream* out) { *out << row.name; }

class RealTools : public testing::TestWithParam<QdiscCase> {
protected:
    void SetUp() override
    {
        if (geteuid() != 0) {
            GTEST_SKIP() << "needs root";
        }
        for (const char* tool : {"ip", "tc", "ethtool", "nsenter"}) {
            if (!is_installed(tool)) {
                GTEST_SKIP() << tool << " is not installed";
            }
        }
        const auto made =
            sh("ip netns add " + near_ + " && ip netns add " + far_ + " && ip link add v0 netns " + near_ +
               " type veth peer name v1 netns " + far_ + " && ip -n " + near_ +
               " addr add 10.5.0.1/24 dev v0 && ip -n " + near_ + " link set lo up && ip -n " + near_ +
               " link set v0 up && ip -n " + far_ + " link set v1 up && tc -n " + near_ +
               " qdisc replace dev v0 root " + GetParam().tc + " && echo made");
        if (made != "made\n") {
            GTEST_SKIP() << "this kernel does not do it";
        }
        const std::string release = sh("uname -r");
        kernel_ = "6.18";
        for (const char* profile : {"5.10", "6.1", "6.12"}) {
            kernel_ = release.starts_with(std::string(profile) + ".") ? profile : kernel_;
        }
        write_file(folder_ / "model.yaml", R"(skbscope: 1
title: the same
kernel: ")" + kernel_ + R"("
hosts:
  - name: near
    cpus: )" + std::to_string(sysconf(_SC_NPROCESSORS_CONF)) + R"(
    devices:
      - {name: v0, driver: veth, address: 10.5.0.1/24, peer: far.v1, qdisc: )" + GetParam().scenario + R"(}
    receivers:
      - {name: app, port: 5001}
  - name: far
    namespace_of: near
    devices:
      - {name: v1, driver: veth, address: 10.5.0.2/24, peer: near.v0}
)");
        const auto run = skbscope({"run", folder_ / "model.yaml", "-w", folder_ / "model.pcapng"});
        ASSERT_EQ(run.status, 0) << run.err;
    }

    void TearDown() override
    {
        (void)sh("ip netns del " + near_ + "; ip netns del " + far_);
    }

    static std::string sh(const std::string& command) { return run_program({"sh", "-c", command}).out; }
    std::string real(const std::string& command) const
    {
        return sh("nsenter --net=/run/netns/" + near_ + " " + command);
    }
    std::string model(const std::string& name) const
    {
        const auto outcome = skbscope({"report", folder_ / "model.pcapng", "--proc", name, "--host", "near"});
        EXPECT_EQ(outcome.status, 0) << outcome.err;
        return outcome.out;
    }

    TemporaryFolder folder_;
    std::string near_ = "skbscope-tools-" + std::to_string(getpid());
    std::string far_ = "skbscope-others-" + std::to_string(getpid());
    std::string kernel_;
};

TEST_P(RealTools, SayTheSameWordsOfTheSameDevices)
{
    std::string link = model("ip-link");
    link = std::regex_replace(link, std::regex("link-netns far"), "link-netns " + far_);
    EXPECT_EQ(words_of(link), words_of(real("ip -s link")));
    EXPECT_EQ(words_of(model("tc")), words_of(real("tc -s qdisc")));
    // ethtool is asked for one device and does not name it.
    std::string statistics = model("ethtool");
    statistics = statistics.substr(statistics.find("NIC"));
    EXPECT_EQ(words_of(statistics), words_of(real("ethtool -S v0")));
}

TEST_P(RealTools, FilesOfProcHaveTheSameColumns)
{
    for (const char* name : {"snmp", "netstat"}) {
        EXPECT_EQ(odd_lines(model(name)), odd_lines(real(std::string("cat /proc/net/") + name))) << name;
    }
    EXPECT_EQ(words_of(model("dev")), words_of(real("cat /proc/net/dev")));
    EXPECT_EQ(words_of(model("dev")).size(), 4U);
    const auto first_line = [](const std::string& text) { return text.substr(0, text.find('\n')); };
    EXPECT_EQ(first_line(model("udp")), first_line(real("cat /proc/net/udp")));
    EXPECT_EQ(first_line(model("softnet_stat")).size(),
              first_line(real("cat /proc/net/softnet_stat")).size());
    EXPECT_EQ(first_line(model("interrupts")), first_line(real("cat /proc/interrupts")));
}

INSTANTIATE_TEST_SUITE_P(Qdiscs, RealTools,
                         testing::Values(QdiscCase{"pfifo", "pfifo limit 20", "{kind: pfifo, limit: 20}"},
                                         QdiscCase{"bfifo", "bfifo limit 20000",
                                                   "{kind: bfifo, limit: 20000}"},
                                         QdiscCase{"tbf", "tbf rate 1500kbit burst 10kb limit 30000",
                                                   "{kind: tbf, rate: 1500kbit, burst: 10240, limit: 30000}"},
                                         QdiscCase{"pfifo_fast", "pfifo_fast", "pfifo_fast"},
                                         QdiscCase{"fq_codel", "fq_codel", "fq_codel"}),
                         [](const auto& row) { return std::string(row.param.name); });

} // namespace
} // namespace skbscope::e2e
