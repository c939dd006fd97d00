#pragma once
// Reading YAML into values, on top of yaml-cpp's nodes: which keys a mapping may have, what a value may be, and complaints
// that carry line and column. For the files of core/scenario that read a part of a scenario.

#include "core/packet/ip_address.h"
#include "core/packet/mac.h"
#include "core/scenario/scenario.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fmt/format.h>
#include <map>
#include <set>
#include <string>
#include <vector>
#include <yaml-cpp/yaml.h>

namespace skbscope::yaml {

/// Thrown while reading only; parse_scenario() turns it into an Error.
struct Complaint {
    YAML::Mark mark;
    std::string what, remedy;
};

[[noreturn]] inline void complain(const YAML::Node& at, std::string what, std::string remedy = {})
{
    throw Complaint{at.Mark(), std::move(what), std::move(remedy)};
}

inline std::string scalar(const YAML::Node& node, std::string_view key)
{
    if (!node.IsScalar()) {
        complain(node, fmt::format("{} must be a single value", key));
    }
    return node.Scalar();
}

inline std::int64_t integer(const YAML::Node& node, std::string_view key, std::int64_t low, std::int64_t high)
{
    const std::string text = scalar(node, key);
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) {
        complain(node, fmt::format("{} must be a whole number, not '{}'", key, text), fmt::format("{} … {}", low, high));
    }
    if (value < low || value > high) {
        complain(node, fmt::format("{} is {}", key, text), fmt::format("allowed: {} … {}", low, high));
    }
    return value;
}

inline bool boolean(const YAML::Node& node, std::string_view key)
{
    const std::string text = scalar(node, key);
    if (text == "true" || text == "on" || text == "yes") {
        return true;
    }
    if (text == "false" || text == "off" || text == "no") {
        return false;
    }
    complain(node, fmt::format("{} must be true or false, not '{}'", key, text));
}

/// "10us", "1.5 ms", "3s", "250ns"; a bare number is nanoseconds.
inline Duration duration(const YAML::Node& node, std::string_view key)
{
    const std::string text = scalar(node, key);
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    std::string unit(end);
    unit.erase(std::remove(unit.begin(), unit.end(), ' '), unit.end());
    static const std::map<std::string, double> units{{"", 1}, {"ns", 1}, {"us", 1e3}, {"µs", 1e3}, {"ms", 1e6}, {"s", 1e9}};
    const auto factor = units.find(unit);
    if (end == text.c_str() || factor == units.end() || !std::isfinite(value)) {
        complain(node, fmt::format("{} must be a time such as 10us, not '{}'", key, text), "units: ns, us, ms, s");
    }
    const double ns = value * factor->second;
    if (ns < 0 || ns > 3.6e12) {
        complain(node, fmt::format("{} is {}", key, text), "allowed: 0 … 3600 s");
    }
    return {static_cast<std::int64_t>(std::llround(ns))};
}

/// "1gbit", "100mbit", "2.5 Gbit/s"; a bare number is bits a second.
inline std::uint64_t rate(const YAML::Node& node)
{
    const std::string text = scalar(node, "rate");
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    std::string unit;
    for (const char* c = end; *c != '\0'; ++c) {
        if (*c != ' ') {
            unit += static_cast<char>(std::tolower(static_cast<unsigned char>(*c)));
        }
    }
    if (unit.ends_with("/s")) {
        unit.resize(unit.size() - 2);
    }
    static const std::map<std::string, double> units{{"", 1}, {"bit", 1}, {"kbit", 1e3}, {"mbit", 1e6}, {"gbit", 1e9}};
    const auto factor = units.find(unit);
    const double bits = factor == units.end() ? 0 : value * factor->second;
    if (end == text.c_str() || !(bits >= 1000 && bits <= 1e12)) {
        complain(node, fmt::format("rate must be a rate such as 1gbit, not '{}'", text), "1kbit … 1000gbit");
    }
    return static_cast<std::uint64_t>(bits);
}

inline std::uint32_t address(const YAML::Node& node, std::string_view key)
{
    const std::string text = scalar(node, key);
    const auto parsed = IpAddress::parse(text);
    if (!parsed || parsed->v6) {
        complain(node, fmt::format("{} must be an IPv4 address, not '{}'", key, text), "such as 10.99.0.2");
    }
    return parsed->v4_host_order();
}

inline ScenarioAddress address_with_prefix(const YAML::Node& node, std::string_view key)
{
    const std::string text = scalar(node, key);
    const std::size_t slash = text.find('/');
    const auto parsed = IpAddress::parse(text.substr(0, slash));
    int prefix = 32;
    if (slash != std::string::npos) {
        const char* begin = text.data() + slash + 1;
        const auto [end, error] = std::from_chars(begin, text.data() + text.size(), prefix);
        if (error != std::errc{} || end != text.data() + text.size()) {
            prefix = -1;
        }
    }
    if (!parsed || parsed->v6 || prefix < 0 || prefix > 32) {
        complain(node, fmt::format("{} must be an IPv4 address with its prefix, not '{}'", key, text), "such as 10.99.0.2/24");
    }
    return {parsed->v4_host_order(), static_cast<std::uint8_t>(prefix)};
}

/// "10.99.0.1:5001"
inline std::pair<std::uint32_t, std::uint16_t> endpoint(const YAML::Node& node, std::string_view key)
{
    const std::string text = scalar(node, key);
    const std::size_t colon = text.rfind(':');
    const auto parsed = IpAddress::parse(text.substr(0, colon));
    int port = 0;
    if (colon != std::string::npos) {
        const auto [end, error] = std::from_chars(text.data() + colon + 1, text.data() + text.size(), port);
        if (error != std::errc{} || end != text.data() + text.size()) {
            port = 0;
        }
    }
    if (!parsed || parsed->v6 || port < 1 || port > 65535) {
        complain(node, fmt::format("{} must be an IPv4 address and a port, not '{}'", key, text), "such as 10.99.0.2:5001");
    }
    return {parsed->v4_host_order(), static_cast<std::uint16_t>(port)};
}

inline MacAddress mac(const YAML::Node& node)
{
    const std::string text = scalar(node, "mac");
    const auto parsed = MacAddress::parse(text);
    if (!parsed || parsed->is_multicast()) {
        complain(node, fmt::format("mac must be the address of one device, not '{}'", text), "such as 52:54:00:12:34:56");
    }
    return *parsed;
}

inline std::string name_of(const YAML::Node& node, std::string_view key)
{
    std::string text = scalar(node, key);
    if (text.empty() || text.size() > 64) {
        complain(node, fmt::format("{} must have 1 to 64 characters", key));
    }
    return text;
}

/// Walks a mapping: calls the reader of each key, complains about keys that have none.
class Mapping {
public:
    Mapping(const YAML::Node& node, std::string what) : node_(node), what_(std::move(what))
    {
        if (!node.IsMap()) {
            complain(node, what_ + " must be a mapping of keys to values");
        }
    }
    template <typename Reader>
    Mapping& key(const char* name, Reader read)
    {
        known_.emplace_back(name);
        if (const YAML::Node value = node_[name]) {
            read(value);
        }
        return *this;
    }
    template <typename Reader>
    Mapping& required(const char* name, Reader read)
    {
        if (!node_[name]) {
            complain(node_, fmt::format("{} needs '{}'", what_, name));
        }
        return key(name, read);
    }
    void done() const
    {
        std::set<std::string> seen;
        for (const auto& entry : node_) {
            const std::string name = entry.first.IsScalar() ? entry.first.Scalar() : "?";
            if (std::ranges::find(known_, name) == known_.end()) {
                complain(entry.first, fmt::format("unknown key '{}' in {}", name, what_), "known: " + fmt::format("{}", fmt::join(known_, ", ")));
            }
            if (!seen.insert(name).second) {
                complain(entry.first, fmt::format("'{}' stands twice in {}", name, what_));
            }
        }
    }

private:
    const YAML::Node& node_;
    std::string what_;
    std::vector<std::string> known_;
};

/// Each entry of a list, which has at most `most`.
template <typename Reader>
void each(const YAML::Node& node, std::string_view key, Reader read, std::size_t most = 65535)
{
    if (!node.IsSequence()) {
        complain(node, fmt::format("{} must be a list", key));
    }
    if (node.size() > most) {
        complain(node, fmt::format("{} has {} entries", key, node.size()), fmt::format("at most {}", most));
    }
    for (const auto& item : node) {
        read(item);
    }
}

} // namespace skbscope::yaml
