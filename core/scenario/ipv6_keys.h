#pragma once
// The IPv6 parts of a scenario's text: addresses of either family where a key takes both.

#include "core/scenario/yaml_reader.h"

namespace skbscope::yaml {

/// An address of either family.
inline IpAddress any_address(const YAML::Node& node, std::string_view key)
{
    const std::string text = scalar(node, key);
    const auto parsed = IpAddress::parse(text);
    if (!parsed) {
        complain(node, fmt::format("{} must be an IP address, not '{}'", key, text),
                 "such as 10.99.0.2 or fd00:99::2");
    }
    return *parsed;
}

inline IpAddress address6(const YAML::Node& node, std::string_view key)
{
    const IpAddress parsed = any_address(node, key);
    if (!parsed.v6) {
        complain(node, fmt::format("{} must be an IPv6 address, not '{}'", key, parsed.text()),
                 "such as fd00:99::2");
    }
    return parsed;
}

/// The text names an IPv6 address or prefix.
inline bool is_ipv6(const YAML::Node& node)
{
    return node.IsScalar() && node.Scalar().find(':') != std::string::npos;
}

inline ScenarioAddress6 address6_with_prefix(const YAML::Node& node, std::string_view key)
{
    const std::string text = scalar(node, key);
    const std::size_t slash = text.find('/');
    const auto parsed = IpAddress::parse(text.substr(0, slash));
    int prefix = -1;
    if (slash != std::string::npos) {
        const auto [end, error] = std::from_chars(text.data() + slash + 1, text.data() + text.size(), prefix);
        if (error != std::errc{} || end != text.data() + text.size()) {
            prefix = -1;
        }
    }
    if (!parsed || !parsed->v6 || prefix < 0 || prefix > 128) {
        complain(node, fmt::format("{} must be an IPv6 address and a prefix, not '{}'", key, text),
                 "such as fd00:99::2/64");
    }
    return {*parsed, static_cast<std::uint8_t>(prefix)};
}

inline bool is_endpoint6(const YAML::Node& node)
{
    return node.IsScalar() && node.Scalar().starts_with('[');
}

/// "[fd00:99::2]:5001"
inline std::pair<IpAddress, std::uint16_t> endpoint6(const YAML::Node& node, std::string_view key)
{
    const std::string text = scalar(node, key);
    const std::size_t close = text.find("]:");
    int port = 0;
    std::optional<IpAddress> parsed;
    if (close != std::string::npos) {
        parsed = IpAddress::parse(text.substr(1, close - 1));
        const auto [end, error] = std::from_chars(text.data() + close + 2, text.data() + text.size(), port);
        if (error != std::errc{} || end != text.data() + text.size()) {
            port = 0;
        }
    }
    if (!parsed || !parsed->v6 || port < 1 || port > 65535) {
        complain(node, fmt::format("{} must be an IPv6 address in brackets and a port, not '{}'", key, text),
                 "such as [fd00:99::2]:5001");
    }
    return {*parsed, static_cast<std::uint16_t>(port)};
}

/// Of a device: goes to the list of its family.
inline void add_address(const YAML::Node& node, std::string_view key, ScenarioDevice& device)
{
    if (is_ipv6(node)) {
        device.addresses6.push_back(address6_with_prefix(node, key));
    } else {
        device.addresses.push_back(address_with_prefix(node, key));
    }
}

/// A destination of either family; `v6` set says which counts.
template <typename Traffic>
void take_endpoint(const YAML::Node& node, std::string_view key, Traffic& traffic)
{
    if (is_endpoint6(node)) {
        std::tie(traffic.address6, traffic.port) = endpoint6(node, key);
    } else {
        std::tie(traffic.address, traffic.port) = endpoint(node, key);
    }
}

} // namespace skbscope::yaml
