#include "core/scenario/qdisc_keys.h"

#include <limits>

namespace skbscope {

using namespace yaml;
using kernel::QdiscKind;
using kernel::QdiscSpec;

namespace {

constexpr std::int64_t u32_max = std::numeric_limits<std::uint32_t>::max();

struct KindName {
    const char* name;
    QdiscKind kind;
};
constexpr KindName kinds[] = {{"noqueue", QdiscKind::noqueue}, {"pfifo_fast", QdiscKind::pfifo_fast}, {"pfifo", QdiscKind::pfifo},
                              {"bfifo", QdiscKind::bfifo},     {"tbf", QdiscKind::tbf},               {"fq_codel", QdiscKind::fq_codel}};

const char* name_of_kind(QdiscKind kind)
{
    return std::ranges::find(kinds, kind, &KindName::kind)->name;
}

QdiscKind kind_of(const YAML::Node& node)
{
    const std::string text = scalar(node, "qdisc");
    const auto* found = std::ranges::find_if(kinds, [&](const KindName& row) { return text == row.name; });
    if (found == std::end(kinds)) {
        complain(node, fmt::format("qdisc '{}' is not modelled", text), "noqueue, pfifo_fast, pfifo, bfifo, tbf or fq_codel; a device with several queues has mq by itself");
    }
    return found->kind;
}

/// "10:" as tc writes it, hexadecimal.
std::uint16_t handle_of(const YAML::Node& node)
{
    std::string text = scalar(node, "handle");
    if (text.ends_with(":")) {
        text.pop_back();
    }
    unsigned value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
    if (error != std::errc{} || end != text.data() + text.size() || value == 0 || value >= 0x8000) {
        complain(node, fmt::format("handle must be such as \"10:\", not '{}'", scalar(node, "handle")), "1: … 7fff:");
    }
    return static_cast<std::uint16_t>(value);
}

/// tc's rates are bits a second; the kernel keeps bytes a second.
std::uint64_t bytes_a_second(const YAML::Node& node)
{
    return rate(node) / 8;
}

std::uint32_t number(const YAML::Node& node, const char* key, std::int64_t low, std::int64_t high = u32_max)
{
    return static_cast<std::uint32_t>(integer(node, key, low, high));
}

std::uint32_t microseconds(const YAML::Node& node, const char* key)
{
    const std::int64_t us = duration(node, key).ns / 1000;
    if (us < 1 || us > 1'000'000) {
        complain(node, fmt::format("{} is {}", key, scalar(node, key)), "allowed: 1us … 1s");
    }
    return static_cast<std::uint32_t>(us);
}

void only_for(const YAML::Node& node, const char* key, const QdiscSpec& spec, std::initializer_list<QdiscKind> of)
{
    if (std::ranges::find(of, spec.kind) == of.end()) {
        complain(node, fmt::format("{} has no '{}'", name_of_kind(spec.kind), key));
    }
}

void check_tbf(const YAML::Node& node, const QdiscSpec& spec)
{
    if (spec.rate == 0 || spec.burst == 0 || (!spec.limit && spec.inner.empty())) {
        complain(node, "tbf needs 'rate', 'burst' and 'limit' (or 'inner')");
    }
    if (spec.peakrate != 0 && (spec.peakrate <= spec.rate || spec.mtu == 0)) {
        complain(node, "tbf: peakrate must be above rate, and needs 'mtu'");
    }
    if (!spec.inner.empty() && (spec.inner.front().kind == QdiscKind::tbf || spec.inner.front().kind == QdiscKind::noqueue ||
                                spec.inner.front().kind == QdiscKind::pfifo_fast)) {
        complain(node, fmt::format("{} cannot be inside tbf", name_of_kind(spec.inner.front().kind)), "pfifo, bfifo or fq_codel");
    }
}

} // namespace

QdiscSpec read_qdisc(const YAML::Node& node, std::uint32_t mtu)
{
    QdiscSpec spec;
    if (node.IsScalar()) {
        spec.kind = kind_of(node);
        if (spec.kind == QdiscKind::tbf) {
            check_tbf(node, spec);
        }
        return spec;
    }
    const auto fq = [&](const YAML::Node& n, const char* key) { only_for(n, key, spec, {QdiscKind::fq_codel}); };
    const auto tbf = [&](const YAML::Node& n, const char* key) { only_for(n, key, spec, {QdiscKind::tbf}); };
    Mapping(node, "qdisc")
        .required("kind", [&](const YAML::Node& n) { spec.kind = kind_of(n); })
        .key("handle", [&](const YAML::Node& n) { spec.handle = handle_of(n); })
        .key("limit",
             [&](const YAML::Node& n) {
                 only_for(n, "limit", spec, {QdiscKind::pfifo, QdiscKind::bfifo, QdiscKind::tbf, QdiscKind::fq_codel});
                 spec.limit = number(n, "limit", 0);
             })
        .key("rate", [&](const YAML::Node& n) { tbf(n, "rate"), spec.rate = bytes_a_second(n); })
        .key("burst", [&](const YAML::Node& n) { tbf(n, "burst"), spec.burst = number(n, "burst", 1, std::numeric_limits<std::int32_t>::max()); })
        .key("peakrate", [&](const YAML::Node& n) { tbf(n, "peakrate"), spec.peakrate = bytes_a_second(n); })
        .key("mtu", [&](const YAML::Node& n) { tbf(n, "mtu"), spec.mtu = number(n, "mtu", 1, std::numeric_limits<std::int32_t>::max()); })
        .key("inner", [&](const YAML::Node& n) { tbf(n, "inner"), spec.inner = {read_qdisc(n, mtu)}; })
        .key("flows", [&](const YAML::Node& n) { fq(n, "flows"), spec.flows = number(n, "flows", 1, 65536); })
        .key("quantum", [&](const YAML::Node& n) { fq(n, "quantum"), spec.quantum = number(n, "quantum", 1, 1 << 20); })
        .key("memory_limit", [&](const YAML::Node& n) { fq(n, "memory_limit"), spec.memory_limit = number(n, "memory_limit", 0); })
        .key("drop_batch", [&](const YAML::Node& n) { fq(n, "drop_batch"), spec.drop_batch = number(n, "drop_batch", 1); })
        .key("target", [&](const YAML::Node& n) { fq(n, "target"), spec.target_us = microseconds(n, "target"); })
        .key("interval", [&](const YAML::Node& n) { fq(n, "interval"), spec.interval_us = microseconds(n, "interval"); })
        .key("ce_threshold", [&](const YAML::Node& n) { fq(n, "ce_threshold"), spec.ce_threshold_us = microseconds(n, "ce_threshold"); })
        .key("ecn", [&](const YAML::Node& n) { fq(n, "ecn"), spec.ecn = boolean(n, "ecn"); })
        .done();
    if (spec.kind == QdiscKind::tbf) {
        check_tbf(node, spec);
    }
    return spec;
}

ScenarioTc read_tc(const YAML::Node& node, const ScenarioHost& host)
{
    ScenarioTc change;
    Mapping(node, "tc")
        .required("at", [&](const YAML::Node& n) { change.at = duration(n, "at"); })
        .required("device",
                  [&](const YAML::Node& n) {
                      change.device = name_of(n, "device");
                      if (std::ranges::find(host.devices, change.device, &ScenarioDevice::name) == host.devices.end()) {
                          complain(n, fmt::format("host '{}' has no device '{}'", host.name, change.device));
                      }
                  })
        .required("qdisc", [&](const YAML::Node& n) { change.qdisc = read_qdisc(n, 1500); })
        .key("cpu", [&](const YAML::Node& n) { change.cpu = static_cast<std::uint32_t>(integer(n, "cpu", 0, host.cpus - 1)); })
        .done();
    return change;
}

namespace {

template <typename T>
void put(YAML::Emitter& out, const char* key, const T& value)
{
    out << YAML::Key << key << YAML::Value << value;
}

template <typename T>
void put_if(YAML::Emitter& out, const char* key, const std::optional<T>& value)
{
    if (value) {
        put(out, key, *value);
    }
}

} // namespace

void emit_qdisc(YAML::Emitter& out, const QdiscSpec& spec)
{
    QdiscSpec plain;
    plain.kind = spec.kind;
    if (spec == plain) {
        out << name_of_kind(spec.kind);
        return;
    }
    out << YAML::Flow << YAML::BeginMap;
    put(out, "kind", name_of_kind(spec.kind));
    if (spec.handle != 0) {
        put(out, "handle", fmt::format("{:x}:", spec.handle));
    }
    put_if(out, "limit", spec.limit);
    if (spec.rate != 0) {
        put(out, "rate", spec.rate * 8);
        put(out, "burst", spec.burst);
    }
    if (spec.peakrate != 0) {
        put(out, "peakrate", spec.peakrate * 8);
        put(out, "mtu", spec.mtu);
    }
    put_if(out, "flows", spec.flows);
    put_if(out, "quantum", spec.quantum);
    put_if(out, "memory_limit", spec.memory_limit);
    put_if(out, "drop_batch", spec.drop_batch);
    const auto put_us = [&](const char* key, const std::optional<std::uint32_t>& us) {
        if (us) {
            put(out, key, fmt::format("{}us", *us));
        }
    };
    put_us("target", spec.target_us);
    put_us("interval", spec.interval_us);
    put_us("ce_threshold", spec.ce_threshold_us);
    if (!spec.ecn) {
        put(out, "ecn", false);
    }
    if (!spec.inner.empty()) {
        out << YAML::Key << "inner" << YAML::Value;
        emit_qdisc(out, spec.inner.front());
    }
    out << YAML::EndMap;
}

void emit_tc(YAML::Emitter& out, const ScenarioTc& change)
{
    out << YAML::BeginMap;
    put(out, "at", fmt::format("{}ns", change.at.ns));
    put(out, "device", change.device);
    if (change.cpu != 0) {
        put(out, "cpu", change.cpu);
    }
    out << YAML::Key << "qdisc" << YAML::Value;
    emit_qdisc(out, change.qdisc);
    out << YAML::EndMap;
}

} // namespace skbscope
