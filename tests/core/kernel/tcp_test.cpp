// TCP: connections between two modelled hosts, over wires good and bad.

#include "core/kernel/tcp_functions.h"
#include "tests/core/kernel/machine.h"

#include <gmock/gmock.h>
#include <map>

namespace skbscope::test {
namespace {

using kernel::Program;

std::string two_hosts(const std::string& client, const std::string& server, const std::string& device = "",
                      const std::string& host = "", const std::string& top = "")
{
    const std::string extra = device.empty() ? "" : ", " + device;
    return "skbscope: 1\n" + top +
           "hosts:\n"
           "  - name: dut\n    cpus: 2\n" +
           host +
           "    devices:\n      - {name: eth0, mac: \"52:54:00:12:34:00\", address: 10.99.0.2/24, link: "
           "peer.eth1" +
           extra +
           "}\n"
           "    tcp_clients:\n      - {to: \"10.99.0.1:5008\", cpu: 1, start: 100us, " +
           client +
           "}\n"
           "  - name: peer\n    cpus: 1\n" +
           host +
           "    devices:\n      - {name: eth1, mac: \"52:54:00:12:34:01\", address: 10.99.0.1/24, link: "
           "dut.eth0" +
           extra +
           "}\n"
           "    tcp_servers:\n      - {port: 5008, " +
           server + "}\n";
}

const kernel::TcpApp& app(const ModelRun& run, Program program)
{
    for (const kernel::Task& task : run.world().tasks) {
        if (task.program == program) {
            return task.tcp;
        }
    }
    throw std::logic_error("no such program");
}

void expect_closed_accounting(const ModelRun& run)
{
    const auto sums = run.end().accounting();
    std::uint64_t ended = 0;
    for (const Verdict v : {Verdict::delivered, Verdict::forwarded, Verdict::sent, Verdict::consumed,
                            Verdict::dropped, Verdict::merged, Verdict::split, Verdict::in_flight}) {
        ended += sums.of(v);
    }
    EXPECT_EQ(ended, sums.born);
}

TEST(Tcp, AHandshakeIsThreeSegmentsAndBothSidesCountIt)
{
    const ModelRun run(two_hosts("send: 0", "receive: 0"));
    EXPECT_EQ(app(run, Program::tcp_client).errors, 0U);
    EXPECT_EQ(app(run, Program::tcp_client).done, 1U);
    EXPECT_EQ(app(run, Program::tcp_server).done, 1U);
    EXPECT_EQ(run.counter("Tcp.ActiveOpens"), 1U);
    EXPECT_EQ(run.counter("Tcp.PassiveOpens"), 1U);
    expect_closed_accounting(run);
}

/// The first windows of client and server behind a handshake over a wire that takes two seconds.
std::vector<std::uint32_t> windows_behind_slow_wire(const std::string& host = "")
{
    std::string text = two_hosts("send: 100000", "receive: 100000", "delay: 2s", host);
    const auto knows = [&](const std::string& before, const std::string& neighbour) {
        text.insert(text.find("    " + before), "    neighbours: [{" + neighbour + "}]\n");
    };
    knows("tcp_clients:", "address: 10.99.0.1, mac: \"52:54:00:12:34:01\", device: eth0");
    knows("tcp_servers:", "address: 10.99.0.2, mac: \"52:54:00:12:34:00\", device: eth1");
    const ModelRun run(text, SimTime{} + 7_s); // established at 4 and 6 s; no data has been acknowledged yet
    std::vector<std::uint32_t> windows;
    for (const kernel::TcpSock& tp : run.world().tcp.socks) {
        if (tp.in_use && tp.total_retrans > 1) { // the SYN, the SYN-ACK; not the listener
            windows.push_back(tp.snd_cwnd);
        }
    }
    return windows;
}

TEST(Tcp, ASynThatWasSentAgainForNothingDoesNotShrinkTheFirstWindow)
{
    // tcp_try_undo_spurious_syn() (net/ipv4/tcp_input.c); without timestamps nothing tells.
    EXPECT_THAT(windows_behind_slow_wire(), ::testing::ElementsAre(10U, 10U));
    EXPECT_THAT(windows_behind_slow_wire("    sysctls: {net.ipv4.tcp_timestamps: 0}\n"),
                ::testing::ElementsAre(1U, 1U));
}

TEST(Tcp, DataBehindTheSendersOwnFinResetsTheConnection)
{
    // tcp_rcv_state_process(): of CLOSE-WAIT, too, as it has shut down receiving.
    constexpr std::uint8_t fin = 0x01;
    Wire wire("    tcp_servers: [{name: web, port: 80, accept: false}]\n");
    wire.send_segment(Wire::syn, Wire::isn, 0);
    const std::uint32_t theirs = wire.last_sequence() + 1;
    wire.send_segment(Wire::ack, Wire::isn + 1, theirs);
    wire.send_segment(fin | Wire::ack, Wire::isn + 1, theirs);
    wire.send_segment(Wire::ack, Wire::isn + 1, theirs, 1);
    EXPECT_EQ(wire.counted(kernel::Mib::TcpExt_TCPAbortOnData), 0U) << "no more than the FIN's number";
    wire.send_segment(Wire::ack, Wire::isn + 1, theirs, 10);
    EXPECT_EQ(wire.counted(kernel::Mib::TcpExt_TCPAbortOnData), 1U);
    EXPECT_EQ(wire.counted(kernel::Mib::Tcp_OutRsts), 1U);
}

TEST(Tcp, EveryByteArrivesInOrderInBothDirections)
{
    const ModelRun run(two_hosts("send: 200000, receive: 200000", "receive: 200000, send: 200000"));
    const auto& client = app(run, Program::tcp_client);
    const auto& server = app(run, Program::tcp_server);
    EXPECT_EQ(client.bytes_sent, 200000U);
    EXPECT_EQ(server.bytes_received, 200000U);
    EXPECT_EQ(client.bytes_received, 200000U);
    EXPECT_EQ(client.wrong_bytes + server.wrong_bytes, 0U);
    EXPECT_EQ(run.counter("Tcp.RetransSegs"), 0U);
    EXPECT_EQ(client.done, 1U);
    expect_closed_accounting(run);
}

TEST(Tcp, EveryByteArrivesInOrderOverALossyLink)
{
    for (const int seed : {1, 2, 3, 4, 5}) {
        const ModelRun run(two_hosts("send: 300000, receive: 100000", "receive: 300000, send: 100000",
                                     "loss: 2%, delay: 1ms", "", "seed: " + std::to_string(seed) + "\n"));
        const auto& client = app(run, Program::tcp_client);
        const auto& server = app(run, Program::tcp_server);
        EXPECT_EQ(server.bytes_received, 300000U) << "seed " << seed;
        EXPECT_EQ(client.bytes_received, 100000U) << "seed " << seed;
        EXPECT_EQ(client.wrong_bytes + server.wrong_bytes, 0U) << "seed " << seed;
        EXPECT_GT(run.counter("Tcp.RetransSegs"), 0U) << "seed " << seed;
        expect_closed_accounting(run);
    }
}

TEST(Tcp, ABlockOfSackCutsALargeSegmentAndOnlyWhatWasLostGoesAgain)
{
    constexpr int mss = 1448;
    for (const char* kernel : {"5.10", "6.1", "6.12"}) {
        for (const int first : {12, 25, 40}) { // all are in the middle of what the device cuts
            const std::string lose = "lose: [{port: 5008, bytes: " + std::to_string(first * mss) + "-" +
                                     std::to_string((first + 2) * mss) + "}]";
            const ModelRun run(two_hosts("send: 200000", "receive: 200000", "delay: 2ms, " + lose, "",
                                         std::string("kernel: \"") + kernel + "\"\n"));
            SCOPED_TRACE(std::string(kernel) + " " + std::to_string(first));
            EXPECT_EQ(app(run, Program::tcp_server).bytes_received, 200000U);
            EXPECT_EQ(app(run, Program::tcp_server).wrong_bytes, 0U);
            EXPECT_EQ(run.counter("Tcp.RetransSegs"), 2U);
            EXPECT_EQ(run.counter("TcpExt.TCPTimeouts"), 0U);
            expect_closed_accounting(run);
        }
    }
}

/// net/ipv4/tcp_input.c: __tcp_ack_snd_check().
TEST(Tcp, BehindAGapThreeAcksGoAtOnceAndLaterOnesTogether)
{
    // Without GRO each segment is received for itself.
    const ModelRun run(two_hosts("send: 200000", "receive: 200000",
                                 "gro: false, delay: 5ms, lose: [{port: 5008, bytes: 43440-44888}]"));
    EXPECT_EQ(app(run, Program::tcp_server).bytes_received, 200000U);
    EXPECT_EQ(app(run, Program::tcp_server).wrong_bytes, 0U);
    EXPECT_GT(run.counter("TcpExt.TCPAckCompressed"), 0U);
    EXPECT_GT(run.calls_anywhere(fn::tcp_compressed_ack_kick), 0U);
    EXPECT_GE(run.calls_anywhere(fn::hrtimer_run_softirq), run.calls_anywhere(fn::tcp_compressed_ack_kick));
    expect_closed_accounting(run);
}

/// The CPUs of an emulated machine take turns: what comes while a call holds the socket waits in its backlog.
TEST(Tcp, WhileItsCpuStandsStillInACallTheSocketsSegmentsWaitInItsBacklog)
{
    const ModelRun at_once(two_hosts("send: 500", "receive: 500"));
    EXPECT_EQ(at_once.calls_anywhere(fn::tcp_add_backlog), 0U);
    const ModelRun late(two_hosts("send: 500, steal: 1ms", "receive: 500"));
    EXPECT_GE(late.calls_anywhere(fn::tcp_add_backlog), 3U) << "of connect(), send() and close()";
    EXPECT_EQ(app(late, Program::tcp_client).done, 1U);
    EXPECT_EQ(app(late, Program::tcp_server).bytes_received, 500U);
    expect_closed_accounting(late);
}

TEST(Tcp, WhatTheKernelCutItselfIsSentAgainWhenItIsLost)
{
    for (const int seed : {1, 2, 3}) {
        const ModelRun run(two_hosts("send: 300000", "receive: 300000", "loss: 2%, delay: 1ms, tso: false",
                                     "", "seed: " + std::to_string(seed) + "\n"));
        EXPECT_EQ(app(run, Program::tcp_server).bytes_received, 300000U) << "seed " << seed;
        EXPECT_EQ(app(run, Program::tcp_server).wrong_bytes, 0U) << "seed " << seed;
        EXPECT_GT(run.counter("Tcp.RetransSegs"), 0U) << "seed " << seed;
        EXPECT_EQ(run.counter("TcpExt.TCPSpuriousRtxHostQueues"), 0U)
            << "seed " << seed << ": no clone of it was in the host's queues";
        expect_closed_accounting(run);
    }
}

/// A quantum of a slow CPU lasts long: what it lets arrive may still be to come by the clock of the CPU that polls for it.
TEST(Tcp, OfCpusOfAnySpeedNoInterruptIsLostAndNoPollTurnsInVain)
{
    for (const char* driver : {"e1000", "e1000e", "virtio_net"}) {
        for (const char* scale : {"1", "30", "300", "1000"}) {
            for (const char* of_peer : {"1", "0.001"}) {
                std::string text = two_hosts("send: 60000, receive: 60000", "receive: 60000, send: 60000",
                                             std::string("driver: ") + driver, "",
                                             std::string("cost_scale: ") + scale + "\n");
                text.insert(text.find("  - name: peer\n") + 15,
                            std::string("    cost_scale: ") + of_peer + "\n");
                const ModelRun run(text);
                SCOPED_TRACE(std::string(driver) + " " + scale + " " + of_peer);
                EXPECT_EQ(app(run, Program::tcp_client).done, 1U);
                EXPECT_EQ(app(run, Program::tcp_server).bytes_received, 60000U);
                EXPECT_EQ(run.counter("TcpExt.TCPTimeouts"), 0U);
                EXPECT_LT(run.calls_anywhere(fn::napi_complete_done), 8 * run.trace().packet_count());
            }
        }
    }
}

TEST(Tcp, ACpuWhoseClockIsBehindGetsASocketNoEarlierThanItsHolderLetItGo)
{
    const auto scenario = parse_scenario(two_hosts("send: 0", "receive: 0"), "test");
    ASSERT_TRUE(scenario);
    Trace trace;
    kernel::World world = build_world(*scenario, trace);
    kernel::Kernel k(world, trace);
    k.run_until(SimTime{} + 150_us); // the client is there
    const kernel::SocketIndex client = world.tcp.socks.at(0).socket;
    const auto at = [&](SimTime now) {
        k.cpu().now = now;
    }; // one whose clock is put back stands for another that is behind

    at(SimTime{} + 300_us);
    kernel::tcp_lock_sock(k, client);
    kernel::tcp_release_sock(k, client);
    const SimTime task_let_go = k.cpu().now;
    at(SimTime{} + 200_us);
    {
        const kernel::BhLock segment(k, client);
        EXPECT_EQ(k.cpu().now, task_let_go);
        k.cpu().now += 50_us;
    }
    at(SimTime{} + 200_us);
    kernel::tcp_lock_sock(k, client);
    EXPECT_EQ(k.cpu().now, task_let_go + 50_us);
}

TEST(Tcp, WithoutSackTimestampsAndScalingItStillArrives)
{
    const std::string host =
        "    sysctls: {net.ipv4.tcp_sack: 0, net.ipv4.tcp_timestamps: 0, net.ipv4.tcp_window_scaling: 0}\n";
    const ModelRun run(two_hosts("send: 150000", "receive: 150000", "loss: 2%, delay: 1ms", host));
    EXPECT_EQ(app(run, Program::tcp_server).bytes_received, 150000U);
    EXPECT_EQ(app(run, Program::tcp_server).wrong_bytes, 0U);
    expect_closed_accounting(run);
}

TEST(Tcp, ASynToAClosedPortIsAnsweredByAReset)
{
    std::string text = two_hosts("send: 10", "receive: 0");
    text.replace(text.find("port: 5008, "), 12, "port: 5009, ");
    const ModelRun run(text);
    EXPECT_EQ(app(run, Program::tcp_client).errors, 1U);
    EXPECT_EQ(run.drops(drop::NO_SOCKET), 1U);
    EXPECT_GT(run.calls_anywhere(fn::tcp_v4_send_reset), 0U);
    EXPECT_GT(run.calls_anywhere(fn::tcp_reset), 0U);
    expect_closed_accounting(run);
}

TEST(Tcp, AnAcceptQueueOfNHoldsNPlusOneConnections)
{
    const ModelRun run(two_hosts("count: 8, gap: 1ms", "backlog: 2, accept: false"), SimTime{500'000'000});
    for (const auto& sock : run.world().tcp.socks) {
        if (sock.state == kernel::TcpState::listen) {
            EXPECT_EQ(sock.accept_queue.size(), 3U);
        }
    }
    EXPECT_GT(run.counter("TcpExt.ListenOverflows"), 0U);
}

/// One client, for which the neighbours learn of each other; then eight, a millisecond apart, on a wire so long that all their SYNs are
/// here before the first ACK: the queue of two takes three.
std::string many_at_once(const std::string& sysctls)
{
    const std::string client = "send: 3000";
    std::string text =
        two_hosts(client, "receive: 3000, backlog: 2", "delay: 20ms", "    sysctls: {" + sysctls + "}\n");
    const std::string first = "      - {to: \"10.99.0.1:5008\", cpu: 1, start: 100us, " + client + "}\n";
    std::string more;
    for (int i = 0; i < 8; ++i) {
        more += "      - {to: \"10.99.0.1:5008\", cpu: 1, start: " + std::to_string(200 + i) + "ms, " +
                client + "}\n";
    }
    return text.insert(text.find(first) + first.size(), more);
}

std::uint64_t done_by_clients(const ModelRun& run)
{
    std::uint64_t done = 0;
    for (const kernel::Task& task : run.world().tasks) {
        done += task.program == Program::tcp_client && task.tcp.errors == 0 ? task.tcp.done : 0;
    }
    return done;
}

TEST(Tcp, AListenerWhoseSynQueueIsFullAnswersWithCookiesAndRemembersNothing)
{
    const ModelRun run(many_at_once("net.ipv4.tcp_syncookies: 1"));
    EXPECT_EQ(done_by_clients(run), 9U);
    EXPECT_EQ(run.counter("TcpExt.TCPReqQFullDoCookies"), 5U); // the queue holds backlog + 1
    EXPECT_EQ(run.counter("TcpExt.SyncookiesSent"), 5U);
    EXPECT_EQ(run.counter("TcpExt.SyncookiesRecv"), 5U);
    EXPECT_EQ(run.counter("TcpExt.SyncookiesFailed"), 0U);
    EXPECT_EQ(run.counter("TcpExt.TCPReqQFullDrop"), 0U);
    EXPECT_EQ(app(run, Program::tcp_server).bytes_received, 9U * 3000U);
    EXPECT_EQ(app(run, Program::tcp_server).wrong_bytes, 0U);
    expect_closed_accounting(run);
}

TEST(Tcp, ACookieIsMadeAndReadByTheFunctionsOfTheKernel)
{
    for (const char* kernel : {"5.10", "6.1", "6.12"}) {
        std::string text = many_at_once("net.ipv4.tcp_syncookies: 1");
        text.insert(text.find("hosts:"), std::string("kernel: \"") + kernel + "\"\n");
        const ModelRun run(text);
        EXPECT_EQ(run.calls_anywhere(fn::cookie_v4_init_sequence), 5U) << kernel;
        EXPECT_EQ(run.calls_anywhere(fn::cookie_init_timestamp), 5U) << kernel;
        EXPECT_EQ(run.calls_anywhere(fn::__cookie_v4_check), 5U) << kernel;
        EXPECT_EQ(run.calls_anywhere(fn::cookie_hash), 5U * 2 + 5U * 2)
            << kernel; // of the flow, and of the flow and the minute
        EXPECT_EQ(run.calls_anywhere(fn::tcp_get_cookie_sock), 5U) << kernel;
        EXPECT_EQ(run.calls_anywhere(fn::cookie_tcp_reqsk_init), kernel == std::string("6.12") ? 5U : 0U);
        EXPECT_EQ(run.calls_anywhere(fn::cookie_ecn_ok), kernel == std::string("6.12") ? 0U : 5U);
        for (std::uint32_t packet = 1; packet <= run.trace().packet_count(); ++packet) {
            if (run.calls(packet, "tcp_get_cookie_sock")) {
                EXPECT_EQ(
                    first_missing(run.path(packet),
                                  {"tcp_v4_rcv", "tcp_v4_do_rcv", "cookie_v4_check", "__cookie_v4_check",
                                   "cookie_hash", "cookie_timestamp_decode", "cookie_tcp_reqsk_alloc",
                                   "tcp_get_cookie_sock", "tcp_v4_syn_recv_sock"}),
                    "");
            }
        }
    }
}

TEST(Tcp, WithoutSynCookiesAFullSynQueueDropsAndTheClientsTryAgain)
{
    const ModelRun run(many_at_once("net.ipv4.tcp_syncookies: 0"));
    EXPECT_EQ(run.counter("TcpExt.TCPReqQFullDrop"),
              5U + 2U); // a second later three of the five find room, then the others
    EXPECT_EQ(run.counter("TcpExt.SyncookiesSent"), 0U);
    EXPECT_GE(run.counter("TcpExt.TCPSynRetrans"), 5U);
    EXPECT_EQ(done_by_clients(run), 9U);
    expect_closed_accounting(run);
}

TEST(Tcp, AnAckThatBearsNoCookieOfOursIsCountedAndAnsweredByAReset)
{
    // The accept queue has no room for most of the eight: what their clients send after an ACK that was dropped stands elsewhere in the stream.
    std::string text = many_at_once("net.ipv4.tcp_syncookies: 1");
    text.replace(text.find("backlog: 2"), 10, "backlog: 2, accept: false");
    const ModelRun run(text, SimTime{500'000'000});
    EXPECT_GT(run.counter("TcpExt.ListenOverflows"), 0U);
    EXPECT_GT(run.counter("TcpExt.SyncookiesFailed"), 0U);
    EXPECT_GT(run.calls_anywhere(fn::tcp_v4_send_reset), 0U);
}

TEST(Tcp, ACookieKeepsWindowScaleAndSackInTheTimestampAndTheMssInTheSequenceNumber)
{
    const auto child_of = [](const ModelRun& run) {
        for (const auto& sock : run.world().tcp.socks) {
            if (sock.in_use && sock.state == kernel::TcpState::established &&
                run.world().sockets[static_cast<std::size_t>(sock.socket)].num == 5008) {
                return sock;
            }
        }
        throw std::logic_error("no connection of the server");
    };
    const SimTime open{12'000'000};
    const ModelRun with(two_hosts("send: 1000000", "receive: 1000000", "delay: 2ms",
                                  "    sysctls: {net.ipv4.tcp_syncookies: 2}\n"),
                        open);
    EXPECT_EQ(with.counter("TcpExt.SyncookiesRecv"), 1U);
    const auto kept = child_of(with);
    EXPECT_TRUE(kept.rx_opt.sack_ok);
    EXPECT_TRUE(kept.rx_opt.tstamp_ok);
    EXPECT_TRUE(kept.rx_opt.wscale_ok);
    EXPECT_EQ(kept.rx_opt.snd_wscale, 7U);
    EXPECT_EQ(kept.rx_opt.mss_clamp, 1460U);
    const ModelRun without(
        two_hosts("send: 1000000", "receive: 1000000", "delay: 2ms",
                  "    sysctls: {net.ipv4.tcp_syncookies: 2, net.ipv4.tcp_timestamps: 0}\n"),
        open);
    EXPECT_EQ(without.counter("TcpExt.SyncookiesRecv"), 1U);
    const auto lost = child_of(without);
    EXPECT_FALSE(lost.rx_opt.sack_ok);
    EXPECT_FALSE(lost.rx_opt.wscale_ok);
    EXPECT_EQ(lost.rx_opt.mss_clamp, 1460U);
}

TEST(Tcp, ASlowReaderClosesTheWindowAndOpensItAgain)
{
    const ModelRun run(two_hosts("send: 400000", "receive: 400000, rcvbuf: 8192, work: 2ms, read: 2000"));
    EXPECT_EQ(app(run, Program::tcp_server).bytes_received, 400000U);
    EXPECT_EQ(app(run, Program::tcp_server).wrong_bytes, 0U);
    expect_closed_accounting(run);
}

TEST(Tcp, WithoutTsoTheKernelCutsALargePacketAndItEndsAsSplit)
{
    const ModelRun run(two_hosts("send: 100000", "receive: 100000", "tso: false"));
    EXPECT_EQ(app(run, Program::tcp_server).bytes_received, 100000U);
    EXPECT_EQ(app(run, Program::tcp_server).wrong_bytes, 0U);
    EXPECT_GT(run.count(Verdict::split), 0U);
    EXPECT_GT(run.calls_anywhere(fn::skb_segment), 0U);
    expect_closed_accounting(run);
    const ModelRun with(two_hosts("send: 100000", "receive: 100000"));
    EXPECT_EQ(with.count(Verdict::split), 0U);
}

TEST(Tcp, SegmentsOfOneFlowAreMergedByGro)
{
    // A poll that ends hands up what it holds: only where several frames wait for one poll is there anything to merge.
    const ModelRun run(two_hosts("send: 200000", "receive: 200000", "rx_usecs: 100"));
    EXPECT_GT(run.count(Verdict::merged), 0U);
    EXPECT_GT(run.calls_anywhere(fn::tcp_gro_complete), 0U);
    const ModelRun without(two_hosts("send: 200000", "receive: 200000", "gro: false"));
    EXPECT_EQ(without.calls_anywhere(fn::skb_gro_receive), 0U);
    EXPECT_EQ(app(without, Program::tcp_server).wrong_bytes, 0U);
}

/// Of all hosts.
std::uint64_t sum_of(const ModelRun& run, std::string_view counter)
{
    const auto values = run.end().counters();
    std::uint64_t sum = 0;
    for (std::size_t row = 1; row < run.trace().counters().size(); ++row) {
        sum += run.trace().counters()[row].name == counter ? values[row] : 0;
    }
    return sum;
}

TEST(Tcp, OfAMergedPacketEachSegmentCountsInTheEcnCountersAndThePacketOnceInInReceives)
{
    const ModelRun run(two_hosts("send: 200000", "receive: 200000", "rx_usecs: 100"));
    ASSERT_GT(run.count(Verdict::merged), 0U);
    EXPECT_EQ(sum_of(run, "IpExt.InNoECTPkts"), sum_of(run, "Ip.InReceives") + run.count(Verdict::merged));
    EXPECT_EQ(sum_of(run, "Tcp.InSegs"), sum_of(run, "Ip.InReceives"));
}

TEST(Tcp, TimeWaitCountsWhenItBeginsButNotYetIn510)
{
    const auto counted = [](const std::string& kernel, Duration until) {
        return sum_of(ModelRun(two_hosts("send: 1000", "receive: 1000", "", "", "kernel: " + kernel + "\n"),
                               SimTime{} + until),
                      "TcpExt.TW");
    };
    EXPECT_GE(counted("6.1", 1_s), 1U);
    EXPECT_EQ(counted("5.10", 1_s), 0U);
}

TEST(E1000, CountsTheFramesThatTheHardwareCutsFromATsoPacket)
{
    const ModelRun run(two_hosts("send: 100000", "receive: 100000"));
    EXPECT_EQ(run.counter("eth0.tx_packets"), run.counter("eth1.rx_packets"));
    EXPECT_EQ(run.counter("eth0.tx_bytes"), run.counter("eth1.rx_bytes"));
    EXPECT_GT(sum_of(run, "eth0.tx_packets") + sum_of(run, "eth1.tx_packets"),
              run.calls_anywhere(fn::e1000_xmit_frame));
}

TEST(E1000, SplitsTheLinearPacketThatFollowsATsoPacket)
{
    const ModelRun run(two_hosts("send: 100000, receive: 50000", "receive: 100000, send: 50000"));
    const Trace& trace = run.trace();
    std::map<PacketId, std::size_t> unmapped;
    for (std::size_t at = 0; at < trace.size(); ++at) {
        if (trace[at].is_call() && trace[at].function_id() == fn::e1000_unmap_and_free_tx_resource) {
            ++unmapped[trace[at].packet_id()];
        }
    }
    std::vector<std::size_t> descriptors; // of the client's segments without payload
    for (const auto& [id, count] : unmapped) {
        const PacketRecord& packet = trace.packet(id);
        if (trace.hosts()[to_index(packet.host)].name == "dut" && packet.length < 100 && packet.flow &&
            packet.flow->protocol == 6) {
            descriptors.push_back(count);
        }
    }
    ASSERT_GT(descriptors.size(), 5U);
    descriptors.resize(5);
    EXPECT_THAT(descriptors, ::testing::ElementsAre(2, 2, 3, 2, 2))
        << "SYN, ACK, then those of what came back, the first behind TSO: a context, and what it points at";
}

} // namespace
} // namespace skbscope::test
