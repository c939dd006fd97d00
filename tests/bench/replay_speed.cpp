// How fast a capture goes through the model: datagrams of 512 bytes to one host. Makes the capture where it is not there yet.
//
//   replay_speed FILE [FRAMES [summary|recorded]]
//
// Prints what making the plan cost (reading, finding the host's frames) and what the run cost, which reads them again. recorded: what has come is
// forgotten at once, as while a recording is written.

#include "app/pcap_capture.h"
#include "core/packet/build.h"
#include "core/packet/bytes.h"
#include "core/scenario/model_source.h"

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <string>
#include <sys/resource.h>

namespace {

using namespace skbscope;

constexpr std::uint32_t host = 0x0a000002;

void put32(std::FILE* file, std::uint32_t value) { std::fwrite(&value, sizeof value, 1, file); }

/// pcap with nanoseconds, a datagram every 8 us from 64 ports in turn.
bool make_capture(const char* path, long frames)
{
    std::FILE* file = std::fopen(path, "wb");
    if (file == nullptr) {
        return false;
    }
    for (const std::uint32_t word : {0xa1b23c4dU, 0x00040002U, 0U, 0U, 65535U, 1U}) {
        put32(file, word);
    }
    const std::vector<std::uint8_t> payload(512, 'x');
    for (long n = 0; n < frames; ++n) {
        UdpFrame frame;
        frame.ethernet = {MacAddress{{2, 0, 0, 0, 0, 2}}, MacAddress{{2, 0, 0, 0, 0, 1}}, 0x0800};
        frame.source = IpAddress::v4(host - 1);
        frame.destination = IpAddress::v4(host);
        frame.source_port = static_cast<std::uint16_t>(4000 + n % 64);
        frame.destination_port = 5001;
        frame.payload = payload;
        frame.id = static_cast<std::uint16_t>(n);
        const auto bytes = build_udp_frame(frame);
        const long long ns = n * 8000LL;
        put32(file, static_cast<std::uint32_t>(ns / 1'000'000'000));
        put32(file, static_cast<std::uint32_t>(ns % 1'000'000'000));
        put32(file, static_cast<std::uint32_t>(bytes.size()));
        put32(file, static_cast<std::uint32_t>(bytes.size()));
        std::fwrite(bytes.data(), 1, bytes.size(), file);
    }
    return std::fclose(file) == 0;
}

double seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

} // namespace

int main(int argc, char** argv)
{
    if (argc < 2) {
        std::fprintf(stderr, "replay_speed FILE [FRAMES [summary|recorded]]\n");
        return 2;
    }
    const long frames = argc > 2 ? std::atol(argv[2]) : 2'000'000;
    const bool recorded = argc > 3 && std::string(argv[3]) == "recorded";
    if (!std::filesystem::exists(argv[1]) && !make_capture(argv[1], frames)) {
        std::fprintf(stderr, "%s cannot be written\n", argv[1]);
        return 3;
    }
    const double start = seconds();
    const auto capture = app::PcapCapture::open(argv[1]);
    if (!capture) {
        std::fprintf(stderr, "%s\n", capture.error().describe().c_str());
        return 3;
    }
    const ReplayPlan plan = plan_replay(**capture, host, {});
    const double planned = seconds();
    ModelSource model(replay_scenario(host, plan.mac, plan.udp_ports), replay_frames(*capture, plan));
    model.keep_snapshots(false);
    model.set_recording(recorded);
    model.run_to_end(never, [&] {
        TraceMark all;
        all.events = model.trace().size();
        all.packets = model.trace().packet_count() + 1;
        all.field_changes = model.trace().field_changes().size();
        all.counter_changes = model.trace().counter_changes().size();
        all.queue_changes = model.trace().queue_changes().size();
        model.forget_before(all);
        return true;
    });
    const double done = seconds();
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    const auto rate = [&](double from, double to) { return static_cast<double>(plan.frames) / (to - from); };
    std::printf("%s: %llu frames, %llu delivered; plan %.2f s, run %.2f s: %.0f frames/s, all %.0f frames/s; peak %ld MB\n",
                recorded ? "recorded" : "summary", static_cast<unsigned long long>(plan.frames),
                static_cast<unsigned long long>(model.trace().verdicts()[static_cast<std::size_t>(Verdict::delivered)]), planned - start,
                done - planned, rate(planned, done), rate(start, done), usage.ru_maxrss / 1024);
    return 0;
}
