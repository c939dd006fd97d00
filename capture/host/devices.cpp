#include "capture/host/devices.h"

#include "capture/host/text_file.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <fmt/format.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sstream>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace skbscope::host {

namespace {

/// A socket that ioctls about devices are sent through.
class Ioctl {
public:
    Ioctl() : socket_(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {}
    Ioctl(const Ioctl&) = delete;
    Ioctl& operator=(const Ioctl&) = delete;
    ~Ioctl()
    {
        if (socket_ >= 0) {
            (void)close(socket_);
        }
    }

    /// T is one of ethtool's structures, which begin with the command.
    template <typename T>
    [[nodiscard]] std::optional<T> ask(const std::string& device, std::uint32_t command) const
    {
        T answer{};
        answer.cmd = command;
        return fill(device, &answer) ? std::optional(answer) : std::nullopt;
    }

    /// `structure`: one of ethtool's, with room behind it for what the kernel writes there.
    [[nodiscard]] bool fill(const std::string& device, void* structure) const
    {
        ifreq request{};
        if (socket_ < 0 || device.empty() || device.size() >= sizeof request.ifr_name) {
            return false;
        }
        std::memcpy(request.ifr_name, device.c_str(), device.size());
        request.ifr_data = static_cast<char*>(structure); // NOLINT: the kernel's interface
        return ioctl(socket_, SIOCETHTOOL, &request) == 0;
    }

private:
    int socket_;
};

std::string text_in(const char* from, std::size_t most) { return {from, strnlen(from, most)}; }

std::string or_dash(const std::string& text) { return text.empty() ? "-" : text; }

} // namespace

DeviceDetails read_device_details(const std::string& device)
{
    const Ioctl kernel;
    DeviceDetails details;
    if (const auto driver = kernel.ask<ethtool_drvinfo>(device, ETHTOOL_GDRVINFO)) {
        details.driver = text_in(driver->driver, sizeof driver->driver);
        details.bus = text_in(driver->bus_info, sizeof driver->bus_info);
    }
    if (const auto ring = kernel.ask<ethtool_ringparam>(device, ETHTOOL_GRINGPARAM)) {
        details.ring = {ring->rx_pending, ring->rx_max_pending, ring->tx_pending, ring->tx_max_pending};
    }
    if (const auto channels = kernel.ask<ethtool_channels>(device, ETHTOOL_GCHANNELS)) {
        details.channels = {channels->rx_count, channels->tx_count, channels->combined_count, channels->max_combined};
    }
    if (const auto coalesce = kernel.ask<ethtool_coalesce>(device, ETHTOOL_GCOALESCE)) {
        details.coalescing = {coalesce->rx_coalesce_usecs,       coalesce->rx_max_coalesced_frames,      coalesce->tx_coalesce_usecs,
                              coalesce->tx_max_coalesced_frames, coalesce->use_adaptive_rx_coalesce != 0, coalesce->use_adaptive_tx_coalesce != 0};
    }
    return details;
}

DriverStatistics read_driver_statistics(const std::string& device)
{
    constexpr std::uint32_t most = 4096;
    const Ioctl kernel;
    // Not ETHTOOL_GDRVINFO's n_stats, which some drivers leave at 0. The answer's data is one number a set that was asked for.
    ethtool_sset_info asked{};
    asked.cmd = ETHTOOL_GSSET_INFO;
    asked.sset_mask = std::uint64_t{1} << ETH_SS_STATS;
    std::array<std::uint64_t, sizeof asked / sizeof(std::uint64_t) + 1> count{};
    std::memcpy(count.data(), &asked, sizeof asked);
    if (!kernel.fill(device, count.data())) {
        return {};
    }
    std::uint32_t length = 0;
    std::memcpy(&asked, count.data(), sizeof asked);
    std::memcpy(&length, reinterpret_cast<const char*>(count.data()) + sizeof asked, sizeof length);
    if (asked.sset_mask == 0 || length == 0 || length > most) {
        return {};
    }
    // The kernel writes as many as the driver has now, which may have become more (channels were added): it gets room for all.
    std::vector<std::uint64_t> names((sizeof(ethtool_gstrings) + std::size_t{most} * ETH_GSTRING_LEN) / sizeof(std::uint64_t) + 1);
    std::vector<std::uint64_t> values(sizeof(ethtool_stats) / sizeof(std::uint64_t) + most + 1);
    ethtool_gstrings strings{};
    strings.cmd = ETHTOOL_GSTRINGS;
    strings.string_set = ETH_SS_STATS;
    strings.len = length;
    std::memcpy(names.data(), &strings, sizeof strings);
    ethtool_stats figures{};
    figures.cmd = ETHTOOL_GSTATS;
    figures.n_stats = length;
    std::memcpy(values.data(), &figures, sizeof figures);
    if (!kernel.fill(device, names.data()) || !kernel.fill(device, values.data())) {
        return {};
    }
    std::memcpy(&strings, names.data(), sizeof strings);
    std::memcpy(&figures, values.data(), sizeof figures);
    DriverStatistics statistics;
    const char* name = reinterpret_cast<const char*>(names.data()) + sizeof strings;
    const char* value = reinterpret_cast<const char*>(values.data()) + sizeof figures;
    for (std::uint32_t row = 0; row < std::min({strings.len, figures.n_stats, most}); ++row) {
        std::uint64_t number = 0;
        std::memcpy(&number, value + row * sizeof number, sizeof number);
        statistics.emplace_back(text_in(name + std::size_t{row} * ETH_GSTRING_LEN, ETH_GSTRING_LEN), number);
    }
    return statistics;
}

std::string driver_statistics_text(const std::string& device, const DriverStatistics& statistics)
{
    std::string text = fmt::format("{}:\nNIC statistics:\n", device);
    for (const auto& [name, value] : statistics) {
        text += fmt::format("     {}: {}\n", name, value);
    }
    return text;
}

std::vector<Interrupt> parse_interrupt_names(std::string_view text)
{
    std::vector<Interrupt> found;
    std::istringstream lines{std::string(text)};
    std::string line;
    std::size_t cpus = 0;
    if (std::getline(lines, line)) {
        std::istringstream titles(line);
        for (std::string title; titles >> title;) {
            ++cpus;
        }
    }
    while (std::getline(lines, line)) {
        std::istringstream words(line);
        std::string number;
        Interrupt interrupt;
        words >> number;
        const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), interrupt.number);
        if (error != std::errc{} || end == number.data() + number.size() || *end != ':') {
            continue; // NMI: and the like
        }
        std::string word;
        std::size_t left = cpus;
        while (left > 0 && words >> word) {
            --left;
        }
        while (words >> word) { // "PCI-MSIX-0000:00:03.0 1-edge virtio2-input.0": the last says whose it is
            interrupt.name = word;
        }
        found.push_back(std::move(interrupt));
    }
    return found;
}

std::vector<Interrupt> read_interrupts(const std::string& proc)
{
    auto interrupts = parse_interrupt_names(read_file(proc + "/interrupts").value_or(""));
    for (Interrupt& interrupt : interrupts) {
        const std::string folder = fmt::format("{}/irq/{}", proc, interrupt.number);
        interrupt.affinity = first_line(read_file(folder + "/smp_affinity_list").value_or(""));
        interrupt.effective = first_line(read_file(folder + "/effective_affinity_list").value_or(""));
    }
    return interrupts;
}

std::string devices_table(const std::vector<Link>& links, const std::vector<DeviceDetails>& details)
{
    std::string out = "device\tstate\tcarrier\tdriver\tbus\tmtu\ttxqueuelen\tqdisc\trx ring\ttx ring\tchannels\tcoalescing\n";
    for (std::size_t i = 0; i < links.size(); ++i) {
        const Link& link = links[i];
        const DeviceDetails about = i < details.size() ? details[i] : DeviceDetails{};
        const auto ring = [](std::uint32_t now, std::uint32_t most) { return most == 0 ? std::string("-") : fmt::format("{} of {}", now, most); };
        std::string channels = "-";
        if (about.channels) {
            channels = about.channels->combined_most != 0 ? fmt::format("{} of {} combined", about.channels->combined, about.channels->combined_most)
                                                          : fmt::format("{} rx, {} tx", about.channels->rx, about.channels->tx);
        }
        std::string coalescing = "-";
        if (about.coalescing) {
            const auto& c = *about.coalescing;
            coalescing = fmt::format("rx {} us {} frames{}, tx {} us {} frames{}", c.rx_usecs, c.rx_frames, c.adaptive_rx ? " adaptive" : "", c.tx_usecs,
                                     c.tx_frames, c.adaptive_tx ? " adaptive" : "");
        }
        out += fmt::format("{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\n", link.name, link.is_up ? or_dash(link.state) : "off",
                           !link.carrier ? "-" : *link.carrier ? "yes" : "no", or_dash(about.driver.empty() ? link.kind : about.driver), or_dash(about.bus),
                           link.mtu, link.txqueuelen, or_dash(link.qdisc), about.ring ? ring(about.ring->rx, about.ring->rx_most) : "-",
                           about.ring ? ring(about.ring->tx, about.ring->tx_most) : "-", channels, coalescing);
    }
    return out;
}

std::string interrupts_table(const std::vector<Interrupt>& interrupts)
{
    std::string out = "interrupt\tname\tallowed CPUs\tgoes to\n";
    for (const Interrupt& interrupt : interrupts) {
        out += fmt::format("{}\t{}\t{}\t{}\n", interrupt.number, or_dash(interrupt.name), or_dash(interrupt.affinity), or_dash(interrupt.effective));
    }
    return out;
}

} // namespace skbscope::host
