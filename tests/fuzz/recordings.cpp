#include "tests/fuzz/recordings.h"

#include "capture/import.h"
#include "core/trace/journey.h"
#include "tests/capture/trace_dat_builder.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

namespace skbscope::fuzz {

namespace {

using testing::TraceDatBuilder;

TraceDatBuilder some_packets()
{
    TraceDatBuilder trace;
    for (std::uint64_t i = 0; i < 40; ++i) {
        const std::uint64_t skb = 0xffff0000aaaa0000 + (i % 3) * 0x100;
        trace.on(0, TraceDatBuilder::softirq).softirq_entry().call("net_rx_action", "handle_softirqs");
        trace.call("e1000_clean_rx_irq", "e1000_clean").call("__napi_alloc_skb", "e1000_clean_rx_irq");
        trace.call("napi_gro_receive", "e1000_clean_rx_irq").gro_entry(skb, 92).gro_exit(3).received(skb, 92);
        trace.call("ip_rcv", "__netif_receive_skb_one_core");
        if (i % 2 == 0) {
            trace.dropped(skb, "__udp4_lib_rcv", 3);
        }
        trace.softirq_exit();
        trace.on(1, TraceDatBuilder::task, 171).call("__x64_sys_sendto", "do_syscall_64").call("udp_sendmsg", "inet_sendmsg");
        trace.queued(skb + 0x40, 106).starts(skb + 0x40, 106).transmitted(skb + 0x40, 106).consumed(skb + 0x40);
        if (i == 20) {
            trace.on(0, TraceDatBuilder::softirq).lost(5).wait(400'000'000);
        }
    }
    return trace;
}

template <typename T>
void put(std::string& out, T value)
{
    out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

std::string a_frame(std::uint8_t number)
{
    std::string frame(106, '\0');
    frame[12] = 0x08;
    frame[14] = 0x45;
    frame[17] = 92;
    frame[23] = 17;
    frame[41] = static_cast<char>(number);
    return frame;
}

std::string a_pcap()
{
    std::string out;
    put(out, std::uint32_t{0xa1b23c4d});
    put(out, std::uint16_t{2});
    put(out, std::uint16_t{4});
    put(out, std::uint64_t{0});
    put(out, std::uint32_t{262144});
    put(out, std::uint32_t{1});
    for (std::uint8_t i = 0; i < 20; ++i) {
        put(out, std::uint32_t{1000});
        put(out, std::uint32_t{1000} * i);
        put(out, std::uint32_t{106});
        put(out, std::uint32_t{106});
        out += a_frame(i);
    }
    return out;
}

std::string a_pcapng()
{
    std::string out;
    const auto block = [&](std::uint32_t type, std::string body) {
        body.resize((body.size() + 3) & ~std::size_t{3});
        const auto length = static_cast<std::uint32_t>(body.size() + 12);
        put(out, type);
        put(out, length);
        out += body;
        put(out, length);
    };
    std::string section;
    put(section, std::uint32_t{0x1a2b3c4d});
    put(section, std::uint32_t{1});
    put(section, ~std::uint64_t{0});
    block(0x0a0d0d0a, section);
    std::string interface;
    put(interface, std::uint32_t{1});
    put(interface, std::uint32_t{262144});
    put(interface, std::uint32_t{9 | 1 << 16}); // if_tsresol: nanoseconds
    put(interface, std::uint32_t{9});
    put(interface, std::uint32_t{0});
    block(1, interface);
    for (std::uint8_t i = 0; i < 20; ++i) {
        std::string packet;
        put(packet, std::uint32_t{0});
        put(packet, std::uint32_t{232});
        put(packet, std::uint32_t{3567587328U + i});
        put(packet, std::uint32_t{106});
        put(packet, std::uint32_t{106});
        block(6, packet + a_frame(i));
    }
    return out;
}

/// A file of memory, by the path under which this process can open it.
class MemoryFile {
public:
    explicit MemoryFile(const std::string& bytes) : file_(memfd_create("recording", 0))
    {
        std::size_t done = 0;
        while (done < bytes.size()) {
            const ssize_t wrote = ::write(file_, bytes.data() + done, bytes.size() - done);
            if (wrote <= 0) {
                break;
            }
            done += static_cast<std::size_t>(wrote);
        }
    }
    MemoryFile(const MemoryFile&) = delete;
    MemoryFile& operator=(const MemoryFile&) = delete;
    ~MemoryFile() { ::close(file_); }
    [[nodiscard]] std::string path() const { return fmt::format("/proc/self/fd/{}", file_); }

private:
    int file_;
};

std::string wrong_with(const Trace& trace)
{
    std::uint64_t last = 0;
    for (std::size_t i = 0; i < trace.size(); ++i) {
        const Event& event = trace[i];
        if (event.time_ns < last) {
            return fmt::format("event {} stands before its time", i);
        }
        last = event.time_ns;
        if (event.packet > trace.packet_count() || event.host != 0 || event.task >= trace.tasks().size()) {
            return fmt::format("event {} names a packet, host or task that does not exist", i);
        }
        const EventKind kind = event.event_kind();
        const bool is_queue = kind == EventKind::enqueue || kind == EventKind::dequeue;
        if ((is_queue && event.arg >= trace.queues().size()) ||
            (kind == EventKind::field && event.arg >= trace.field_changes().size())) {
            return fmt::format("event {} points beside its table", i);
        }
    }
    std::uint64_t ended = 0;
    for (const PacketRecord& packet : trace.packets()) {
        ended += packet.death != never && packet.death < packet.birth ? 1 : 0;
        if (packet.device != DeviceId::none && to_index(packet.device) >= trace.devices().size()) {
            return fmt::format("packet {} is on a device that does not exist", to_index(packet.id));
        }
    }
    if (ended != 0) {
        return fmt::format("{} packets end before they begin", ended);
    }
    JourneyIndex index(trace);
    index.update();
    for (const PacketRecord& packet : trace.packets()) {
        (void)index.journey(packet.id);
    }
    return {};
}

} // namespace

std::vector<Recording> whole_recordings()
{
    const TraceDatBuilder trace = some_packets();
    return {
        {"version 6", RecordingKind::trace_dat, trace.file(TraceDatBuilder::Layout::version_6)},
        {"version 7", RecordingKind::trace_dat, trace.file(TraceDatBuilder::Layout::version_7)},
        {"version 7, packed", RecordingKind::trace_dat, trace.file(TraceDatBuilder::Layout::version_7_zstd)},
        {"pcap", RecordingKind::pcap, a_pcap()},
        {"pcapng", RecordingKind::pcap, a_pcapng()},
    };
}

std::string broken(const std::string& whole, std::mt19937_64& random)
{
    std::string bytes = whole;
    const auto any = [&](std::size_t below) { return below == 0 ? 0 : static_cast<std::size_t>(random() % below); };
    const std::size_t changes = 1 + any(4);
    for (std::size_t i = 0; i < changes && !bytes.empty(); ++i) {
        // What matters stands at the beginning, and at the end where version 7 has its index.
        const std::size_t near = std::min<std::size_t>(bytes.size(), 600);
        const std::size_t at = any(3) == 0 ? any(near) : any(3) == 0 ? bytes.size() - 1 - any(near) : any(bytes.size());
        switch (any(8)) {
        case 0:
            bytes.resize(at);
            break;
        case 1:
            bytes[at] = static_cast<char>(random());
            break;
        case 2:
            bytes[at] = static_cast<char>(bytes[at] ^ (1 << any(8)));
            break;
        case 3: { // a number
            static constexpr std::uint64_t hostile[] = {0,          1,          0x7f,       0x80,       0xffff,     0x7fffffff,
                                                        0x80000000, 0xfffffffc, 0xffffffff, 1ULL << 32, 1ULL << 40, ~0ULL >> 1,
                                                        ~0ULL,      ~0ULL - 3,  4096,       4097};
            const std::size_t size = std::size_t{1} << any(4);
            const std::uint64_t number = hostile[any(std::size(hostile))];
            if (at + size <= bytes.size()) {
                std::memcpy(bytes.data() + at, &number, size);
            }
            break;
        }
        case 4: { // a part twice
            const std::string part = bytes.substr(at, any(2000));
            bytes.insert(any(bytes.size()), part);
            break;
        }
        case 5:
            bytes.erase(at, any(200));
            break;
        case 6: { // a part in the place of another
            const std::string part = bytes.substr(at, any(300));
            const std::size_t to = any(bytes.size());
            bytes.replace(to, part.size(), part);
            break;
        }
        default: // another architecture
            if (bytes.size() > 14) {
                bytes[12 + any(2)] = static_cast<char>(any(9));
            }
            break;
        }
    }
    return bytes;
}

std::string import_any(RecordingKind kind, const std::string& bytes, std::uint64_t& kept)
{
    static const std::string whole = some_packets().file(TraceDatBuilder::Layout::version_6);
    const MemoryFile trace_dat(kind == RecordingKind::trace_dat ? bytes : whole);
    const MemoryFile capture(kind == RecordingKind::pcap ? bytes : std::string());
    ImportOptions options;
    options.find_pcaps = false;
    if (kind == RecordingKind::pcap) {
        options.pcaps.push_back({"eth0", capture.path()});
    }
    const auto start = std::chrono::steady_clock::now();
    const auto imported = import_trace_dat(trace_dat.path(), options);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    if (took.count() > 20) { // far above what a sanitizer on a busy machine needs for such a file
        return fmt::format("{} bytes took {:.1f} s", bytes.size(), took.count());
    }
    if (!imported) {
        const std::string line = imported.error().describe();
        const bool is_line = !imported.error().what.empty() && line.find('\n') == std::string::npos && line.size() < 600;
        return is_line ? std::string() : fmt::format("refused with {:?}", line);
    }
    ++kept;
    for (const std::string& warning : imported->warnings) {
        if (warning.empty() || warning.find('\n') != std::string::npos) {
            return fmt::format("warned with {:?}", warning);
        }
    }
    return wrong_with(imported->trace);
}

} // namespace skbscope::fuzz
