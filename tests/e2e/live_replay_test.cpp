// replay -i DEV: a veth in namespaces of this test's own. Needs root and iproute2; skips elsewhere and says why.

#include "tests/e2e/program.h"

#include <algorithm>
#include <arpa/inet.h>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <future>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

namespace skbscope::e2e {
namespace {

using testing::HasSubstr;

/// What is done in a namespace, by a thread of its own: it belongs to the namespace then.
template <typename Work>
auto in_namespace(const std::string& name, Work work)
{
    return std::async(std::launch::async, [name, work] {
               const int file = open(("/run/netns/" + name).c_str(), O_RDONLY | O_CLOEXEC);
               EXPECT_TRUE(file >= 0 && setns(file, CLONE_NEWNET) == 0) << std::strerror(errno);
               close(file);
               return work();
           })
        .get();
}

int udp_socket() { return socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0); }

sockaddr_in address(const char* text, std::uint16_t port)
{
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    inet_pton(AF_INET, text, &to.sin_addr);
    return to;
}

/// Two namespaces on a veth, a socket on port 7001 at its far end.
class LiveReplayOfAVeth : public testing::Test {
protected:
    void SetUp() override
    {
        if (geteuid() != 0) {
            GTEST_SKIP() << "needs root";
        }
        if (!is_installed("ip")) {
            GTEST_SKIP() << "iproute2 is not installed";
        }
        const std::string made =
            run_program({"sh", "-c",
                         "ip netns add " + near_ + " && ip netns add " + far_ + " && ip link add v0 netns " +
                             near_ + " type veth peer name v1 netns " + far_ + " && ip -n " + near_ +
                             " addr add 10.98.0.1/24 dev v0 && ip -n " + far_ +
                             " addr add 10.98.0.2/24 dev v1 && ip -n " + near_ + " link set v0 up && ip -n " +
                             far_ + " link set v1 up && echo made"})
                .out;
        if (made != "made\n") {
            GTEST_SKIP() << "namespaces and veths cannot be made here";
        }
        far_socket_ = in_namespace(far_, [] {
            const int file = udp_socket();
            const auto at = address("0.0.0.0", 7001);
            EXPECT_EQ(bind(file, reinterpret_cast<const sockaddr*>(&at), sizeof at), 0);
            return file;
        });
        near_socket_ = in_namespace(near_, [] { return udp_socket(); });
    }

    void TearDown() override
    {
        for (const int file : {far_socket_, near_socket_}) {
            if (file >= 0) {
                close(file);
            }
        }
        if (far_socket_ >= 0) {
            (void)run_program({"ip", "netns", "del", near_});
            (void)run_program({"ip", "netns", "del", far_});
        }
    }

    void send(std::uint16_t port) const
    {
        const auto to = address("10.98.0.2", port);
        EXPECT_EQ(sendto(near_socket_, "datagram", 8, 0, reinterpret_cast<const sockaddr*>(&to), sizeof to),
                  8);
    }

    /// The program in the far namespace, while datagrams come until it has ended: those to port 7001 find a socket, those to 7009 none.
    Outcome replay_while_sending(std::vector<std::string> options) const
    {
        std::vector<std::string> words{"netns", "exec", far_, SKBSCOPE_PROGRAM, "replay", "-i", "v1"};
        words.insert(words.end(), options.begin(), options.end());
        std::atomic<bool> ended = false;
        std::thread sender([&] {
            for (int n = 0; !ended; ++n) {
                send(n % 4 == 3 ? 7009 : 7001);
                std::this_thread::sleep_for(std::chrono::milliseconds(2));
            }
        });
        words.insert(words.begin(), "ip");
        const Outcome outcome = run_program(words, {.seconds = 30});
        ended = true;
        sender.join();
        return outcome;
    }

    std::string near_ = "skbscope-near-" + std::to_string(getpid());
    std::string far_ = "skbscope-far-" + std::to_string(getpid());
    int near_socket_ = -1;
    int far_socket_ = -1;
};

TEST_F(LiveReplayOfAVeth, DeliversWhatFindsASocketHereAndDropsTheRest)
{
    const Outcome outcome = replay_while_sending({"-f", "udp", "-c", "200", "--format", "json"});
    ASSERT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("replaying: v1 as 10.98.0.2, kernel 6.1, 1 receivers"));
    EXPECT_THAT(outcome.err, HasSubstr("v1: 200 frames replayed"));
    EXPECT_THAT(outcome.err, HasSubstr("200 had their checksum filled in")) << "veth leaves them unfinished";
    const auto packets = outcome.json()["packets"];
    EXPECT_EQ(packets["delivered"], 150);
    const auto drops =
        outcome.json()["drops"]; // the model's own ICMP errors may be among them: nobody answers its ARP
    const auto refused =
        std::ranges::find_if(drops, [](const auto& drop) { return drop["reason"] == "NO_SOCKET"; });
    ASSERT_NE(refused, drops.end());
    EXPECT_EQ((*refused)["count"], 50);
}

TEST_F(LiveReplayOfAVeth, StreamsARecordingThatOpens)
{
    const TemporaryFolder out;
    const Outcome outcome =
        replay_while_sending({"-f", "udp", "-d", "0.5", "--kernel", "6.18", "-w", out / "live.pcapng"});
    ASSERT_EQ(outcome.status, 0) << outcome.err;
    const auto report =
        skbscope({"report", out / "live.pcapng", "-f", "udp and dst port 7001", "--format", "json"}).json();
    ASSERT_TRUE(report.is_object());
    EXPECT_GT(report["packets"]["delivered"], 20);
    EXPECT_EQ(report["packets"]["delivered"], report["packets"]["total"]);
}

TEST_F(LiveReplayOfAVeth, WhatStillLiesInTheCapturesBufferAtTheEndIsReplayedToo)
{
    using Clock = std::chrono::steady_clock;
    constexpr int flood = 60'000;
    constexpr auto duration = std::chrono::milliseconds(1000);
    constexpr auto filter_is_set =
        std::chrono::milliseconds(300); // no file tells it; what came before it libpcap throws away
    std::atomic<bool> ended = false;
    auto took = Clock::duration::max();
    std::thread sender([&] {
        const auto is_captured = [] {
            std::ifstream sockets("/proc/thread-self/net/packet");
            std::string line;
            return std::getline(sockets, line) && std::getline(sockets, line);
        };
        while (!ended && !in_namespace(far_, is_captured)) {
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
        }
        const auto began = Clock::now();
        std::this_thread::sleep_for(filter_is_set);
        for (int n = 0; n < flood && !ended; ++n) {
            send(7009);
        }
        took = Clock::now() - began;
    });
    const Outcome outcome = run_program({"ip", "netns", "exec", far_, SKBSCOPE_PROGRAM, "replay", "-i", "v1",
                                         "-f", "udp and dst port 7009", "-d", "1", "--summary"},
                                        {.seconds = 60});
    ended = true;
    sender.join();
    ASSERT_EQ(outcome.status, 0) << outcome.err;
    if (took >= duration) {
        GTEST_SKIP() << "this machine sends too slowly: the flood is not over when the replay ends";
    }
    const auto number_before = [&](const std::string& words) {
        const auto at = outcome.err.find(" " + words);
        const auto begin = at == std::string::npos ? at : outcome.err.rfind(' ', at - 1);
        return begin == std::string::npos ? 0 : std::stoi(outcome.err.substr(begin));
    };
    EXPECT_EQ(number_before("frames replayed") + number_before("lost by the capture"), flood) << outcome.err;
}

TEST_F(LiveReplayOfAVeth, ADeviceThatIsNotThereAFilterThatIsNoneAndAnUnknownHostAreOneLineEach)
{
    const auto nowhere =
        run_program({"ip", "netns", "exec", far_, SKBSCOPE_PROGRAM, "replay", "-i", "nothing0"});
    EXPECT_NE(nowhere.status, 0);
    EXPECT_EQ(nowhere.lines_on_stderr(), 1) << nowhere.err;
    EXPECT_THAT(nowhere.err, HasSubstr("nothing0"));
    const auto filter =
        run_program({"ip", "netns", "exec", far_, SKBSCOPE_PROGRAM, "replay", "-i", "v1", "-f", "udp or or"});
    EXPECT_EQ(filter.status, 2);
    EXPECT_EQ(filter.lines_on_stderr(), 1) << filter.err;
    const auto host = run_program(
        {"ip", "netns", "exec", far_, SKBSCOPE_PROGRAM, "replay", "-i", "v1", "--as", "10.1.1.1"});
    EXPECT_EQ(host.status, 2);
    EXPECT_THAT(host.err, HasSubstr("MAC"));
}

TEST(LiveReplay, NeedsACaptureOrADeviceAndNotBoth)
{
    for (const std::vector<std::string>& words : {std::vector<std::string>{"replay"},
                                                  {"replay", "a.pcap", "-i", "eth0"},
                                                  {"replay", "a.pcap", "-d", "1"}}) {
        const auto outcome = skbscope(words);
        EXPECT_EQ(outcome.status, 2) << outcome.err;
        EXPECT_EQ(outcome.lines_on_stderr(), 1) << outcome.err;
    }
}

} // namespace
} // namespace skbscope::e2e
