#include "ui/rules/rule_examples.h"

#include "ui/player/format.h"

#include <QCoreApplication>
#include <QRegularExpression>
#include <QStringList>

namespace skbscope::ui {

namespace {

using Language = TextKnob::Language;

QString tr(const char* words)
{
    return QCoreApplication::translate("RuleExamples", words);
}

/// A table with one chain on one hook.
QString nftTable(const QString& name, const QString& type, const QString& hook, const QString& priority, const QStringList& rules)
{
    QString text = QStringLiteral("table ip %1 {\n    chain %2 {\n        type %3 hook %2 priority %4; policy accept;\n").arg(name, hook, type, priority);
    for (const QString& rule : rules) {
        text += QStringLiteral("        %1\n").arg(rule);
    }
    return text + QStringLiteral("    }\n}\n");
}

std::vector<RuleExample> nftExamples(const ExampleFacts& f)
{
    const QString port = QStringLiteral("%1 dport %2").arg(f.protocol).arg(f.port);
    return {
        {tr("Drop a port"), {}, nftTable("drop_port", "filter", "input", "filter", {port + " counter drop"})},
        {tr("Reject a port"), {}, nftTable("reject_port", "filter", "input", "filter", {port + " counter reject"})},
        {tr("At most so many a second"), {}, nftTable("limit_port", "filter", "input", "filter",
                                                      {port + " limit rate 10/second burst 5 packets counter accept", port + " counter drop"})},
        {tr("Only answers come in"), {}, nftTable("answers_only", "filter", "input", "filter",
                                                  {"ct state established,related counter accept", "counter drop"})},
        {tr("DNAT: to another port"), {}, nftTable("dnat_port", "nat", "prerouting", "dstnat",
                                                   {QStringLiteral("%1 counter dnat to %2:%3").arg(port, f.destination).arg(f.port % 65535 + 1)})},
        {tr("Masquerade what leaves"), {}, nftTable("masquerade", "nat", "postrouting", "srcnat",
                                                    {QStringLiteral("oifname \"%1\" counter masquerade").arg(f.out)})},
        {tr("Drop before connection tracking"), {}, nftTable("drop_early", "filter", "prerouting", "raw",
                                                             {QStringLiteral("ip saddr %1 counter drop").arg(f.source)})},
        {tr("Log and mark"), {}, nftTable("log_mark", "filter", "prerouting", "mangle",
                                          {port + " counter log prefix \"seen \" meta mark set 0x1"})},
    };
}

std::vector<RuleExample> iptablesExamples(const ExampleFacts& f)
{
    const QString port = QStringLiteral("-p %1 -m %1 --dport %2").arg(f.protocol).arg(f.port);
    const auto rule = [](const QString& words) { return words + '\n'; };
    return {
        {tr("Drop a port"), "filter", rule(QStringLiteral("-A INPUT %1 -j DROP").arg(port))},
        {tr("Reject a port"), "filter", rule(QStringLiteral("-A INPUT %1 -j REJECT --reject-with icmp-port-unreachable").arg(port))},
        {tr("At most so many a second"), "filter",
         rule(QStringLiteral("-A INPUT %1 -m limit --limit 10/sec --limit-burst 5 -j ACCEPT").arg(port)) + rule(QStringLiteral("-A INPUT %1 -j DROP").arg(port))},
        {tr("Only answers come in"), "filter",
         rule(QStringLiteral("-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT")) + rule(QStringLiteral("-A INPUT -j DROP"))},
        {tr("DNAT: to another port"), "nat",
         rule(QStringLiteral("-A PREROUTING %1 -j DNAT --to-destination %2:%3").arg(port, f.destination).arg(f.port % 65535 + 1))},
        {tr("Masquerade what leaves"), "nat", rule(QStringLiteral("-A POSTROUTING -o %1 -j MASQUERADE").arg(f.out))},
        {tr("Drop before connection tracking"), "raw", rule(QStringLiteral("-A PREROUTING -s %1/32 -j DROP").arg(f.source))},
    };
}

std::vector<RuleExample> filterExamples(const ExampleFacts& f)
{
    return {
        {tr("One port"), {}, QStringLiteral("%1 port %2").arg(f.protocol).arg(f.port)},
        {tr("One host"), {}, QStringLiteral("host %1").arg(f.source)},
        {tr("Everything but ARP"), {}, QStringLiteral("not arp")},
        {tr("TCP's SYNs"), {}, QStringLiteral("tcp[tcpflags] & tcp-syn != 0")},
        {tr("Long packets"), {}, QStringLiteral("greater 500")},
    };
}

QString withTable(const QString& text, const RuleExample& example)
{
    static const QRegularExpression named(QStringLiteral("^table ip (\\w+)"));
    const QString name = named.match(example.text).captured(1);
    QString free = name;
    const auto taken = [&](const QString& candidate) {
        return text.contains(QRegularExpression(QStringLiteral("\\btable\\s+(ip\\s+)?%1\\b").arg(candidate)));
    };
    for (int number = 2; taken(free); ++number) {
        free = QStringLiteral("%1_%2").arg(name).arg(number);
    }
    QString whole = text;
    if (!whole.isEmpty() && !whole.endsWith('\n')) {
        whole += '\n';
    }
    return whole + QString(example.text).replace("table ip " + name, "table ip " + free);
}

QString withLines(const QString& text, const RuleExample& example)
{
    QStringList lines = text.split('\n');
    if (!lines.isEmpty() && lines.last().isEmpty()) {
        lines.removeLast();
    }
    const auto begin = lines.indexOf("*" + example.table);
    const auto commit = begin < 0 ? -1 : lines.indexOf(QStringLiteral("COMMIT"), begin);
    if (commit < 0) {
        lines << "*" + example.table << example.text.trimmed().split('\n') << QStringLiteral("COMMIT");
    } else {
        const QStringList rules = example.text.trimmed().split('\n');
        for (qsizetype i = 0; i < rules.size(); ++i) {
            lines.insert(commit + i, rules[i]);
        }
    }
    return lines.join('\n') + '\n';
}

} // namespace

ExampleFacts factsOf(const Trace& trace, PacketId packet)
{
    ExampleFacts facts;
    const auto hasPorts = [](const PacketRecord& record) { return record.flow && (record.flow->protocol == 6 || record.flow->protocol == 17); };
    const PacketRecord* of = packet != PacketId::none && trace.has_packet(packet) && hasPorts(trace.packet(packet)) ? &trace.packet(packet) : nullptr;
    for (const PacketRecord& record : trace.packets()) {
        if (of != nullptr) {
            break;
        }
        of = hasPorts(record) ? &record : nullptr;
    }
    if (of != nullptr && !of->flow->source.v6) {
        facts.protocol = of->flow->protocol == 6 ? QStringLiteral("tcp") : QStringLiteral("udp");
        facts.port = of->flow->destination_port;
        facts.source = text(of->flow->source.text());
        facts.destination = text(of->flow->destination.text());
    }
    for (const DeviceRecord& device : trace.devices()) {
        if (!device.name.empty() && device.name != "lo") {
            facts.out = text(device.name).section(' ', -1);
        }
    }
    return facts;
}

std::vector<RuleExample> examplesFor(TextKnob::Language language, const ExampleFacts& facts)
{
    switch (language) {
    case Language::nft: return nftExamples(facts);
    case Language::iptables: return iptablesExamples(facts);
    case Language::tcpdump: return filterExamples(facts);
    }
    return {};
}

QString withExample(TextKnob::Language language, const QString& text, const RuleExample& example)
{
    switch (language) {
    case Language::nft: return withTable(text, example);
    case Language::iptables: return withLines(text, example);
    case Language::tcpdump: break; // joined with what is there it might let nothing through, which libpcap refuses
    }
    return example.text;
}

} // namespace skbscope::ui
