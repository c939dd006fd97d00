#pragma once
// A host's own figures beside what is traced: looked at when a recording begins, every second or so, and when it ends. What moves
// becomes counters of the trace; what stands (drivers, rings, settings, rules, who owns which socket) its files.
//
// Names of counters: those of proc_tables.h; "eth0.rx_missed_errors", "eth0.carrier"; "qdisc eth0 fq_codel root 8001:.drops" with
// .bytes .packets .backlog_bytes .backlog_packets .requeues .overlimits; "socket udp 10.0.0.1:5001 #4242.drops" (the number is the
// socket's inode) with .receive_queue .send_queue .rmem .wmem .backlog; so "socket raw 0.0.0.0:1 #7" (IP protocol 1) and "socket packet
// 0x0800 eth0 #8" (of what Ethernet protocol, "all"; of what device, "*"); "ethtool eth0.rx_queue_0_drops" as the driver names it;
// "interrupt 24 eth0.per_second", a rate since the look before.
// Names of files: "ethtool" (as `ethtool -S` prints it), "devices", "irqs", "sockets" (tables whose fields are parted by tabs, with a line of titles), "sysctl" ("name =
// value" a line), "recorder" (how it records), "nft", "iptables-save", "ip6tables-save" (as those tools print them) and "missing" (what could not be read, a
// line each, and why).

#include "capture/host/devices.h"
#include "capture/host/netlink.h"
#include "capture/host/other_spaces.h"
#include "capture/host/proc_tables.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace skbscope::host {

/// The sockets of a host by inode: "nginx 812". Of other users' processes only with rights. `proc`: "/proc".
[[nodiscard]] std::map<std::uint32_t, std::string> socket_owners(const std::string& proc);

/// The settings that the catalog knows, with their values: "name = value" a line. Those of devices for each of `devices`.
[[nodiscard]] std::string settings_table(const std::string& proc, const std::vector<std::string>& devices);
/// `own`, and of `first` (the settings_table() of the first network namespace) what the whole host shares and only that one shows:
/// net.core.netdev_max_backlog, say.
[[nodiscard]] std::string with_host_wide_settings(std::string own, const std::string& first);

/// Figures of devices, qdiscs and sockets under the names above.
void add_links(Counters& counters, const std::vector<Link>& links);
void add_qdiscs(Counters& counters, const std::vector<QdiscStatistics>& qdiscs, const std::vector<Link>& links);
void add_driver_statistics(Counters& counters, const std::string& device, const DriverStatistics& statistics);
/// How often each interrupt of `now` has come a second since `before`; whole numbers. An interrupt that is new is left out.
void add_interrupt_rates(Counters& now, const Counters& before, Duration between);
/// At most `most_sockets`; those with something in a queue or a drop first. Returns how many were left out.
std::size_t add_sockets(Counters& counters, const std::vector<SocketState>& sockets, const std::vector<Link>& links = {});
inline constexpr std::size_t most_sockets = 400;
[[nodiscard]] std::string socket_name(const SocketState& socket, const std::vector<Link>& links = {});

class HostSampler {
public:
    struct Places {
        std::string proc = "/proc";
        bool rules = true; ///< ask nft and iptables-save as well
        bool other_spaces = true; ///< sockets of the network namespaces that there are at the first look, as far as they may be entered
    };
    explicit HostSampler(Places places);

    /// The first look, with whatever rights there are: everything. `at`: on the trace's clock, as below.
    void begin(SimTime at);
    /// Another look at what moves.
    void sample(SimTime at);
    /// The last look; what stands is looked at again as far as rights are left.
    void end(SimTime at);
    /// Gives the trace the looks that are not younger than `settled`, everything that is older being in it. They are stamped with
    /// their own time, or the trace's last event's where that is later.
    void write(Trace& trace, SimTime settled);
    /// A file of the recorder's own: how it records ("recorder"), or a line that joins what could not be read ("missing").
    void tell(const std::string& name, const std::string& text);
    /// A figure of the recorder's own, taken along with the next look.
    void set(const std::string& counter, std::uint64_t value) { own_[counter] = value; }

private:
    struct Move {
        std::string counter;
        std::uint64_t before = 0, after = 0;
    };
    struct Look {
        SimTime at;
        std::vector<Move> moves;
        std::vector<HostFile> files; ///< empty: as before
    };
    [[nodiscard]] Counters look_at_figures();
    void look_at_sockets();
    void look_at_sockets_of(const SocketQuestions& questions, const std::string& space);
    [[nodiscard]] std::vector<HostFile> look_at_what_stands(bool with_rules);
    [[nodiscard]] std::string sockets_table();
    void take(SimTime at, bool whole);
    void missed(const std::string& what);

    Places places_;
    Counters last_;
    Counters own_;
    std::map<std::string, CounterId> ids_;
    std::vector<Look> pending_;
    std::vector<std::string> missing_;
    std::vector<Link> links_;
    std::vector<SocketState> sockets_;
    std::optional<SocketQuestions> questions_;
    std::vector<OtherSpace> spaces_;
    std::map<std::string, DriverStatistics> driver_statistics_; ///< by device
    SimTime last_look_ = never;
    std::map<std::uint32_t, std::string> owners_;
    struct SocketRow {
        std::string owner, state, receive_buffer, send_buffer, space;
    };
    std::map<std::string, SocketRow> known_sockets_; ///< by name: all that have been there
    std::map<std::string, std::string> told_;
    std::string first_spaces_settings_; ///< as settings_table() has them; empty in the first network namespace, or where it may not be entered
    std::map<std::string, std::string> rules_; ///< by tool: what it said when there were rights
};

} // namespace skbscope::host
