// Every setting: it is there with the kernel's default, can be turned while the model runs, per namespace, and whatever it is
// set to is refused with its range or works.

#include "core/scenario/device_settings.h"
#include "core/scenario/model_source.h"
#include "core/scenario/sysctls.h"
#include "core/trace/stack_state.h"

#include <fstream>
#include <gtest/gtest.h>
#include <set>
#include <sstream>

namespace skbscope {
namespace {

/// A machine with a NIC and a namespace behind a veth pair; a bit of everything that settings are about.
constexpr const char* small = R"(skbscope: 1
hosts:
  - name: machine
    cpus: 2
    ipv6_forwarding: true
    devices:
      - {name: eth0, address: 10.0.0.2/24, link: client, rps_cpus: "3"}
      - {name: v0, driver: veth, addresses: [10.0.1.1/24, "fd00:1::1/64"], peer: inner.v1}
    receivers:
      - {name: server, port: 5001, rcvbuf: 4608, cpu: 1}
      - {name: six, port: 5002, address: "::", cpu: 1}
    tcp_servers:
      - {name: web, port: 80, receive: 3000, send: 100, cpu: 0}
    nft: |
      table ip t {
          chain in {
              type filter hook input priority filter; policy accept;
              ct state new counter
          }
      }
  - name: inner
    namespace_of: machine
    devices:
      - {name: v1, driver: veth, addresses: [10.0.1.2/24, "fd00:1::2/64"], peer: machine.v0}
    senders:
      - {name: six, to: "[fd00:1::1]:5002", count: 2, size: 1800, gap: 20us, start: 60us, cpu: 0}
      - {name: nobody, to: "10.0.1.1:9", count: 2, gap: 20us, start: 60us, cpu: 0}
    tcp_clients:
      - {name: browser, to: "10.0.1.1:80", send: 3000, receive: 100, start: 80us, cpu: 1}
stations:
  - name: client
    mac: 52:54:00:12:34:01
    address: 10.0.0.1
    sends:
      - {to: "10.0.0.2:5001", count: 12, gap: 1us, start: 50us}
)";

const Scenario& scenario()
{
    static const Scenario parsed = *parse_scenario(small, "small");
    return parsed;
}

/// Empty, or what is wrong with the account.
std::string account(const Trace& trace)
{
    StackState state(trace);
    for (std::size_t ordinal = 0; ordinal < trace.size(); ++ordinal) {
        state.apply(ordinal);
    }
    const Accounting& account = state.accounting();
    std::uint64_t decided = 0, in_flight = 0;
    for (const PacketRecord& packet : trace.packets()) {
        const bool open = packet.verdict == Verdict::in_flight;
        ++(open ? in_flight : decided);
        if (open && packet.death != never) {
            return "a packet has ended without a verdict";
        }
    }
    if (account.born != trace.packet_count() || account.decided() != decided || account.in_flight() != in_flight) {
        return "born " + std::to_string(account.born) + ", decided " + std::to_string(account.decided()) + " and " + std::to_string(decided);
    }
    return {};
}

/// A run of a few milliseconds: it ends, time has passed, and the account closes.
std::string short_run(const Scenario& of, const std::string& turned = {}, std::int64_t value = 0)
{
    constexpr SimTime until{5'000'000};
    ModelSource source(of);
    source.keep_snapshots(false);
    if (!turned.empty()) {
        source.advance_to(SimTime{70'000});
        if (auto set = source.set_knob(turned, value, SimTime{70'000}); !set) {
            return set.error().describe();
        }
    }
    source.advance_to(until);
    return source.known_until() < until && !source.exhausted() ? "time does not pass" : account(source.trace());
}

std::vector<std::string> all_keys()
{
    std::vector<std::string> keys{":5001.SO_RCVBUF", "count", "size", "gap", "burst", "seed", "eth0.rx_ring", "eth0.tx_ring", "eth0.copybreak", "eth0.gro", "eth0.rps_cpus"};
    for (const SysctlRow& row : sysctl_rows()) {
        keys.emplace_back(row.name);
    }
    for (const char* device : {"all", "default", "eth0"}) {
        for (const DevConfRow& row : dev_conf_rows()) {
            keys.push_back("net.ipv4.conf." + std::string(device) + "." + std::string(row.name));
        }
        for (const DevConf6Row& row : dev_conf6_rows()) {
            keys.push_back("net.ipv6.conf." + std::string(device) + "." + std::string(row.name));
        }
    }
    for (const DeviceSettingRow& row : device_setting_rows()) {
        keys.push_back("eth0." + std::string(row.name));
    }
    return keys;
}

constexpr const char* hostile[] = {"0", "-1", "2147483647", "2147483648", "4294967296", "9223372036854775807", "9223372036854775808", "NaN", "much"};

TEST(HostileSetting, IsRefusedInOneLineOrWorks)
{
    std::size_t refused = 0, worked = 0;
    for (const std::string& key : all_keys()) {
        for (const char* value : hostile) {
            Scenario changed = scenario();
            const auto applied = apply_setting(changed, key + "=" + value);
            if (!applied) {
                ++refused;
                EXPECT_NE(applied.error().where.find(key), std::string::npos);
                EXPECT_EQ(applied.error().describe().find('\n'), std::string::npos) << applied.error().describe();
                EXPECT_NE(applied.error().describe().find(key == "gap" ? "" : "…"), std::string::npos) << key << "=" << value << ": " << applied.error().describe();
                continue;
            }
            if (key == "count" && std::string(value) != "0") {
                continue; // so many datagrams are no short run
            }
            ++worked;
            EXPECT_EQ(short_run(changed), "") << key << "=" << value;
        }
    }
    EXPECT_GT(refused, 500U);
    EXPECT_GT(worked, 200U);
}

TEST(HostileSetting, TurnedWhileItRunsIsRefusedOrWorks)
{
    ModelSource waiting(scenario());
    waiting.advance_to(SimTime{70'000});
    for (const std::string& key : all_keys()) {
        if (key == "count" || key == "size" || key == "gap" || key == "burst" || key == "seed") {
            continue; // of the traffic before it begins
        }
        for (const char* text : {"0", "-1", "2147483647", "4294967296", "9223372036854775807", "9223372036854775808", "NaN"}) {
            const auto value = waiting.knob_value(key, text);
            if (value) {
                EXPECT_EQ(short_run(scenario(), key, *value), "") << key << "=" << text;
            } else {
                EXPECT_EQ(value.error().describe().find('\n'), std::string::npos);
            }
        }
    }
}

/// Rows of tests/data/settings.tsv: what the modelled parts read, with the kernel's default.
struct Listed {
    std::string key;
    std::int64_t usual = 0;
};

std::vector<Listed> listed()
{
    std::ifstream file(SKBSCOPE_SOURCE_DIR "/tests/data/settings.tsv");
    std::vector<Listed> rows;
    std::string line;
    std::getline(file, line);
    while (std::getline(file, line)) {
        std::istringstream columns(line);
        Listed row;
        std::getline(columns, row.key, '\t');
        columns >> row.usual;
        if (row.key.starts_with("DEVICE.")) {
            row.key = "eth0" + row.key.substr(6);
        }
        rows.push_back(row);
    }
    return rows;
}

TEST(Setting, EachOneOfTheListHasTheKernelsDefaultAndCanBeTurnedWhileTheModelRuns)
{
    constexpr const char* plain = "skbscope: 1\nhosts:\n  - name: a\n    devices:\n      - {name: eth0, link: b}\nstations:\n  - {name: b, mac: 52:54:00:00:00:01, address: 10.0.0.1}\n";
    ModelSource source(*parse_scenario(plain, "plain"));
    source.advance_to(SimTime{1'000});
    const auto knobs = source.knobs();
    const auto rows = listed();
    EXPECT_GT(rows.size(), 120U);
    for (const Listed& row : rows) {
        const auto knob = std::ranges::find(knobs, row.key, &Knob::key);
        ASSERT_NE(knob, knobs.end()) << row.key;
        EXPECT_EQ(knob->value, row.usual) << row.key;
        EXPECT_EQ(knob->kernel_default, row.usual) << row.key;
        Scenario scenario = *parse_scenario(plain, "plain");
        EXPECT_TRUE(apply_setting(scenario, row.key + "=" + std::to_string(knob->maximum))) << row.key;
        EXPECT_TRUE(source.set_knob(row.key, knob->maximum, source.known_until())) << row.key;
        const auto after = source.knobs();
        EXPECT_EQ(std::ranges::find(after, row.key, &Knob::key)->value, knob->maximum) << row.key;
        EXPECT_TRUE(source.set_knob(row.key, row.usual, source.known_until())) << row.key;
    }
}

TEST(Setting, WhereThereAreSeveralNamespacesEachHasKnobsOfItsOwn)
{
    ModelSource source(scenario());
    source.advance_to(SimTime{1'000});
    const auto value = [&](const std::string& key) {
        const auto knobs = source.knobs();
        const auto knob = std::ranges::find(knobs, key, &Knob::key);
        EXPECT_EQ(std::ranges::count(knobs, key, &Knob::key), 1) << key;
        return knob == knobs.end() ? -1 : knob->value;
    };
    std::vector<std::string> owners;
    for (const Knob& knob : source.knobs()) {
        if (knob.key.ends_with("/net.ipv4.ip_forward")) {
            owners.push_back(knob.key);
        }
    }
    ASSERT_EQ(owners.size(), source.world().nets.size());
    const std::int64_t other = value(owners[0]);
    const std::int64_t turned = 1 - value(owners[1]);
    ASSERT_TRUE(source.set_knob(owners[1], turned, source.known_until()));
    EXPECT_EQ(value(owners[1]), turned);
    EXPECT_EQ(value(owners[0]), other);
    // What is the whole machine's is its first namespace's alone.
    const auto knobs = source.knobs();
    std::set<decltype(kernel::Net::host)> machines;
    for (const auto& net : source.world().nets) {
        machines.insert(net.host);
    }
    EXPECT_EQ(static_cast<std::size_t>(std::ranges::count_if(knobs, [](const Knob& knob) { return knob.key.ends_with("/net.core.netdev_max_backlog"); })), machines.size());
}

TEST(Setting, WithAHostInFrontMeansThatNamespaceAlone)
{
    ModelSource source(scenario());
    source.advance_to(SimTime{1'000});
    const SimTime now{1'000};
    ASSERT_TRUE(source.set_knob("inner/net.ipv4.ip_default_ttl", 33, now));
    ASSERT_TRUE(source.set_knob("machine/net.ipv4.conf.all.rp_filter", 2, now));
    EXPECT_EQ(source.world().nets[0].sysctl.ip_default_ttl, 64);
    EXPECT_EQ(source.world().nets[1].sysctl.ip_default_ttl, 33);
    EXPECT_EQ(source.world().nets[0].ipv4.conf_all[kernel::DevConf::rp_filter], 2);
    EXPECT_EQ(source.world().nets[1].ipv4.conf_all[kernel::DevConf::rp_filter], 0);
    ASSERT_TRUE(source.set_knob("net.ipv4.ip_default_ttl", 20, now));
    EXPECT_EQ(source.world().nets[0].sysctl.ip_default_ttl, 20);
    EXPECT_EQ(source.world().nets[1].sysctl.ip_default_ttl, 20);
    Scenario changed = scenario();
    ASSERT_TRUE(apply_setting(changed, "inner/net.ipv6.icmp.ratelimit=5"));
    EXPECT_TRUE(changed.hosts[0].sysctls.empty());
    EXPECT_EQ(changed.hosts[1].sysctls.at("net.ipv6.icmp.ratelimit"), 5);
    EXPECT_EQ(parse_scenario(to_text(changed), "again"), changed);
    EXPECT_FALSE(apply_setting(changed, "elsewhere/net.ipv6.icmp.ratelimit=5"));
    EXPECT_FALSE(source.set_knob("elsewhere/net.ipv4.ip_default_ttl", 5, now));
    EXPECT_FALSE(source.set_knob("inner/eth0.gro", 0, now)) << "eth0 is the machine's";
    EXPECT_FALSE(source.set_knob("net.ipv4.conf.eth7.rp_filter", 0, now)) << "nobody has it";
}

TEST(Setting, OfTheWholeMachineIsRefusedForANamespaceOnIt)
{
    Scenario changed = scenario();
    const auto refused = apply_setting(changed, "inner/net.core.netdev_max_backlog=7");
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().describe().find("machine/net.core.netdev_max_backlog"), std::string::npos) << refused.error().describe();
    ModelSource source(scenario());
    EXPECT_FALSE(source.set_knob("inner/net.core.netdev_max_backlog", 7, SimTime{}));
    EXPECT_TRUE(source.set_knob("inner/net.core.somaxconn", 7, SimTime{})) << "that one each namespace has";
    const auto parsed = parse_scenario("skbscope: 1\nhosts:\n  - name: a\n  - {name: b, namespace_of: a, sysctls: {net.ipv4.route.error_cost: 1}}\n", "s");
    ASSERT_FALSE(parsed);
    EXPECT_NE(parsed.error().what.find("whole machine"), std::string::npos);
}

TEST(Setting, DisableIpv6TakesTheAddressesAwayAndGivesBackTheLinkLocalOne)
{
    ModelSource source(scenario());
    source.advance_to(SimTime{1'000});
    ASSERT_TRUE(source.set_knob("inner/net.ipv6.conf.v1.disable_ipv6", 1, SimTime{1'000}));
    const auto& in6 = [&]() -> const kernel::Inet6Device& {
        return std::ranges::find(source.world().devices, "v1", &kernel::NetDevice::name)->in6;
    };
    EXPECT_TRUE(in6().addresses.empty());
    ASSERT_TRUE(source.set_knob("inner/net.ipv6.conf.v1.disable_ipv6", 0, SimTime{2'000}));
    ASSERT_EQ(in6().addresses.size(), 1U);
    EXPECT_EQ(in6().addresses.front().address.text().substr(0, 6), "fe80::");
    source.run_to_end(SimTime{10'000'000});
    EXPECT_EQ(account(source.trace()), "");
}

} // namespace
} // namespace skbscope
