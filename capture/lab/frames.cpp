#include "capture/lab/frames.h"

#include "capture/lab/processes.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <pcap/pcap.h>
#include <sched.h>
#include <unistd.h>

namespace skbscope::lab {

namespace {

constexpr int ring_bytes = 16 << 20;
constexpr int kept_bytes = 512;
constexpr int retire_ms = 10; // a block of the ring that is not full is handed over after this

struct ClosePcap {
    void operator()(pcap_t* handle) const { ::pcap_close(handle); }
};
using Handle = std::unique_ptr<pcap_t, ClosePcap>;

/// Back to the network namespace that this thread came from, whatever happens.
class Return {
public:
    Return() : fd_(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)) {}
    ~Return()
    {
        if (fd_ >= 0) {
            (void)::setns(fd_, CLONE_NEWNET);
            ::close(fd_);
        }
    }
    Return(const Return&) = delete;
    Return& operator=(const Return&) = delete;
    [[nodiscard]] bool is_sure() const { return fd_ >= 0; }

private:
    int fd_;
};

Result<Handle> open_device(const std::string& device)
{
    char said[PCAP_ERRBUF_SIZE] = {};
    Handle handle(::pcap_create(device.c_str(), said));
    if (!handle) {
        return fail(ErrorKind::unsupported, device, said);
    }
    ::pcap_set_snaplen(handle.get(), kept_bytes);
    ::pcap_set_buffer_size(handle.get(), ring_bytes);
    ::pcap_set_timeout(handle.get(), retire_ms);
    ::pcap_set_tstamp_precision(handle.get(), PCAP_TSTAMP_PRECISION_NANO);
    if (::pcap_activate(handle.get()) < 0) {
        return fail(ErrorKind::not_permitted, device, ::pcap_geterr(handle.get()), "capturing frames needs root");
    }
    (void)::pcap_setnonblock(handle.get(), 1, said);
    return handle;
}

} // namespace

struct Frames::State {
    std::vector<std::pair<std::string, Handle>> devices;
};

Frames::Frames() : state_(std::make_unique<State>()) {}
Frames::Frames(Frames&&) noexcept = default;
Frames& Frames::operator=(Frames&&) noexcept = default;
Frames::~Frames() = default;

Result<Frames> Frames::open(const Plan& plan)
{
    Frames frames;
    const Return back;
    if (!back.is_sure()) {
        return fail(ErrorKind::unreadable, "/proc/thread-self/ns/net", std::strerror(errno));
    }
    for (const auto& [space, device] : plan.devices) {
        if (const auto entered = enter_namespace(plan.spaces[space].name, false); !entered) {
            return tl::unexpected(entered.error());
        }
        auto handle = open_device(device);
        if (!handle) {
            return tl::unexpected(handle.error());
        }
        frames.state_->devices.emplace_back(device, std::move(*handle));
    }
    return frames;
}

Result<std::vector<FramesFile>> Frames::write(const std::string& folder)
{
    ::usleep(3U * retire_ms * 1000U);
    std::vector<FramesFile> files;
    for (const auto& [device, handle] : state_->devices) {
        FramesFile file{device, fmt::format("{}/{}.pcap", folder, device), 0, 0};
        pcap_dumper_t* dumper = ::pcap_dump_open(handle.get(), file.path.c_str());
        if (dumper == nullptr) {
            return fail(ErrorKind::unwritable, file.path, ::pcap_geterr(handle.get()));
        }
        pcap_pkthdr* header = nullptr;
        const unsigned char* bytes = nullptr;
        while (::pcap_next_ex(handle.get(), &header, &bytes) == 1) {
            ::pcap_dump(reinterpret_cast<unsigned char*>(dumper), header, bytes);
            ++file.frames;
        }
        ::pcap_dump_close(dumper);
        pcap_stat counts{};
        if (::pcap_stats(handle.get(), &counts) == 0) {
            file.lost = counts.ps_drop;
        }
        files.push_back(std::move(file));
    }
    return files;
}

} // namespace skbscope::lab
