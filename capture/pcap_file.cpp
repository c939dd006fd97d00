#include "capture/pcap_file.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fmt/format.h>
#include <memory>
#include <pcap/pcap.h>

namespace skbscope {

namespace {

struct ClosePcap {
    void operator()(pcap_t* handle) const { pcap_close(handle); }
};

} // namespace

struct PcapReader::State {
    std::string path;
    std::unique_ptr<pcap_t, ClosePcap> handle; ///< null once the end has come
    Frame frame;
    std::uint64_t frames = 0;
    std::string damage;
};

PcapReader::PcapReader(std::unique_ptr<State> state) : state_(std::move(state)) {}
PcapReader::PcapReader(PcapReader&&) noexcept = default;
PcapReader& PcapReader::operator=(PcapReader&&) noexcept = default;
PcapReader::~PcapReader() = default;

const std::string& PcapReader::damage() const
{
    return state_->damage;
}

Result<PcapReader> PcapReader::open(const std::string& path)
{
    std::error_code error;
    const auto status = std::filesystem::status(path, error);
    if (!std::filesystem::exists(status)) {
        return fail(ErrorKind::not_found, path, "no such file");
    }
    if (std::filesystem::is_directory(status)) {
        return fail(ErrorKind::unreadable, path, "is a folder", "name a pcap or pcapng file");
    }
    if (std::filesystem::is_regular_file(status) && std::filesystem::file_size(path, error) == 0) {
        return fail(ErrorKind::cut, path, "the file is empty");
    }
    std::FILE* stream = std::fopen(path.c_str(), "rb");
    if (stream == nullptr) {
        return fail(ErrorKind::unreadable, path, "cannot be opened", "check its permissions");
    }
    (void)std::setvbuf(stream, nullptr, _IOFBF, std::size_t{1} << 18); // libpcap asks for a frame at a time
    char text[PCAP_ERRBUF_SIZE] = {};
    std::unique_ptr<pcap_t, ClosePcap> handle( // it closes the stream
        pcap_fopen_offline_with_tstamp_precision(stream, PCAP_TSTAMP_PRECISION_NANO, text));
    if (handle == nullptr) {
        std::fclose(stream);
        const std::string reason(text);
        if (reason.find("truncated") != std::string::npos) {
            return fail(ErrorKind::cut, path, "the file ends inside its header");
        }
        if (reason.find("ermission") != std::string::npos) {
            return fail(ErrorKind::unreadable, path, "cannot be opened", "check its permissions");
        }
        return fail(ErrorKind::foreign, path, "not a pcap or pcapng file");
    }
    const int link = pcap_datalink(handle.get());
    if (link != DLT_EN10MB) {
        const char* name = pcap_datalink_val_to_name(link);
        return fail(
            ErrorKind::unsupported, path,
            fmt::format("its frames are of link type {}", name != nullptr ? name : std::to_string(link)),
            "only Ethernet captures can be read: capture on the device itself, not on \"any\"");
    }
    auto state = std::make_unique<State>();
    state->path = path;
    state->handle = std::move(handle);
    return PcapReader(std::move(state));
}

const PcapReader::Frame* PcapReader::next()
{
    if (state_->handle == nullptr) {
        return nullptr;
    }
    pcap_pkthdr* header = nullptr;
    const u_char* data = nullptr;
    const int got = pcap_next_ex(state_->handle.get(), &header, &data);
    if (got != 1) {
        if (got != PCAP_ERROR_BREAK) {
            state_->damage = fmt::format("{} after frame {}: {}", state_->path, state_->frames, pcap_geterr(state_->handle.get()));
        }
        state_->handle.reset();
        return nullptr;
    }
    // With nanosecond precision asked for, tv_usec holds nanoseconds.
    // A damaged stamp may hold any number: none of them leaves the 64 bits.
    constexpr std::int64_t latest_s = 9'000'000'000;
    Frame& frame = state_->frame;
    frame.wall_ns = std::clamp<std::int64_t>(header->ts.tv_sec, 0, latest_s) * 1'000'000'000 +
                    std::clamp<std::int64_t>(header->ts.tv_usec, 0, 999'999'999);
    frame.length = header->len;
    frame.bytes = {data, header->caplen};
    ++state_->frames;
    return &frame;
}

Result<PcapFile> read_pcap(const std::string& path)
{
    auto reader = PcapReader::open(path);
    if (!reader) {
        return tl::unexpected(reader.error());
    }
    PcapFile file;
    file.path = path;
    std::error_code error;
    if (std::filesystem::is_regular_file(path, error)) {
        file.bytes.reserve(std::filesystem::file_size(path, error)); // a little more than the frames; never grown, never copied
    }
    while (const PcapReader::Frame* frame = reader->next()) {
        file.frames.push_back({frame->wall_ns, frame->length, file.bytes.size(), static_cast<std::uint32_t>(frame->bytes.size())});
        file.bytes.insert(file.bytes.end(), frame->bytes.begin(), frame->bytes.end());
    }
    file.damage = reader->damage();
    return file;
}

} // namespace skbscope
