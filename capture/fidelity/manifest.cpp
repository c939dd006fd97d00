#include "capture/fidelity/manifest.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fmt/format.h>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

namespace skbscope {

namespace {

using nlohmann::json;

constexpr std::uintmax_t largest_manifest = 64U << 20U; // the largest known is 200 kB
constexpr std::uint64_t most_packets = 10'000'000;
constexpr std::size_t most_items = 100'000;        // phases, links, functions: far above any lab
constexpr std::uint64_t longest_clock = 1ULL << 62U; // trace clock, ns

/// Thrown inside this file only; read_manifest() turns it into an Error.
struct Complaint {
    std::string where, what;
};

[[noreturn]] void complain(const std::string& where, std::string what)
{
    throw Complaint{where, std::move(what)};
}

/// A value with its path in the document ("phases[0].begin"), so that complaints can say where.
class Node {
public:
    Node(const json& value, std::string path) : value_(&value), path_(std::move(path)) {}

    [[nodiscard]] const std::string& path() const { return path_; }
    [[nodiscard]] bool is_object() const { return value_->is_object(); }
    [[nodiscard]] bool is_array() const { return value_->is_array(); }
    [[nodiscard]] bool is_string() const { return value_->is_string(); }
    [[nodiscard]] bool is_number() const { return value_->is_number(); }

    [[nodiscard]] std::optional<Node> find(const std::string& key) const
    {
        if (!value_->is_object()) {
            complain(path_, "must be an object");
        }
        const auto found = value_->find(key);
        if (found == value_->end() || found->is_null()) {
            return std::nullopt;
        }
        return Node(*found, path_.empty() ? key : path_ + "." + key);
    }
    [[nodiscard]] Node at(const std::string& key) const
    {
        auto found = find(key);
        if (!found) {
            complain(path_.empty() ? key : path_ + "." + key, "is missing");
        }
        return *found;
    }
    [[nodiscard]] std::vector<Node> items() const
    {
        if (!value_->is_array()) {
            complain(path_, "must be a list");
        }
        if (value_->size() > most_items) {
            complain(path_, fmt::format("holds {} items, at most {} are taken", value_->size(), most_items));
        }
        std::vector<Node> list;
        for (std::size_t i = 0; i < value_->size(); ++i) {
            list.emplace_back((*value_)[i], fmt::format("{}[{}]", path_, i));
        }
        return list;
    }
    [[nodiscard]] std::vector<std::pair<std::string, Node>> members() const
    {
        if (!value_->is_object()) {
            complain(path_, "must be an object");
        }
        std::vector<std::pair<std::string, Node>> list;
        for (const auto& [key, value] : value_->items()) {
            list.emplace_back(key, Node(value, path_.empty() ? key : path_ + "." + key));
        }
        return list;
    }
    [[nodiscard]] std::string text() const
    {
        if (!value_->is_string()) {
            complain(path_, "must be a text");
        }
        return value_->get<std::string>();
    }
    [[nodiscard]] std::uint64_t number(std::uint64_t low, std::uint64_t high) const
    {
        if (value_->is_number_unsigned() || (value_->is_number_integer() && value_->get<std::int64_t>() >= 0)) {
            const auto number = value_->get<std::uint64_t>();
            if (number >= low && number <= high) {
                return number;
            }
        }
        complain(path_, fmt::format("must be a whole number from {} to {}, not {}", low, high, value_->dump().substr(0, 40)));
    }
    [[nodiscard]] double real() const
    {
        if (!value_->is_number() || !std::isfinite(value_->get<double>())) {
            complain(path_, "must be a number");
        }
        return value_->get<double>();
    }
    /// Numbers and truth values as the text that a person would write.
    [[nodiscard]] std::string any_text() const { return value_->is_string() ? value_->get<std::string>() : value_->dump().substr(0, 200); }

private:
    const json* value_;
    std::string path_;
};

std::string text_or(const Node& node, const std::string& key, std::string otherwise = {})
{
    const auto found = node.find(key);
    return found ? found->text() : std::move(otherwise);
}

IpAddress address_of(const Node& node)
{
    const auto address = IpAddress::parse(node.text());
    if (!address) {
        complain(node.path(), fmt::format("'{}' is no IP address", node.text().substr(0, 60)));
    }
    return *address;
}

/// ["10.99.0.1", 40001]; further members (IPv6 scope) do not matter.
ManifestEndpoint endpoint_of(const Node& node)
{
    const auto parts = node.items();
    if (parts.size() < 2) {
        complain(node.path(), "must be an address and a port");
    }
    return {address_of(parts[0]), static_cast<std::uint16_t>(parts[1].number(0, 65535))};
}

ManifestSend send_of(const std::string& key, const Node& node)
{
    ManifestSend send;
    send.key = key;
    send.from = endpoint_of(node.at("src"));
    send.to = endpoint_of(node.at("dst"));
    send.count = node.at("count").number(0, most_packets);
    if (const auto tool = node.find("tool")) {
        send.tool = tool->text();
        send.device = node.at("dev").text();
        send.frame_size = static_cast<std::uint32_t>(node.at("frame_size").number(14, 65535));
        send.sent = node.at("sent").number(0, most_packets);
        if (const auto seconds = node.find("seconds"); seconds && send.count > 0) {
            send.gap_ns = static_cast<std::uint64_t>(std::clamp(seconds->real(), 0.0, 3600.0) * 1e9 / static_cast<double>(send.count));
        }
        return send;
    }
    send.size = static_cast<std::uint32_t>(node.at("size").number(0, 65507));
    send.sent = node.at("send_ok").number(0, most_packets);
    if (const auto ttl = node.find("ttl")) {
        send.ttl = static_cast<std::uint8_t>(ttl->number(0, 255));
    }
    if (const auto gap = node.find("gap_s")) {
        send.gap_ns = static_cast<std::uint64_t>(std::clamp(gap->real(), 0.0, 3600.0) * 1e9);
    }
    if (const auto stamps = node.find("stamps")) {
        for (const Node& stamp : stamps->items()) {
            send.stamps.push_back(stamp.number(send.stamps.empty() ? 0 : send.stamps.back(), longest_clock));
        }
        if (!send.stamps.empty() && send.stamps.size() != send.count) {
            complain(stamps->path(), fmt::format("holds {} stamps for {} datagrams", send.stamps.size(), send.count));
        }
    }
    return send;
}

ManifestReceive receive_of(const std::string& key, const Node& node)
{
    ManifestReceive receive;
    receive.key = key;
    receive.bound = endpoint_of(node.at("addr"));
    if (const auto from = node.find("from"); from && from->is_array()) {
        receive.seen_from = endpoint_of(*from);
    }
    receive.received = node.at("received").number(0, most_packets);
    receive.rcvbuf = static_cast<std::uint32_t>(node.at("so_rcvbuf").number(0, 0x7fffffff));
    if (const auto indices = node.find("indices")) {
        for (const Node& index : indices->items()) {
            receive.indices.push_back(static_cast<std::int64_t>(index.real()));
        }
    }
    return receive;
}

ManifestQdisc qdisc_of(const Node& node)
{
    ManifestQdisc qdisc;
    qdisc.kind = node.at("kind").text();
    qdisc.handle = text_or(node, "handle");
    qdisc.parent = text_or(node, "parent");
    qdisc.device = text_or(node, "dev");
    qdisc.root = node.find("root").has_value();
    if (const auto options = node.find("options")) {
        for (const auto& [key, value] : options->members()) {
            if (value.is_number()) {
                qdisc.options[key] = value.real();
            }
        }
    }
    return qdisc;
}

ManifestPhase phase_of(const Node& node)
{
    ManifestPhase phase;
    phase.name = node.at("name").text();
    phase.description = text_or(node, "description");
    phase.begin = node.at("begin").number(0, longest_clock);
    phase.end = node.at("end").number(phase.begin, longest_clock);
    const Node result = node.at("result");
    for (const auto& [key, value] : result.members()) {
        if (key == "client" || key == "server") {
            continue;
        }
        if (key == "snmp_delta") {
            for (const auto& [counter, moved] : value.members()) {
                phase.snmp_delta[counter] = static_cast<std::int64_t>(moved.real());
            }
            continue;
        }
        if (key == "tc") {
            for (const Node& qdisc : value.items()) {
                phase.qdiscs.push_back(qdisc_of(qdisc));
            }
        } else if (key == "frames") {
            phase.frames = value.number(0, most_packets);
        } else if (key == "output") {
            phase.output = value.text();
        } else if (key == "raw_reader_frames") {
            phase.raw_reader = true;
        } else if (value.is_object() && value.find("src")) {
            phase.sends.push_back(send_of(key, value));
        } else if (value.is_object() && value.find("addr")) {
            phase.receives.push_back(receive_of(key, value));
        }
    }
    if (const auto client = result.find("client")) {
        ManifestStream stream;
        stream.client = endpoint_of(client->at("src"));
        stream.server = endpoint_of(client->at("dst"));
        stream.client_sent = client->at("sent").number(0, 1ULL << 40U);
        stream.client_received = client->at("received").number(0, 1ULL << 40U);
        phase.stream = stream;
    }
    return phase;
}

ManifestLink link_of(const std::string& name, const Node& list, const Node& manifest)
{
    const auto entries = list.items();
    if (entries.empty()) {
        complain(list.path(), "is empty");
    }
    const Node& entry = entries.front();
    ManifestLink link;
    link.name = name;
    const auto mac = MacAddress::parse(entry.at("address").text());
    if (!mac) {
        complain(entry.path() + ".address", "is no MAC address");
    }
    link.mac = *mac;
    link.mtu = static_cast<std::uint32_t>(entry.at("mtu").number(68, 65536));
    link.qdisc = text_or(entry, "qdisc");
    if (const auto length = entry.find("txqlen")) {
        link.txqueuelen = static_cast<std::uint32_t>(length->number(0, 1'000'000));
    }
    if (const auto addresses = entry.find("addr_info")) {
        for (const Node& address : addresses->items()) {
            if (const auto local = address.find("local")) {
                link.addresses.push_back({address_of(*local), static_cast<std::uint8_t>(address.at("prefixlen").number(0, 128))});
            }
        }
    }
    if (const auto driver = manifest.at("driver").find(name)) {
        link.driver = driver->text();
    }
    if (const auto offloads = manifest.find("offloads")) {
        if (const auto own = offloads->find(name)) {
            for (const auto& [feature, value] : own->members()) {
                link.offloads[feature] = value.any_text() == "on";
            }
        }
    }
    return link;
}

// ---- counters: two snapshots of /proc as text ------------------------------------------------------------------------------

using Counters = std::map<std::string, std::int64_t>;

std::vector<std::string> words_of(const std::string& line)
{
    std::istringstream in(line);
    std::vector<std::string> words;
    for (std::string word; in >> word;) {
        words.push_back(std::move(word));
    }
    return words;
}

std::optional<std::int64_t> integer_of(const std::string& word)
{
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    return error == std::errc{} && end == word.data() + word.size() ? std::optional(value) : std::nullopt;
}

/// /proc/net/snmp and netstat: a line of names, a line of values, both with the protocol in front.
void take_pairs(Counters& counters, const std::string& text)
{
    std::istringstream in(text);
    std::string names_line;
    std::string values_line;
    while (std::getline(in, names_line) && std::getline(in, values_line)) {
        const auto names = words_of(names_line);
        const auto values = words_of(values_line);
        if (names.empty() || names.size() != values.size() || names[0] != values[0] || !names[0].ends_with(':')) {
            continue;
        }
        const std::string group = names[0].substr(0, names[0].size() - 1);
        for (std::size_t i = 1; i < names.size(); ++i) {
            if (const auto value = integer_of(values[i])) {
                counters[group + "." + names[i]] = *value;
            }
        }
    }
}

/// /proc/net/snmp6: a name and a value a line.
void take_snmp6(Counters& counters, const std::string& text)
{
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) {
        const auto words = words_of(line);
        if (words.size() == 2) {
            if (const auto value = integer_of(words[1])) {
                counters[words[0]] = *value;
            }
        }
    }
}

/// /proc/net/softnet_stat: hexadecimal columns, a line per CPU. Summed over the CPUs.
void take_softnet(Counters& counters, const std::string& text)
{
    std::istringstream in(text);
    for (const char* name : {"softnet_stat.processed", "softnet_stat.dropped", "softnet_stat.time_squeeze"}) {
        counters[name] = 0;
    }
    for (std::string line; std::getline(in, line);) {
        const auto words = words_of(line);
        if (words.size() < 3) {
            continue;
        }
        const auto hex = [&](std::size_t column) { return static_cast<std::int64_t>(std::strtoull(words[column].c_str(), nullptr, 16)); };
        counters["softnet_stat.processed"] += hex(0);
        counters["softnet_stat.dropped"] += hex(1);
        counters["softnet_stat.time_squeeze"] += hex(2);
    }
}

void take_links(Counters& counters, const Node& list)
{
    for (const Node& link : list.items()) {
        const std::string name = link.at("ifname").text();
        const auto stats = link.find("stats64");
        if (!stats) {
            continue;
        }
        for (const char* direction : {"rx", "tx"}) {
            if (const auto side = stats->find(direction)) {
                for (const auto& [counter, value] : side->members()) {
                    if (value.is_number()) {
                        // /sys/class/net/*/statistics names these two without a direction.
                        const bool bare = counter == "multicast" || counter == "collisions";
                        counters[bare ? name + "." + counter : fmt::format("{}.{}_{}", name, direction, counter)] = static_cast<std::int64_t>(value.real());
                    }
                }
            }
        }
    }
}

Counters counters_of(const Node& net)
{
    Counters counters;
    take_pairs(counters, text_or(net, "snmp"));
    take_pairs(counters, text_or(net, "netstat"));
    take_snmp6(counters, text_or(net, "snmp6"));
    take_softnet(counters, text_or(net, "softnet_stat"));
    if (const auto links = net.find("ip_s_link"); links && links->is_array()) {
        take_links(counters, *links);
    }
    return counters;
}

bool is_net(const std::string& key, const Node& node)
{
    return key != "interrupts" && key != "softirqs" && node.is_object();
}

void take_counters(Manifest& manifest, const Node& root)
{
    const Node before = root.at("counters_before");
    const Node after = root.at("counters_after");
    for (const auto& [net, node] : before.members()) {
        const auto later = after.find(net);
        if (!is_net(net, node) || !later) {
            continue;
        }
        const Counters from = counters_of(node);
        for (const auto& [name, value] : counters_of(*later)) {
            const auto first = from.find(name);
            // Counters wrap around, in the kernel too; so does their difference.
            manifest.counters[net][name] = static_cast<std::int64_t>(static_cast<std::uint64_t>(value) -
                                                                     static_cast<std::uint64_t>(first == from.end() ? 0 : first->second));
        }
    }
}

/// Which namespace a device stands in: the counters of each name theirs.
void place_links(Manifest& manifest, const Node& root)
{
    for (const auto& [net, node] : root.at("counters_before").members()) {
        if (!is_net(net, node)) {
            continue;
        }
        const auto links = node.find("ip_s_link");
        if (!links || !links->is_array()) {
            continue;
        }
        for (const Node& entry : links->items()) {
            const std::string name = entry.at("ifname").text();
            for (ManifestLink& link : manifest.links) {
                if (link.name == name) {
                    link.net = net;
                }
            }
        }
    }
    for (const ManifestLink& link : manifest.links) {
        if (link.net.empty()) {
            complain("links." + link.name, "stands in no namespace of counters_before");
        }
    }
}

/// /proc/net/arp: a heading, then address, type, flags, MAC, mask, device.
void take_neighbours(Manifest& manifest, const Node& root)
{
    for (const auto& [net, node] : root.at("counters_before").members()) {
        if (!is_net(net, node)) {
            continue;
        }
        std::istringstream in(text_or(node, "arp"));
        for (std::string line; std::getline(in, line);) {
            const auto words = words_of(line);
            if (words.size() != 6) {
                continue;
            }
            const auto address = IpAddress::parse(words[0]);
            const auto mac = MacAddress::parse(words[3]);
            const unsigned long flags = std::strtoul(words[2].c_str(), nullptr, 16);
            constexpr unsigned long complete = 0x2; // ATF_COM
            constexpr unsigned long permanent = 0x4; // ATF_PERM
            if (address && mac && (flags & complete) != 0) {
                manifest.neighbours.push_back({net, *address, *mac, words[5], (flags & permanent) != 0});
            }
        }
    }
}

std::vector<std::string> functions_of(const Node& root, const char* key)
{
    std::set<std::string> absent;
    if (const auto list = root.find("functions_absent_in_this_kernel")) {
        for (const Node& name : list->items()) {
            absent.insert(name.text());
        }
    }
    std::vector<std::string> present;
    if (const auto list = root.find(key)) {
        for (const Node& name : list->items()) {
            if (!absent.contains(name.text())) {
                present.push_back(name.text());
            }
        }
    }
    return present;
}

Manifest manifest_of(const json& document, const std::filesystem::path& folder)
{
    const Node root(document, "");
    Manifest manifest;
    manifest.folder = folder;
    manifest.scenario = root.at("scenario").text();
    manifest.kernel = root.at("kernel").text();
    manifest.kernel_version = text_or(root, "kernel_version");
    manifest.nic = text_or(root, "nic");
    manifest.tracer = text_or(root, "tracer", "function");
    manifest.cpus = static_cast<std::uint32_t>(root.at("cpus").number(1, 4096));
    manifest.functions = functions_of(root, "functions");
    manifest.graph_functions = functions_of(root, "graph_functions");
    const bool traces_calls = manifest.tracer != "nop"; // else there are events only
    if (traces_calls && manifest.functions.empty() && manifest.graph_functions.empty()) {
        complain("functions", "names no function that the kernel has");
    }
    const Node recording = root.at("recording");
    manifest.begin = recording.at("begin").number(0, longest_clock);
    manifest.end = recording.at("end").number(manifest.begin, longest_clock);
    if (const auto offset = root.find("clock_realtime_minus_trace_clock_ns")) {
        manifest.wall_offset_ns = static_cast<std::int64_t>(offset->number(0, longest_clock));
    }
    for (const Node& phase : root.at("phases").items()) {
        manifest.phases.push_back(phase_of(phase));
    }
    if (manifest.phases.empty()) {
        complain("phases", "is empty");
    }
    for (const auto& [name, list] : root.at("links").members()) {
        manifest.links.push_back(link_of(name, list, root));
    }
    if (manifest.links.empty()) {
        complain("links", "is empty");
    }
    place_links(manifest, root);
    take_neighbours(manifest, root);
    take_counters(manifest, root);
    if (const auto settings = root.find("settings")) {
        for (const auto& [key, value] : settings->members()) {
            manifest.settings[key] = value.any_text();
        }
    }
    if (const auto steps = root.find("guest_uptime_at_steps")) {
        constexpr double longest_uptime_s = 1e9;
        for (const Node& step : steps->items()) {
            const auto parts = step.items();
            if (parts.size() == 2 && parts[0].text() == "set-up done" && parts[1].real() > 0 && parts[1].real() < longest_uptime_s) {
                manifest.set_up = static_cast<std::uint64_t>(parts[1].real() * 1e9); // the trace's clock is the uptime, too
            }
        }
    }
    if (const auto params = root.find("params")) {
        for (const auto& [key, value] : params->members()) {
            manifest.params[key] = value.any_text();
        }
    }
    if (const auto pcaps = root.find("pcaps")) {
        for (const Node& pcap : pcaps->items()) {
            ManifestCapture capture{pcap.at("dev").text(), 262144};
            if (const auto snaplen = pcap.find("snaplen")) {
                capture.snaplen = static_cast<std::uint32_t>(snaplen->number(1, 262144));
            }
            manifest.captures.push_back(std::move(capture));
        }
    }
    return manifest;
}

} // namespace

Result<Manifest> read_manifest(const std::filesystem::path& named)
{
    const std::filesystem::path folder = named.has_filename() ? named : named.parent_path(); // "name/" is the folder "name"
    const std::filesystem::path path = folder / "manifest.json";
    std::error_code error;
    if (!std::filesystem::is_directory(folder, error)) {
        return fail(ErrorKind::not_found, folder.string(), "is no folder", "name a recorded folder with manifest.json and trace.dat");
    }
    const std::uintmax_t size = std::filesystem::file_size(path, error);
    if (error) {
        return fail(ErrorKind::not_found, path.string(), "there is no manifest.json", "a recorded folder holds manifest.json and trace.dat");
    }
    if (size > largest_manifest) {
        return fail(ErrorKind::invalid, path.string(), fmt::format("{} bytes are too many for a manifest", size));
    }
    std::ifstream in(path, std::ios::binary);
    std::stringstream text;
    text << in.rdbuf();
    if (!in) {
        return fail(ErrorKind::unreadable, path.string(), "cannot be read");
    }
    try {
        return manifest_of(json::parse(text.str()), folder);
    } catch (const Complaint& complaint) {
        return fail(ErrorKind::invalid, path.string() + ": " + complaint.where, complaint.what);
    } catch (const json::exception& broken) {
        std::string what = broken.what();
        std::ranges::replace(what, '\n', ' ');
        return fail(ErrorKind::foreign, path.string(), "is no JSON: " + what.substr(0, 200));
    }
}

bool is_one_machine(const Manifest& manifest)
{
    return std::ranges::all_of(manifest.links, [](const ManifestLink& link) { return link.driver == "veth"; });
}

bool loses_frames(const Manifest& manifest)
{
    return std::ranges::any_of(manifest.links, [](const ManifestLink& link) { return !link.lost.empty(); });
}

bool in_prefix(const IpAddress& address, const ManifestAddress& of)
{
    if (address.v6 != of.address.v6) {
        return false;
    }
    for (std::size_t bit = 0; bit < of.prefix; ++bit) {
        const unsigned mask = 0x80U >> (bit % 8);
        if (((address.bytes[bit / 8] ^ of.address.bytes[bit / 8]) & mask) != 0) {
            return false;
        }
    }
    return true;
}

} // namespace skbscope
