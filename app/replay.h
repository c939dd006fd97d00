#pragma once
// Frames as a Source: those of a capture, or of a live device, arrive at a modelled host.

#include "app/output.h"
#include "core/result.h"
#include "core/scenario/model_source.h"

#include <memory>
#include <string>

namespace skbscope::app {

/// As typed; empty: not given.
struct ReplayOptions {
    std::string as;       ///< ADDR[,MAC] of the host to model
    std::string scenario; ///< a file
    std::string kernel;   ///< one of kernel_profiles
};

/// Whose kernel is modelled.
struct Identity {
    std::uint32_t address = 0; ///< IPv4, host order
    MacAddress mac;            ///< all zero: not told
};
/// "ADDR" or "ADDR,MAC" of --as.
[[nodiscard]] Result<Identity> parse_identity(const std::string& text);

/// The scenario of --scenario with the host that frames arrive at: its first device that has an address.
struct NamedHost {
    Scenario scenario;
    Identity identity;
};
[[nodiscard]] Result<NamedHost> load_host(const std::string& path);

/// Reads the capture and puts its frames on the wire of the modelled host. What is left out or padded is said
/// on stderr.
[[nodiscard]] Result<std::unique_ptr<ModelSource>> replay_capture(const std::string& path,
                                                                  const ReplayOptions& options);

/// What of a live device is replayed, and for how long.
struct DeviceWishes {
    std::string device;
    std::string filter;       ///< libpcap's words; empty: all
    double seconds = 0;       ///< 0: until a signal
    std::uint64_t frames = 0; ///< 0: any number
};
/// Sends what the device sees through the modelled kernel, as it happens, until the wishes are met or a signal comes; then a
/// report, or the end of the recording.
[[nodiscard]] Result<int> replay_device(const DeviceWishes& wishes, const ReplayOptions& options,
                                        const RunOutput& output);

} // namespace skbscope::app
