#include "capture/live/frame_source.h"

#include <fmt/format.h>
#include <optional>
#include <pcap/pcap.h>
#include <poll.h>

namespace skbscope {

namespace {

struct CloseHandle {
    void operator()(pcap_t* handle) const { pcap_close(handle); }
};
using Handle = std::unique_ptr<pcap_t, CloseHandle>;

struct FreeDevices {
    void operator()(pcap_if_t* devices) const { pcap_freealldevs(devices); }
};

constexpr int kernel_buffer_bytes = 32 << 20;
constexpr int frames_a_read = 4096; ///< of one device, so that no device starves another

Error error_of(int status, const std::string& device, pcap_t* handle)
{
    const std::string text = pcap_geterr(handle);
    switch (status) {
    case PCAP_ERROR_NO_SUCH_DEVICE: return {ErrorKind::not_found, device, "there is no such device", "ip link shows those there are"};
    case PCAP_ERROR_PERM_DENIED:
        return {ErrorKind::not_permitted, device, "its frames may not be captured", "CAP_NET_RAW is needed: sudo skbscope record …"};
    case PCAP_ERROR_IFACE_NOT_UP: return {ErrorKind::unsupported, device, "is not up", "ip link set " + device + " up"};
    default: return {ErrorKind::unsupported, device, "cannot be captured: " + text, {}};
    }
}

Result<Handle> open_device(const std::string& device, const std::string& filter, int bytes_kept)
{
    char trouble[PCAP_ERRBUF_SIZE] = {};
    Handle handle(pcap_create(device.c_str(), trouble));
    if (!handle) {
        return fail(ErrorKind::unsupported, device, std::string("cannot be captured: ") + trouble);
    }
    (void)pcap_set_snaplen(handle.get(), bytes_kept);
    (void)pcap_set_timeout(handle.get(), 10); // milliseconds until a block that is not full is handed on
    (void)pcap_set_buffer_size(handle.get(), kernel_buffer_bytes);
    (void)pcap_set_tstamp_precision(handle.get(), PCAP_TSTAMP_PRECISION_NANO);
    if (const int status = pcap_activate(handle.get()); status < 0) {
        return tl::unexpected(error_of(status, device, handle.get()));
    }
    if (pcap_datalink(handle.get()) != DLT_EN10MB) {
        return fail(ErrorKind::unsupported, device, "has no Ethernet frames");
    }
    (void)pcap_setnonblock(handle.get(), 1, trouble); // where fcntl() is refused: has_frames() is asked first
    if (!filter.empty()) {
        bpf_program program{};
        if (pcap_compile(handle.get(), &program, filter.c_str(), 1, PCAP_NETMASK_UNKNOWN) != 0) {
            return fail(ErrorKind::usage, "-f '" + filter + "'", pcap_geterr(handle.get()), "see man pcap-filter");
        }
        const int set = pcap_setfilter(handle.get(), &program);
        pcap_freecode(&program);
        if (set != 0) {
            return fail(ErrorKind::unsupported, "-f '" + filter + "'", pcap_geterr(handle.get()));
        }
    }
    return handle;
}

/// Reading would not wait.
bool has_frames(pcap_t* handle)
{
    char trouble[PCAP_ERRBUF_SIZE] = {};
    if (pcap_getnonblock(handle, trouble) == 1) {
        return true;
    }
    pollfd ready{pcap_get_selectable_fd(handle), POLLIN, 0};
    return poll(&ready, 1, 0) > 0;
}

std::vector<std::string> devices_up()
{
    char trouble[PCAP_ERRBUF_SIZE] = {};
    pcap_if_t* all = nullptr;
    std::vector<std::string> names;
    if (pcap_findalldevs(&all, trouble) != 0) {
        return names;
    }
    const std::unique_ptr<pcap_if_t, FreeDevices> devices(all);
    for (const pcap_if_t* device = all; device != nullptr; device = device->next) {
        if ((device->flags & PCAP_IF_UP) != 0 && std::string(device->name) != "any") {
            names.emplace_back(device->name);
        }
    }
    return names;
}

} // namespace

struct FrameSource::State {
    std::vector<std::string> devices;
    std::vector<Handle> handles; ///< null: the device is gone
    std::vector<std::string> troubles;
    std::uint64_t lost_of_gone = 0;
};

FrameSource::FrameSource(std::unique_ptr<State> state) : state_(std::move(state)) {}
FrameSource::FrameSource(FrameSource&&) noexcept = default;
FrameSource& FrameSource::operator=(FrameSource&&) noexcept = default;
FrameSource::~FrameSource() = default;

Result<FrameSource> FrameSource::open(const std::string& device, const std::string& filter, int bytes_kept)
{
    auto state = std::make_unique<State>();
    std::optional<Error> last;
    for (const std::string& name : device.empty() ? devices_up() : std::vector{device}) {
        auto handle = open_device(name, filter, bytes_kept);
        if (handle) {
            state->devices.push_back(name);
            state->handles.push_back(std::move(*handle));
        } else if (!device.empty() || handle.error().kind == ErrorKind::usage) {
            return tl::unexpected(handle.error());
        } else {
            last = handle.error();
        }
    }
    if (state->handles.empty()) {
        if (last && last->kind == ErrorKind::not_permitted) {
            return tl::unexpected(*last);
        }
        return fail(ErrorKind::not_permitted, "frames", "no device can be captured", "CAP_NET_RAW is needed, and a device that is up");
    }
    return FrameSource(std::move(state));
}

const std::vector<std::string>& FrameSource::devices() const { return state_->devices; }
const std::vector<std::string>& FrameSource::troubles() const { return state_->troubles; }

bool FrameSource::read(std::vector<LiveFrame>& into)
{
    bool any = false;
    for (std::uint32_t i = 0; i < state_->handles.size(); ++i) {
        Handle& handle = state_->handles[i];
        if (!handle || !has_frames(handle.get())) {
            any = any || handle;
            continue;
        }
        struct Target {
            std::vector<LiveFrame>* into;
            std::uint32_t device;
        } target{&into, i};
        const auto take = [](std::uint8_t* user, const pcap_pkthdr* header, const std::uint8_t* bytes) {
            const auto* to = reinterpret_cast<Target*>(user);
            // With nanosecond precision tv_usec holds nanoseconds.
            to->into->push_back({header->ts.tv_sec * 1'000'000'000LL + header->ts.tv_usec, header->len, to->device,
                                 {bytes, bytes + header->caplen}});
        };
        if (pcap_dispatch(handle.get(), frames_a_read, take, reinterpret_cast<std::uint8_t*>(&target)) < 0) {
            state_->troubles.push_back(fmt::format("{}: {}", state_->devices[i], pcap_geterr(handle.get())));
            pcap_stat statistics{};
            state_->lost_of_gone += pcap_stats(handle.get(), &statistics) == 0 ? statistics.ps_drop : 0;
            handle.reset();
            continue;
        }
        any = true;
    }
    return any;
}

std::uint64_t FrameSource::lost() const
{
    std::uint64_t lost = state_->lost_of_gone;
    for (const Handle& handle : state_->handles) {
        pcap_stat statistics{};
        if (handle && pcap_stats(handle.get(), &statistics) == 0) {
            lost += statistics.ps_drop;
        }
    }
    return lost;
}

} // namespace skbscope
