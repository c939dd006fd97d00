#include "capture/fidelity/recording_check.h"

#include "capture/fidelity/test_packets.h"
#include "capture/import.h"
#include "core/catalog/catalog.h"

#include <algorithm>
#include <fmt/format.h>
#include <map>
#include <sstream>

namespace skbscope {

namespace {

constexpr const char* traced_net = "root";
constexpr std::size_t kept_lines = 5;

/// By how much a counter moved in the traced namespaces.
std::int64_t moved(const Manifest& manifest, const std::string& name)
{
    std::int64_t sum = 0;
    const bool machine_wide = name.starts_with("softnet_stat"); // every namespace shows the same
    for (const auto& [net, counters] : manifest.counters) {
        const auto found = counters.find(name);
        if (found != counters.end() && (net == traced_net || (is_one_machine(manifest) && !machine_wide))) {
            sum += found->second;
        }
    }
    return sum;
}

/// Echo requests and replies that ping reports: "5 packets transmitted, 5 received".
std::size_t echoes_of(const std::string& output)
{
    const std::size_t at = output.find(" packets transmitted, ");
    if (at == std::string::npos) {
        return 0;
    }
    const std::size_t line = output.rfind('\n', at);
    std::istringstream text(output.substr(line == std::string::npos ? 0 : line + 1));
    std::size_t sent = 0;
    std::size_t received = 0;
    std::string word;
    text >> sent >> word >> word >> received;
    return sent + received;
}

struct Ends {
    std::size_t packets = 0, delivered = 0, left = 0, dropped = 0;
};

class Counting {
public:
    Counting(const Manifest& manifest, const Trace& trace, RecordingCheck& check) : manifest_(manifest), trace_(trace), check_(check) {}

    void run()
    {
        for (std::size_t i = 0; i < manifest_.phases.size(); ++i) {
            count_phase(i);
        }
        count_filtered();
        count_reasons();
        count_readers_elsewhere();
    }

private:
    template <typename... Values>
    void complain(fmt::format_string<Values...> format, Values&&... values)
    {
        check_.miscounted.push_back(fmt::format(format, std::forward<Values>(values)...));
    }

    bool is_traced(const std::string& net) const { return net == traced_net || is_one_machine(manifest_); }

    const ManifestLink* owner(const IpAddress& address) const
    {
        for (const ManifestLink& link : manifest_.links) {
            if (std::ranges::find(link.addresses, address, &ManifestAddress::address) != link.addresses.end()) {
                return &link;
            }
        }
        return nullptr;
    }

    /// Whether the reader's datagrams went to a traced socket: the one that its phase sent to.
    bool reads_traced(const ManifestPhase& phase, const ManifestReceive& receive) const
    {
        const std::string direction = receive.key.substr(0, receive.key.find("received"));
        const ManifestSend* of = nullptr;
        for (const ManifestSend& send : phase.sends) {
            if (of == nullptr || send.key == direction + "sent") {
                of = &send;
            }
        }
        const ManifestLink* link = of == nullptr ? nullptr : owner(of->to.address);
        return link != nullptr && is_traced(link->net);
    }

    void count_phase(std::size_t index)
    {
        const ManifestPhase& phase = manifest_.phases[index];
        const auto wanted = test_packets_of(manifest_, index, trace_, std::nullopt);
        Ends found;
        const auto is_whole = [this](const PacketRecord& packet) {
            return std::ranges::any_of(trace_.packets(), [&](const PacketRecord& other) { return other.merged_into == packet.id; });
        };
        for (const PacketRecord& packet : trace_.packets()) {
            if (!wanted(packet)) {
                continue;
            }
            // Of a datagram in fragments one counts: the one that it became again, or the first that left. Hand-made ones count one by one.
            const bool is_part = !phase.stream && phase.frames == 0 && (packet.verdict == Verdict::merged || (packet.relation == Relation::split && !is_whole(packet)));
            if (is_part) {
                continue;
            }
            ++found.packets;
            found.delivered += packet.verdict == Verdict::delivered ? 1 : 0;
            const bool is_unfinished = !manifest_.graph_functions.empty() && packet.sent_here && packet.verdict == Verdict::in_flight;
            const bool left = packet.verdict == Verdict::sent || packet.verdict == Verdict::forwarded || is_unfinished;
            found.left += left ? 1 : 0;
            found.dropped += packet.verdict == Verdict::dropped ? 1 : 0;
            if (packet.verdict == Verdict::dropped) {
                ++reasons_[std::string(Catalog::drop_reason(packet.reason).name)];
                const std::string_view where = trace_.function_name(packet.end_function);
                const bool is_counted = phase.frames == 0 || !phase.snmp_delta.empty(); // what is meant for others is dropped there, too
                in_headers_ += !is_counted                                                            ? 0
                               : where.starts_with("ip_rcv_core") || where.starts_with("ip_forward") ? 1 : 0;
            }
            if (left && packet.flow) {
                ++left_to_[packet.flow->destination_port];
            } else if (is_unfinished && !phase.sends.empty()) {
                ++left_to_[phase.sends.front().to.port];
            }
        }
        if (phase.stream) {
            count_bytes(phase, wanted);
            return;
        }
        std::size_t sent = phase.frames + echoes_of(phase.output);
        for (const ManifestSend& send : phase.sends) {
            sent += send.tool.empty() ? send.count : send.sent;
        }
        frames_sent_ += phase.frames;
        if (phase.frames != 0 && found.packets < sent) {
            not_handed_up_.push_back(fmt::format("{}: {} packets were sent, {} are in the trace", phase.name, sent, found.packets));
        } else if (found.packets != sent) {
            complain("{}: {} packets were sent, {} are in the trace", phase.name, sent, found.packets);
        }
        std::size_t read = 0;
        bool has_reader = false;
        for (const ManifestReceive& receive : phase.receives) {
            if (reads_traced(phase, receive)) {
                has_reader = true;
                read += receive.received;
            }
        }
        if (has_reader && read != found.delivered) {
            complain("{}: {} datagrams were read, {} are delivered", phase.name, read, found.delivered);
        }
        if (!phase.sends.empty() && found.delivered + found.left + found.dropped != found.packets) {
            complain("{}: {} packets, of which {} delivered, {} left, {} dropped", phase.name, found.packets, found.delivered, found.left, found.dropped);
        }
        if (phase.description.find("dropped in") != std::string::npos) { // by netfilter: all that was sent
            refused_ += sent;
        }
    }

    void count_bytes(const ManifestPhase& phase, const PacketChoice& wanted)
    {
        for (const auto& [flow, bytes] : tcp_bytes_of(trace_, wanted)) {
            const bool by_client = flow.source == phase.stream->client.address && flow.source_port == phase.stream->client.port;
            const std::uint64_t expected = by_client ? phase.stream->client_sent : phase.stream->client_received;
            if (bytes != expected) {
                complain("{}: {} bytes were carried, {} are in the trace", flow.text(), expected, bytes);
            }
        }
    }

    /// A device that is not promiscuous leaves out frames that are meant for others: its counter shows that.
    void count_filtered()
    {
        std::int64_t received = 0;
        for (const ManifestLink& link : manifest_.links) {
            received += link.net == traced_net ? moved(manifest_, link.name + ".rx_packets") : 0;
        }
        if (received >= static_cast<std::int64_t>(frames_sent_)) {
            check_.miscounted.insert(check_.miscounted.end(), not_handed_up_.begin(), not_handed_up_.end());
        }
    }

    /// Drops for which the kernel has a counter of their own.
    void count_reasons()
    {
        const bool pings = std::ranges::any_of(manifest_.phases, [](const ManifestPhase& phase) { return !phase.output.empty(); });
        if (manifest_.phases.front().stream || pings) {
            return; // an echo's reply ends as NO_SOCKET behind the sockets that took clones of it; the counter means ports
        }
        const auto expect = [&](const char* reason, std::int64_t count) {
            if (reasons_[reason] != count) {
                complain("{} of {} by the counters, {} in the trace", count, reason, reasons_[reason]);
            }
        };
        expect("NO_SOCKET", moved(manifest_, "Udp.NoPorts") + moved(manifest_, "Udp6NoPorts"));
        expect("SOCKET_RCVBUFF", moved(manifest_, "Udp.RcvbufErrors") + moved(manifest_, "Udp6RcvbufErrors"));
        expect("CPU_BACKLOG", moved(manifest_, "softnet_stat.dropped"));
        expect("QDISC_DROP", moved(manifest_, "Udp.SndbufErrors"));
        expect("UDP_CSUM", moved(manifest_, "Udp.InCsumErrors"));
        expect("IP_RPFILTER", moved(manifest_, "TcpExt.IPReversePathFilter"));
        if (trace_.info.kernel >= KernelVersion::v6_1) {
            expect("IP_CSUM", moved(manifest_, "IpExt.InCsumErrors"));
            expect("PKT_TOO_SMALL", moved(manifest_, "IpExt.InTruncatedPkts"));
            expect("IP_NOPROTO", moved(manifest_, "Ip.InUnknownProtos"));
            expect("IP_INHDR", moved(manifest_, "Ip.InHdrErrors") - moved(manifest_, "IpExt.InCsumErrors"));
        } else if (const auto count = moved(manifest_, "Ip.InHdrErrors") + moved(manifest_, "IpExt.InTruncatedPkts"); count != in_headers_) {
            // No reason is told there, and ip_rcv_core() drops for several of them at one place.
            complain("{} with bad headers by the counters, {} in the trace", count, in_headers_);
        }
        expect("NETFILTER_DROP", static_cast<std::int64_t>(refused_));
    }

    /// What left for a reader that is not traced must be as many as it read.
    void count_readers_elsewhere()
    {
        std::map<std::uint16_t, std::size_t> read;
        for (const ManifestPhase& phase : manifest_.phases) {
            for (const ManifestReceive& receive : phase.receives) {
                if (!reads_traced(phase, receive)) {
                    read[receive.bound.port] += receive.received;
                }
            }
        }
        for (const auto& [port, count] : read) {
            if (left_to_[port] != count) {
                complain("{} datagrams were read at port {}, {} left for it", count, port, left_to_[port]);
            }
        }
    }

    const Manifest& manifest_;
    const Trace& trace_;
    RecordingCheck& check_;
    std::map<std::string, std::int64_t> reasons_;
    std::map<std::uint16_t, std::size_t> left_to_;
    std::size_t refused_ = 0;
    std::size_t frames_sent_ = 0;
    std::vector<std::string> not_handed_up_;
    std::int64_t in_headers_ = 0; ///< dropped where IPv4 looks at its header, or counts its time down
};

void count_complete(const Manifest& manifest, const Trace& trace, RecordingCheck& check)
{
    JourneyIndex journeys(trace);
    journeys.update();
    const auto shown = shown_functions(manifest, trace);
    for (std::size_t i = 0; i < manifest.phases.size(); ++i) {
        const auto wanted = test_packets_of(manifest, i, trace, std::nullopt);
        for (const PacketRecord& packet : trace.packets()) {
            if (!wanted(packet)) {
                continue;
            }
            if (!manifest.graph_functions.empty() && packet.sent_here && packet.verdict == Verdict::in_flight) {
                ++check.unfinished;
                continue;
            }
            ++check.packets;
            const std::string missing = missing_of_path(trace, packet, journeys.journey(packet.id), shown);
            if (missing.empty()) {
                ++check.complete;
            } else if (check.incomplete.size() < kept_lines) {
                check.incomplete.push_back(
                    fmt::format("{}: packet {} ({}) lacks {}", manifest.phases[i].name, to_index(packet.id), to_string(packet.verdict), missing));
            }
        }
    }
}

} // namespace

Result<RecordingCheck> check_recording(const std::filesystem::path& folder)
{
    const auto manifest = read_manifest(folder);
    if (!manifest) {
        return tl::unexpected(manifest.error());
    }
    const std::string path = (folder / "trace.dat").string();
    const auto imported = import_trace_dat(path);
    if (!imported) {
        return tl::unexpected(imported.error());
    }
    RecordingCheck check;
    check.folder = folder.filename().string();
    check.kernel = manifest->kernel;
    check.scenario = manifest->scenario;
    for (const PcapMatch& match : imported->pcaps) {
        check.frames += match.frames;
        check.matched += match.matched;
        check.outside += match.outside;
    }
    if (!manifest->graph_functions.empty()) {
        check.unrecorded = check.frames - check.matched - check.outside;
    }
    count_complete(*manifest, imported->trace, check);
    Counting(*manifest, imported->trace, check).run();
    ImportOptions without;
    without.use_kprobes = false;
    const auto hidden = import_trace_dat(path, without);
    if (!hidden) {
        return tl::unexpected(hidden.error());
    }
    check.probed = hidden->probes.checked;
    check.wrong = hidden->probes.wrong;
    check.missed = hidden->probes.missed;
    check.wrong_examples = hidden->probes.examples;
    return check;
}

std::string recording_checks_to_markdown(const std::vector<RecordingCheck>& rows, const std::vector<std::string>& unattributed)
{
    std::string text;
    for (std::size_t i = 0; i < rows.size(); ++i) {
        const RecordingCheck& row = rows[i];
        const std::string probes = row.probed == 0 ? std::string("none") : fmt::format("{} of {}", row.wrong, row.probed);
        text += fmt::format("| {} | {} | {} | {} | {} | {} | {} | {}/{}{} |\n", row.kernel, row.folder, row.packets,
                            row.unfinished == 0 ? fmt::format("{}", row.complete) : fmt::format("{}, {} not in the graph", row.complete, row.unfinished),
                            row.miscounted.empty() ? "as in the manifest" : row.miscounted.front(), unattributed[i], probes, row.matched, row.frames - row.outside,
                            row.unrecorded != 0 ? fmt::format(", {} not in the graph", row.unrecorded) : "");
    }
    return text;
}

} // namespace skbscope
