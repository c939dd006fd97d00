#include "capture/host/proc_tables.h"

#include "capture/host/text_file.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <fmt/format.h>
#include <optional>
#include <set>

namespace skbscope::host {

namespace {

std::vector<std::string_view> lines_of(std::string_view text)
{
    std::vector<std::string_view> lines;
    while (!text.empty()) {
        const auto end = text.find('\n');
        lines.push_back(text.substr(0, end));
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    }
    return lines;
}

std::vector<std::string_view> words_of(std::string_view line)
{
    std::vector<std::string_view> words;
    while (true) {
        const auto begin = line.find_first_not_of(" \t");
        if (begin == std::string_view::npos) {
            return words;
        }
        line.remove_prefix(begin);
        const auto end = line.find_first_of(" \t");
        words.push_back(line.substr(0, end));
        line.remove_prefix(std::min(end, line.size()));
    }
}

std::optional<std::uint64_t> number(std::string_view word, int base = 10)
{
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value, base);
    return error == std::errc{} && end == word.data() + word.size() ? std::optional(value) : std::nullopt;
}

/// Columns of softnet_stat, by place; the second half came later (flow_limit 3.11, backlog and CPU 5.14).
constexpr std::pair<std::size_t, std::string_view> softnet_columns[] = {
    {0, "processed"}, {1, "dropped"}, {2, "time_squeeze"}, {9, "received_rps"}, {10, "flow_limit_count"}};
constexpr std::size_t softnet_cpu_column = 12;

constexpr std::string_view dev_columns[] = {"rx_bytes",   "rx_packets", "rx_errors",  "rx_dropped", "rx_fifo",    "rx_frame",      "rx_compressed", "rx_multicast",
                                            "tx_bytes",   "tx_packets", "tx_errors",  "tx_dropped", "tx_fifo",    "tx_collisions", "tx_carrier",    "tx_compressed"};

} // namespace

Counters parse_snmp(std::string_view text)
{
    Counters counters;
    const auto lines = lines_of(text);
    for (std::size_t i = 0; i + 1 < lines.size(); i += 2) {
        const auto names = words_of(lines[i]);
        const auto values = words_of(lines[i + 1]);
        if (names.empty() || values.empty() || names.front() != values.front() || !names.front().ends_with(":")) {
            break; // cut
        }
        const std::string_view group = names.front().substr(0, names.front().size() - 1);
        for (std::size_t column = 1; column < std::min(names.size(), values.size()); ++column) {
            if (const auto value = number(values[column])) {
                counters[fmt::format("{}.{}", group, names[column])] = *value;
            }
        }
    }
    return counters;
}

Counters parse_snmp6(std::string_view text)
{
    Counters counters;
    for (const std::string_view line : lines_of(text)) {
        const auto words = words_of(line);
        if (words.size() == 2) {
            if (const auto value = number(words[1])) {
                counters[std::string(words[0])] = *value;
            }
        }
    }
    return counters;
}

Counters parse_softnet_stat(std::string_view text)
{
    Counters counters;
    std::uint64_t line_number = 0;
    for (const std::string_view line : lines_of(text)) {
        const auto words = words_of(line);
        const auto cpu = words.size() > softnet_cpu_column ? number(words[softnet_cpu_column], 16) : std::optional(line_number);
        ++line_number;
        for (const auto& [column, name] : softnet_columns) {
            const auto value = column < words.size() ? number(words[column], 16) : std::nullopt;
            if (value && cpu) {
                counters[fmt::format("softnet_stat.{} CPU {}", name, *cpu)] = *value;
            }
        }
    }
    return counters;
}

Counters parse_dev(std::string_view text)
{
    Counters counters;
    for (const std::string_view line : lines_of(text)) {
        const auto colon = line.rfind(':'); // a device's name may hold a colon
        if (colon == std::string_view::npos || line.find('|') != std::string_view::npos) {
            continue;
        }
        const auto name = words_of(line.substr(0, colon));
        const auto values = words_of(line.substr(colon + 1));
        for (std::size_t column = 0; !name.empty() && column < std::min(values.size(), std::size(dev_columns)); ++column) {
            if (const auto value = number(values[column])) {
                counters[fmt::format("{}.{}", name.front(), dev_columns[column])] = *value;
            }
        }
    }
    return counters;
}

std::vector<SocketState> parse_raw_table(std::string_view text)
{
    std::vector<SocketState> sockets;
    for (const std::string_view line : lines_of(text)) {
        const auto words = words_of(line); // "193: 00000000:0001 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 4763114 2 … 0"
        if (words.size() < 13) {
            continue;
        }
        const auto colon = words[1].find(':');
        const bool is_v6 = colon == 32;
        const auto protocol = colon == std::string_view::npos ? std::nullopt : number(words[1].substr(colon + 1), 16);
        const auto halves = words[4].find(':');
        const auto sent = halves == std::string_view::npos ? std::nullopt : number(words[4].substr(0, halves), 16);
        const auto received = halves == std::string_view::npos ? std::nullopt : number(words[4].substr(halves + 1), 16);
        const auto inode = number(words[9]);
        const auto drops = number(words.back());
        if ((colon != 8 && !is_v6) || !protocol || !sent || !received || !inode || !drops) {
            continue;
        }
        SocketState socket;
        socket.protocol = 255;
        socket.local_port = static_cast<std::uint16_t>(*protocol);
        socket.local.v6 = is_v6;
        for (std::size_t word = 0; word < (is_v6 ? 4U : 1U); ++word) { // each as the machine's own order has it
            const auto value = static_cast<std::uint32_t>(number(words[1].substr(word * 8, 8), 16).value_or(0));
            std::memcpy(socket.local.bytes.data() + word * sizeof value, &value, sizeof value);
        }
        socket.inode = static_cast<std::uint32_t>(*inode);
        socket.has_memory = true;
        socket.rmem = socket.receive_queue = static_cast<std::uint32_t>(*received);
        socket.wmem = socket.send_queue = static_cast<std::uint32_t>(*sent);
        socket.drops = static_cast<std::uint32_t>(*drops);
        sockets.push_back(std::move(socket));
    }
    return sockets;
}

Counters parse_interrupts(std::string_view text)
{
    Counters counters;
    const auto lines = lines_of(text);
    if (lines.empty()) {
        return counters;
    }
    const auto cpus = words_of(lines.front());
    for (std::size_t i = 1; i < lines.size(); ++i) {
        const auto words = words_of(lines[i]);
        const auto line_is_of_a_device = words.size() > cpus.size() + 1 && number(words.front().substr(0, words.front().size() - 1));
        for (std::size_t column = 0; line_is_of_a_device && column < cpus.size(); ++column) {
            if (const auto value = number(words[column + 1])) {
                counters[fmt::format("interrupt {} {} CPU {}", words.front().substr(0, words.front().size() - 1), words.back(), cpus[column].substr(3))] = *value;
            }
        }
    }
    return counters;
}

Counters parse_softirqs(std::string_view text)
{
    Counters counters;
    const auto lines = lines_of(text);
    if (lines.empty()) {
        return counters;
    }
    const auto cpus = words_of(lines.front());
    for (const std::string_view line : lines) {
        const auto words = words_of(line);
        if (words.empty() || (words.front() != "NET_RX:" && words.front() != "NET_TX:")) {
            continue;
        }
        for (std::size_t column = 0; column < cpus.size() && column + 1 < words.size(); ++column) {
            if (const auto value = number(words[column + 1])) {
                counters[fmt::format("softirq {} CPU {}", words.front().substr(0, 6), cpus[column].substr(3))] = *value;
            }
        }
    }
    return counters;
}

std::vector<std::uint16_t> bound_udp_ports(std::string_view udp, std::string_view udp6, std::uint32_t address)
{
    // As a __be32 prints with %08X on a little-endian machine.
    const std::string own = fmt::format("{:08X}", address >> 24 | (address >> 8 & 0xff00U) | (address << 8 & 0xff0000U) | address << 24);
    const std::string any = "00000000";
    const std::string mapped = "0000000000000000FFFF0000";
    const std::string any6 = any + any + any + any;
    std::set<std::uint16_t> ports;
    for (const std::string_view text : {udp, udp6}) {
        for (const std::string_view line : lines_of(text)) {
            const auto words = words_of(line);
            const auto colon = words.size() < 2 ? std::string_view::npos : words[1].find(':');
            if (colon == std::string_view::npos) {
                continue;
            }
            const std::string_view where = words[1].substr(0, colon);
            std::uint16_t port = 0;
            const std::string_view digits = words[1].substr(colon + 1);
            const bool reachable = where == own || where == any || where == any6 || where == mapped + own;
            if (reachable && std::from_chars(digits.data(), digits.data() + digits.size(), port, 16).ec == std::errc{} && port != 0) {
                ports.insert(port);
            }
        }
    }
    return {ports.begin(), ports.end()};
}

Sample read_counters(const std::string& root)
{
    static constexpr std::pair<const char*, Counters (*)(std::string_view)> tables[] = {
        {"net/snmp", parse_snmp}, {"net/netstat", parse_snmp}, {"net/snmp6", parse_snmp6},       {"net/softnet_stat", parse_softnet_stat},
        {"net/dev", parse_dev},   {"interrupts", parse_interrupts}, {"softirqs", parse_softirqs},
    };
    Sample sample;
    for (const auto& [name, parse] : tables) {
        const auto text = read_file(fmt::format("{}/{}", root, name));
        if (!text) {
            sample.missing.push_back(fmt::format("{}/{}: not there, or not for us", root, name));
            continue;
        }
        sample.counters.merge(parse(*text));
    }
    return sample;
}

void add_moves(Trace& trace, const Counters& before, const Counters& after, SimTime at, const std::string& prefix)
{
    for (const auto& [name, value] : after) {
        const auto old = before.find(name);
        const std::uint64_t from = old == before.end() ? 0 : old->second;
        if (value <= from) {
            continue;
        }
        const CounterId counter = trace.add_counter({prefix + name, HostId{}});
        Event event;
        event.time_ns = at.ns;
        event.kind = static_cast<std::uint8_t>(EventKind::counter);
        event.arg = trace.add_counter_change(counter, from, value);
        (void)trace.append(event);
    }
}

} // namespace skbscope::host
