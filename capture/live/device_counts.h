#pragma once
// How many packets the devices of this machine have sent and received, in all network namespaces: exact, and at no cost
// to the traffic. Opened while there are rights, read without any.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace skbscope {

class DeviceCounts {
public:
    /// Namespaces that have a process or a name (ip netns); those made later are not seen.
    explicit DeviceCounts(const std::string& proc = "/proc");
    ~DeviceCounts();
    DeviceCounts(const DeviceCounts&) = delete;
    DeviceCounts& operator=(const DeviceCounts&) = delete;

    /// "eth0.rx_packets", "lab-b/veth1.tx_packets": a device of another namespace has that one's name, or "net:[inode]".
    [[nodiscard]] std::map<std::string, std::uint64_t> read() const;

private:
    struct Space {
        std::string prefix;
        int file = -1; ///< its /proc/net/dev
    };
    void add_named(std::vector<std::uint64_t>& seen);
    std::vector<Space> spaces_;
};

/// Names that devices of several namespaces have, of which more than one carried packets between the two readings: the
/// kernel's records name a device, not its namespace. Loopback is not among them: every namespace has one.
std::vector<std::string> names_of_several(const std::map<std::string, std::uint64_t>& before,
                                          const std::map<std::string, std::uint64_t>& after);

} // namespace skbscope
