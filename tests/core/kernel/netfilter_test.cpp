// Netfilter: rules of nft and iptables, connection tracking, NAT.

#include "core/scenario/rules_text.h"
#include "tests/core/kernel/model.h"

namespace skbscope::test {
namespace {

using namespace kernel;

std::string block(const std::string& key, const std::string& text)
{
    std::string out = "    " + key + ": |\n";
    std::size_t at = 0;
    while (at < text.size()) {
        const std::size_t end = std::min(text.find('\n', at), text.size());
        out += "      " + text.substr(at, end - at) + "\n";
        at = end + 1;
    }
    return out;
}

std::string nft(const std::string& chains) { return block("nft", "table ip lab {\n" + chains + "}\n"); }

/// Notes that the packet's journey holds: the rules that decided.
std::vector<std::string> decisions(const ModelRun& run, std::uint32_t packet)
{
    std::vector<std::string> notes;
    for (const std::uint32_t ordinal : run.journey(packet).events) {
        const Event& event = run.trace()[ordinal];
        if (event.event_kind() == EventKind::note) {
            notes.push_back(run.trace().notes()[event.arg]);
        }
    }
    return notes;
}

std::vector<std::string> of(const std::vector<std::string>& path, const std::vector<std::string>& wanted)
{
    std::vector<std::string> some;
    std::ranges::copy_if(path, std::back_inserter(some), [&](const std::string& name) { return std::ranges::find(wanted, name) != wanted.end(); });
    return some;
}

const std::vector<std::string> hook_calls{"nf_hook_slow_list", "nf_hook_slow", "nft_do_chain_ipv4", "nft_nat_do_chain", "nft_do_chain", "nft_meta_get_eval",
    "nft_counter_eval", "nft_immediate_eval", "nft_nat_eval", "ipt_do_table", "ipv4_conntrack_in", "ipv4_conntrack_local", "nf_conntrack_in", "init_conntrack",
    "nf_conntrack_udp_packet", "nf_nat_ipv4_pre_routing", "nf_nat_ipv4_local_in", "nf_nat_ipv4_local_fn", "nf_nat_ipv4_out", "nf_nat_inet_fn",
    "nf_nat_setup_info", "nf_nat_manip_pkt", "ipv4_confirm", "nf_confirm", "__nf_conntrack_confirm", "kfree_skb_reason", "ip_rcv_finish_core", "ip_local_deliver", "ip_output", "tpacket_rcv"};

using Calls = std::vector<std::string>;

TEST(Netfilter, HookWithNothingOnItLeavesNoStep)
{
    const ModelRun run(receive_scenario());
    EXPECT_EQ(run.calls_anywhere(fn::nf_hook_slow), 0U);
    EXPECT_EQ(run.calls_anywhere(fn::nf_hook_slow_list), 0U);
}

TEST(Netfilter, SecurityModulesHookMakesPostRoutingNeverEmpty)
{
    const ModelRun run(send_scenario("count: 1", true, true, "", "    lsm: apparmor\n"));
    EXPECT_EQ(of(run.path(1), hook_calls), (Calls{"ip_output", "nf_hook_slow"}));
    EXPECT_TRUE(run.calls(1, "apparmor_ip_postroute"));
    EXPECT_EQ(run.count(Verdict::sent), 1U);
}

TEST(Netfilter, PreroutingDropComesBehindTheTapAndNamesItsRule)
{
    const ModelRun run(receive_scenario("count: 3", "", "    taps: [{device: eth0, version: 2}]\n" +
        nft("chain pre {\n type filter hook prerouting priority raw; policy accept;\n udp dport 5001 counter packets 5 bytes 460 drop\n}\n")));
    EXPECT_EQ(of(run.path(1), hook_calls), (Calls{"tpacket_rcv", "nf_hook_slow_list", "nf_hook_slow", "nft_do_chain_ipv4", "nft_do_chain",
        "nft_meta_get_eval", "nft_counter_eval", "nft_immediate_eval", "kfree_skb_reason"}));
    EXPECT_EQ(run.drops(drop::NETFILTER_DROP), 3U);
    EXPECT_EQ(run.counter("tcpdump@eth0.tp_packets"), 3U);
    EXPECT_EQ(decisions(run, 1), (Calls{"nft table lab, chain pre, rule 1: udp dport 5001 counter drop"}));
    const RuleExpr& counter = run.world().nets[0].nf.rules.tables[0].chains[0].rules[0].exprs[2];
    EXPECT_EQ(counter.packets, 8U);
    EXPECT_EQ(counter.bytes, 460U + 3 * 92);
}

TEST(Netfilter, OutputDropGivesTheSenderEperm)
{
    const ModelRun run(send_scenario("count: 2", true, true, "",
        nft("chain out {\n type filter hook output priority filter; policy accept;\n udp dport 5002 drop\n}\n")));
    EXPECT_EQ(run.drops(drop::NETFILTER_DROP), 2U);
    EXPECT_EQ(run.count(Verdict::sent), 0U);
    for (const Task& task : run.world().tasks) {
        if (task.program == Program::udp_sender) {
            EXPECT_EQ(task.failed, 2U);
            EXPECT_EQ(run.world().sockets[0].sk_wmem_alloc, 0U);
        }
    }
}

/// A client of the rules' machine, in a namespace behind a veth pair.
std::string rejected_connect(const std::string& rules)
{
    return "skbscope: 1\nhosts:\n  - name: server\n    cpus: 2\n    devices: [{name: v0, driver: veth, address: 10.0.1.1/24, peer: client.v1}]\n"
           "    tcp_servers: [{name: web, port: 80}]\n" + rules +
           "  - name: client\n    namespace_of: server\n    devices: [{name: v1, driver: veth, address: 10.0.1.2/24, peer: server.v0}]\n"
           "    tcp_clients: [{name: browser, to: \"10.0.1.1:80\", send: 10, start: 50us, cpu: 1}]\n";
}

TEST(Netfilter, RejectWithTcpResetEndsTheAttemptAtOnce)
{
    const std::string nftables = nft("chain in {\n type filter hook input priority filter; policy accept;\n tcp dport 80 reject with tcp reset\n}\n");
    const std::string iptables = block("iptables", "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp -m tcp --dport 80 -j REJECT --reject-with tcp-reset\nCOMMIT\n");
    const std::string tracked = nft("chain in {\n type filter hook input priority filter; policy accept;\n ct state new tcp dport 80 reject with tcp reset\n}\n");
    for (const std::string& rules : {nftables, iptables, tracked}) {
        const ModelRun run(rejected_connect(rules));
        EXPECT_EQ(run.calls_anywhere(fn::nf_send_reset), 1U);
        EXPECT_EQ(run.calls_anywhere(fn::nf_send_unreach), 0U);
        EXPECT_EQ(run.drops(drop::NETFILTER_DROP), 1U) << "the SYN";
        EXPECT_EQ(run.count(Verdict::in_flight), 0U);
        EXPECT_EQ(run.end().accounting().in_flight(), 0U);
        for (const Task& task : run.world().tasks) {
            if (task.program == Program::tcp_client) {
                EXPECT_EQ(task.tcp.errors, 1U) << "ECONNREFUSED";
            }
        }
        EXPECT_EQ(run.world().nets[0].nf.conns.count(), 0U) << "the connection was never confirmed";
    }
}

TEST(Netfilter, RejectWithTcpResetSaysNothingToADatagram)
{
    const ModelRun run(receive_scenario("count: 1", "", nft("chain in {\n type filter hook input priority filter; policy accept;\n reject with tcp reset\n}\n")));
    EXPECT_EQ(run.drops(drop::NETFILTER_DROP), 1U);
    EXPECT_EQ(run.count(Verdict::sent), 0U);
}

const char* const recorded_rules = "chain pre {\n type filter hook prerouting priority raw; policy accept;\n udp dport 6001 counter drop\n}\n"
    "chain input {\n type filter hook input priority filter; policy accept;\n udp dport 6002 counter drop\n}\n"
    "chain output {\n type filter hook output priority filter; policy accept;\n udp dport 6003 counter drop\n}\n"
    "chain natpre {\n type nat hook prerouting priority dstnat; policy accept;\n udp dport 6004 counter packets 1 bytes 92 dnat to 10.99.0.2:5001\n}\n"
    "chain natpost {\n type nat hook postrouting priority srcnat; policy accept;\n udp dport 5002 counter packets 1 bytes 92 snat to 10.99.0.77\n}\n";

std::string to_port(std::string scenario, const std::string& port)
{
    scenario.replace(scenario.find("to: \"10.99.0.2:5001\""), 20, "to: \"10.99.0.2:" + port + "\"");
    return scenario;
}

TEST(Netfilter, DnatAsTheRecordedKernelDoesIt)
{
    const ModelRun run(to_port(receive_scenario("count: 2, gap: 30ms", "", nft(recorded_rules)), "6004"));
    EXPECT_EQ(of(run.path(1), hook_calls), (Calls{"nf_hook_slow_list", "nf_hook_slow", "nft_do_chain_ipv4", "nft_do_chain", "nft_meta_get_eval",
        "ipv4_conntrack_in", "nf_conntrack_in", "init_conntrack", "nf_conntrack_udp_packet", "nf_nat_ipv4_pre_routing", "nf_nat_inet_fn", "nft_nat_do_chain",
        "nft_do_chain", "nft_meta_get_eval", "nft_counter_eval", "nft_immediate_eval", "nft_immediate_eval", "nft_nat_eval", "nf_nat_setup_info",
        "nf_nat_manip_pkt", "ip_rcv_finish_core", "ip_local_deliver", "nf_hook_slow", "nft_do_chain_ipv4", "nft_do_chain", "nft_meta_get_eval",
        "nf_nat_ipv4_local_in", "nf_nat_inet_fn", "nf_nat_setup_info", "ipv4_confirm", "nf_confirm", "__nf_conntrack_confirm"}));
    EXPECT_EQ(of(run.path(2), hook_calls), (Calls{"nf_hook_slow_list", "nf_hook_slow", "nft_do_chain_ipv4", "nft_do_chain", "nft_meta_get_eval",
        "ipv4_conntrack_in", "nf_conntrack_in", "nf_conntrack_udp_packet", "nf_nat_ipv4_pre_routing", "nf_nat_inet_fn", "nf_nat_manip_pkt",
        "ip_rcv_finish_core", "ip_local_deliver", "nf_hook_slow", "nft_do_chain_ipv4", "nft_do_chain", "nft_meta_get_eval", "nf_nat_ipv4_local_in",
        "nf_nat_inet_fn", "ipv4_confirm", "nf_confirm"}));
    EXPECT_EQ(run.counter("Udp.InDatagrams"), 2U) << "the checksum was rewritten, too";
    EXPECT_EQ(run.count(Verdict::delivered), 2U);
}

TEST(Netfilter, SnatAsTheRecordedKernelDoesIt)
{
    const ModelRun run(send_scenario("count: 2, gap: 30ms", true, true, "", "    lsm: apparmor\n" + nft(recorded_rules)));
    EXPECT_EQ(of(run.path(1), hook_calls), (Calls{"nf_hook_slow", "ipv4_conntrack_local", "nf_conntrack_in", "init_conntrack", "nf_conntrack_udp_packet",
        "nf_nat_ipv4_local_fn", "nf_nat_inet_fn", "nf_nat_setup_info", "nft_do_chain_ipv4", "nft_do_chain", "nft_meta_get_eval", "ip_output", "nf_hook_slow",
        "nf_nat_ipv4_out", "nf_nat_inet_fn", "nft_nat_do_chain", "nft_do_chain", "nft_meta_get_eval", "nft_counter_eval", "nft_immediate_eval", "nft_nat_eval",
        "nf_nat_setup_info", "nf_nat_manip_pkt", "ipv4_confirm", "nf_confirm", "__nf_conntrack_confirm"}));
    ASSERT_TRUE(run.trace().packet(PacketId{1}).flow.has_value());
    const auto frame = run.trace().frame(PacketId{1});
    ASSERT_GE(frame.size(), 34U);
    EXPECT_EQ(frame[29], 77) << "10.99.0.77 stands on the wire";
    EXPECT_EQ(run.count(Verdict::sent), 2U);
}

TEST(Netfilter, InputDropThatTheRecordedKernelReachesThroughConntrack)
{
    const ModelRun run(to_port(receive_scenario("count: 2, gap: 30ms", "", nft(recorded_rules)), "6002"));
    for (const std::uint32_t packet : {1U, 2U}) { // never confirmed, so each makes a connection anew
        EXPECT_EQ(of(run.path(packet), {"init_conntrack", "nf_nat_setup_info", "__nf_conntrack_confirm", "kfree_skb_reason"}),
                  (Calls{"init_conntrack", "nf_nat_setup_info", "kfree_skb_reason"}));
    }
    EXPECT_EQ(run.drops(drop::NETFILTER_DROP), 2U);
    EXPECT_EQ(run.world().nets[0].nf.conns.count(), 0U);
}

const char* const legacy = "*raw\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n[5:460] -A PREROUTING -p udp -m udp --dport 6001 -j DROP\nCOMMIT\n"
    "*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n"
    "-A PREROUTING -p udp -m udp --dport 6004 -j DNAT --to-destination 10.99.0.2:5001\n"
    "-A POSTROUTING -p udp -m udp --dport 5002 -j SNAT --to-source 10.99.0.77\nCOMMIT\n"
    "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A INPUT -p udp -m udp --dport 6002 -j DROP\nCOMMIT\n";

TEST(Netfilter, LegacyTablesInTheOrderOfTheirPriorities)
{
    const ModelRun run(to_port(receive_scenario("count: 2, gap: 30ms", "", block("iptables", legacy)), "6004"));
    EXPECT_EQ(of(run.path(2), hook_calls), (Calls{"nf_hook_slow_list", "nf_hook_slow", "ipt_do_table", "ipv4_conntrack_in", "nf_conntrack_in",
        "nf_conntrack_udp_packet", "nf_nat_ipv4_pre_routing", "nf_nat_inet_fn", "nf_nat_manip_pkt", "ip_rcv_finish_core", "ip_local_deliver", "nf_hook_slow",
        "ipt_do_table", "nf_nat_ipv4_local_in", "nf_nat_inet_fn", "ipv4_confirm", "nf_confirm"}));
    const ModelRun dropped(to_port(receive_scenario("count: 1", "", block("iptables", legacy)), "6001"));
    EXPECT_EQ(of(dropped.path(1), hook_calls), (Calls{"nf_hook_slow_list", "nf_hook_slow", "ipt_do_table", "kfree_skb_reason"}));
    EXPECT_EQ(decisions(dropped, 1), (Calls{"iptables table raw, chain PREROUTING, rule 1: -A PREROUTING -p udp -m udp --dport 6001 -j DROP"}));
    const ModelRun sent(send_scenario("count: 1", true, true, "", block("iptables", legacy)));
    EXPECT_EQ(of(sent.path(1), {"ipt_do_table", "nf_nat_ipv4_local_fn", "nf_nat_ipv4_out"}),
              (Calls{"ipt_do_table", "nf_nat_ipv4_local_fn", "ipt_do_table", "ipt_do_table", "nf_nat_ipv4_out", "ipt_do_table"}));
}

TEST(Netfilter, ConnectionTableLimitDropsThePacketThatWouldMakeOneMore)
{
    const ModelRun run(receive_scenario("count: 1}\n      - {to: \"10.99.0.2:5001\", from_port: 40002, start: 90us, count: 1}\n      - {to: \"10.99.0.2:5001\", from_port: 40003, start: 190us, count: 1",
        "", "    sysctls: {net.netfilter.nf_conntrack_max: 2}\n" + nft("chain in {\n type filter hook input priority filter; policy accept;\n ct state new counter accept\n}\n")));
    EXPECT_EQ(run.counter("nf_conntrack.drop"), 1U);
    EXPECT_EQ(run.drops(drop::NETFILTER_DROP), 1U);
    EXPECT_EQ(run.world().nets[0].nf.conns.count(), 2U);
}

TEST(Netfilter, StatefulRulesLetAnswersInAndNothingElse)
{
    // Replies of the other host belong to the connection; an unasked datagram is new.
    const std::string rules = nft("chain in {\n type filter hook input priority filter; policy drop;\n ct state established,related accept\n}\n");
    const ModelRun run(receive_scenario("count: 3", "", rules));
    EXPECT_EQ(run.drops(drop::NETFILTER_DROP), 3U);
    EXPECT_EQ(decisions(run, 1), (Calls{"nft table lab, chain in: policy drop"}));
}

TEST(Netfilter, UserChainsReturnToWhereTheyWereCalledFrom)
{
    const ModelRun run(receive_scenario("count: 1", "", nft("chain in {\n type filter hook input priority filter; policy accept;\n jump a\n meta mark 0x7 drop\n}\n"
        "chain a {\n udp dport 5001 goto b\n drop\n}\nchain b {\n meta mark set 0x7\n return\n drop\n}\n")));
    EXPECT_EQ(run.drops(drop::NETFILTER_DROP), 1U);
    EXPECT_EQ(decisions(run, 1).back(), "nft table lab, chain in, rule 2: meta mark 0x7 drop");
}

TEST(Netfilter, LimitLetsABurstThroughAndThenItsRate)
{
    const ModelRun run(receive_scenario("count: 20, gap: 10ms", "", nft("chain in {\n type filter hook input priority filter; policy drop;\n"
        " udp dport 5001 limit rate 10/second burst 5 packets accept\n}\n")));
    EXPECT_EQ(run.count(Verdict::delivered), 6U) << "five at once, and one for the 190 ms";
    EXPECT_EQ(run.drops(drop::NETFILTER_DROP), 14U);
}

TEST(Netfilter, LogSaysWhatDmesgSays)
{
    const ModelRun run(receive_scenario("count: 1", "", nft("chain in {\n type filter hook input priority filter; policy accept;\n log prefix \"in: \" counter\n}\n")));
    const auto notes = decisions(run, 1);
    ASSERT_EQ(notes.size(), 1U);
    EXPECT_TRUE(notes[0].starts_with("in: IN=eth0 OUT= SRC=10.99.0.1 DST=10.99.0.2 LEN=92 ")) << notes[0];
    EXPECT_NE(notes[0].find("PROTO=UDP SPT=40001 DPT=5001"), std::string::npos) << notes[0];
}

TEST(Netfilter, NotrackedPacketsHaveNoConnection)
{
    const ModelRun run(receive_scenario("count: 2, gap: 1ms", "", nft("chain raw {\n type filter hook prerouting priority raw; policy accept;\n udp dport 5001 notrack\n}\n"
        "chain in {\n type filter hook input priority filter; policy accept;\n ct state untracked counter drop\n}\n")));
    EXPECT_EQ(run.drops(drop::NETFILTER_DROP), 2U);
    EXPECT_EQ(run.calls_anywhere(fn::init_conntrack), 0U);
}

TEST(Netfilter, SnatChoosesAnotherPortWhereTheTupleIsTaken)
{
    // Two sockets of the same port on two hosts' addresses cannot be had here: two flows to one destination that both must
    // leave by one port show it.
    const ModelRun run(send_scenario("count: 1, from_port: 40002}\n      - {name: two, to: \"10.99.0.1:5002\", start: 90us, cpu: 1, from_port: 40003, count: 1", true, true, "",
        nft("chain post {\n type nat hook postrouting priority srcnat; policy accept;\n udp dport 5002 snat to 10.99.0.77:1024-1025\n}\n")));
    std::vector<std::uint16_t> ports;
    for (std::uint32_t packet = 1; packet <= run.trace().packet_count(); ++packet) {
        const auto frame = run.trace().frame(static_cast<PacketId>(packet));
        if (frame.size() > 36) {
            ports.push_back(static_cast<std::uint16_t>(frame[34] << 8 | frame[35]));
        }
    }
    std::ranges::sort(ports);
    EXPECT_EQ(ports, (std::vector<std::uint16_t>{1024, 1025}));
}

TEST(Netfilter, RejectAnswersWithAnIcmpError)
{
    const ModelRun run(receive_scenario("count: 1", "", nft("chain in {\n type filter hook input priority filter; policy accept;\n udp dport 5001 reject with icmp host-prohibited\n}\n")));
    EXPECT_EQ(run.drops(drop::NETFILTER_DROP), 1U);
    EXPECT_EQ(run.counter("Icmp.OutDestUnreachs"), 1U);
}

TEST(Netfilter, MasqueradeTakesTheDevicesAddressAndRedirectTheHostsOwn)
{
    const ModelRun run(to_port(receive_scenario("count: 1", "", nft("chain pre {\n type nat hook prerouting priority dstnat; policy accept;\n udp dport 7777 redirect to :5001\n}\n"
        "chain post {\n type nat hook postrouting priority srcnat; policy accept;\n oifname \"eth0\" masquerade\n}\n")), "7777"));
    EXPECT_EQ(run.counter("Udp.InDatagrams"), 1U);
}

TEST(RulesText, SaysLineAndColumnOfWhatItDoesNotUnderstand)
{
    const auto where = [](const Result<NfRuleset>& result) { return result ? std::string("accepted") : result.error().where; };
    EXPECT_EQ(where(parse_nft("table ip t {\n chain c {\n  frobnicate\n }\n}\n", "f")), "f:3:3");
    EXPECT_EQ(where(parse_nft("table bridge t {\n}\n", "f")), "f:1:7");
    EXPECT_EQ(where(parse_nft("table ip t {\n chain c {\n  tcp dport 99999 drop\n }\n}\n", "f")), "f:3:13");
    EXPECT_EQ(where(parse_nft("table ip t {\n chain c {\n  jump nowhere\n }\n}\n", "f")), "f:3:1");
    EXPECT_EQ(where(parse_nft("table ip t {\n chain a {\n  jump b\n }\n chain b {\n  goto a\n }\n}\n", "f")), "f:6:1");
    EXPECT_EQ(where(parse_nft("table ip t {\n chain c {\n  ip saddr 10.0.0.0/33 drop\n", "f")), "f:3:12");
    EXPECT_EQ(where(parse_nft("table ip t {\n chain c {\n  log prefix \"x\n", "f")), "f:3:14");
    EXPECT_EQ(where(parse_iptables_save("*filter\n-A INPUT -p tcp --dport 22 -m bogus -j DROP\nCOMMIT\n", "f")), "f:2:31");
    EXPECT_EQ(where(parse_iptables_save("*filter\n-A INPUT --dport 22 -j DROP\nCOMMIT\n", "f")), "f:2:10");
    EXPECT_EQ(where(parse_iptables_save("*filter\n-A INPUT -j DNAT --to-destination 1.2.3.4\nCOMMIT\n", "f")), "f:2:13");
    EXPECT_EQ(where(parse_iptables_save("-A INPUT -j DROP\n", "f")), "f:1:1");
    EXPECT_EQ(where(parse_iptables_save("*filter\n", "f")), "f:2:1");
}

/// A chain for each number: every one jumps to the next as often as told, the last one counts. Printed from the first to the last, or
/// the other way round.
std::string staircase(int chains, int jumps, bool backwards)
{
    std::string text = "table ip t {\n";
    for (int row = 0; row < chains; ++row) {
        const int number = backwards ? chains - 1 - row : row;
        text += " chain c" + std::to_string(number) + " {\n";
        for (int jump = 0; number + 1 < chains && jump < jumps; ++jump) {
            text += "  jump c" + std::to_string(number + 1) + "\n";
        }
        text += number + 1 < chains ? " }\n" : "  counter\n }\n";
    }
    return text + "}\n";
}

TEST(RulesText, JumpsAreAtMostSixteenChainsDeepInWhateverOrderTheyStand)
{
    for (const bool backwards : {false, true}) {
        EXPECT_TRUE(parse_nft(staircase(16, 1, backwards), "f"));
        const auto deeper = parse_nft(staircase(17, 1, backwards), "f");
        ASSERT_FALSE(deeper);
        EXPECT_NE(deeper.error().what.find("more than 16 deep"), std::string::npos) << deeper.error().describe();
    }
}

TEST(RulesText, JumpsThatMultiplyAreRefusedBeforeAPacketIsLostInThem)
{
    for (const bool backwards : {false, true}) {
        EXPECT_TRUE(parse_nft(staircase(6, 8, backwards), "f")); // 8 + 64 + … + 32768 rules and as many counters
        const auto endless = parse_nft(staircase(12, 8, backwards), "f");
        ASSERT_FALSE(endless);
        EXPECT_NE(endless.error().what.find("multiply"), std::string::npos) << endless.error().describe();
    }
}

TEST(ScenarioKeys, TwoHostsOrTwoStationsOfOneNameAreRefused)
{
    EXPECT_FALSE(parse_scenario("skbscope: 1\nhosts:\n  - {name: a, cpus: 1}\n  - {name: a, cpus: 1}\n", "f"));
    EXPECT_TRUE(parse_scenario("skbscope: 1\nhosts:\n  - {name: a, cpus: 1}\n  - {name: b, cpus: 1}\n", "f"));
    EXPECT_FALSE(parse_scenario("skbscope: 1\nhosts: [{name: a, cpus: 1}]\nstations:\n  - {name: s, mac: \"02:00:00:00:00:01\", address: 10.0.0.1}\n"
                                "  - {name: s, mac: \"02:00:00:00:00:02\", address: 10.0.0.2}\n", "f"));
}

TEST(RulesText, ReadsWhatTheToolsPrint)
{
    const auto nft_rules = parse_nft("table inet filter {\n\tchain input {\n\t\ttype filter hook input priority filter - 5; policy drop;\n"
        "\t\tiifname \"lo\" accept\n\t\tct state { established, related } accept comment \"known\"\n\t\tct state invalid drop\n"
        "\t\ttcp dport { 22, 80-90 } tcp flags & (fin | syn | rst | ack) == syn limit rate 10/minute burst 3 packets counter packets 0 bytes 0 accept\n"
        "\t\tip saddr != 10.0.0.0/8 icmp type echo-request reject with icmp admin-prohibited\n\t\tip6 saddr fe80::/10 accept\n"
        "\t\tmeta l4proto udp th dport 53 accept\n\t}\n}\n", "f");
    ASSERT_TRUE(nft_rules.has_value()) << nft_rules.error().describe();
    EXPECT_EQ(nft_rules->tables[0].chains[0].rules.size(), 7U);
    EXPECT_EQ(nft_rules->tables[0].chains[0].priority, -5);
    EXPECT_FALSE(nft_rules->tables[0].chains[0].policy_accept);
    const auto saved = parse_iptables_save("# Generated by iptables-save v1.8.9\n*filter\n:INPUT DROP [12:720]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:web - [0:0]\n"
        "[1:60] -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n-A INPUT ! -s 10.0.0.0/255.0.0.0 -i eth0 -p tcp -m tcp --dport 80:90 --syn -j web\n"
        "-A INPUT -p tcp -m multiport --dports 22,443 -m limit --limit 3/min --limit-burst 7 -j LOG --log-prefix \"new: \"\n"
        "-A INPUT -p icmp -m icmp --icmp-type 8 -j REJECT --reject-with icmp-host-prohibited\n-A INPUT -m mark --mark 0x1/0xff -j MARK --set-xmark 0x2/0xffffffff\n"
        "-A web -m comment --comment \"the web\" -j RETURN\nCOMMIT\n", "f");
    ASSERT_TRUE(saved.has_value()) << saved.error().describe();
    EXPECT_EQ(saved->tables[0].chains[0].rules.size(), 5U);
    EXPECT_EQ(saved->tables[0].chains[0].packets, 12U);
    EXPECT_EQ(saved->tables[0].chains[0].rules[0].exprs[1].packets, 1U);
}

TEST(RulesText, NoTextMakesTheReadersFail)
{
    // Any cut and any changed byte of good text is read or refused, never worse.
    const std::string good = "table ip t {\n chain c {\n  type nat hook prerouting priority dstnat; policy accept;\n  tcp dport { 1, 2-3 } dnat to 1.2.3.4:5 random\n }\n}\n";
    const std::string bytes = "{};,\"!-/0\n #|&()";
    std::size_t refused = 0;
    for (std::size_t i = 0; i < good.size(); ++i) {
        refused += parse_nft(good.substr(0, i), "f") ? 0 : 1;
        for (const char c : bytes) {
            std::string text = good;
            text[i] = c;
            refused += parse_nft(text, "f") ? 0 : 1;
        }
        std::string line = legacy;
        line[i * 3 % line.size()] = bytes[i % bytes.size()];
        refused += parse_iptables_save(line, "f") ? 0 : 1;
    }
    EXPECT_GT(refused, 100U);
}

TEST(Netfilter, ScenarioWithRulesReadsBackAsItWas)
{
    const auto scenario = parse_scenario(receive_scenario("count: 1", "filter: udp", "    lsm: apparmor\n    taps: [{device: eth0, kind: packet, start: 1ms, stop: 2ms}]\n" + nft(recorded_rules) + block("iptables", legacy)), "f");
    ASSERT_TRUE(scenario.has_value());
    const auto again = parse_scenario(to_text(*scenario), "g");
    ASSERT_TRUE(again.has_value()) << again.error().describe();
    EXPECT_EQ(*scenario, *again);
    const auto bad = parse_scenario(receive_scenario("count: 1", "", nft("chain c {\n bogus\n}\n")), "f");
    ASSERT_FALSE(bad.has_value());
    EXPECT_NE(bad.error().what.find("nft:3:2"), std::string::npos) << bad.error().describe();
}

} // namespace
} // namespace skbscope::test
